/*
 * The stores of the tests, as STORES lists them. Plain data, for vitest.config.ts binds it.
 */

export const ONE_STORE = [{ id: "default", type: "r2", binding: "BLOBS" }];

export const TWO_BUCKETS = [
  { id: "fast", type: "r2", binding: "BLOBS", default: true, description: "In use" },
  { id: "archive", type: "r2", binding: "ARCHIVE" },
  { id: "http", type: "http", description: "Elsewhere" },
];
