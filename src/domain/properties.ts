import { abbreviate, isLongerThan } from "../lib/code-points.ts";
import { Fault } from "./fault.ts";
import { exceeds, type Limits } from "./limits.ts";

/** Written by the service as links; a create request may not even mention them (contract CRE-2). */
const LINKS: ReadonlySet<string> = new Set(["direct_url", "self", "file", "schema", "stores"]);

/** Written by the service as facts (contract CRE-8, CRE-9, PRO-1). */
const FACTS: ReadonlySet<string> = new Set([
  "status",
  "checksum",
  "os_hash_algo",
  "os_hash_value",
  "size",
  "virtual_size",
  "created_at",
  "updated_at",
]);

/** Kept from callers as names of custom properties (contract CRE-7, PRO-2). */
const RESERVED: ReadonlySet<string> = new Set(["location", "deleted", "deleted_at"]);
const RESERVED_PREFIX = "os_glance";

/** How long a property's name may be (contract LIM-14). */
export const MAX_NAME_CHARACTERS = 255;

/** Whether a property is one of the links that the service writes (contract CRE-2). */
export function isLink(name: string): boolean {
  return LINKS.has(name);
}

/** Whether a property is a fact that only the service writes (contract CRE-8, CRE-9). */
export function isFact(name: string): boolean {
  return FACTS.has(name);
}

/** Whether a property cannot be changed once the image exists (contract PRO-1, PRO-12). */
export function isReadOnly(name: string): boolean {
  return name === "id" || isFact(name) || isLink(name);
}

/** Whether no caller may use this name (contract CRE-7, PRO-2). */
export function isReserved(name: string): boolean {
  return RESERVED.has(name) || isInternal(name);
}

/** Whether the service keeps its own notes under this name; quotas leave these out (contract LIM-3). */
function isInternal(name: string): boolean {
  return name.startsWith(RESERVED_PREFIX);
}

/** Refuses an over-long property name (contract LIM-14). */
export function assertNameLength(name: string): void {
  if (!isLongerThan(name, MAX_NAME_CHARACTERS)) return;
  const reason = `a property name has at most ${MAX_NAME_CHARACTERS} characters`;
  throw new Fault("invalid_value", { name: abbreviate(name), reason });
}

/** Refuses more custom properties than the quota allows (contract LIM-3, LIM-7). */
export function assertPropertyQuota(
  properties: ReadonlyMap<string, unknown>,
  limits: Limits,
): void {
  const maximum = limits.imageProperties;
  const attempted = [...properties.keys()].filter((name) => !isInternal(name)).length;
  if (exceeds(attempted, maximum)) {
    throw new Fault("quota_exceeded", { attempted, what: "properties", maximum });
  }
}
