import { env } from "cloudflare:workers";
import { expect } from "vitest";
import type { Status } from "../../src/domain/status.ts";

/** All that D1 and R2 keep of one image: its row, its members, its rows in the filter tables, its bytes. */
export async function stateOf(imageId: string): Promise<unknown> {
  const [rows, blobs] = await Promise.all([
    env.DB.batch(
      [
        "SELECT * FROM images WHERE id = ?",
        "SELECT * FROM image_members WHERE image_id = ? ORDER BY member_id",
        "SELECT * FROM image_tags WHERE image_id = ? ORDER BY tag",
        "SELECT * FROM image_properties WHERE image_id = ? ORDER BY name",
      ].map((sql) => env.DB.prepare(sql).bind(imageId)),
    ),
    env.BLOBS.list({ prefix: `blobs/${imageId}/` }),
  ]);
  return { rows: rows.map(({ results }) => results), blobs: blobs.objects.map(({ key }) => key) };
}

/** Every image there is, deleted ones too. */
export async function imageIds(): Promise<readonly string[]> {
  const { results } = await env.DB.prepare("SELECT id FROM images ORDER BY id").all<{
    id: string;
  }>();
  return results.map(({ id }) => id);
}

/** Makes a call that must be refused, and sees that it left the image alone; returns the caller's sentence. */
export async function expectRefusal(
  status: number,
  imageId: string,
  call: () => Promise<Response>,
): Promise<string> {
  const before = await stateOf(imageId);
  const sentence = await refusalOf(status, await call());
  expect(await stateOf(imageId)).toEqual(before);
  return sentence;
}

/** The same for a call that must not bring an image into being. */
export async function expectNoImage(
  status: number,
  call: () => Promise<Response>,
): Promise<string> {
  const before = await imageIds();
  const sentence = await refusalOf(status, await call());
  expect(await imageIds()).toEqual(before);
  return sentence;
}

async function refusalOf(status: number, response: Response): Promise<string> {
  const text = await response.text();
  expect(response.status, text).toBe(status);
  const body: unknown = JSON.parse(text);
  expect(body).toMatchObject({
    message: expect.any(String),
    code: expect.stringMatching(`${status} `),
  });
  return (body as { message: string }).message;
}

/** Puts an image into a status that no call of this version leads to. */
export async function plantStatus(imageId: string, status: Status): Promise<void> {
  await env.DB.prepare("UPDATE images SET status = ?, revision = revision + 1 WHERE id = ?")
    .bind(status, imageId)
    .run();
}

/** Adds members past the API, so that a test of the quota need not make 128 calls. */
export async function plantMembers(imageId: string, memberIds: readonly string[]): Promise<void> {
  const insert = env.DB.prepare(
    `INSERT INTO image_members (image_id, member_id, status, created_at, updated_at, image_created_at)
     SELECT id, ?, 'pending', created_at, created_at, created_at FROM images WHERE id = ?`,
  );
  await env.DB.batch(memberIds.map((memberId) => insert.bind(memberId, imageId)));
}

/** Whether a call moves updated_at on (contract TIM-3); nobody waits for the clock. */
export async function movesOn(imageId: string, call: () => Promise<unknown>): Promise<boolean> {
  await env.DB.prepare("UPDATE images SET updated_at = 0 WHERE id = ?").bind(imageId).run();
  await call();
  const row = await env.DB.prepare("SELECT updated_at FROM images WHERE id = ?")
    .bind(imageId)
    .first<{ updated_at: number }>();
  if (row === null) throw new Error(`no image ${imageId}`);
  return row.updated_at !== 0;
}
