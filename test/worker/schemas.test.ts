import { describe, expect, it } from "vitest";
import { admin, type Caller, owner, stranger, unscoped } from "../support/callers.ts";
import { type CallOptions, type ImageRecord, Service } from "../support/service.ts";

const service = new Service();

const NAMES = ["image", "images", "member", "members", "task", "tasks"] as const;

interface Property {
  readonly type: string | readonly string[];
  readonly enum?: readonly (string | null)[];
  readonly readOnly?: boolean;
  readonly is_base?: boolean;
}

interface Document {
  readonly name: string;
  readonly properties: Readonly<Record<string, Property>>;
  readonly additionalProperties?: Property;
}

async function schemaNamed(name: string, at = service): Promise<Document> {
  const response = await at.call(owner, "GET", `/v2/schemas/${name}`);
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toBe("application/json");
  return response.json();
}

async function patched(image: ImageRecord, patch: object[], caller: Caller = owner) {
  const response = await service.call(caller, "PATCH", `/v2/images/${image.id}`, { patch });
  return { status: response.status, body: await response.json<ImageRecord>() };
}

describe("GET schemas", () => {
  it.each(NAMES)("SCH-1, CS-5: %s is a JSON document of that name", async (name) => {
    expect((await schemaNamed(name)).name).toBe(name);
  });

  it.each(NAMES)(
    "SCH-2: %s is for every token, of whatever scope, and for no one without",
    async (name) => {
      const path = `/v2/schemas/${name}`;
      for (const caller of [owner, stranger, admin, unscoped]) {
        expect((await service.call(caller, "GET", path)).status).toBe(200);
      }
      expect((await service.call(null, "GET", path)).status).toBe(401);
    },
  );

  const body: CallOptions = { headers: { "content-length": "2" } };

  it.each(["image", "images", "member", "members"])(
    "SCH-3: %s takes no body: 400",
    async (name) => {
      expect((await service.call(owner, "GET", `/v2/schemas/${name}`, body)).status).toBe(400);
    },
  );

  it.each(["task", "tasks"])("SCH-3: %s bears with one", async (name) => {
    expect((await service.call(owner, "GET", `/v2/schemas/${name}`, body)).status).toBe(200);
  });

  it.each(NAMES)("SCH-4: %s is only read: 405", async (name) => {
    for (const method of ["POST", "PUT", "PATCH", "DELETE", "HEAD"]) {
      const response = await service.call(owner, method, `/v2/schemas/${name}`);
      expect(response.status).toBe(405);
      expect(response.headers.get("allow")).toBe("GET");
    }
  });

  it.each(["", "/", "/location", "/Image", "/image/", "/image/name", "/constructor", "/metadefs"])(
    "SCH-5: there is nothing at schemas%s: 404",
    async (below) => {
      expect((await service.call(owner, "GET", `/v2/schemas${below}`)).status).toBe(404);
    },
  );

  it.each(NAMES)("SCH-6: %s is not a whole JSON Schema", async (name) => {
    const document = await schemaNamed(name);
    for (const key of ["$schema", "$id", "type"]) expect(document).not.toHaveProperty([key]);
  });

  it("SI-13, SI-14: the formats are those of the settings, null first", async () => {
    const settings = { DISK_FORMATS: "raw,qcow2", CONTAINER_FORMATS: "bare" };
    const { properties } = await schemaNamed("image", new Service({ settings }));
    expect(properties.disk_format?.enum).toEqual([null, "raw", "qcow2"]);
    expect(properties.container_format?.enum).toEqual([null, "bare"]);
  });

  it("SI-38: an operator's declarations are in it, and hold", async () => {
    const IMAGE_SCHEMA = JSON.stringify({
      properties: { team: { type: "string", enum: ["red", "blue"] } },
      required: ["team"],
    });
    const at = new Service({ settings: { IMAGE_SCHEMA } });
    const document = await schemaNamed("image", at);
    expect(document).toMatchObject({ required: ["team"] });
    expect(document.properties.team).toEqual({
      type: "string",
      enum: ["red", "blue"],
      is_base: false,
    });
    expect(document.properties).not.toHaveProperty("kernel_id");
    const statusOf = async (json: object) =>
      (await at.call(owner, "POST", "/v2/images", { json })).status;
    expect(await statusOf({ team: "red" })).toBe(201);
    expect(await statusOf({ team: "green" })).toBe(400);
    expect(await statusOf({})).toBe(400);
  });

  it("SI-39: one that changes a base property stops the Worker", async () => {
    const IMAGE_SCHEMA = JSON.stringify({ name: { type: "string" } });
    const response = await new Service({ settings: { IMAGE_SCHEMA } }).call(owner, "GET", "/");
    expect(response.status).toBe(503);
    expect(await response.text()).toContain("IMAGE_SCHEMA");
  });

  it("SI-40: what is required at creation need not be there to change an image", async () => {
    const IMAGE_SCHEMA = JSON.stringify({ properties: {}, required: ["team"] });
    const at = new Service({ settings: { IMAGE_SCHEMA } });
    const { id } = await service.create(owner);
    const patch = [{ op: "replace", path: "/name", value: "n" }];
    expect((await at.call(owner, "PATCH", `/v2/images/${id}`, { patch })).status).toBe(200);
  });
});

