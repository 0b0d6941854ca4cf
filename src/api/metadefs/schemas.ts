import { METADEF_DOCUMENTS } from "../../domain/metadefs/documents.ts";
import { json } from "../../http/reply.ts";

/** The names of the documents below /v2/schemas/metadefs (contract 14 §11). */
export const METADEF_SCHEMAS = Object.keys(METADEF_DOCUMENTS);

/** GET /v2/schemas/metadefs/{name}: for any valid token, whatever its scope (contract SCH-2). */
export function showMetadefSchema(name: string): () => Response {
  return () => json(METADEF_DOCUMENTS[name]);
}
