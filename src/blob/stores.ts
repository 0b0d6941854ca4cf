import type { StoreDefinition } from "../domain/store-definition.ts";
import { DiskBlobStore } from "./disk.ts";
import { HttpBlobStore, type ReadRemote } from "./http.ts";
import { LimitedStore } from "./limited-store.ts";
import { R2BlobStore } from "./r2.ts";
import { S3BlobStore } from "./s3.ts";
import type { BlobStore } from "./store.ts";
import { TimedStore } from "./timed-store.ts";

/** Opens a store by its id. */
export type OpenStore = (storeId: string) => BlobStore;

/** The bindings, variables and secrets of a deployment. */
type Environment = Readonly<Record<string, unknown>>;

/**
 * Opens the stores of a deployment, each when it is first asked for. Opening one throws an Error when it is not
 * configured (any more): its bytes are out of reach.
 */
export function storeOpener(
  definitions: readonly StoreDefinition[],
  env: Environment,
  readRemote: ReadRemote,
): OpenStore {
  const opened = new Map<string, BlobStore>();
  return (storeId) => {
    let store = opened.get(storeId);
    if (store === undefined) {
      const definition = definitions.find(({ id }) => id === storeId);
      if (definition === undefined) throw new Error(`the store ${storeId} is not configured`);
      store =
        definition.type === "http"
          ? new TimedStore(new HttpBlobStore(storeId, readRemote))
          : new TimedStore(new LimitedStore(openStore(definition, env)));
      opened.set(storeId, store);
    }
    return store;
  };
}

/** Throws an Error with a sentence when the environment lacks what a store needs. */
export function assertOpenable(definition: StoreDefinition, env: Environment): void {
  if (definition.type !== "http") openStore(definition, env);
}

function openStore({ id, type, binding, s3 }: StoreDefinition, env: Environment): BlobStore {
  if (type === "disk" && binding !== undefined) {
    const service = env[binding];
    if (isService(service)) return new DiskBlobStore(service);
    throw new Error(`store '${id}': there is no disk service of workerd bound as ${binding}`);
  }
  if (binding !== undefined) {
    const bucket = env[binding];
    if (isBucket(bucket)) return new R2BlobStore(bucket);
    throw new Error(`store '${id}': there is no R2 bucket bound as ${binding}`);
  }
  if (s3 !== undefined) {
    const secret = (name: string): string => {
      const value = env[`${s3.credentials}_${name}`];
      if (typeof value === "string" && value !== "") return value;
      throw new Error(`store '${id}': the secret ${s3.credentials}_${name} is not set`);
    };
    return new S3BlobStore({
      ...s3,
      accessKeyId: secret("ACCESS_KEY_ID"),
      secretAccessKey: secret("SECRET_ACCESS_KEY"),
    });
  }
  throw new Error(`store '${id}': nothing is kept there`);
}

function isBucket(binding: unknown): binding is R2Bucket {
  return typeof binding === "object" && binding !== null && "createMultipartUpload" in binding;
}

function isService(binding: unknown): binding is Fetcher {
  return typeof binding === "object" && binding !== null && "fetch" in binding;
}
