import { isJsonObject, type JsonObject } from "../lib/json.ts";
import { Fault } from "./fault.ts";
import { TASK_TYPES } from "./task.ts";

/** What a task of the old kind `import` is to do: make an image of the data at an address (contract 12 §2). */
export interface TaskRequest {
  readonly uri: string;
  /** What the image's creation gets as its body. */
  readonly imageProperties: JsonObject;
  /** What of the input means something, as it was given; the task shows it. */
  readonly input: JsonObject;
}

/** The fields of the published schema; of them only type and input mean anything here. */
const FIELDS: ReadonlySet<string> = new Set([
  ...["id", "type", "status", "input", "result", "owner", "message", "image_id", "request_id"],
  ...["user_id", "expires_at", "created_at", "updated_at", "self", "schema"],
]);

/** Checks a body of POST /v2/tasks (contract 12 §2, POST checks 3 to 8). Throws 400s. */
export function parseTaskRequest(body: object): TaskRequest {
  if (!isJsonObject(body)) refuse("The request body must be a JSON object.");
  const unknown = Object.keys(body).find((name) => !FIELDS.has(name));
  if (unknown !== undefined) refuse("The request body has a field that tasks do not have.");
  const { type, input } = body;
  if (type === undefined || input === undefined) refuse("A task needs 'type' and 'input'.");
  if (!TASK_TYPES.some((known) => known === type)) refuse("There is no such type of task.");
  // The others come from calls on an image, with the checks that belong there.
  if (type !== "import") refuse("Only tasks of the type 'import' are made by this call.");
  if (!isJsonObject(input)) refuse("'input' must be a JSON object.");
  const { import_from: uri, import_from_format: format, image_properties: properties } = input;
  if (typeof uri !== "string" || uri === "") refuse("'input.import_from' must be an address.");
  if (typeof format !== "string" || format === "") {
    refuse("'input.import_from_format' must name the data's disk format.");
  }
  if (!isJsonObject(properties)) refuse("'input.image_properties' must be a JSON object.");
  const imageProperties = { disk_format: format, container_format: "bare", ...properties };
  const known = { import_from: uri, import_from_format: format, image_properties: properties };
  return { uri, imageProperties, input: known };
}

function refuse(reason: string): never {
  throw new Fault("bad_request", { reason });
}
