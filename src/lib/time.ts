const DATE = /(\d{4})-?(\d{2})-?(\d{2})/.source;
const CLOCK = /(\d{2})(?::?(\d{2})(?::?(\d{2})(?:[.,](\d+))?)?)?/.source;
const ZONE = /(?:Z|([+-])(\d{2})(?::?(\d{2}))?)?/.source;
const ISO_TIME = new RegExp(`^${DATE}(?:[T ]${CLOCK}${ZONE})?$`);

/**
 * Milliseconds since the epoch of an ISO 8601 time, undefined when it is none (contract FIL-12): a date alone,
 * extended or basic format, `T` or a blank, a fraction, `Z` or an offset. Without a zone it is UTC.
 */
export function parseTime(text: string): number | undefined {
  const match = ISO_TIME.exec(text);
  if (match === null) return undefined;
  const [, year, month, day, hour = "00", minute = "00", second = "00", fraction = ""] = match;
  const [, , , , , , , , sign, zoneHour = "00", zoneMinute = "00"] = match;
  const date = `${year}-${month}-${day}`;
  const localMs = Date.parse(
    `${date}T${hour}:${minute}:${second}.${fraction.slice(0, 3).padEnd(3, "0")}Z`,
  );
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
