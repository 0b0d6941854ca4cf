import { env } from "cloudflare:workers";
import { expect, it } from "vitest";
import { openDatabase } from "../../../src/db/database.ts";
import { findImage, updateImage } from "../../../src/db/images.ts";
import type { Image } from "../../../src/domain/image.ts";
import { id, store } from "./list-fixtures.ts";

const db = openDatabase(env.DB);

async function write(changes: Partial<Image>): Promise<void> {
  const { image } = await findImage(db, id(1), null);
  await updateImage(db, image, { ...image, ...changes, revision: image.revision + 1 });
}

const typeOf = async (column: string) =>
  (await env.DB.prepare(`SELECT typeof(${column}) AS type FROM images`).first<{ type: string }>())
    ?.type;

it("what there is not is null in the row, whatever the column, the first time and again", async () => {
  await store([{ id: id(1), name: "named", diskFormat: "raw", size: 5 }]);
  const staged = { store: "s", key: "k", hashes: {} };
  for (let time = 0; time < 2; time++) {
    await write({ staged, name: "n", size: 1, checksum: "c", status: "uploading" });
    expect((await findImage(db, id(1), null)).image).toMatchObject({ staged, name: "n", size: 1 });
    await write({ staged: null, name: null, size: null, checksum: null, status: "queued" });
    for (const column of ["staged", "name", "size", "checksum"]) {
      expect(await typeOf(column), column).toBe("null");
    }
    expect((await findImage(db, id(1), null)).image).toMatchObject({ staged: null, name: null });
  }
});

it("a change of the record leaves alone what was reserved meanwhile, and the end of work does not", async () => {
  await store([{ id: id(1), status: "saving" }]);
  const { image } = await findImage(db, id(1), null);
  await env.DB.prepare("UPDATE images SET reserved = 7").run();
  await updateImage(db, image, { ...image, name: "new", revision: image.revision + 1 });
  expect((await findImage(db, id(1), null)).image.reservedBytes).toBe(7);
  const named = { ...image, name: "new", revision: image.revision + 1 };
  await updateImage(db, named, { ...named, status: "queued", revision: named.revision + 1 });
  expect((await findImage(db, id(1), null)).image.reservedBytes).toBe(0);
});
