import { hasSurrogates, isLongerThan } from "../lib/code-points.ts";
import { Fault } from "./fault.ts";

/**
 * A member id as a request gives it: an opaque string of 1 to 255 characters (contract MEM-8 … MEM-10, LIM-19).
 * Throws `invalid_value` or `unsupported_characters`.
 */
export function checkMemberId(value: unknown): string {
  if (typeof value !== "string" || value === "") {
    throw new Fault("invalid_value", { name: "member", reason: "it must be a project id" });
  }
  if (hasSurrogates(value)) {
    throw new Fault("unsupported_characters", { name: "member" });
  }
  if (isLongerThan(value, 255)) {
    throw new Fault("invalid_value", {
      name: "member",
      reason: "it is longer than 255 characters",
    });
  }
  return value;
}
