import { env } from "cloudflare:workers";
import type { Image, Member } from "../../../src/domain/image.ts";
import type { ImageListQuery } from "../../../src/domain/image-list.ts";
import type { Viewer } from "../../../src/domain/visibility.ts";
import { parseImageList } from "../../../src/http/query.ts";

/** What a table of images needs to say of one; the rest has defaults. */
export type ImageSketch = Partial<Image> & { id: string };
export type MemberSketch = Pick<Member, "imageId" | "memberId" | "status">;

export const LIMITS = {
  pageDefault: 25,
  pageMax: 1000,
  imageProperties: 128,
  imageTags: 128,
  imageMembers: 128,
  imageLocations: 10,
  imageBytes: 1024,
  diskFormats: ["raw"],
  containerFormats: ["bare"],
};

/** A caller of a project, without special rights. */
export function memberOf(projectId: string | null): Viewer {
  return { projectId, seesAll: false };
}

export function adminOf(projectId: string | null): Viewer {
  return { projectId, seesAll: true };
}

/** The query that a query string asks for. */
export function query(search: string): ImageListQuery {
  return parseImageList(search, LIMITS);
}

/** An image with defaults where the sketch says nothing. */
export function anImage(sketch: ImageSketch): Image {
  return {
    revision: 1,
    status: "active",
    visibility: "shared",
    owner: "p1",
    name: null,
    diskFormat: null,
    containerFormat: null,
    minDisk: 0,
    minRam: 0,
    isProtected: false,
    isHidden: false,
    size: null,
    virtualSize: null,
    checksum: null,
    osHashAlgo: null,
    osHashValue: null,
    createdAtMs: 1_700_000_000_000,
    updatedAtMs: 1_700_000_000_000,
    properties: new Map(),
    tags: [],
    locations: [],
    staged: null,
    reservedBytes: 0,
    openUploads: { count: 0, bytes: 0 },
    ...sketch,
  };
}

/** Makes these the only images and members there are. */
export async function store(
  sketches: readonly ImageSketch[],
  members: readonly MemberSketch[] = [],
): Promise<readonly Image[]> {
  const images = sketches.map(anImage);
  const rows = images.map((image) => ({
    ...image,
    properties: Object.fromEntries(image.properties),
  }));
  await env.DB.batch([
    ...["image_members", "image_tags", "image_properties", "images"].map((table) =>
      env.DB.prepare(`DELETE FROM ${table}`),
    ),
    env.DB.prepare(
      `INSERT INTO images (id, status, visibility, owner, name, disk_format, container_format, min_disk,
         min_ram, protected, hidden, size, virtual_size, checksum, os_hash_algo, os_hash_value, created_at,
         updated_at, properties, tags)
       SELECT value ->> 'id', value ->> 'status', value ->> 'visibility', value ->> 'owner', value ->> 'name',
         value ->> 'diskFormat', value ->> 'containerFormat', value ->> 'minDisk', value ->> 'minRam',
         value ->> 'isProtected', value ->> 'isHidden', value ->> 'size', value ->> 'virtualSize',
         value ->> 'checksum', value ->> 'osHashAlgo', value ->> 'osHashValue', value ->> 'createdAtMs',
         value ->> 'updatedAtMs', value -> 'properties', value -> 'tags'
       FROM json_each(?)`,
    ).bind(JSON.stringify(rows)),
    env.DB.prepare(
      `INSERT INTO image_members (image_id, member_id, status, created_at, updated_at, image_created_at)
       SELECT value ->> 'imageId', value ->> 'memberId', value ->> 'status', 0, 0, images.created_at
       FROM json_each(?) JOIN images ON images.id = value ->> 'imageId'`,
    ).bind(JSON.stringify(members)),
  ]);
  return images;
}

/** `id(7)` is a UUID that ends in 7. */
export function id(n: number): string {
  return `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;
}
