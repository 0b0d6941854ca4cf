import type { Formats } from "../domain/image.ts";
import { log } from "../lib/log.ts";
import type { Acceptance } from "./verdict.ts";

/** Notes that data of another format than the declared one was accepted (contract 13 §3, raw and other), or packed. */
export function logIfTaken(imageId: string, { diskFormat }: Formats, found: Acceptance) {
  const { detected, packing } = found;
  if (packing !== undefined) log({ event: "data_is_packed", image_id: imageId, packing });
  if (detected === undefined || detected === "raw" || detected === diskFormat) return;
  log({ event: "format_differs", image_id: imageId, declared: diskFormat, detected });
}
