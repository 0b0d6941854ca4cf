const PERCENT = 0x25;
const encoder = new TextEncoder();

/**
 * Decodes percent-escapes as strict UTF-8 (contract REQ-9): undefined when the bytes are not UTF-8. A `%` that
 * starts no escape stays as it is, as Python's `unquote` leaves it.
 */
export function decodePercent(text: string): string | undefined {
  if (!text.includes("%")) return text;
  const source = encoder.encode(text);
  const bytes = new Uint8Array(source.length);
  let length = 0;
  for (let i = 0; i < source.length; i++) {
    const byte = source[i] ?? 0;
    const escaped = byte === PERCENT ? hexPair(source[i + 1], source[i + 2]) : undefined;
    bytes[length++] = escaped ?? byte;
    if (escaped !== undefined) i += 2;
  }
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(
      bytes.subarray(0, length),
    );
  } catch {
    return undefined;
  }
}

function hexPair(high: number | undefined, low: number | undefined): number | undefined {
  const value = hexDigit(high) * 16 + hexDigit(low);
  return Number.isNaN(value) ? undefined : value;
}

function hexDigit(byte: number | undefined): number {
  const digit = byte === undefined ? "" : String.fromCharCode(byte);
  return /^[0-9a-fA-F]$/.test(digit) ? Number.parseInt(digit, 16) : Number.NaN;
}