/** The stock client builds a model from the document and sends what the model lets it. */
describe("a client that goes by the image document", () => {
  it("CS-1: may set each enumerated value, and any unknown key to a string", async () => {
    const { properties, additionalProperties } = await schemaNamed("image");
    expect(additionalProperties).toEqual({ type: "string" });
    for (const name of ["disk_format", "container_format", "visibility"]) {
      for (const value of properties[name]?.enum ?? []) {
        const json = { [name]: value, anything: "goes" };
        const response = await service.call(admin, "POST", "/v2/images", { json });
        expect(response.status).toBe(201);
        expect(await response.json()).toMatchObject(json);
      }
    }
  });

  it("CS-1: meets no status that the document does not name", async () => {
    const { properties } = await schemaNamed("image");
    const seen = [await service.create(owner), await service.createActive(owner, "hello")];
    for (const { status } of seen) expect(properties.status?.enum).toContain(status);
  });

  it("CS-1: finds every key of a record described, or takes it for a string", async () => {
    const { properties } = await schemaNamed("image");
    const image = await service.createActive(owner, "hello", { team: "red", kernel_id: null });
    for (const [key, value] of Object.entries(image)) {
      const types = [properties[key]?.type ?? "string"].flat();
      expect(types).toContain(typeOf(value));
    }
  });

  it("CS-2: replaces a base property that is null, or not yet there", async () => {
    const { properties } = await schemaNamed("image");
    const image = await service.create(owner);
    const values = { name: "n", disk_format: "raw", container_format: "bare", min_ram: 1 };
    for (const [name, value] of Object.entries(values)) {
      expect(properties[name]?.is_base).not.toBe(false);
      const { status, body } = await patched(image, [{ op: "replace", path: `/${name}`, value }]);
      expect([status, body[name]]).toEqual([200, value]);
    }
  });

  it("CS-2: adds a declared property, which is_base: false tells from a base one", async () => {
    const { properties } = await schemaNamed("image");
    const image = await service.create(owner);
    const declared = Object.keys(properties).filter((name) => properties[name]?.is_base === false);
    expect(declared).toHaveLength(9);
    for (const name of declared) {
      const [first] = properties[name]?.enum ?? [];
      const value = first ?? (name.endsWith("disk_id") || name === "kernel_id" ? image.id : "x");
      const { status, body } = await patched(image, [{ op: "add", path: `/${name}`, value }]);
      expect([status, body[name]]).toEqual([200, value]);
    }
  });

  it("CS-3: is refused by the service what the document calls read-only", async () => {
    const { properties } = await schemaNamed("image");
    const readOnly = Object.keys(properties).filter((name) => properties[name]?.readOnly === true);
    expect(readOnly).toEqual(
      expect.arrayContaining(["status", "size", "checksum", "self", "file"]),
    );
    const image = await service.create(owner);
    for (const name of readOnly) {
      const value = image[name] ?? "x";
      const { status } = await patched(image, [{ op: "replace", path: `/${name}`, value }]);
      expect([name, status]).toEqual([name, 403]);
    }
  });

  it("CS-4: sends its tags with every update, changed or not", async () => {
    const image = await service.create(owner, { tags: ["a", "b"] });
    const { status, body } = await patched(image, [
      { op: "replace", path: "/name", value: "n" },
      { op: "replace", path: "/tags", value: ["a", "b"] },
    ]);
    expect(status).toBe(200);
    expect(body).toMatchObject({ name: "n" });
    expect([...body.tags].sort()).toEqual(["a", "b"]);
  });
});

function typeOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  return Number.isInteger(value) ? "integer" : typeof value;
}
