import type { D1Database } from "@cloudflare/workers-types";
import { DEMO_PROJECT } from "../test/clients/development-ids.ts";

/** Whose lists are measured. It owns 200 images and has accepted 40 of others, at every size of the table. */
export const VIEWER = DEMO_PROJECT;
const VIEWER_OWNS = 200;
const VIEWER_SHARES = 40;
const PROJECTS = 2000;

/** Rows a statement puts in at once. */
const CHUNK = 50_000;

/**
 * Fills an empty database with so many images of 2,000 projects, past the API: a tenth public, 6 % community, half
 * shared, the rest private; one in 20 hidden, one in 25 not active; each with three tags and three properties. The
 * indexes and triggers are put back behind the rows, which takes minutes less.
 */
export async function fill(
  db: D1Database,
  images: number,
  onProgress: (done: string) => void,
): Promise<void> {
  const restore = await takeAway(db);
  for (let first = 1; first <= images; first += CHUNK) {
    const last = Math.min(images, first + CHUNK - 1);
    await db.prepare(INSERT_IMAGES).bind(first, last).run();
    for (const sql of FOLLOW) await db.prepare(sql).bind(idOf(first), idOf(last)).run();
    onProgress(`${last} images`);
  }
  for (const [index, sql] of restore.entries()) {
    await db.prepare(sql).run();
    onProgress(`${index + 1} of ${restore.length} indexes and triggers`);
  }
  await db.prepare(COUNT_USAGE).run();
}

/** Drops what would have to be kept up row by row, and gives the SQL that makes it again. */
async function takeAway(db: D1Database): Promise<string[]> {
  const { results } = await db
    .prepare(
      `SELECT type, name, sql FROM sqlite_master WHERE type IN ('index', 'trigger') AND sql IS NOT NULL
         AND (tbl_name LIKE 'image%') ORDER BY type`,
    )
    .all<{ type: string; name: string; sql: string }>();
  for (const { type, name } of results) await db.prepare(`DROP ${type} ${name}`).run();
  return results.map(({ sql }) => sql);
}

const idOf = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;

/** The image that stands in the middle of what is public, or of what the viewer has. */
export async function middleOf(db: D1Database, of: "public" | "viewer"): Promise<string> {
  const condition = of === "public" ? "visibility = 'public'" : `owner = '${VIEWER}'`;
  const where = `${condition} AND hidden = 0 AND status = 'active'`;
  const row = await db
    .prepare(
      `SELECT id FROM images WHERE ${where} ORDER BY created_at
         LIMIT 1 OFFSET (SELECT count(*) / 2 FROM images WHERE ${where})`,
    )
    .first<{ id: string }>();
  if (row === null) throw new Error("There is no such image.");
  return row.id;
}

// The first 200 are the viewer's. Multiplied by primes, the number picks values that have nothing to do with each other.
const INSERT_IMAGES = `
  WITH RECURSIVE n (i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2),
  picked AS (
    SELECT i, (i * 7919 >> 7) % 1000 AS a, (i * 104729 >> 11) % 1000 AS b, (i * 1299709 >> 13) % 1000 AS c FROM n)
  INSERT INTO images (id, status, visibility, owner, name, disk_format, container_format, hidden, size, checksum,
    os_hash_algo, os_hash_value, created_at, updated_at, tags, properties)
  SELECT printf('00000000-0000-4000-8000-%012d', i),
    CASE WHEN a < 960 THEN 'active' WHEN a < 980 THEN 'queued' ELSE 'deactivated' END,
    CASE WHEN b < 100 THEN 'public' WHEN b < 160 THEN 'community' WHEN b < 660 THEN 'shared' ELSE 'private' END,
    iif(i <= ${VIEWER_OWNS}, '${VIEWER}', printf('%032x', i % ${PROJECTS})),
    CASE WHEN c < 500 THEN printf('ubuntu-%d', c % 50) WHEN c < 990 THEN printf('image-%d', i) ELSE NULL END,
    CASE c % 5 WHEN 0 THEN 'raw' WHEN 1 THEN 'vmdk' WHEN 2 THEN 'iso' ELSE 'qcow2' END,
    iif(a % 10, 'bare', 'ova'), b % 20 = 7, (a * 1000 + c) * 1048576, printf('%032x', i), 'sha512',
    printf('%0128x', i), 1700000000000 + i * 60000, 1700000000000 + i * 60000 + a * 3600000,
    json_array('os:' || (c % 20), 'batch-' || (i % 1000), 'only-' || i),
    json_object('os_distro', 'distro-' || (c % 8), 'instance_uuid', printf('instance-%d', i), 'image_type', 'snapshot')
  FROM picked`;

/** What the triggers would have done, for the images between two ids. */
const FOLLOW = [
  `INSERT INTO image_tags (tag, hidden, created_at, image_id, owner, visibility)
   SELECT tag.value, hidden, created_at, images.id, owner, visibility
     FROM images, json_each(images.tags) AS tag WHERE images.id BETWEEN ?1 AND ?2`,
  `INSERT INTO image_properties (name, value, hidden, created_at, image_id, owner, visibility)
   SELECT property.key, property.value, hidden, created_at, images.id, owner, visibility
     FROM images, json_each(images.properties) AS property WHERE images.id BETWEEN ?1 AND ?2`,
  // A project of the neighbours is a member of each shared image; the viewer of some in all statuses.
  `INSERT INTO image_members (image_id, member_id, status, created_at, updated_at, image_created_at, image_hidden,
     image_name)
   SELECT id, printf('%032x', (created_at / 60000 + 1) % ${PROJECTS}), 'accepted', 0, 0, created_at, hidden, sort_name
     FROM images WHERE visibility = 'shared' AND id BETWEEN ?1 AND ?2`,
  `INSERT INTO image_members (image_id, member_id, status, created_at, updated_at, image_created_at, image_hidden,
     image_name)
   SELECT id, '${VIEWER}', iif(n <= ${VIEWER_SHARES}, 'accepted', 'pending'), 0, 0, created_at, hidden, sort_name
     FROM (SELECT *, row_number() OVER (ORDER BY id) AS n FROM images
       WHERE visibility = 'shared' AND owner <> '${VIEWER}' AND id BETWEEN ?1 AND ?2)
     WHERE n <= ${2 * VIEWER_SHARES} AND ?1 = '${idOf(1)}'`,
];

const COUNT_USAGE = `
  INSERT OR REPLACE INTO usage (project, images, uploading, size, stage, reserved_size, reserved_stage)
  SELECT owner, sum(counted), 0, sum(counted_size), 0, 0, 0 FROM images GROUP BY owner`;
