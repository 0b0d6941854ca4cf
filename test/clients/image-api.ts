import { createHash } from "node:crypto";
import { once } from "node:events";
import {
  type ClientRequest,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  request,
} from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { developmentClouds } from "../../scripts/clouds.mjs";
import { poll } from "./poll.ts";

const OCTET_STREAM = { "Content-Type": "application/octet-stream" };
const TUS = { "Tus-Resumable": "1.0.0" };

/** The parts of an image record that these tests look at. */
export interface ImageRecord {
  readonly id: string;
  readonly status: string;
  readonly size: number | null;
  readonly owner: string | null;
  readonly os_hash_value: string | null;
  readonly stores?: string;
  readonly os_glance_import_task?: string;
  readonly os_glance_importing_to_stores?: string;
  readonly os_glance_failed_import?: string;
}

/** The parts of an image's task that these tests look at. */
export interface ImageTask {
  readonly id: string;
  readonly status: string;
  readonly message: string;
  readonly created_at: string;
  readonly updated_at: string;
}

/**
 * Bare HTTP, for what no stock client does: breaking off, streaming gigabytes, two uploads at once, or showing all
 * that the service says of a task.
 */
export class ImageApi {
  readonly url: string;
  readonly token: string;

  private constructor(url: string, token: string) {
    this.url = url;
    this.token = token;
  }

