/** Behind a dash a month and a day may have one digit. A month without a day needs the dash: `200001` is no time. */
const MONTH = /(?:-(?<dashMonth>\d{1,2})|(?<month>\d{2})(?!$))/.source;
const DAY = /(?:-(?<dashDay>\d{1,2})|(?<day>\d{2}))/.source;
const CLOCK =
  /(?<hour>\d{2})(?::?(?<minute>\d{2})(?::?(?<second>\d{1,2})(?:[.,](?<fraction>\d+))?)?)?/.source;
const ZONE = /(?:Z|(?<sign>[+-])(?<zoneHour>\d{2})(?::?(?<zoneMinute>\d{2}))?)?/.source;
const ISO_TIME = new RegExp(`^(?<year>\\d{4})(?:${MONTH}(?:${DAY}(?:[T ]${CLOCK}${ZONE})?)?)?$`);

/**
 * Milliseconds since the epoch of an ISO 8601 time, undefined when it is none (contract FIL-12): a year, a month or a
 * date alone, extended or basic format, `T` or a blank, a fraction, `Z` or an offset. Without a zone it is UTC.
 */
export function parseTime(text: string): number | undefined {
  const parts = ISO_TIME.exec(text)?.groups;
  if (parts === undefined) return undefined;
  const two = (digits = "01") => digits.padStart(2, "0");
  const { year, month, dashMonth, day, dashDay, sign } = parts;
  const { hour = "00", minute = "00", second = "00", fraction = "" } = parts;
  const { zoneHour = "00", zoneMinute = "00" } = parts;
  const date = `${year}-${two(dashMonth ?? month)}-${two(dashDay ?? day)}`;
  const ms = fraction.slice(0, 3).padEnd(3, "0");
  const localMs = Date.parse(`${date}T${hour}:${minute}:${two(second)}.${ms}Z`);
  // Date rolls 30 February over to March and takes 24:00; neither is a time here.
  if (Number.isNaN(localMs) || !new Date(localMs).toISOString().startsWith(date)) return undefined;
  if (Number(zoneHour) > 23 || Number(zoneMinute) > 59) return undefined;
  const offsetMs = (Number(zoneHour) * 60 + Number(zoneMinute)) * 60_000;
  return sign === "-" ? localMs + offsetMs : localMs - offsetMs;
}

/** A time as the API shows it: UTC in whole seconds, `2015-08-27T09:49:58Z` (contract TIM-1). */
export function formatTime(ms: number): string {
  const text = new Date(ms).toISOString();
  return `${text.slice(0, -".000Z".length)}Z`;
}
