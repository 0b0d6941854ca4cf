/** One JSON line. Nothing secret goes in: no tokens, no bodies, no query strings. */
export function log(fields: Readonly<Record<string, unknown>>): void {
  console.log(JSON.stringify(fields));
}
