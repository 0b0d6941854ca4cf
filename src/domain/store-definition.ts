import * as v from "valibot";

/** Where bytes can lie: one entry of the STORES variable, checked (contract 11 §1). */
export interface StoreDefinition {
  readonly id: string;
  readonly type: StoreType;
  readonly description: string | undefined;
  readonly isDefault: boolean;
  /** Copies are listed and read from the heaviest store down; ties keep the order they were added in. */
  readonly weight: number;
  /** What its type has to tell in the store details (contract 11 §2). */
  readonly properties: Readonly<Record<string, unknown>>;
  /** For `r2` and `disk`: the name of the binding of the bucket, or of the disk service. */
  readonly binding: string | undefined;
  /** For `s3`: the service, and the names of the secrets that open it. */
  readonly s3: S3Definition | undefined;
}

export type StoreType = "r2" | "s3" | "disk" | "http";

/** A bucket of an S3 service, addressed by path. */
export interface S3Definition {
  /** Scheme and host, with a path prefix if there is one. */
  readonly endpoint: string;
  readonly region: string;
  readonly bucket: string;
  /** Its keys are the secrets `{credentials}_ACCESS_KEY_ID` and `{credentials}_SECRET_ACCESS_KEY`. */
  readonly credentials: string;
}

/** How bytes go to an S3 service: MiB from which on in parts, MiB a part, parts at once (blob/part-size.ts). */
const S3_PROPERTIES = {
  s3_store_large_object_size: 8,
  s3_store_large_object_chunk_size: 8,
  s3_store_thread_pools: 4,
};

/** The ids that the reference keeps for itself. */
const RESERVED = /^os_glance_/;

const Id = v.pipe(
  v.string(),
  v.regex(
    /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/,
    "an id is made of letters, digits, '.', '_' and '-'",
  ),
  v.check((id) => !RESERVED.test(id), "ids that start with os_glance_ are reserved"),
);

const COMMON = {
  id: Id,
  description: v.optional(v.pipe(v.string(), v.maxLength(255))),
  weight: v.optional(v.pipe(v.number(), v.safeInteger()), 0),
};

const Entry = v.variant("type", [
  v.strictObject({
    ...COMMON,
    type: v.picklist(["r2", "disk"]),
    binding: v.pipe(v.string(), v.minLength(1)),
    default: v.optional(v.boolean(), false),
  }),
  v.strictObject({
    ...COMMON,
    type: v.literal("s3"),
    endpoint: v.pipe(
      v.string(),
      v.check(isPlainAddress, "it is not a plain http or https address"),
    ),
    region: v.optional(v.pipe(v.string(), v.regex(/^[a-z0-9-]+$/)), "us-east-1"),
    bucket: v.pipe(
      v.string(),
      v.regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, "it is no bucket name"),
    ),
    credentials: v.pipe(
      v.string(),
      v.regex(/^[A-Z][A-Z0-9_]*$/, "it is no prefix of secrets' names"),
    ),
    default: v.optional(v.boolean(), false),
  }),
  v.strictObject({ ...COMMON, type: v.literal("http") }),
]);

/**
 * The stores of a deployment, in configured order. Throws an Error with a sentence when the document is not
 * a list of stores of which exactly one is the default (contract 11 §1). One that can be written to is the
 * default by itself.
 */
export function parseStores(json: string): readonly StoreDefinition[] {
  const result = v.safeParse(v.array(Entry), JSON.parse(json));
  if (!result.success) {
    const [issue] = result.issues;
    throw new Error(`${v.getDotPath(issue) ?? "the list"}: ${issue.message}`);
  }
  const entries = result.output;
  const ids = new Set(entries.map(({ id }) => id));
  if (ids.size < entries.length) throw new Error("two stores have the same id");
  const writable = entries.filter((entry) => entry.type !== "http");
  const defaults = writable.filter((entry) => entry.default);
  const chosen = writable.length === 1 ? writable : defaults;
  if (chosen.length !== 1)
    throw new Error("exactly one store that can be written to must be the default");
  return entries.map((entry) => ({
    id: entry.id,
    type: entry.type,
    description: entry.description,
    weight: entry.weight,
    isDefault: entry === chosen[0],
    properties: entry.type === "s3" ? S3_PROPERTIES : {},
    binding: "binding" in entry ? entry.binding : undefined,
    s3: entry.type === "s3" ? entry : undefined,
  }));
}

function isPlainAddress(text: string): boolean {
  const url = URL.parse(text);
  const isHttp = url?.protocol === "https:" || url?.protocol === "http:";
  return isHttp && url.username === "" && url.password === "" && !/[?#]/.test(text);
}
