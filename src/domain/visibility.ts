import type { Image, Membership } from "./image.ts";

/** Whose view it is. */
export interface Viewer {
  readonly projectId: string | null;
  /** An administrator's view has no walls. */
  readonly seesAll: boolean;
}

/**
 * Whether an image is there at all for this viewer (contract VIS-1 … VIS-8). Membership counts in any member
 * status, but only while the image is `shared`; an image without owner is seen by others only when it is
 * public or community.
 */
export function isVisible(viewer: Viewer, image: Image, membership: Membership): boolean {
  if (image.status === "deleted") return false;
  if (viewer.seesAll) return true;
  if (image.visibility === "public" || image.visibility === "community") return true;
  if (image.owner === null || viewer.projectId === null) return false;
  if (image.owner === viewer.projectId) return true;
  return image.visibility === "shared" && membership !== undefined;
}

/** Whether a viewer of the image may know of this member: a member sees its own entry only (MEM-13, MEM-15). */
export function seesMember(viewer: Viewer, image: Image, memberId: string): boolean {
  return viewer.seesAll || image.owner === viewer.projectId || memberId === viewer.projectId;
}
