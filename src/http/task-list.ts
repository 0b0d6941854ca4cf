import { Fault } from "../domain/fault.ts";
import type { Limits } from "../domain/limits.ts";
import { TASK_STATUSES, TASK_TYPES } from "../domain/task.ts";
import type {
  ImageTaskPage,
  TaskListQuery,
  TaskTextField,
  TaskTimeField,
} from "../domain/task-list.ts";
import { parseTime } from "../lib/time.ts";
import { canonicalUuid, isUuid } from "../lib/uuid.ts";
import { parseLimit } from "./query.ts";
import { decodeQuery } from "./query-string.ts";

/** The columns a list can be sorted and filtered by: all but input, result and message, which it does not show. */
const TEXT_COLUMNS: ReadonlyMap<string, TaskTextField> = new Map([
  ["id", "id"],
  ["type", "type"],
  ["status", "status"],
  ["owner", "owner"],
  ["image_id", "imageId"],
  ["request_id", "requestId"],
  ["user_id", "userId"],
]);
const TIME_COLUMNS: ReadonlyMap<string, TaskTimeField> = new Map([
  ["created_at", "createdAtMs"],
  ["updated_at", "updatedAtMs"],
  ["expires_at", "expiresAtMs"],
]);

const CHOICES: ReadonlyMap<string, readonly string[]> = new Map<string, readonly string[]>([
  ["status", TASK_STATUSES],
  // The reference accepts `import` alone, so that real tasks cannot be found by their type (contract 12 §2).
  ["type", TASK_TYPES],
]);

/**
 * The query string of a list of tasks, checked (contract 12 §2). A parameter sent twice counts as sent last.
 * Throws `invalid_parameter` or `invalid_encoding`.
 */
export function parseTaskList(search: string, limits: Limits): TaskListQuery {
  const parameters = new Map(decodeQuery(search));
  return {
    limit: parseLimit(parameters.get("limit"), limits),
    marker: parseMarker(parameters.get("marker")),
    sortKey: parseSortKey(parameters.get("sort_key") ?? "created_at"),
    sortDirection: parseSortDirection(parameters.get("sort_dir") ?? "desc"),
    ...parseFilters(parameters),
  };
}

/**
 * The page of an image's tasks that a query string asks for; all at once if it says nothing, for an image does not keep many.
 * Throws as parseTaskList does.
 */
export function parseImageTaskPage(search: string, limits: Limits): ImageTaskPage {
  const parameters = new Map(decodeQuery(search));
  const limit = parameters.get("limit");
  return {
    limit: limit === undefined ? limits.pageMax : parseLimit(limit, limits),
    marker: parseMarker(parameters.get("marker")),
  };
}

function parseMarker(text: string | undefined): string | undefined {
  if (text !== undefined && !isUuid(text)) refuse("marker", "it must be a UUID");
  return text;
}

function parseSortKey(text: string): TaskListQuery["sortKey"] {
  const names = [...TEXT_COLUMNS.keys(), ...TIME_COLUMNS.keys()];
  return (
    TEXT_COLUMNS.get(text) ??
    TIME_COLUMNS.get(text) ??
    refuse("sort_key", `'${text}' is none of ${names.join(", ")}`)
  );
}

function parseSortDirection(text: string): TaskListQuery["sortDirection"] {
  if (text === "asc" || text === "desc") return text;
  return refuse("sort_dir", `'${text}' is neither asc nor desc`);
}

function parseFilters(
  parameters: ReadonlyMap<string, string>,
): Pick<TaskListQuery, "texts" | "times"> {
  const texts = new Map<TaskTextField, string>();
  const times = new Map<TaskTimeField, number>();
  for (const [name, value] of parameters) {
    const text = TEXT_COLUMNS.get(name);
    const time = TIME_COLUMNS.get(name);
    if (text !== undefined) texts.set(text, parseText(name, value));
    if (time !== undefined) times.set(time, parseSecond(name, value));
  }
  return { texts, times };
}

function parseText(name: string, value: string): string {
  const allowed = CHOICES.get(name);
  if (name === "image_id") return canonicalUuid(value) ?? value;
  if (allowed === undefined || allowed.includes(value)) return value;
  return refuse(name, `'${value}' is none of ${allowed.join(", ")}`);
}

/** Times are shown in whole seconds but stored finer, so that a second stands for all that is shown as it. */
function parseSecond(name: string, value: string): number {
  const ms = parseTime(value) ?? refuse(name, `'${value}' is not an ISO 8601 time`);
  return Math.floor(ms / 1000) * 1000;
}

function refuse(name: string, reason: string): never {
  throw new Fault("invalid_parameter", { name, reason });
}
