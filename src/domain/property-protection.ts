import { Fault } from "./fault.ts";

export type PropertyOperation = "create" | "read" | "update" | "delete";

/** What one caller may do with custom properties, by their names (contract 13 §9). */
export interface PropertyProtection {
  may(operation: PropertyOperation, name: string): boolean;
}

/** A deployment without rules: everyone may do everything. */
export const UNPROTECTED: PropertyProtection = { may: () => true };

/** Refuses what the caller may not do. Throws `property_protected`. */
export function assertMay(
  protection: PropertyProtection,
  operation: PropertyOperation,
  name: string,
): void {
  if (!protection.may(operation, name)) throw new Fault("property_protected", { operation, name });
}
