import type { Formats } from "../domain/image.ts";
import { log } from "../lib/log.ts";
import type { Acceptance } from "./verdict.ts";

/** Notes that data of another format than the declared one was accepted (contract 13 §3, raw and other). */
export function logIfTaken(imageId: string, { diskFormat }: Formats, { detected }: Acceptance) {
  if (detected === undefined || detected === "raw" || detected === diskFormat) return;
  log({ event: "format_differs", image_id: imageId, declared: diskFormat, detected });
}
