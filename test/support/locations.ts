import { expect } from "vitest";
import { type Caller, owner } from "./callers.ts";
import type { ImageRecord, Service } from "./service.ts";
import { TWO_BUCKETS } from "./stores.ts";

/** Settings of a service that shows locations, and lets them be changed. */
export const OPEN_LOCATIONS = {
  STORES: JSON.stringify(TWO_BUCKETS),
  SHOW_MULTIPLE_LOCATIONS: "true",
  SHOW_IMAGE_DIRECT_URL: "true",
};

/** A location as callers read it. */
export interface LocationRecord {
  readonly url: string;
  readonly metadata: Readonly<Record<string, unknown>>;
}

export function patchLocations(
  service: Service,
  caller: Caller,
  imageId: string,
  operations: readonly object[],
): Promise<Response> {
  return service.call(caller, "PATCH", `/v2/images/${imageId}`, { patch: operations });
}

/** The operation that adds a location at the end. */
export function addingLocation(url: string, more: object = {}): object {
  return { op: "add", path: "/locations/-", value: { url, metadata: {}, ...more } };
}

/** Asks by POST …/locations that data be pointed to. */
export function callAddLocation(
  service: Service,
  caller: Caller,
  imageId: string,
  json: unknown,
): Promise<Response> {
  return service.call(caller, "POST", `/v2/images/${imageId}/locations`, { json });
}

/** The same, which must be accepted. */
export async function beginAddLocation(...args: Parameters<typeof callAddLocation>): Promise<void> {
  const response = await callAddLocation(...args);
  expect([response.status, await response.text()]).toEqual([202, ""]);
}

/** An image of the owner that points to data elsewhere. */
export async function createPointing(
  service: Service,
  url: string,
  record: object = {},
): Promise<ImageRecord> {
  const { id } = await service.createEmpty(owner, record);
  const response = await patchLocations(service, owner, id, [addingLocation(url)]);
  expect(response.status, await response.clone().text()).toBe(200);
  return response.json();
}
