// @ts-check
// How far a transfer is, in words and as a bar.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/**
 * Bytes as people read them: three digits or so, and a unit.
 * @param {number} bytes
 */
export function formatBytes(bytes) {
  let value = bytes;
  let unit = 0;
  // Not 1024: what would round up to four digits is told in the next unit.
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const decimals = unit === 0 || value >= 99.95 ? 0 : 1;
  return `${value.toFixed(decimals)} ${UNITS[unit]}`;
}

/**
 * Seconds as `42 s`, `3:07` or `1:02:03`.
 * @param {number} seconds
 */
export function formatDuration(seconds) {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  /** @param {number} n */
  const two = (n) => String(n).padStart(2, "0");
  const rest = two(whole % 60);
  return hours === 0 ? `${minutes}:${rest}` : `${hours}:${two(minutes)}:${rest}`;
}

/** What the rate is taken over: long enough to be steady, short enough to follow. */
const WINDOW_MS = 10_000;

/** Bytes a second over the last moments. */
export class Rate {
  /** @type {{atMs: number, bytes: number}[]} */
  #samples = [];

  /**
   * @param {number} atMs
   * @param {number} bytes done by then
   */
  take(atMs, bytes) {
    const last = this.#samples.at(-1);
    // Bytes that have to be sent again were not sent at any rate.
    if (last !== undefined && bytes < last.bytes) this.#samples = [];
    this.#samples.push({ atMs, bytes });
    while (this.#samples.length > 2 && atMs - (this.#samples[1]?.atMs ?? 0) >= WINDOW_MS) {
      this.#samples.shift();
    }
  }

  /** Undefined before there is anything to measure. */
  get bytesPerSecond() {
    const [first] = this.#samples;
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.atMs <= first.atMs) return undefined;
    return ((last.bytes - first.bytes) / (last.atMs - first.atMs)) * 1000;
  }
}

/**
 * @typedef {object} State
 * @property {string} label
 * @property {number} done bytes
 * @property {number} total bytes
 * @property {number | undefined} bytesPerSecond
 */

/** @param {State} state */
function figures({ done, total, bytesPerSecond }) {
  const isMoving = bytesPerSecond !== undefined && bytesPerSecond > 0;
  const rate = isMoving ? `, ${formatBytes(bytesPerSecond)}/s` : "";
  const isUnderWay = isMoving && done < total;
  const left = isUnderWay ? `, ${formatDuration((total - done) / bytesPerSecond)} left` : "";
  return `${formatBytes(done)} of ${formatBytes(total)}${rate}${left}`;
}

/** @param {State} state */
function percentOf({ done, total }) {
  // Rounded down, for 100% means all of it.
  return total === 0 ? 100 : Math.floor((done / total) * 100);
}

const LONGEST_BAR = 30;
const SHORTEST_BAR = 5;
/** Room for the longest figures, so that the bar keeps its width while they change. */
const FIGURES = "100%  999 MiB of 999 MiB, 99.9 MiB/s, 10:00:00 left".length;

/**
 * The line of a terminal of that width: label, bar, percent, figures. What does not fit is left out, the bar first.
 * @param {State} state
 * @param {number} columns
 */
export function renderBar(state, columns) {
  const percent = percentOf(state);
  const end = `${String(percent).padStart(3)}%  ${figures(state)}`;
  const room = columns - 1;
  const taken = state.label.length + Math.max(end.length, FIGURES) + " [] ".length;
  const width = Math.min(room - taken, LONGEST_BAR);
  if (width < SHORTEST_BAR) return `${state.label} ${end}`.slice(0, room);
  const filled = Math.floor((width * percent) / 100);
  return `${state.label} [${"#".repeat(filled)}${"-".repeat(width - filled)}] ${end}`;
}

/**
 * The line for where no bar can be drawn, such as a log.
 * @param {State} state
 */
export function renderLine(state) {
  return `${state.label}: ${percentOf(state)}%, ${figures(state)}`;
}
