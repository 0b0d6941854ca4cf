import { and, asc, count, eq, isNull, sql } from "drizzle-orm";
import { Fault } from "../domain/fault.ts";
import type { Image, Member, MemberStatus } from "../domain/image.ts";
import type { Database } from "./database.ts";
import { type FoundImage, foundImage, selectImage } from "./images.ts";
import { imageMembers, images } from "./schema.ts";

type MemberRow = typeof imageMembers.$inferSelect;

/** An image and all its members in one round trip, oldest first. Throws `image_not_found`. */
export async function findImageWithMembers(
  db: Database,
  imageId: string,
  projectId: string | null,
): Promise<FoundImage & { members: Member[] }> {
  const [imageRows, memberRows] = await db.batch([
    selectImage(db, imageId, projectId),
    db
      .select()
      .from(imageMembers)
      .where(and(eq(imageMembers.imageId, imageId), isNull(imageMembers.deletedAt)))
      .orderBy(asc(imageMembers.createdAt), asc(imageMembers.memberId)),
  ]);
  return { ...foundImage(imageRows[0], imageId), members: memberRows.map(memberFromRow) };
}

/** An image, one of its members if it is one, and how many there are, in one round trip. */
export async function findImageWithMember(
  db: Database,
  imageId: string,
  projectId: string | null,
  memberId: string,
): Promise<FoundImage & { member: Member | undefined; memberCount: number }> {
  const present = and(eq(imageMembers.imageId, imageId), isNull(imageMembers.deletedAt));
  const [imageRows, memberRows, counts] = await db.batch([
    selectImage(db, imageId, projectId),
    db
      .select()
      .from(imageMembers)
      .where(and(present, eq(imageMembers.memberId, memberId))),
    db.select({ members: count() }).from(imageMembers).where(present),
  ]);
  const [member] = memberRows;
  return {
    ...foundImage(imageRows[0], imageId),
    member: member && memberFromRow(member),
    memberCount: counts[0]?.members ?? 0,
  };
}

/**
 * Adds a member, or revives a removed one, which keeps its first created_at (contract MEM-11).
 * Each write here holds only while the image stands at the revision it was decided on.
 */
export function insertMember(
  db: Database,
  image: Image,
  memberId: string,
  nowMs: number,
): Promise<Member> {
  const status: MemberStatus = "pending";
  return writeMember(
    db,
    image,
    sql`INSERT INTO ${imageMembers}
          (image_id, member_id, status, created_at, updated_at, image_created_at)
        SELECT ${image.id}, ${memberId}, ${status}, ${nowMs}, ${nowMs}, ${image.createdAtMs}
        WHERE ${stillAtRevision(image)}
        ON CONFLICT (image_id, member_id) DO UPDATE
          SET status = excluded.status, updated_at = excluded.updated_at, deleted_at = NULL
          WHERE image_members.deleted_at IS NOT NULL`,
  );
}

/** Sets a member's status. */
export function updateMember(
  db: Database,
  image: Image,
  memberId: string,
  status: MemberStatus,
  nowMs: number,
): Promise<Member> {
  return writeMember(
    db,
    image,
    sql`UPDATE ${imageMembers} SET status = ${status}, updated_at = ${nowMs}
        WHERE ${thisMember(image, memberId)}`,
  );
}

/** Removes a member; its row stays for MEM-11 until the image is deleted. */
export async function removeMember(
  db: Database,
  image: Image,
  memberId: string,
  nowMs: number,
): Promise<void> {
  await writeMember(
    db,
    image,
    sql`UPDATE ${imageMembers} SET deleted_at = ${nowMs}, updated_at = ${nowMs}
        WHERE ${thisMember(image, memberId)}`,
  );
}

function thisMember(image: Image, memberId: string) {
  return sql`image_id = ${image.id} AND member_id = ${memberId} AND deleted_at IS NULL
    AND ${stillAtRevision(image)}`;
}

function stillAtRevision(image: Image) {
  return sql`EXISTS (SELECT 1 FROM ${images} WHERE id = ${image.id} AND revision = ${image.revision})`;
}

async function writeMember(
  db: Database,
  image: Image,
  write: ReturnType<typeof sql>,
): Promise<Member> {
  const written = await db.get<WrittenMember | undefined>(
    sql`${write} RETURNING member_id, status, created_at, updated_at`,
  );
  if (written === undefined) throw new Fault("image_changed", { imageId: image.id });
  return {
    imageId: image.id,
    memberId: written.member_id,
    status: written.status,
    createdAtMs: written.created_at,
    updatedAtMs: written.updated_at,
  };
}

interface WrittenMember {
  member_id: string;
  status: MemberStatus;
  created_at: number;
  updated_at: number;
}

function memberFromRow(row: MemberRow): Member {
  return {
    imageId: row.imageId,
    memberId: row.memberId,
    status: row.status as MemberStatus,
    createdAtMs: row.createdAt,
    updatedAtMs: row.updatedAt,
  };
}
