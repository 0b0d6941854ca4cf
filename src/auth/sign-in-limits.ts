/** How many sign-ins may fail before one has to wait, each within `windowMs` of the first. */
export const SIGN_IN_LIMITS = {
  windowMs: 15 * 60_000,
  /** Of one user from one address. */
  pair: 10,
  /** Of one address, whoever they are for, while it has not signed in as the user. */
  address: 50,
  /** Of one user over all addresses that have not signed in as them. */
  user: 100,
  /** Of one user from one address that has not signed in as them, while they have failed too often over all. */
  strange: 2,
  /** How long an address that has signed in as a user is known for it. */
  knownMs: 30 * 86_400_000,
} as const;

/** What is remembered of one address, user, or pair of both. */
export interface Tally {
  /** Failed sign-ins, until `failuresEndMs`. */
  readonly failures: number;
  readonly failuresEndMs: number;
  /** Until then the pair counts as one that has signed in; 0 if it has not. */
  readonly knownUntilMs: number;
}

export const NO_TALLY: Tally = { failures: 0, failuresEndMs: 0, knownUntilMs: 0 };

/**
 * Until when a sign-in is refused before its secret is looked at; 0 if it is not (contract BI-3 to BI-6). Strangers cannot
 * lock a user out: their failures keep nobody away who comes from where they have signed in before, and leave others some
 * tries.
 */
export function refusedUntilMs(
  of: { readonly address: Tally; readonly pair: Tally; readonly user: Tally },
  nowMs: number,
): number {
  const until = (tally: Tally, most: number) =>
    failuresAt(tally, nowMs) >= most ? tally.failuresEndMs : 0;
  if (isKnownAt(of.pair, nowMs)) return until(of.pair, SIGN_IN_LIMITS.pair);
  const isPressed = failuresAt(of.user, nowMs) >= SIGN_IN_LIMITS.user;
  const mostOfPair = isPressed ? SIGN_IN_LIMITS.strange : SIGN_IN_LIMITS.pair;
  return Math.max(until(of.address, SIGN_IN_LIMITS.address), until(of.pair, mostOfPair));
}

export function isKnownAt({ knownUntilMs }: Tally, nowMs: number): boolean {
  return knownUntilMs > nowMs;
}

function failuresAt({ failures, failuresEndMs }: Tally, nowMs: number): number {
  return failuresEndMs > nowMs ? failures : 0;
}
