import { describe, expect, it } from "vitest";
import { schemaDocument } from "../../../src/api/schemas.ts";
import { buildImageSchema } from "../../../src/domain/image-schema.ts";
import { UUID_PATTERN } from "../../../src/lib/uuid.ts";
import { limits, schema } from "../domain/builders.ts";

/** The document as a client reads it, without the free texts, which are checked for being there. */
function read(name: string): unknown {
  return JSON.parse(JSON.stringify(schemaDocument(name, schema)), (key, value) =>
    key === "description" && typeof value === "string" ? undefined : value,
  );
}

const describedBy = { rel: "describedby", href: "{schema}" };

const memberProperties = {
  member_id: { type: "string" },
  image_id: { type: "string", pattern: UUID_PATTERN },
  created_at: { type: "string" },
  updated_at: { type: "string" },
  status: { type: "string", enum: ["pending", "accepted", "rejected"] },
  schema: { type: "string", readOnly: true },
};

const taskSummary = {
  id: { type: "string", pattern: UUID_PATTERN },
  type: { type: "string", enum: ["import", "api_image_import", "location_import"] },
  status: { type: "string", enum: ["pending", "processing", "success", "failure"] },
  owner: { type: "string" },
  image_id: { type: "string" },
  request_id: { type: "string" },
  user_id: { type: "string" },
  expires_at: { type: ["null", "string"] },
  created_at: { type: "string" },
  updated_at: { type: "string" },
  self: { type: "string", readOnly: true },
  schema: { type: "string", readOnly: true },
};

describe("schema documents", () => {
  it.each(["image", "images", "member", "members", "task", "tasks"])(
    "SCH-1, CS-5: %s has its own name",
    (name) => {
      expect(schemaDocument(name, schema)).toMatchObject({ name });
    },
  );

  it.each(["", "Image", "namespace", "__proto__", "constructor", "image/"])(
    "SCH-5: there is none called %j",
    (name) => {
      expect(schemaDocument(name, schema)).toBeUndefined();
    },
  );

  it.each(["image", "images", "member", "members", "task", "tasks"])(
    "SCH-6: %s carries no keywords of a complete JSON Schema",
    (name) => {
      const document = schemaDocument(name, schema) ?? {};
      for (const key of ["$schema", "$id", "type"]) expect(document).not.toHaveProperty([key]);
    },
  );

  it("SI-38: image follows the operator's declarations", () => {
    const own = buildImageSchema(limits, '{"team":{"type":"string"}}');
    expect(schemaDocument("image", own)).toEqual(own.document);
  });

  it("SIS-1, SIS-2, SIS-3: images holds the complete image document and three links", () => {
    expect(schemaDocument("images", schema)).toEqual({
      name: "images",
      properties: {
        images: { type: "array", items: schema.document },
        first: { type: "string" },
        next: { type: "string" },
        schema: { type: "string" },
      },
      links: [{ rel: "first", href: "{first}" }, { rel: "next", href: "{next}" }, describedBy],
    });
  });

  it("SM-1, SM-2, SM-3, SM-4, SM-5, SM-6: member has a name and properties only", () => {
    expect(read("member")).toEqual({ name: "member", properties: memberProperties });
  });

  it("SM-7: members is a list of member documents", () => {
    expect(read("members")).toEqual({
      name: "members",
      properties: {
        members: { type: "array", items: { name: "member", properties: memberProperties } },
        schema: { type: "string" },
      },
      links: [describedBy],
    });
  });

  it("STK-1, STK-2, STK-3, STK-4, STK-5, STK-6, STK-7, STK-8, STK-9, STK-10: task has a name and properties only", () => {
    expect(read("task")).toEqual({
      name: "task",
      properties: {
        ...taskSummary,
        input: { type: ["null", "object"] },
        result: { type: ["null", "object"] },
        message: { type: "string" },
      },
    });
  });

  it("STK-4, STK-5, STK-6, STK-11: tasks is a list of tasks without their details", () => {
    expect(read("tasks")).toEqual({
      name: "tasks",
      properties: {
        tasks: { type: "array", items: { name: "task", properties: taskSummary } },
        schema: { type: "string" },
      },
      links: [describedBy],
    });
  });

  it("every property of image, member and task is explained in a few words", () => {
    for (const name of ["image", "member", "task"]) {
      const { properties } = schemaDocument(name, schema) as {
        properties: Record<string, { description?: string }>;
      };
      for (const [key, { description }] of Object.entries(properties)) {
        expect(description, `${name}.${key}`).toMatch(/^.{8,90}$/);
      }
    }
  });
});
