// @ts-check
// Names and messages are other people's, and may hold what a terminal or a reader takes for more than text.

/**
 * Control characters move the cursor and worse, separators of lines begin one, and bidirectional marks show text in
 * another order than it has: https://www.unicode.org/reports/tr36/#Bidirectional_Text_Spoofing
 */
const DECEPTIVE = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;

/**
 * Text on one line, as it may be shown: each deceptive character is replaced.
 * @param {string} text
 * @param {string} [replacement]
 */
export function printable(text, replacement = "\ufffd") {
  return text.replace(DECEPTIVE, replacement);
}

/**
 * Text of several lines, as it may be shown.
 * @param {string} text
 */
export function printableLines(text) {
  return text
    .split("\n")
    .map((line) => printable(line))
    .join("\n");
}

/**
 * A value as JSON in which deceptive characters are escaped, so that it means the same.
 * @param {unknown} value
 */
export function printableJson(value) {
  return JSON.stringify(value, null, 2)
    .split("\n")
    .map((line) => line.replace(DECEPTIVE, escapeUnit))
    .join("\n");
}

/** @param {string} unit */
const escapeUnit = (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;

/** Directories, and on Windows drives and streams. */
const PATH_MARKS = /[/\\:]/g;
/** Of the 255 that file systems take, so that `.part.json` fits behind. */
const LONGEST_NAME_BYTES = 200;

/**
 * Other people's name as the name of a file: it leads into no other directory, and is neither hidden nor an option of
 * a command. Empty when nothing is left of it.
 * @param {string} name
 */
export function fileName(name) {
  const plain = printable(name, "_")
    .replace(PATH_MARKS, "_")
    .replace(/^[.\s-]+/, "");
  const letters = [...plain.slice(0, LONGEST_NAME_BYTES)];
  while (Buffer.byteLength(letters.join("")) > LONGEST_NAME_BYTES) letters.pop();
  return letters.join("").trimEnd();
}
