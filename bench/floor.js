// The floor: what the platform itself takes for a case. It makes the storage calls that no Image API could do without
// and gives back what came, without a look at who asks. It runs beside Glimpse in one process, on the same data. Below
// /disk it keeps bytes by workerd's disk service in place of R2.

import { DurableObject } from "cloudflare:workers";

const COLUMNS = `id, revision, status, visibility, owner, name, disk_format, container_format, min_disk, min_ram,
  protected, hidden, size, virtual_size, checksum, os_hash_algo, os_hash_value, created_at, updated_at, properties, tags,
  locations`;
const PART_BYTES = 8 * 1024 ** 2;
const PARTS_IN_FLIGHT = 3;

export default {
  async fetch(request, { DB, BLOBS, DISK, FLOOR }) {
    const url = new URL(request.url);
    const isDisk = url.pathname.startsWith("/disk/");
    const [, what = "", key = ""] = url.pathname.slice(isDisk ? "/disk".length : 0).split("/");
    if (isDisk) return onDisk(DISK, what, key, url, request);
    switch (what) {
      case "nothing":
        return Response.json({ nothing: "at all" });
      case "show":
        return Response.json(
          await DB.prepare(`SELECT ${COLUMNS} FROM images WHERE id = ?`).bind(key).first(),
        );
      case "list": {
        const { results } = await DB.prepare(
          `SELECT ${COLUMNS} FROM images INDEXED BY images_by_visibility
             WHERE visibility = 'public' AND hidden = 0 AND status NOT IN ('deleted', 'killed')
             ORDER BY created_at DESC, id DESC LIMIT ?`,
        )
          .bind(Number(url.searchParams.get("limit")))
          .all();
        return Response.json({ images: results });
      }
      case "change":
        return Response.json(await FLOOR.get(FLOOR.idFromName(key)).change(key));
      case "get":
        return get(BLOBS, key, request.headers.get("range"));
      case "put":
        await put(BLOBS, key, request.body);
        return new Response(null, { status: 204 });
      case "import": {
        const source = await fetch(url.searchParams.get("from") ?? "");
        await put(BLOBS, key, source.body);
        return new Response(null, { status: 204 });
      }
      case "delete":
        await BLOBS.delete(key);
        return new Response(null, { status: 204 });
      default:
        return new Response(null, { status: 404 });
    }
  },
};

/** One image's object: a change is one read and one write of its row, in one batch. */
export class FloorObject extends DurableObject {
  async change(id) {
    const { DB } = this.env;
    const [found] = await DB.batch([
      DB.prepare(`SELECT ${COLUMNS} FROM images WHERE id = ?`).bind(id),
      DB.prepare("UPDATE images SET revision = revision + 1, updated_at = ? WHERE id = ?").bind(
        Date.now(),
        id,
      ),
    ]);
    return found.results[0];
  }
}

/** The same with files: each is one request to the service, and a whole body goes into one of them. */
async function onDisk(disk, what, key, url, request) {
  const file = `http://disk/floor/${key}`;
  switch (what) {
    case "get": {
      const range = request.headers.get("range");
      return disk.fetch(file, { headers: range === null ? {} : { range } });
    }
    case "put":
      return disk.fetch(file, { method: "PUT", body: request.body });
    case "import": {
      const source = await fetch(url.searchParams.get("from") ?? "");
      return disk.fetch(file, { method: "PUT", body: source.body });
    }
    case "delete":
      return disk.fetch(file, { method: "DELETE" });
    default:
      return new Response(null, { status: 404 });
  }
}

async function get(bucket, key, range) {
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(range ?? "") ?? [];
  const offset = Number(first);
  const options = range === null ? {} : { range: { offset, length: Number(last) - offset + 1 } };
  const object = await bucket.get(key, options);
  if (object === null) return new Response(null, { status: 404 });
  const length = options.range?.length ?? object.size;
  const headers = { "content-length": String(length) };
  return new Response(object.body, { status: range === null ? 200 : 206, headers });
}

/** A bare multipart put. */
async function put(bucket, key, body) {
  const upload = await bucket.createMultipartUpload(key);
  const reader = body.getReader({ mode: "byob" });
  const parts = [];
  for (;;) {
    const { value, done } = await reader.readAtLeast(PART_BYTES, new Uint8Array(PART_BYTES));
    if (value !== undefined && value.byteLength > 0) {
      parts.push(upload.uploadPart(parts.length + 1, value));
      await parts.at(-PARTS_IN_FLIGHT);
    }
    if (done || value === undefined || value.byteLength < PART_BYTES) break;
  }
  await upload.complete(await Promise.all(parts));
}
