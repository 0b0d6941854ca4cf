/** Who is calling, as the identity service vouches for it. */
export interface Identity {
  readonly userId: string;
  /** The project the token is scoped to; null when it is scoped to none. */
  readonly projectId: string | null;
  /** `project`, or `none` for a token without scope; Image policies refuse `domain` and `system` (ROL-3). */
  readonly scope: "project" | "none" | "domain" | "system";
  /** Lower case (contract CTX-3), implied roles included. */
  readonly roles: readonly string[];
  /** A read-only caller without a token (contract CTX-5). */
  readonly isAnonymous: boolean;
}
