import { abbreviate } from "../lib/code-points.ts";
import { isJsonObject, type JsonObject } from "../lib/json.ts";
import { Fault } from "./fault.ts";
import type { ImageSchema } from "./image-schema.ts";
import { readLocation } from "./location-request.ts";
import type { LocationOperation } from "./locations.ts";
import type { PatchOperation } from "./patch.ts";
import { assertNameLength, isReadOnly, isReserved } from "./properties.ts";

/*
 * Reading a patch: all that can be refused without the image is refused here, before anyone looks whether it
 * exists (contract MSK-9).
 */

/** The two media types: v2.1 writes an operation as JSON Patch does, v2.0 as `{"replace": "/name", …}`. */
export type PatchVersion = "v2.0" | "v2.1";

const VERSIONS: ReadonlyMap<string, PatchVersion> = new Map([
  ["application/openstack-images-v2.0-json-patch", "v2.0"],
  ["application/openstack-images-v2.1-json-patch", "v2.1"],
]);

/** The media types of a patch, in the order of Accept-Patch (contract HDR-6). */
export const PATCH_MEDIA_TYPES: readonly string[] = [...VERSIONS.keys()];

/** The version a Content-Type names; its parameters do not matter, its letter case does (contract PAT-3). */
export function patchMediaType(contentType: string | null): PatchVersion | undefined {
  return VERSIONS.get(contentType?.split(";")[0]?.trim() ?? "");
}

const OPS = ["add", "replace", "remove"] as const;
type Op = (typeof OPS)[number];

/** Reads and checks a patch body (contract PAT-2 … PAT-10, PTR-1 … PTR-6, PRO-1 … PRO-3). */
export function parsePatch(
  version: PatchVersion,
  body: unknown,
  schema: ImageSchema,
): readonly PatchOperation[] {
  if (!Array.isArray(body)) throw refusal("The request body must be a JSON array of operations.");
  return body.map((item: unknown) => {
    if (!isJsonObject(item)) throw refusal("Each operation must be a JSON object.");
    return parseOperation(version, item, schema);
  });
}

function parseOperation(
  version: PatchVersion,
  item: JsonObject,
  schema: ImageSchema,
): PatchOperation {
  const [op, path] = version === "v2.1" ? readOp(item) : readKeyedOp(item);
  const [property, ...rest] = parsePointer(path);
  assertDepth(op, property, rest.length);
  if (op !== "remove" && !Object.hasOwn(item, "value")) {
    throw refusal(`Operation ${op} needs a value.`);
  }
  assertNameLength(property);
  if (isReadOnly(property)) throw new Fault("property_read_only", { name: property });
  if (isReserved(property)) throw new Fault("property_reserved", { name: property });

  const value = item.value;
  if (property === "locations") {
    if (op !== "remove") schema.validate(property, op === "add" ? [value] : value);
    return readLocationOperation(op, rest[0] ?? "", value);
  }
  if (op === "remove") return { op, property };
  schema.validate(property, value);
  return op === "add"
    ? { op, property, value, mustBeNew: version === "v2.0" }
    : { op, property, value };
}

/** An operation on locations, whose value has passed the schema (contract LOP-2, PTR-5). */
function readLocationOperation(op: Op, position: string, value: unknown): LocationOperation {
  if (op === "remove") return { op: "remove_location", position };
  if (op === "add") return { op: "add_location", position, location: readLocation(value) };
  return {
    op: "replace_locations",
    locations: Array.isArray(value) ? value.map(readLocation) : [],
  };
}

/** v2.1: `{"op": "add", "path": "/name"}` (contract PAT-7, PAT-8). */
function readOp(item: JsonObject): [Op, unknown] {
  const op = OPS.find((known) => known === item.op);
  if (op === undefined) throw refusal(`Each operation needs an op of ${OPS.join(", ")}.`);
  return [op, item.path];
}

/** v2.0: `{"add": "/name"}`, with exactly one of the three keys (contract PAT-2). */
function readKeyedOp(item: JsonObject): [Op, unknown] {
  const [op, ...others] = OPS.filter((known) => Object.hasOwn(item, known));
  if (op === undefined || others.length > 0) {
    throw refusal(`Each operation needs exactly one of ${OPS.join(", ")}.`);
  }
  return [op, item[op]];
}

/** Cuts a pointer into its unescaped segments. Blanks are part of a name, as RFC 6901 has it (PTR-4). */
function parsePointer(path: unknown): [string, ...string[]] {
  if (typeof path !== "string") throw refusal("Each operation needs a path, which is a text.");
  const shown = abbreviate(path);
  if (!path.startsWith("/")) throw refusal(`Pointer '${shown}' does not start with '/'.`);
  if (/~(?![01])/.test(path)) {
    throw refusal(`Pointer '${shown}' has a '~' that is not part of '~0' or '~1'.`);
  }
  const [first = "", ...rest] = path.slice(1).split("/");
  if (first === "" || rest.includes("")) throw refusal(`Pointer '${shown}' has an empty segment.`);
  return [unescapeSegment(first), ...rest.map(unescapeSegment)];
}

// ~1 first, so that ~01 stays the text ~1 (RFC 6901 §4).
function unescapeSegment(segment: string): string {
  return segment.replaceAll("~1", "/").replaceAll("~0", "~");
}

/** One segment; for a single location two, except that replace takes the whole list (contract PTR-5). */
function assertDepth(op: Op, property: string, extra: number): void {
  const expected = property === "locations" && op !== "replace" ? 1 : 0;
  if (extra === expected) return;
  throw refusal(
    `Operation ${op} on '${abbreviate(property)}' needs a pointer of ${expected + 1} segments.`,
  );
}

function refusal(reason: string): Fault {
  return new Fault("bad_request", { reason });
}
