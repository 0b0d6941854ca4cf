import { Fault } from "../domain/fault.ts";
import { MEMBER_STATUSES, VISIBILITIES } from "../domain/image.ts";
import type {
  ImageFilters,
  ImageListQuery,
  NumberField,
  RangeFilter,
  TextField,
} from "../domain/image-list.ts";
import { parseTime } from "../lib/time.ts";
import { canonicalUuid } from "../lib/uuid.ts";
import { parseInteger } from "./integer.ts";
import { parseChoice } from "./list-choice.ts";
import type { QueryParameters } from "./query-string.ts";

type Filtering = Pick<
  ImageListQuery,
  "visibility" | "memberStatuses" | "isHidden" | "filters" | "matchesNothing"
>;

/** What the filters add up to while they are read. */
interface Draft {
  visibility: Filtering["visibility"];
  memberStatuses: Filtering["memberStatuses"];
  isHidden: boolean;
  isProtected: boolean | undefined;
  oneOf: Map<TextField, readonly string[]>;
  ranges: RangeFilter[];
  properties: Map<string, string>;
  matchesNothing: boolean;
}

type ReadFilter = (draft: Draft, value: string, name: string) => void;

/** The filters of contract 02 §2.5. Any other name is a custom property (FIL-16). */
const FILTERS: ReadonlyMap<string, ReadFilter> = new Map<string, ReadFilter>([
  ["id", choice("id", (id) => canonicalUuid(id) ?? id)],
  ["name", choice("name")],
  ["status", choice("status")],
  ["disk_format", choice("diskFormat")],
  ["container_format", choice("containerFormat")],
  ["owner", exactText("owner")],
  ["checksum", exactText("checksum")],
  ["os_hash_algo", exactText("osHashAlgo")],
  ["os_hash_value", exactText("osHashValue")],
  ...numberFilters("size", "size"),
  ...numberFilters("virtual_size", "virtualSize"),
  ...numberFilters("min_disk", "minDisk"),
  ...numberFilters("min_ram", "minRam"),
  ["created_at", time("createdAtMs")],
  ["updated_at", time("updatedAtMs")],
  ["visibility", readVisibility],
  ["member_status", readMemberStatus],
  ["os_hidden", readHidden],
  ["protected", readProtected],
  // Listed images are never deleted ones (FIL-19).
  ["deleted", ignore],
  ["changes-since", (_, __, name) => refuse(name, "it is not supported; filter by updated_at")],
  // Not filters; read elsewhere.
  ...["limit", "marker", "sort", "sort_key", "sort_dir", "tag"].map(
    (name): [string, ReadFilter] => [name, ignore],
  ),
]);

/** All filters of an image list (contract FIL-1 … FIL-21). Throws `invalid_parameter`. */
export function parseImageFilters(parameters: QueryParameters): Filtering {
  const draft: Draft = {
    visibility: undefined,
    memberStatuses: ["accepted"],
    isHidden: false,
    isProtected: undefined,
    oneOf: new Map(),
    ranges: [],
    properties: new Map(),
    matchesNothing: false,
  };
  // A name sent twice counts as sent last.
  for (const [name, value] of new Map(parameters)) {
    const read = FILTERS.get(name);
    if (read === undefined) draft.properties.set(name, value);
    else read(draft, value, name);
  }
  const { visibility, memberStatuses, isHidden, matchesNothing } = draft;
  const filters: ImageFilters = {
    oneOf: draft.oneOf,
    ranges: draft.ranges,
    isProtected: draft.isProtected,
    tags: tagsIn(parameters),
    properties: draft.properties,
  };
  return { visibility, memberStatuses, isHidden, filters, matchesNothing };
}

/** Every `tag` counts, blanks around it do not (contract FIL-8). */
function tagsIn(parameters: QueryParameters): readonly string[] {
  const tags = parameters.filter(([name]) => name === "tag").map(([, value]) => value.trim());
  return [...new Set(tags)];
}

function choice(field: TextField, spell = (text: string) => text): ReadFilter {
  return (draft, value, name) => {
    const values = parseChoice(name, value).map(spell);
    draft.oneOf.set(field, values);
    if (values.length === 0) draft.matchesNothing = true;
  };
}

/** No operators here: `in:` is part of the text looked for (contract FIL-14, FIL-15). */
function exactText(field: TextField): ReadFilter {
  return (draft, value) => draft.oneOf.set(field, [value]);
}

/** The column itself and its bounds `_min` and `_max` (contract FIL-9, FIL-10, FIL-15). */
function numberFilters(name: string, field: NumberField): [string, ReadFilter][] {
  return [
    [name, exactNumber(field)],
    [`${name}_min`, (draft, value, name) => addRange(draft, field, { min: bound(name, value) })],
    [`${name}_max`, (draft, value, name) => addRange(draft, field, { max: bound(name, value) })],
  ];
}

function exactNumber(field: NumberField): ReadFilter {
  return (draft, value) => {
    const wanted = parseInteger(value);
    if (wanted === undefined) draft.matchesNothing = true;
    else addRange(draft, field, { min: wanted, max: wanted });
  };
}

function bound(name: string, value: string): number {
  return parseInteger(value) ?? refuse(name, `'${value}' is not a whole number`);
}

function addRange(draft: Draft, field: NumberField, range: Partial<RangeFilter>): void {
  draft.ranges.push({
    field,
    min: Number.MIN_SAFE_INTEGER,
    max: Number.MAX_SAFE_INTEGER,
    isOutside: false,
    ...range,
  });
}

/**
 * `[operator:]time` (contract FIL-11). Times are shown in whole seconds but stored finer, so a second is
 * compared as the range of all that is shown as it (FIL-13).
 */
function time(field: NumberField): ReadFilter {
  return (draft, value, name) => {
    const [, operator = "eq", text = value] = /^(gte?|lte?|n?eq):(.*)$/s.exec(value) ?? [];
    const ms = parseTime(text) ?? refuse(name, `'${value}' is not an ISO 8601 time`);
    const min = Math.floor(ms / 1000) * 1000;
    const max = min + 999;
    const ranges: Readonly<Record<string, Partial<RangeFilter>>> = {
      eq: { min, max },
      neq: { min, max, isOutside: true },
      gt: { min: max + 1 },
      gte: { min },
      lt: { max: min - 1 },
      lte: { max },
    };
    addRange(draft, field, ranges[operator] ?? {});
  };
}

/** An empty value is legal and matches nothing (contract FIL-4). */
function readVisibility(draft: Draft, value: string, name: string): void {
  if (value === "") draft.matchesNothing = true;
  else draft.visibility = oneOf(name, value, [...VISIBILITIES, "all"] as const);
}

/** Contract FIL-5. */
function readMemberStatus(draft: Draft, value: string, name: string): void {
  const status = oneOf(name, value, [...MEMBER_STATUSES, "all"] as const);
  draft.memberStatuses = status === "all" ? MEMBER_STATUSES : [status];
}

/** Any letter case will do (contract FIL-6). */
function readHidden(draft: Draft, value: string, name: string): void {
  draft.isHidden = oneOf(name, value.toLowerCase(), ["true", "false"] as const) === "true";
}

/** Lower case only (contract FIL-7). */
function readProtected(draft: Draft, value: string, name: string): void {
  draft.isProtected = oneOf(name, value, ["true", "false"] as const) === "true";
}

function ignore(): void {}

function oneOf<T extends string>(name: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((item) => item === value);
  return found ?? refuse(name, `'${value}' is none of ${allowed.join(", ")}`);
}

function refuse(name: string, reason: string): never {
  throw new Fault("invalid_parameter", { name, reason });
}
