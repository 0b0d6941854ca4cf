import { expect, inject } from "vitest";
import type { Caller } from "./callers.ts";
import { owner } from "./callers.ts";
import type { ImageRecord, Service } from "./service.ts";
import { SourceControl } from "./source-control.ts";
import { TestedObject } from "./tested-object.ts";

/** Other people's servers, as these tests see them. */
export const sources = () => new SourceControl(inject("source").url);

/** A task as `GET /v2/images/{id}/tasks` shows it. */
export interface TaskRecord {
  readonly id: string;
  readonly type: string;
  readonly status: string;
  readonly message: string;
  readonly result: Record<string, unknown> | null;
  readonly input: Record<string, unknown>;
  readonly [key: string]: unknown;
}

/** Asks for an import, as it is or by the name of a method that needs no more. */
export function callImport(
  service: Service,
  caller: Caller,
  imageId: string,
  request: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<Response> {
  const json = typeof request === "string" ? { method: { name: request } } : request;
  return service.call(caller, "POST", `/v2/images/${imageId}/import`, { json, headers });
}

/** Asks for an import that must be accepted. */
export async function beginImport(...args: Parameters<typeof callImport>): Promise<void> {
  const response = await callImport(...args);
  expect(response.status, await response.text()).toBe(202);
}

export function stage(
  service: Service,
  caller: Caller,
  imageId: string,
  body: BodyInit,
  headers: Readonly<Record<string, string>> = {},
): Promise<Response> {
  return service.call(caller, "PUT", `/v2/images/${imageId}/stage`, {
    body,
    headers: { "content-type": "application/octet-stream", ...headers },
  });
}

/** Creates an image of the owner with staged bytes. */
export async function createStaged(
  service: Service,
  bytes: BodyInit,
  record: object = {},
): Promise<ImageRecord> {
  const { id } = await service.createEmpty(owner, record);
  const response = await stage(service, owner, id, bytes);
  expect(response.status, await response.text()).toBe(204);
  return service.show(owner, id);
}

/** An image's tasks, oldest first. */
export async function tasksOf(
  service: Service,
  caller: Caller,
  imageId: string,
): Promise<readonly TaskRecord[]> {
  const response = await service.call(caller, "GET", `/v2/images/${imageId}/tasks`);
  expect(response.status).toBe(200);
  return ((await response.json()) as { tasks: TaskRecord[] }).tasks;
}

/** Lets time pass until the image's object has nothing left to do; gives the image and its last task. */
export async function finishImport(
  service: Service,
  imageId: string,
  caller: Caller = owner,
): Promise<{ image: ImageRecord; task: TaskRecord | undefined }> {
  await new TestedObject(imageId).untilAtRest(service.env);
  const tasks = await tasksOf(service, caller, imageId);
  return { image: await service.show(caller, imageId), task: tasks.at(-1) };
}
