import { Fault } from "../domain/fault.ts";
import { MEMBER_STATUSES } from "../domain/image.ts";
import type { ImageSchema } from "../domain/image-schema.ts";
import type { ValueSchema } from "../domain/json-schema.ts";
import { json } from "../http/reply.ts";
import { UUID_PATTERN } from "../lib/uuid.ts";
import type { OpenContext } from "./context.ts";

const TEXT: ValueSchema = { type: "string" };
const DESCRIBED_BY = { rel: "describedby", href: "{schema}" } as const;

/** Contract SM-1 … SM-6. */
const MEMBER = {
  name: "member",
  properties: {
    member_id: { description: "The project the image is shared with", type: "string" },
    image_id: { description: "The shared image", type: "string", pattern: UUID_PATTERN },
    created_at: { description: "When the project became a member, in UTC", type: "string" },
    updated_at: { description: "When the membership last changed, in UTC", type: "string" },
    status: {
      description: "What the member says to the offer",
      type: "string",
      enum: MEMBER_STATUSES,
    },
    schema: { description: "Address of this document", type: "string", readOnly: true },
  },
} as const satisfies NamedDocument;

/** What a task shows in a list (contract STK-1 … STK-3, STK-7 … STK-10). */
const TASK_SUMMARY = {
  id: { description: "The task's id, a UUID", type: "string", pattern: UUID_PATTERN },
  type: {
    description: "What the task does",
    type: "string",
    enum: ["import", "api_image_import", "location_import"],
  },
  status: {
    description: "How far the task has come",
    type: "string",
    enum: ["pending", "processing", "success", "failure"],
  },
  owner: { description: "The project the task belongs to", type: "string" },
  image_id: { description: "The image the task works on", type: "string" },
  request_id: { description: "Id of the request that began the task", type: "string" },
  user_id: { description: "The user who began the task", type: "string" },
  expires_at: { description: "When the task's record may go, in UTC", type: ["null", "string"] },
  created_at: { description: "When the task was created, in UTC", type: "string" },
  updated_at: { description: "When the task last changed, in UTC", type: "string" },
  self: { description: "Address of the task", type: "string", readOnly: true },
  schema: { description: "Address of this document", type: "string", readOnly: true },
} as const satisfies Readonly<Record<string, ValueSchema>>;

/** What only a single task shows (contract STK-4 … STK-6). */
const TASK_DETAILS = {
  input: { description: "What the task was given", type: ["null", "object"] },
  result: { description: "What the task brought about", type: ["null", "object"] },
  message: { description: "Why the task ended as it did", type: "string" },
} as const satisfies Readonly<Record<string, ValueSchema>>;

interface NamedDocument {
  readonly name: string;
  readonly properties: Readonly<Record<string, ValueSchema>>;
}

/** GET /v2/schemas/{name}: for any valid token, whatever its scope (contract SCH-2). */
export function showSchema(name: string): (ctx: OpenContext) => Response {
  return (ctx) => {
    const document = schemaDocument(name, ctx.config.imageSchema);
    if (document === undefined) throw new Fault("not_found");
    return json(document);
  };
}

/** The document at `/v2/schemas/{name}` (contract SCH-1), or undefined when there is none (SCH-5). */
export function schemaDocument(name: string, schema: ImageSchema): object | undefined {
  switch (name) {
    case "image":
      return schema.document;
    case "images":
      return describeImages(schema);
    case "member":
      return MEMBER;
    case "members":
      return describeList("members", MEMBER);
    case "task":
      return { name: "task", properties: { ...TASK_SUMMARY, ...TASK_DETAILS } };
    case "tasks":
      return describeList("tasks", { name: "task", properties: TASK_SUMMARY });
    default:
      return undefined;
  }
}

/** Contract SIS-1 … SIS-3. */
function describeImages(schema: ImageSchema): object {
  return {
    name: "images",
    properties: {
      images: { type: "array", items: schema.document },
      first: TEXT,
      next: TEXT,
      schema: TEXT,
    },
    links: [{ rel: "first", href: "{first}" }, { rel: "next", href: "{next}" }, DESCRIBED_BY],
  };
}

/** Contract SM-7, STK-11. */
function describeList(name: string, item: NamedDocument): object {
  return {
    name,
    properties: { [name]: { type: "array", items: item }, schema: TEXT },
    links: [DESCRIBED_BY],
  };
}
