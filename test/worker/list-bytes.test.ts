import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Caller, member, owner, stranger } from "../support/callers.ts";
import { CountingService } from "../support/counting.ts";
import { interceptD1 } from "../support/intercept.ts";
import { type ImageRecord, Service } from "../support/service.ts";

// PAG-13: a page of images is bounded by bytes, too.

const service = new CountingService();
const MiB = 1024 ** 2;

interface Page {
  images: ImageRecord[];
  next?: string;
}

const dropImages = async () => {
  for (const table of ["image_tags", "image_properties", "image_members", "images"]) {
    await env.DB.prepare(`DELETE FROM ${table}`).run();
  }
};
beforeEach(dropImages);
afterEach(dropImages);

/** Plants images past the service, the newest first in lists: as many as sizes of their property are given. */
async function plant(sizes: readonly number[], projectId = "owner-project"): Promise<void> {
  await env.DB.prepare(
    `INSERT INTO images (id, status, visibility, owner, created_at, updated_at, properties)
     SELECT printf('00000000-0000-4000-8000-%012d', key), 'queued', 'shared', ?1, key, key,
       json_object('note', printf('%.*c', value, 'x')) FROM json_each(?2)`,
  )
    .bind(projectId, JSON.stringify(sizes))
    .run();
}

async function read(path: string, caller: Caller = owner) {
  let bytes = 0;
  let page: Page = { images: [] };
  const cost = await service.costOf(async () => {
    const text = await (await service.call(caller, "GET", path)).text();
    bytes = text.length;
    page = JSON.parse(text);
  });
  return { ...page, bytes, d1: cost.d1, rowsRead: cost.rowsRead };
}

/** Every page of a list. */
async function walk(path: string) {
  const pages = [];
  for (let next: string | undefined = path; next !== undefined; ) {
    const page = await read(next);
    pages.push(page);
    next = page.next;
  }
  return pages;
}

describe("PAG-13: a page of records of 100 kB", () => {
  it("ends at about 4 MiB, and the next one goes on, to the last", async () => {
    await plant(Array.from({ length: 100 }, () => 100_000));
    const pages = await walk("/v2/images?limit=1000");
    expect(pages.map(({ images }) => images.length)).toEqual([41, 41, 18]);
    for (const { bytes, d1 } of pages) {
      expect(bytes).toBeLessThan(4.1 * MiB);
      expect(d1).toBe(2);
    }
    const ids = pages.flatMap(({ images }) => images.map(({ id }) => id));
    expect(new Set(ids).size).toBe(100);
    expect(
      pages.every(({ images }) => images.every(({ note }) => String(note).length === 100_000)),
    ).toBe(true);
  });

  it("has the record that alone is larger than its share", async () => {
    await plant([10, 100_000, 10]);
    const { images, next, d1 } = await read("/v2/images?limit=1000");
    expect(images.map(({ note }) => String(note).length)).toEqual([10, 100_000, 10]);
    expect([next, d1]).toEqual([undefined, 2]);
  });

  it("shows nothing by its second round trip that is hidden by then", async () => {
    await plant([10, 100_000, 10]);
    await env.DB.prepare("UPDATE images SET visibility = 'public'").run();
    let trips = 0;
    const DB = interceptD1(env.DB, async (_, proceed) => {
      const result = await proceed();
      trips += 1;
      if (trips === 1) await env.DB.prepare("UPDATE images SET visibility = 'private'").run();
      return result;
    });
    const racing = new Service({ bindings: { DB } });
    const response = await racing.call(stranger, "GET", "/v2/images?limit=1000");
    const { images } = await response.json<Page>();
    expect(images.map(({ note }) => String(note).length)).toEqual([10, 10]);
    expect(trips).toBe(2);
  });
});

describe("PAG-13: a page of ordinary records", () => {
  it("takes one round trip, up to a thousand", async () => {
    await plant(Array.from({ length: 1000 }, () => 2_000));
    for (const limit of [25, 1000]) {
      const { images, d1, rowsRead } = await read(`/v2/images?limit=${limit}`);
      expect([images.length, d1]).toEqual([limit, 1]);
      expect(rowsRead).toBeLessThanOrEqual(4 * (limit + 1));
    }
  });

  it("takes one round trip by default, however large they are", async () => {
    await plant(Array.from({ length: 30 }, () => 100_000));
    const { images, d1, next } = await read("/v2/images");
    expect([images.length, d1]).toEqual([25, 1]);
    expect(next).toBeDefined();
    const { images: shared } = await read("/v2/images", member);
    expect(shared).toEqual([]);
  });
});
