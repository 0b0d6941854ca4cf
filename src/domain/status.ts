/** Image statuses (contract SI-3). `pending_delete` is in the published schema but is never entered. */
export const STATUSES = [
  "queued",
  "saving",
  "active",
  "killed",
  "deleted",
  "uploading",
  "importing",
  "pending_delete",
  "deactivated",
] as const;
export type Status = (typeof STATUSES)[number];

/** The legal moves (contract ST-1 … ST-16); each is made inside the image's object and nowhere else. */
const NEXT: Readonly<Record<Status, readonly Status[]>> = {
  queued: ["saving", "uploading", "importing", "active", "deleted"],
  saving: ["active", "queued", "killed", "deleted"],
  uploading: ["importing", "queued", "deleted"],
  importing: ["active", "queued", "deleted"],
  active: ["deactivated", "deleted"],
  deactivated: ["active", "deleted"],
  killed: ["deleted"],
  pending_delete: ["deleted", "active"],
  deleted: [],
};

/** Throws an Error when the status machine does not have this move; to stay is none. */
export function assertMove(from: Status, to: Status): void {
  if (from === to || NEXT[from].includes(to)) return;
  throw new Error(`an image does not go from ${from} to ${to}`);
}

/** Statuses in which the formats may still be changed (contract PRO-5, MX-2). */
export function formatsAreOpen(status: Status): boolean {
  return status === "queued" || status === "importing";
}

/** Statuses in which the image has committed data. */
export function hasData(status: Status): boolean {
  return status === "active" || status === "deactivated";
}
