import { describe, expect, it } from "vitest";
import { admin, owner } from "../support/callers.ts";
import { type ImageRecord, Service } from "../support/service.ts";

const service = new Service();

interface Page {
  images: ImageRecord[];
  first: string;
  next?: string;
  schema: string;
}

async function list(path: string): Promise<Page> {
  const response = await service.call(owner, "GET", path);
  expect(response.status).toBe(200);
  return response.json();
}

describe("GET /v2/images", () => {
  it("PAG-4, PAG-5: a full page has a next, and the last full one leads to an empty page without", async () => {
    const created = [];
    for (let n = 0; n < 4; n++) {
      created.push((await service.create(owner, { name: "paged" })).id);
    }
    const first = await list("/v2/images?name=paged&limit=2");
    expect(first).toMatchObject({
      first: "/v2/images?name=paged&limit=2",
      next: `/v2/images?name=paged&limit=2&marker=${first.images[1]?.id}`,
      schema: "/v2/schemas/images",
    });
    const second = await list(first.next ?? "");
    const third = await list(second.next ?? "");
    expect(third.images).toEqual([]);
    expect(third.next).toBeUndefined();
    const shown = [...first.images, ...second.images].map(({ id }) => id);
    expect(shown.sort()).toEqual(created.sort());
  });

  it("PAG-4: a page that is not full has no next", async () => {
    await service.create(owner, { name: "alone" });
    const page = await list("/v2/images?name=alone&limit=2");
    expect(page.images).toHaveLength(1);
    expect(page.next).toBeUndefined();
  });

  it("PAG-8: an administrator who deletes as he lists meets every image, in the clients' order", async () => {
    for (const name of ["a", "b", "c", "d", "e"]) {
      await service.create(owner, { name: `pag8-${name}`, tags: ["pag8"] });
    }
    const names: (string | null)[] = [];
    let path: string | undefined = "/v2/images?tag=pag8&sort_key=name&sort_dir=asc&limit=2";
    while (path !== undefined) {
      const response = await service.call(admin, "GET", path);
      expect(response.status).toBe(200);
      const page: Page = await response.json();
      for (const { id, name } of page.images) {
        names.push(name);
        const deleted = await service.call(admin, "DELETE", `/v2/images/${id}`);
        expect(deleted.status).toBe(204);
      }
      const { next } = page;
      if (next !== undefined) expect((await service.call(owner, "GET", next)).status).toBe(400);
      path = next;
    }
    expect(names).toEqual(["pag8-a", "pag8-b", "pag8-c", "pag8-d", "pag8-e"]);
  });
});
