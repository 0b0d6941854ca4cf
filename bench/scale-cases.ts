import { VIEWER } from "./scale-data.ts";

/** A list that is asked for in tables of all sizes. */
export interface ListCase {
  readonly name: string;
  /** Who asks: a member of the project that `scale-data.ts` is about, or an administrator. */
  readonly as: "glimpse" | "admin";
  readonly limit: number;
  /** The query string; it may start behind an image in the middle of what is public, or of what the caller has. */
  query(middles: { readonly public: string; readonly own: string }): string;
}

const OTHER_PROJECT = `${"0".repeat(29)}12c`;
const SORT_KEYS = [
  ...["name", "status", "container_format", "disk_format"],
  ...["size", "id", "created_at", "updated_at"],
];

const FILTERS = [
  ...["all", "public", "community", "shared", "private"].map((v) => `visibility=${v}`),
  ...[`owner=${VIEWER}`, `owner=${OTHER_PROJECT}`, "member_status=all", "os_hidden=true"],
  ...["name=ubuntu-7", "name=ubuntu-7&sort_key=name&sort_dir=asc", "tag=os:3", "tag=batch-7"],
  ...["os_distro=distro-3", "instance_uuid=instance-502", "status=active", "status=queued"],
  ...["disk_format=iso", "container_format=ova", `checksum=${"0".repeat(29)}1f6`],
  ...["size_min=1000000&sort=size:asc", "updated_at=gt:2023-12-01&sort=updated_at:desc"],
  "sort=name:asc,size:desc",
  // What no index has.
  ...["tag=os:3&sort=name:asc", "name=ubuntu-7&sort=size:asc", "size_min=1000000000000"],
];

/** The lists of one caller, each from its first page; those by sort key also from the middle. */
function listsOf(as: ListCase["as"]): ListCase[] {
  const who = as === "admin" ? "admin: " : "";
  const list = (query: string, name = query, limit = 25): ListCase => ({
    name: `${who}${name.replaceAll("_key=name&sort_dir=asc", "=name:asc").replace(/0{9,}/, "…")}`,
    as,
    limit,
    query: () => query,
  });
  const deep = (query: string, of: "public" | "own"): ListCase => ({
    ...list(query, `${query || "default"}, from the middle of ${of}`),
    query: (middles) => `${query}&marker=${middles[of]}`,
  });
  return [
    list("", "default"),
    deep("", "public"),
    deep("", "own"),
    list("limit=1000", "limit=1000", 1000),
    ...SORT_KEYS.flatMap((key) => [
      list(`sort=${key}:asc`),
      list(`sort=${key}:desc`),
      deep(`sort=${key}:asc`, "public"),
    ]),
    ...FILTERS.map((query) => list(query)),
    ...["visibility=all", "tag=os:3", "status=active"].map((query) => deep(query, "public")),
  ];
}

export const listCases: readonly ListCase[] = [...listsOf("glimpse"), ...listsOf("admin")];
