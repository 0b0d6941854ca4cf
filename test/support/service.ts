import {
  createExecutionContext,
  runInDurableObject,
  waitOnExecutionContext,
} from "cloudflare:test";
import { env } from "cloudflare:workers";
import { handle } from "../../src/app.ts";
import { ImageObject } from "../../src/image-object/image-object.ts";
import type { Caller } from "./callers.ts";
import { type Around, interceptObjects } from "./intercept.ts";

/** A request's parts; `json` is serialised, `patch` goes as a v2.1 patch. */
export interface CallOptions {
  readonly json?: unknown;
  readonly patch?: unknown;
  readonly body?: BodyInit;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface ServiceOptions {
  /** Variables in place of those of wrangler.toml, for the Worker and the image objects alike. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Bindings in place of the real ones, e.g. counting ones. */
  readonly bindings?: Partial<Pick<Env, "DB" | "BLOBS" | "ARCHIVE">>;
  /** Stands around each call that the Worker makes of an object. */
  readonly aroundObjects?: Around;
}

/** The whole Worker on the test's D1, R2 and Durable Objects, called as a client calls it. */
export class Service {
  readonly env: Env;

  constructor({ settings, bindings, aroundObjects }: ServiceOptions = {}) {
    const own = { ...env, ...settings, ...bindings };
    const isPlain = settings === undefined && bindings === undefined;
    if (!isPlain) own.IMAGE_OBJECT = objectsWith(own);
    if (aroundObjects !== undefined) {
      own.IMAGE_OBJECT = interceptObjects(own.IMAGE_OBJECT, aroundObjects);
      own.SIGN_IN_TALLIES = interceptObjects(own.SIGN_IN_TALLIES, aroundObjects);
    }
    this.env = own;
  }

  /** One call; `caller` null goes without a token. */
  async call(
    caller: Caller | null,
    method: string,
    path: string,
    { json, patch, body, headers }: CallOptions = {},
  ): Promise<Response> {
    const sent = new Headers(headers);
    if (caller !== null) sent.set("x-auth-token", await caller.token());
    if (patch !== undefined && !sent.has("content-type")) {
      sent.set("content-type", "application/openstack-images-v2.1-json-patch");
    }
    const content = json ?? patch;
    return this.fetch(
      new Request(`http://image.test${path}`, {
        method,
        headers: sent,
        redirect: "manual",
        ...(content !== undefined && { body: JSON.stringify(content) }),
        ...(body !== undefined && { body }),
      }),
    );
  }

  async fetch(request: Request): Promise<Response> {
    const execution = createExecutionContext();
    const incoming = new Request<unknown, IncomingRequestCfProperties>(request);
    // Pauses between tries take no time here.
    const response = await handle(incoming, this.env, execution, async () => undefined);
    await waitOnExecutionContext(execution);
    return response;
  }

  /** Creates an image and gives its record. */
  async create(caller: Caller, record: object = {}): Promise<ImageRecord> {
    const response = await this.call(caller, "POST", "/v2/images", { json: record });
    if (response.status !== 201)
      throw new Error(`create: ${response.status} ${await response.text()}`);
    return response.json();
  }

  /** Creates an image ready for data. */
  createEmpty(caller: Caller, record: object = {}): Promise<ImageRecord> {
    return this.create(caller, { disk_format: "raw", container_format: "bare", ...record });
  }

  /** Creates an active image with these bytes. */
  async createActive(caller: Caller, bytes: BodyInit, record: object = {}): Promise<ImageRecord> {
    const { id } = await this.createEmpty(caller, record);
    const response = await this.upload(caller, id, bytes);
    if (response.status !== 204)
      throw new Error(`upload: ${response.status} ${await response.text()}`);
    return this.show(caller, id);
  }

  upload(
    caller: Caller,
    imageId: string,
    body: BodyInit,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Response> {
    return this.call(caller, "PUT", `/v2/images/${imageId}/file`, {
      body,
      headers: { "content-type": "application/octet-stream", ...headers },
    });
  }

  async show(caller: Caller, imageId: string): Promise<ImageRecord> {
    const response = await this.call(caller, "GET", `/v2/images/${imageId}`);
    if (response.status !== 200) throw new Error(`show: ${response.status}`);
    return response.json();
  }

  /** Creates a shared image with one member in the given status. */
  async createShared(
    from: Caller,
    to: Caller,
    status: "pending" | "accepted" | "rejected" = "accepted",
    record: object = {},
  ): Promise<ImageRecord> {
    const image = await this.create(from, { visibility: "shared", ...record });
    const members = `/v2/images/${image.id}/members`;
    const added = await this.call(from, "POST", members, { json: { member: to.projectId } });
    if (added.status !== 200) throw new Error(`add member: ${added.status}`);
    if (status !== "pending") {
      const json = { status };
      const answer = await this.call(to, "PUT", `${members}/${to.projectId}`, { json });
      if (answer.status !== 200) throw new Error(`set member status: ${answer.status}`);
    }
    return image;
  }
}

/** An image as the API shows it. */
export interface ImageRecord {
  id: string;
  name: string | null;
  status: string;
  visibility: string;
  owner: string | null;
  size: number | null;
  virtual_size: number | null;
  checksum: string | null;
  os_hash_algo: string | null;
  os_hash_value: string | null;
  tags: string[];
  created_at: string;
  updated_at: string;
  [property: string]: unknown;
}

/**
 * The image objects under other settings or bindings: each call runs on a fresh instance over the real
 * object's state, inside the real object. Such an instance shares no lock with others, so tests that race
 * calls against each other use a Service without options. Streams do not cross, so they are read to their end first.
 */
function objectsWith(own: Env): Env["IMAGE_OBJECT"] {
  return new Proxy(env.IMAGE_OBJECT, {
    get(namespace, property) {
      if (property !== "get") {
        const value: unknown = Reflect.get(namespace, property, namespace);
        return typeof value === "function" ? value.bind(namespace) : value;
      }
      return (id: DurableObjectId) => {
        const stub = env.IMAGE_OBJECT.get(id);
        return new Proxy(stub, {
          get:
            (_, method) =>
            async (...given: unknown[]) => {
              const bodies = await Promise.all(given.map(readBody));
              return runInDurableObject(stub, async (_instance: ImageObject, state) => {
                const args = given.map((arg, index) => streamOf(bodies[index]) ?? arg);
                const instance = new ImageObject(state, own);
                const run: unknown = Reflect.get(instance, method);
                if (typeof run !== "function") throw new Error(`no method ${String(method)}`);
                return run.apply(instance, args);
              });
            },
        });
      };
    },
  });
}

async function readBody(arg: unknown): Promise<ArrayBuffer | undefined> {
  return arg instanceof ReadableStream ? new Response(arg).arrayBuffer() : undefined;
}

function streamOf(bytes: ArrayBuffer | undefined): ReadableStream | undefined {
  return bytes && new Blob([bytes]).stream();
}
