import { json } from "../http/reply.ts";
import type { OpenContext } from "./context.ts";

/** GET /v2/info/import: which import methods are on (contract IMP-16). */
export function showImportInfo(_ctx: OpenContext): Response {
  const description = "Import methods available.";
  return json({ "import-methods": { description, type: "array", value: [] } });
}
