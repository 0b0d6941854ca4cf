import type { Status } from "../../src/domain/status.ts";
import { type Caller, owner } from "./callers.ts";
import { plantStatus } from "./image-state.ts";
import type { ImageRecord, Service } from "./service.ts";

/** The statuses an image can be met in (the columns of contract 02 §2.9). */
export const MET_STATUSES = [
  "queued",
  "saving",
  "uploading",
  "importing",
  "active",
  "deactivated",
  "killed",
] as const satisfies readonly Status[];
export type MetStatus = (typeof MET_STATUSES)[number];

/** An image of the owner's in a status: by calls where they lead there, planted where none does yet. */
export async function imageIn(
  service: Service,
  status: MetStatus,
  record: object = {},
): Promise<ImageRecord> {
  const formats = { disk_format: "raw", container_format: "bare", ...record };
  if (status === "queued") return service.create(owner, formats);
  if (status === "active") return service.createActive(owner, "data", formats);
  if (status === "deactivated") {
    const { id } = await service.createActive(owner, "data", formats);
    await service.call(owner, "POST", `/v2/images/${id}/actions/deactivate`);
    return service.show(owner, id);
  }
  const { id } = await service.create(owner, formats);
  await plantStatus(id, status);
  return service.show(owner, id);
}

/** An upload under way, with some of its bytes still to come. */
export interface OpenUpload {
  readonly response: Promise<Response>;
  /** Brings the last bytes. */
  finish(text: string): void;
  breakOff(): void;
}

/** Begins an upload and waits until it holds the image. */
export async function openUpload(
  service: Service,
  caller: Caller,
  imageId: string,
): Promise<OpenUpload> {
  let bytes: ReadableStreamDefaultController<Uint8Array> | undefined;
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      bytes = controller;
    },
  });
  const response = service.upload(caller, imageId, body);
  while ((await service.show(caller, imageId)).status !== "saving") {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return {
    response,
    finish(text) {
      bytes?.enqueue(new TextEncoder().encode(text));
      bytes?.close();
    },
    breakOff() {
      bytes?.error(new Error("the client has left"));
    },
  };
}
