// @ts-check
// Tells on standard error what goes on: with a bar on a terminal, else with a line every few seconds.

import { printable } from "./printable.mjs";
import { Rate, renderBar, renderLine } from "./progress.mjs";

const DRAW_EVERY_MS = 200;
const LINE_EVERY_MS = 5_000;
const REPEAT_MS = 500;

/**
 * The parts of a stream that are used here.
 * @typedef {object} Screen
 * @property {(text: string) => unknown} write
 * @property {boolean | undefined} [isTTY]
 * @property {number | undefined} [columns]
 */

export class Reporter {
  #rate = new Rate();
  /** @type {{label: string, done: number, total: number} | undefined} */
  #transfer;
  /** @type {NodeJS.Timeout | undefined} */
  #timer;
  #isDrawn = false;
  #lastSaid = "";
  #lastSaidAtMs = 0;
  #lastNote = "";
  #lastNoteAtMs = 0;

  /**
   * @param {object} [options]
   * @param {Screen} [options.screen]
   * @param {boolean} [options.isQuiet] then only notes are told
   * @param {() => number} [options.now] milliseconds
   */
  constructor({ screen = process.stderr, isQuiet = false, now = () => performance.now() } = {}) {
    this.screen = screen;
    this.isQuiet = isQuiet;
    this.now = now;
  }

  /**
   * Begins to show a transfer.
   * @param {string} label
   * @param {number} total bytes
   * @param {number} done bytes that are there already
   */
  begin(label, total, done) {
    this.#transfer = { label: printable(label), total, done };
    this.#rate = new Rate();
    this.#rate.take(this.now(), done);
    const everyMs = this.screen.isTTY ? DRAW_EVERY_MS : LINE_EVERY_MS;
    if (!this.isQuiet) this.#timer = setInterval(() => this.show(), everyMs).unref();
  }

  /**
   * Counts bytes that were moved; negative where some have to be moved again.
   * @param {number} bytes
   */
  move(bytes) {
    if (this.#transfer !== undefined) this.#transfer.done += bytes;
  }

  /** Shows how far the transfer is. */
  show() {
    const transfer = this.#transfer;
    if (transfer === undefined || this.isQuiet) return;
    this.#rate.take(this.now(), transfer.done);
    const state = { ...transfer, bytesPerSecond: this.#rate.bytesPerSecond };
    if (this.screen.isTTY) this.#draw(renderBar(state, this.screen.columns || 80));
    else this.screen.write(`${renderLine(state)}\n`);
  }

  /** Shows the transfer a last time; its line stays. */
  end() {
    clearInterval(this.#timer);
    this.show();
    this.#transfer = undefined;
    if (this.#isDrawn) this.screen.write("\n");
    this.#isDrawn = false;
  }

  /**
   * What is waited for, while nothing can be counted.
   * @param {string} words the service's, it may be
   */
  say(words) {
    if (this.isQuiet) return;
    const text = printable(words);
    if (this.screen.isTTY) {
      this.#draw(text.slice(0, (this.screen.columns || 80) - 1));
      return;
    }
    const isDue = this.now() - this.#lastSaidAtMs >= LINE_EVERY_MS || this.#lastSaid === "";
    if (text === this.#lastSaid || !isDue) return;
    this.#lastSaid = text;
    this.#lastSaidAtMs = this.now();
    this.screen.write(`${text}\n`);
  }

  /** Takes away what `say` has drawn. */
  clear() {
    if (this.#isDrawn) this.screen.write("\r\x1b[K");
    this.#isDrawn = false;
  }

  /**
   * Tells a sentence that stays; once, when several that work at the same time tell it.
   * @param {string} words
   */
  note(words) {
    const text = printable(words);
    const isRepeated = text === this.#lastNote && this.now() - this.#lastNoteAtMs < REPEAT_MS;
    if (isRepeated) return;
    this.#lastNote = text;
    this.#lastNoteAtMs = this.now();
    this.clear();
    this.screen.write(`${text}\n`);
  }

  /** @param {string} line */
  #draw(line) {
    this.screen.write(`\r${line}\x1b[K`);
    this.#isDrawn = true;
  }
}
