import type { OpenStore } from "../blob/stores.ts";
import type { Database } from "../db/database.ts";
import { readUsage } from "../db/usage.ts";
import { Fault } from "../domain/fault.ts";
import type { Identity } from "../domain/identity.ts";
import type { PropertyProtection } from "../domain/property-protection.ts";
import type { QuotaName } from "../domain/quota.ts";
import type { Config } from "../env.ts";
import type { ImageObject } from "../image-object/image-object.ts";
import type { Caller } from "../image-object/rpc.ts";
import { canonicalUuid } from "../lib/uuid.ts";
import type { RuleName } from "../policy/rules.ts";

/** Everything a handler has. What it does not get here it does not touch. */
export interface OpenContext {
  readonly request: Request;
  readonly url: URL;
  readonly requestId: string;
  /** Scheme, host and mount prefix for absolute links, without a trailing slash. */
  readonly baseUrl: string;
  readonly config: Config;
  readonly identity: Identity;
  /** Path parameters by name, percent-decoded. */
  readonly params: ReadonlyMap<string, string>;
  /** The most bytes a JSON body may have on this route. */
  readonly maxBodyBytes: number;
  readonly db: Database;
  readonly openStore: OpenStore;
  readonly nowMs: number;
  readonly newId: () => string;
  /** Lets so much time pass. */
  readonly wait: (ms: number) => Promise<void>;
  /** The object of one image: the only way to change it. */
  readonly imageObject: (imageId: string) => DurableObjectStub<ImageObject>;
  /** Tells whether the bytes of the answer come from the cache: for its headers and the log. */
  readonly noteCache: (found: "hit" | "miss") => void;
  /** Lets work go on behind the answer, or after the client has left. */
  readonly waitUntil: (work: Promise<unknown>) => void;
}

/** What a handler has whose route stands under a policy rule: every decision it makes is made under that. */
export interface Context extends OpenContext {
  readonly rule: RuleName;
}

/** A path parameter of the route. */
export function param(ctx: OpenContext, name: string): string {
  const value = ctx.params.get(name);
  if (value === undefined) throw new Error(`the route has no parameter ${name}`);
  return value;
}

/**
 * The image id of the path, in its one spelling. Anything that is not a UUID names no image, so it is 404 (contract
 * SHO-2).
 */
export function imageIdOf(ctx: OpenContext): string {
  const given = param(ctx, "image_id");
  const imageId = canonicalUuid(given);
  if (imageId === undefined) throw new Fault("image_not_found", { imageId: given });
  return imageId;
}

/** What the caller may do with custom properties. */
export function protectionOf({ config, identity }: OpenContext): PropertyProtection {
  return config.protectProperties(identity);
}

/**
 * Refuses what would take the caller's project beyond one of its four limits, before anything is looked up (contract 01
 * §1.5). That they hold whatever comes at once is up to the writes themselves.
 */
export async function assertQuota(ctx: OpenContext, of: QuotaName, delta: number): Promise<void> {
  const { quotas } = ctx.config;
  const { projectId } = ctx.identity;
  if (!quotas.hasFour || quotas.limitOn(of, projectId) === undefined) return;
  quotas.assertWithin(of, projectId, await readUsage(ctx.db, projectId), delta);
}

/** The image of the path, its object, and who asks for what, as the object wants to know it. */
export function target(ctx: Context): { object: DurableObjectStub<ImageObject>; caller: Caller } {
  const imageId = imageIdOf(ctx);
  const caller = { imageId, identity: ctx.identity, rule: ctx.rule };
  return { object: ctx.imageObject(imageId), caller };
}
