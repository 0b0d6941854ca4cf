import { integer, primaryKey, sqliteTable, text } from "drizzle-orm/sqlite-core";
import type { LocationMetadata } from "../domain/image.ts";
import type {
  Association,
  MetadefObject,
  NamespaceVisibility,
  Property,
  Tag,
} from "../domain/metadefs/namespace.ts";

/*
 * The tables of migrations/ that code names, as Drizzle sees them. The SQL there is the truth (filter
 * tables, indexes, triggers, STRICT, WITHOUT ROWID); this file names the columns. Times are whole
 * milliseconds since the epoch.
 */

/** One stored copy of an image's bytes: the store's id, the key within it, and what callers noted with it. */
export interface StoredLocation {
  store: string;
  key: string;
  metadata?: LocationMetadata;
}

/** Bytes that wait for their import: a copy, and its hashes in hex by algorithm. */
export interface StoredStaging extends StoredLocation {
  hashes: Partial<Record<string, string>>;
}

export const images = sqliteTable("images", {
  id: text().primaryKey(),
  revision: integer().notNull(),
  status: text().notNull(),
  visibility: text().notNull(),
  owner: text(),
  name: text(),
  diskFormat: text("disk_format"),
  containerFormat: text("container_format"),
  minDisk: integer("min_disk").notNull(),
  minRam: integer("min_ram").notNull(),
  protected: integer({ mode: "boolean" }).notNull(),
  hidden: integer({ mode: "boolean" }).notNull(),
  size: integer(),
  virtualSize: integer("virtual_size"),
  checksum: text(),
  osHashAlgo: text("os_hash_algo"),
  osHashValue: text("os_hash_value"),
  createdAt: integer("created_at").notNull(),
  updatedAt: integer("updated_at").notNull(),
  deletedAt: integer("deleted_at"),
  properties: text({ mode: "json" }).$type<Record<string, string | null>>().notNull(),
  tags: text({ mode: "json" }).$type<string[]>().notNull(),
  locations: text({ mode: "json" }).$type<StoredLocation[]>().notNull(),
  staged: text({ mode: "json" }).$type<StoredStaging>(),
  reserved: integer().notNull(),
  place: text(),
  openUploads: integer("open_uploads").notNull(),
  openUploadBytes: integer("open_upload_bytes").notNull(),
});

export const usage = sqliteTable("usage", {
  project: text().primaryKey(),
  images: integer().notNull(),
  uploading: integer().notNull(),
  size: integer().notNull(),
  stage: integer().notNull(),
  reservedSize: integer("reserved_size").notNull(),
  reservedStage: integer("reserved_stage").notNull(),
  openUploads: integer("open_uploads").notNull(),
  jobs: integer().notNull(),
  staged: integer().notNull(),
});

export const imageCounts = sqliteTable("image_counts", {
  status: text().notNull(),
  visibility: text().notNull(),
  images: integer().notNull(),
  bytes: integer().notNull(),
});

export const eventCounts = sqliteTable("event_counts", {
  event: text().notNull(),
  way: text().notNull(),
  result: text().notNull(),
  total: integer().notNull(),
});

export const quotaGuard = sqliteTable("quota_guard", { name: text().notNull() });

export const tasks = sqliteTable("tasks", {
  id: text().primaryKey(),
  type: text().notNull(),
  status: text().notNull(),
  owner: text(),
  imageId: text("image_id"),
  requestId: text("request_id"),
  userId: text("user_id"),
  input: text({ mode: "json" }).$type<Record<string, unknown>>(),
  result: text({ mode: "json" }).$type<Record<string, unknown>>(),
  message: text().notNull(),
  createdAt: integer("created_at").notNull(),
  updatedAt: integer("updated_at").notNull(),
  expiresAt: integer("expires_at"),
});

export const imageMembers = sqliteTable(
  "image_members",
  {
    imageId: text("image_id").notNull(),
    memberId: text("member_id").notNull(),
    status: text().notNull(),
    createdAt: integer("created_at").notNull(),
    updatedAt: integer("updated_at").notNull(),
    deletedAt: integer("deleted_at"),
    imageCreatedAt: integer("image_created_at").notNull(),
    /** Kept by triggers: the image's hidden flag while its members may list it, else null. */
    imageHidden: integer("image_hidden", { mode: "boolean" }),
  },
  (t) => [primaryKey({ columns: [t.imageId, t.memberId] })],
);

export const cacheEntries = sqliteTable("cache_entries", {
  imageId: text("image_id").primaryKey(),
  epoch: text().notNull(),
  queuedAt: integer("queued_at"),
  modifiedAt: integer("modified_at"),
  accessedAt: integer("accessed_at"),
  hits: integer().notNull(),
  size: integer().notNull(),
});

export const metadefNamespaces = sqliteTable("metadef_namespaces", {
  id: integer().primaryKey(),
  revision: integer().notNull(),
  name: text().notNull(),
  displayName: text("display_name"),
  description: text(),
  visibility: text().$type<NamespaceVisibility>().notNull(),
  owner: text(),
  protected: integer({ mode: "boolean" }).notNull(),
  createdAt: integer("created_at").notNull(),
  updatedAt: integer("updated_at").notNull(),
  associations: text({ mode: "json" }).$type<readonly Association[]>().notNull(),
  tags: text({ mode: "json" }).$type<readonly Tag[]>().notNull(),
  properties: text({ mode: "json" }).$type<readonly Property[]>().notNull(),
  objects: text({ mode: "json" }).$type<readonly MetadefObject[]>().notNull(),
});

export const metadefResourceTypes = sqliteTable("metadef_resource_types", {
  name: text().primaryKey(),
  createdAt: integer("created_at").notNull(),
  updatedAt: integer("updated_at").notNull(),
});
