import { expect } from "vitest";
import type { Caller } from "./callers.ts";
import type { Service } from "./service.ts";

const VERSION = { "tus-resumable": "1.0.0" };

type Headers = Readonly<Record<string, string>>;

/** A client of tus 1.0, request by request. */
export class Tus {
  constructor(private readonly service: Service) {}

  /** POST: an upload's creation. */
  begin(caller: Caller, imageId: string, headers: Headers, body?: BodyInit): Promise<Response> {
    return this.service.call(caller, "POST", `/v2/images/${imageId}/uploads`, {
      headers: { ...VERSION, ...headers },
      ...(body !== undefined && { body }),
    });
  }

  /** Creates an upload, which must succeed; gives its path. */
  async create(caller: Caller, imageId: string, headers: Headers): Promise<string> {
    const response = await this.begin(caller, imageId, headers);
    expect(response.status, await response.text()).toBe(201);
    return new URL(response.headers.get("location") ?? "").pathname;
  }

  head(caller: Caller, upload: string): Promise<Response> {
    return this.service.call(caller, "HEAD", upload, { headers: VERSION });
  }

  async offset(caller: Caller, upload: string): Promise<number> {
    const response = await this.head(caller, upload);
    expect(response.status).toBe(200);
    return Number(response.headers.get("upload-offset"));
  }

  /** PATCH, however it ends. */
  send(
    caller: Caller,
    upload: string,
    offset: number,
    body: BodyInit,
    headers: Headers = {},
  ): Promise<Response> {
    return this.service.call(caller, "PATCH", upload, {
      body,
      headers: {
        ...VERSION,
        "content-type": "application/offset+octet-stream",
        "upload-offset": String(offset),
        ...headers,
      },
    });
  }

  /** PATCH that must succeed; gives the new offset. */
  async patch(...args: Parameters<Tus["send"]>): Promise<number> {
    const response = await this.send(...args);
    expect(response.status, await response.text()).toBe(204);
    return Number(response.headers.get("upload-offset"));
  }

  terminate(caller: Caller, upload: string): Promise<Response> {
    return this.service.call(caller, "DELETE", upload, { headers: VERSION });
  }
}
