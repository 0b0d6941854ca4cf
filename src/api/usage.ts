import { readUsage } from "../db/usage.ts";
import { QUOTA_NAMES, type QuotaName, type Usage } from "../domain/quota.ts";
import { json } from "../http/reply.ts";
import type { OpenContext } from "./context.ts";

const MiB = 1024 ** 2;

/** GET /v2/info/usage: what the caller's project uses, and may (contract USE-1, 12 §5). */
export async function showUsage({ config, db, identity }: OpenContext): Promise<Response> {
  const { quotas } = config;
  if (!quotas.hasFour) return json({ usage: {} });
  const { projectId } = identity;
  const used = await readUsage(db, projectId);
  const entries = QUOTA_NAMES.map((name) => {
    const limit = quotas.limitOn(name, projectId)?.maximum ?? -1;
    return [name, { usage: shown(name, used), limit }];
  });
  return json({ usage: Object.fromEntries(entries) });
}

/** In MiB, without what is only reserved; or a number of images. */
function shown(name: QuotaName, used: Usage): number {
  switch (name) {
    case "image_size_total":
      return Math.floor(used.size / MiB);
    case "image_stage_total":
      return Math.floor(used.stage / MiB);
    case "image_count_total":
      return used.images;
    case "image_count_uploading":
      return used.uploading;
  }
}
