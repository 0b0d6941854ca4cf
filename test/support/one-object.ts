import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import type { Identity } from "../../src/domain/identity.ts";
import { ImageObject } from "../../src/image-object/image-object.ts";
import type { Caller } from "../../src/image-object/rpc.ts";
import { userId } from "./identity-document.ts";
import { TestedObject } from "./tested-object.ts";

/** One image's object as its own calls see it: an instance that lives until the test makes a new one. */
export interface OneObject {
  readonly caller: Caller;
  /** A new instance, which shares nothing with those before it but what is stored. */
  restart(): ImageObject;
}

/**
 * Does some work within the context of an image's object, so that streams and calls that hang can be played with, on
 * other bindings.
 */
export function withObject<T>(
  imageId: string,
  bindings: Partial<Pick<Env, "DB" | "BLOBS" | "ARCHIVE">> & Readonly<Record<string, unknown>>,
  work: (object: OneObject) => Promise<T>,
): Promise<T> {
  const projectId = "owner-project";
  const identity: Identity = {
    userId: userId(projectId, "member"),
    projectId,
    scope: "project",
    roles: ["member", "reader"],
    isAnonymous: false,
  };
  return runInDurableObject(new TestedObject(imageId).stub, (_, state) =>
    work({
      caller: { imageId, identity, rule: "upload_image" },
      restart: () => new ImageObject(state, { ...env, ...bindings }),
    }),
  );
}

/** Holds calls up, until they are let go. */
export class Gate {
  readonly #reached = Promise.withResolvers<void>();
  readonly #open = Promise.withResolvers<void>();

  /** What a held-up call awaits. */
  pass(): Promise<void> {
    this.#reached.resolve();
    return this.#open.promise;
  }

  /** Ends when the first call is held up. */
  get reached(): Promise<void> {
    return this.#reached.promise;
  }

  open(): void {
    this.#open.resolve();
  }
}
