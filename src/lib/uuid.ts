/** A UUID as the published schemas spell it (contract 05, pattern P); anchored, either letter case. */
export const UUID_PATTERN =
  "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$";

const UUID = new RegExp(UUID_PATTERN);

/** The one spelling of a UUID, which is the same in capitals (RFC 9562 §4); undefined for a text that is none. */
export function canonicalUuid(text: string): string | undefined {
  return isUuid(text) ? text.toLowerCase() : undefined;
}

/** Whether a text is a UUID with hyphens and nothing around it. */
export function isUuid(text: string): boolean {
  return UUID.test(text);
}
