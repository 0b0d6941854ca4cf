import type { Image, Member } from "../domain/image.ts";
import type { PropertyProtection } from "../domain/property-protection.ts";
import type { Stores } from "../domain/stores.ts";
import { formatTime } from "../lib/time.ts";

/** Notes of the reference on its own hosts, which a record that came from one may have (contract REP-21). */
const NEVER_SHOWN: ReadonlySet<string> = new Set([
  "os_glance_stage_host",
  "os_glance_hash_op_host",
]);

/**
 * An image as its reader may see it (contract 02 §2.1): base keys, beside them the custom properties that
 * are not kept from this one (contract 13 §9), and what it is told of where the data lies (locations.ts).
 */
export function imageView(
  image: Image,
  stores: Stores,
  protection: PropertyProtection,
  locationKeys: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const self = `/v2/images/${image.id}`;
  const copies = stores.isMulti ? stores.byWeight(image.locations) : [];
  // Custom names never collide with base ones: both parsers of bodies refuse those.
  const custom = Object.fromEntries<unknown>(
    [...image.properties].filter(
      ([name]) => !NEVER_SHOWN.has(name) && protection.may("read", name),
    ),
  );
  return Object.assign(custom, {
    id: image.id,
    name: image.name,
    status: image.status,
    visibility: image.visibility,
    owner: image.owner,
    protected: image.isProtected,
    os_hidden: image.isHidden,
    tags: image.tags,
    disk_format: image.diskFormat,
    container_format: image.containerFormat,
    min_disk: image.minDisk,
    min_ram: image.minRam,
    size: image.size,
    virtual_size: image.virtualSize,
    checksum: image.checksum,
    os_hash_algo: image.osHashAlgo,
    os_hash_value: image.osHashValue,
    created_at: formatTime(image.createdAtMs),
    updated_at: formatTime(image.updatedAtMs),
    self,
    file: `${self}/file`,
    // Comma-joined text, and only where there is something to tell (contract REP-18).
    ...(copies.length > 0 && { stores: copies.map(({ store }) => store).join(",") }),
    ...locationKeys,
    schema: "/v2/schemas/image",
  });
}

/** What HEAD tells of an image's data, beside the standard headers (ours; contract HDR-9 names the first). */
export function hashHeaders(image: Image): Record<string, string> {
  return {
    ...(image.size !== null && { "x-openstack-image-size": String(image.size) }),
    ...(image.checksum !== null && { "x-image-meta-checksum": image.checksum }),
    ...(image.osHashAlgo !== null && { "x-openstack-image-hash-algo": image.osHashAlgo }),
    ...(image.osHashValue !== null && { "x-openstack-image-hash-value": image.osHashValue }),
  };
}

/** A member as clients read it (contract 04 §4.1): the request says `member`, answers say `member_id`. */
export function memberView(member: Member): Record<string, unknown> {
  return {
    member_id: member.memberId,
    image_id: member.imageId,
    status: member.status,
    created_at: formatTime(member.createdAtMs),
    updated_at: formatTime(member.updatedAtMs),
    schema: "/v2/schemas/member",
  };
}