  /** Signs in as the user of that entry in clouds.yaml. */
  static async signIn(url: string, cloudName: string): Promise<ImageApi> {
    const cloud = developmentClouds.find(({ name }) => name === cloudName);
    if (cloud === undefined) throw new Error(`There is no cloud ${cloudName}.`);
    const domain = { name: "Default" };
    const user = { name: cloud.username, domain, password: cloud.password };
    const response = await fetch(`${url}/identity/v3/auth/tokens`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({
        auth: {
          identity: { methods: ["password"], password: { user } },
          scope: { project: { name: cloud.project, domain } },
        },
      }),
    });
    const token = response.headers.get("x-subject-token");
    if (token === null) throw new Error(`Signing in: ${response.status} ${await response.text()}`);
    return new ImageApi(url, token);
  }

  async create(name: string): Promise<ImageRecord> {
    const body = JSON.stringify({ name, disk_format: "raw", container_format: "bare" });
    return this.#json<ImageRecord>("POST", "/v2/images", body);
  }

  show(id: string): Promise<ImageRecord> {
    return this.#json<ImageRecord>("GET", `/v2/images/${id}`);
  }

  /** The first images of the list. */
  async list(): Promise<readonly ImageRecord[]> {
    return (await this.#json<{ images: ImageRecord[] }>("GET", "/v2/images?limit=1000")).images;
  }

  /** Begins an import. */
  async import(id: string, request: Readonly<Record<string, unknown>>): Promise<void> {
    const body = JSON.stringify(request);
    const response = await this.#fetch("POST", `/v2/images/${id}/import`, body);
    if (response.status === 202) return;
    throw new Error(`POST import: ${response.status} ${await response.text()}`);
  }

  /** Asks that an image point to data elsewhere. */
  async addLocation(id: string, request: Readonly<Record<string, unknown>>): Promise<void> {
    const response = await this.#fetch(
      "POST",
      `/v2/images/${id}/locations`,
      JSON.stringify(request),
    );
    if (response.status === 202) return;
    throw new Error(`POST locations: ${response.status} ${await response.text()}`);
  }

  locations(id: string): Promise<readonly unknown[]> {
    return this.#json<readonly unknown[]>("GET", `/v2/images/${id}/locations`);
  }

  /** The tasks of an image, as its page of them shows them. */
  async tasks(id: string): Promise<readonly ImageTask[]> {
    const { tasks } = await this.#json<{ tasks: readonly ImageTask[] }>(
      "GET",
      `/v2/images/${id}/tasks`,
    );
    return tasks;
  }

  /** Waits until no task of an image is under way, and gives the last one made. */
  async endOfImport(id: string, deadlineSeconds: number): Promise<ImageTask> {
    const tasks = await poll(
      () => this.tasks(id),
      (all) => all.every(({ status }) => ["success", "failure"].includes(status)),
      deadlineSeconds,
    );
    const [last] = tasks.toSorted((a, b) => b.created_at.localeCompare(a.created_at));
    if (last === undefined) throw new Error(`The image ${id} has no task.`);
    return last;
  }

  /** Makes a project a member of an image. */
  async share(id: string, projectId: string): Promise<void> {
    await this.#json("POST", `/v2/images/${id}/members`, JSON.stringify({ member: projectId }));
  }

  async delete(id: string): Promise<void> {
    const response = await this.#fetch("DELETE", `/v2/images/${id}`);
    if (response.status !== 204) throw new Error(`DELETE: ${response.status}`);
  }

  /** Takes one of an image's copies away. */
  async deleteFromStore(id: string, storeId: string): Promise<void> {
    const response = await this.#fetch("DELETE", `/v2/stores/${storeId}/${id}`);
    if (response.status !== 204) throw new Error(`DELETE of a copy: ${response.status}`);
  }

  /** An upload whose body the caller writes. Without a length it goes out in chunks. */
  beginUpload(id: string, lengthBytes?: number): ClientRequest {
    return this.begin("PUT", `/v2/images/${id}/file`, OCTET_STREAM, lengthBytes);
  }

  /** An upload of data that waits for an import, as beginUpload. */
  beginStaging(id: string, lengthBytes?: number): ClientRequest {
    return this.begin("PUT", `/v2/images/${id}/stage`, OCTET_STREAM, lengthBytes);
  }

  /** Begins a resumable upload by tus, and gives its path. */
  async createResumable(id: string, lengthBytes: number): Promise<string> {
    const headers = { ...TUS, "Upload-Length": lengthBytes };
    const post = this.begin("POST", `/v2/images/${id}/uploads`, headers, 0).end();
    const [response] = (await once(post, "response")) as [IncomingMessage];
    response.resume();
    const { location } = response.headers;
    if (response.statusCode === 201 && location !== undefined) return new URL(location).pathname;
    throw new Error(`POST uploads: ${response.statusCode}`);
  }

  /** Begins to add bytes to a resumable upload, by its path. */
  beginAppending(path: string, offset: number, lengthBytes?: number): ClientRequest {
    const type = { "Content-Type": "application/offset+octet-stream" };
    return this.begin("PATCH", path, { ...TUS, ...type, "Upload-Offset": offset }, lengthBytes);
  }

  /** A request of its own connection, whose body the caller writes. Without a length it goes out in chunks. */
  begin(
    method: string,
    path: string,
    headers: OutgoingHttpHeaders,
    lengthBytes?: number,
  ): ClientRequest {
    const length = lengthBytes === undefined ? {} : { "Content-Length": lengthBytes };
    return request(this.url + path, {
      method,
      agent: false,
      headers: { ...this.#headers(), ...headers, ...length },
    });
  }

  /** Uploads everything the source gives, and gives the answer's status. */
  async upload(id: string, source: Iterable<Buffer> | AsyncIterable<Buffer>, lengthBytes?: number) {
    const put = this.beginUpload(id, lengthBytes);
    const answer = once(put, "response") as Promise<[IncomingMessage]>;
    const sent = pipeline(Readable.from(source), put);
    const [response] = await answer;
    response.resume();
    await sent.catch(() => undefined);
    return response.statusCode;
  }

  /** Downloads an image: how many bytes came, and their SHA-512. */
  async download(id: string): Promise<{ sizeBytes: number; sha512: string }> {
    const get = request(`${this.url}/v2/images/${id}/file`, { headers: this.#headers() }).end();
    const [response] = (await once(get, "response")) as [IncomingMessage];
    if (response.statusCode !== 200) throw new Error(`GET file: ${response.statusCode}`);
    const hash = createHash("sha512");
    let sizeBytes = 0;
    for await (const chunk of response) {
      hash.update(chunk);
      sizeBytes += chunk.length;
    }
    return { sizeBytes, sha512: hash.digest("hex") };
  }

  async #json<T>(method: string, path: string, body?: string): Promise<T> {
    const response = await this.#fetch(method, path, body);
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return JSON.parse(text) as T;
  }

  #fetch(method: string, path: string, body?: string): Promise<Response> {
    const headers = { ...this.#headers(), "Content-Type": "application/json" };
    return fetch(this.url + path, { method, headers, body: body ?? null });
  }

  #headers(): Record<string, string> {
    return { "X-Auth-Token": this.token };
  }
}
