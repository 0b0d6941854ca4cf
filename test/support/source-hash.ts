import { createHash } from "node:crypto";
import { type DataSpec, piecesOf } from "./source-data.ts";

/** The hash of the source server's data, in hex, made in Node and in little memory whatever its size. */
export function hashOf(spec: DataSpec, algorithm: "sha512" | "sha256" | "md5" = "sha512"): string {
  const hash = createHash(algorithm);
  for (const piece of piecesOf(spec)) hash.update(piece);
  return hash.digest("hex");
}
