import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { isTransient, isUploadGone } from "../../../src/blob/r2-errors.ts";

describe("R2 errors", () => {
  it("UPL-13: tells an upload that is gone by R2's own error", async () => {
    const upload = env.BLOBS.resumeMultipartUpload("key", "no such upload");
    const error: unknown = await upload.uploadPart(1, "x").catch((reason: unknown) => reason);
    expect(isUploadGone(error)).toBe(true);
    expect(isTransient(error)).toBe(false);
  });

  it("STO-13: tells a connection that broke off within the platform by its mark", () => {
    const error = new Error("Network connection lost.");
    expect(isTransient(error)).toBe(false);
    expect(isTransient(Object.assign(error, { retryable: true }))).toBe(true);
  });

  it.each([
    ["put: We encountered an internal error. Please try again. (10001)", true],
    ["put: Please reduce your concurrent request rate for the same object. (10058)", true],
    ["get: Unspecified error (0)", false],
    ["put: The specified object name is not valid. (10020)", false],
    ["part 10001 is too many", false],
    ["", false],
  ])("STO-13: %j may be tried again: %s", (message, expected) => {
    expect(isTransient(new Error(message))).toBe(expected);
  });

  it("STO-13: takes what is no Error for final", () => {
    expect(isTransient("(10001)")).toBe(false);
    expect(isUploadGone(undefined)).toBe(false);
  });
});
