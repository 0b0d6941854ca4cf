import { describe } from "vitest";
import { MemoryBlobStore } from "../../../src/blob/memory.ts";
import { describeBlobStore } from "../../suites/blob-store.ts";

describe("MemoryBlobStore", () => {
  describeBlobStore(() => new MemoryBlobStore());
});
