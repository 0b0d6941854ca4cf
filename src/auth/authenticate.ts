import type { Identity } from "../domain/identity.ts";
import { authenticateBuiltin } from "./builtin.ts";
import type { AuthSettings } from "./settings.ts";

export { type AuthSettings, assertServable, parseAuthSettings } from "./settings.ts";

/** Who is calling (contract CTX-1). Throws the Fault `unauthorized` when no token holds. */
export async function authenticate(
  request: Request,
  settings: AuthSettings,
  nowMs: number = Date.now(),
): Promise<Identity> {
  switch (settings.mode) {
    case "builtin":
      return await authenticateBuiltin(request, settings, nowMs);
  }
}
