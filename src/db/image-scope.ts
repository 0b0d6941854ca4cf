import type { MemberStatus, Visibility } from "../domain/image.ts";
import type { ImageListQuery } from "../domain/image-list.ts";
import type { Viewer } from "../domain/visibility.ts";

/** One set of images that an index holds together. */
export type Scope =
  /** What a project owns: all of it, or of one visibility, or all but what is community. */
  | { readonly of: "owner"; readonly owner: string; readonly only: Visibility | Not | undefined }
  | { readonly of: "visibility"; readonly only: Visibility }
  /** What everybody has, but community images. */
  | { readonly of: "everybody" }
  /** What is shared with a project that is a member in one of these statuses. */
  | {
      readonly of: "member";
      readonly projectId: string;
      readonly statuses: readonly MemberStatus[];
    };

type Not = "but community";

/** D1 merges five SELECTs at the most. */
export const MAX_ARMS = 5;

/**
 * The scopes that together are what a list shows to this viewer (contract LST-1 … LST-12), no more and no less. An
 * image may be in two of them. There are never more than D1 merges.
 */
export function scopesOf(query: ImageListQuery, viewer: Viewer): readonly Scope[] {
  const [owner] = query.filters.oneOf.get("owner") ?? [];
  return viewer.seesAll ? scopesOfAll(query, viewer, owner) : scopesOfProject(query, viewer, owner);
}

function scopesOfAll(
  { visibility }: ImageListQuery,
  { projectId }: Viewer,
  owner: string | undefined,
): Scope[] {
  if (owner !== undefined) {
    if (visibility === undefined && owner !== projectId) return [owned(owner, "but community")];
    return [owned(owner, visibility)];
  }
  if (visibility === "all") return [{ of: "everybody" }, visible("community")];
  if (visibility !== undefined) return [visible(visibility)];
  // Own community images belong to the list; the rest of the own images is found twice.
  return [{ of: "everybody" }, ...(projectId === null ? [] : [owned(projectId)])];
}

function scopesOfProject(
  query: ImageListQuery,
  { projectId }: Viewer,
  owner: string | undefined,
): Scope[] {
  const { visibility } = query;
  if (owner !== undefined && owner === projectId) return [owned(owner, visibility)];
  const open = openVisibilities(visibility).map((only) =>
    owner === undefined ? visible(only) : owned(owner, only),
  );
  if (projectId === null || visibility === "public" || visibility === "community") return open;
  const own = owner === undefined ? [owned(projectId, visibility)] : [];
  if (visibility === "private") return own;
  const scopes = [...own, ...open];
  return [...scopes, ...sharedWith(projectId, query, MAX_ARMS - scopes.length)];
}

/** Which of the visibilities that everybody sees belong to the list. */
function openVisibilities(visibility: ImageListQuery["visibility"]): Visibility[] {
  if (visibility === undefined) return ["public"];
  if (visibility === "all") return ["public", "community"];
  return visibility === "public" || visibility === "community" ? [visibility] : [];
}

/** A scope for each member status, or one for all where there is no room for more. */
function sharedWith(projectId: string, { memberStatuses }: ImageListQuery, room: number): Scope[] {
  const groups =
    memberStatuses.length > room ? [memberStatuses] : memberStatuses.map((status) => [status]);
  return groups.map((statuses) => ({ of: "member", projectId, statuses }));
}

function owned(owner: string, only?: Visibility | Not | "all"): Scope {
  return { of: "owner", owner, only: only === "all" ? undefined : only };
}

function visible(only: Visibility): Scope {
  return { of: "visibility", only };
}
