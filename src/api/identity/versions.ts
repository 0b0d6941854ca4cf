import { json } from "../../http/reply.ts";
import { type IdentityContext, identityUrl } from "./context.ts";

/** GET /identity */
export function listVersions(ctx: IdentityContext): Response {
  return json({ versions: { values: [version(ctx)] } }, 300);
}

/** GET /identity/v3 */
export function showVersion(ctx: IdentityContext): Response {
  return json({ version: version(ctx) });
}

/**
 * The version of Keystone's API that brought all that is served here, dated as Keystone dates it.
 */
function version(ctx: IdentityContext): object {
  return {
    id: "v3.14",
    status: "stable",
    updated: "2020-04-07T00:00:00Z",
    links: [{ rel: "self", href: identityUrl(ctx, "/") }],
    "media-types": [
      { base: "application/json", type: "application/vnd.openstack.identity-v3+json" },
    ],
  };
}
