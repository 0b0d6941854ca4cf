import { admin, type Caller } from "./callers.ts";
import type { CallOptions, Service } from "./service.ts";

export const NAMESPACES = "/v2/metadefs/namespaces";

/** The address of a namespace, or of something in it. */
export function at(name: string, ...below: readonly string[]): string {
  return [NAMESPACES, ...[name, ...below].map(encodeURIComponent)].join("/");
}

/** An answer with its body read. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** The JSON of a success, the text of a refusal. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape.
  readonly body: any;
}

/** The calls of metadata definitions, each answered as JSON where there is any. */
export class Metadefs {
  readonly service: Service;

  constructor(service: Service) {
    this.service = service;
  }

  async call(
    caller: Caller | null,
    method: string,
    path: string,
    options: CallOptions = {},
  ): Promise<Answer> {
    const response = await this.service.call(caller, method, path, options);
    const text = await response.text();
    const { status, headers } = response;
    const isJson = status < 300 && headers.get("content-type") === "application/json";
    return { status, headers, body: isJson ? JSON.parse(text) : text };
  }

  /** What a read gives that must succeed. */
  async get(path: string, caller: Caller = admin): Promise<Answer["body"]> {
    const { status, body } = await this.call(caller, "GET", path);
    if (status !== 200) throw new Error(`GET ${path}: ${status} ${body}`);
    return body;
  }

  post(path: string, json?: unknown, caller: Caller = admin): Promise<Answer> {
    return this.call(caller, "POST", path, json === undefined ? {} : { json });
  }

  put(path: string, json: unknown, caller: Caller = admin): Promise<Answer> {
    return this.call(caller, "PUT", path, { json });
  }

  async delete(path: string, caller: Caller = admin): Promise<number> {
    return (await this.call(caller, "DELETE", path)).status;
  }

  /** Makes a namespace with a name of its own, and gives the name. */
  async create(body: object = {}): Promise<string> {
    const name = `ns-${crypto.randomUUID()}`;
    const { status, body: answer } = await this.post(NAMESPACES, { namespace: name, ...body });
    if (status !== 201) throw new Error(`create: ${status} ${answer}`);
    return answer.namespace;
  }
}

/** The definition of a property that is as short as it may be. */
export const SHORT = { title: "A title", type: "string" } as const;

/** A namespace with something of everything in it. */
export const FULL = {
  display_name: "Everything",
  description: "Has something of everything",
  visibility: "public",
  protected: false,
  resource_type_associations: [
    { name: "OS::Test::Image", prefix: "hw_", properties_target: "image" },
    { name: "OS::Test::Flavor" },
  ],
  properties: {
    colour: { title: "Colour", type: "string", enum: ["red", "blue"], default: "red" },
    depth: { title: "Depth", type: "integer", minimum: 1, maximum: 1.5, default: 5 },
  },
  objects: [
    {
      name: "box",
      description: "A box",
      required: ["width"],
      properties: { width: { title: "Width", type: "number", default: 1 } },
    },
  ],
  tags: [{ name: "first" }, { name: "second" }],
} as const;

/** The same without resource types. */
export const { resource_type_associations: _, ...CONTENT } = FULL;

const PARAMETERS: Readonly<Record<string, string>> = {
  ":property": "colour",
  ":object": "box",
  ":resource_type": "OS::Test::Image",
};

/** The address and the body with which a route of metadata definitions succeeds on such a namespace. */
export function callOf(
  { method, path }: { readonly method: string; readonly path: string },
  namespace: string,
): { readonly path: string; readonly options: CallOptions } {
  const tag = method === "POST" ? "new" : "first";
  const json = BODIES[`${method} ${path.slice(NAMESPACES.length)}`]?.(namespace);
  return {
    path: path
      .replace(":namespace", namespace)
      .replace(":tag", tag)
      .replace(/:\w+$/, (name) => PARAMETERS[name] ?? name),
    options: json === undefined ? {} : { json },
  };
}

const BODIES: Readonly<Record<string, (namespace: string) => object>> = {
  "POST ": () => ({ namespace: `ns-${crypto.randomUUID()}`, ...FULL }),
  "PUT /:namespace": (namespace) => ({ namespace }),
  "POST /:namespace/properties": () => ({ name: "new", ...SHORT }),
  "PUT /:namespace/properties/:property": () => ({ name: "colour", ...SHORT }),
  "POST /:namespace/objects": () => ({ name: "new" }),
  "PUT /:namespace/objects/:object": () => ({ name: "box" }),
  "POST /:namespace/tags": () => ({ tags: [{ name: "new" }] }),
  "PUT /:namespace/tags/:tag": () => ({ name: "first" }),
  "POST /:namespace/resource_types": () => ({ name: "OS::Test::New" }),
};
