import { join } from "node:path";
import { startLocalServer } from "../scripts/local-server.mjs";
import { ImageApi } from "../test/clients/image-api.ts";
import { findFreePort } from "../test/clients/server.ts";
import type { Target } from "./case.ts";
import type { Samples } from "./cases.ts";
import { fill, middleOf, VIEWER } from "./scale-data.ts";
import { call, send, serveFiles } from "./transfer.ts";

const HOST = "127.0.0.1";

/** Quotas that many changes would meet are off, and imports may read from this machine. */
const VARS = {
  IMAGE_TAG_QUOTA: "-1",
  LOG_REQUESTS: "none",
  IMAGE_MEMBER_QUOTA: "-1",
  IMPORT_ALLOW_PRIVATE_ADDRESSES: "true",
  IMPORT_ALLOWED_PORTS: "",
};

/** Glimpse and the floor, in one workerd, on the same data. */
export interface Servers {
  readonly glimpse: Target;
  /** The same as an administrator. */
  readonly admin: Target;
  readonly floor: Target;
  /** The floor of workerd's disk service, for cases that are about bytes. */
  readonly diskFloor: Target;
  readonly database: Awaited<ReturnType<typeof startLocalServer>>["database"];
  stop(): Promise<void>;
}

/** Starts both, with Glimpse's images in that store. With `isCounted`, Glimpse runs behind `counted.js`. */
export async function startServers(
  stateDir: string,
  store: "disk" | "r2",
  isCounted: boolean,
): Promise<Servers> {
  const [port, floorPort] = [await findFreePort(), await findFreePort()];
  const { database, stop } = await startLocalServer({
    stateDir,
    host: HOST,
    port,
    store,
    vars: VARS,
    onLog: () => undefined,
    ...(isCounted && { wrapper: join(import.meta.dirname, "counted.js") }),
    beside: ({
      d1Databases = {},
      r2Buckets = {},
      serviceBindings = {},
      compatibilityDate = "",
    }) => [
      {
        name: "floor",
        modules: [{ type: "ESModule", path: join(import.meta.dirname, "floor.js") }],
        modulesRoot: import.meta.dirname,
        compatibilityDate,
        d1Databases,
        r2Buckets,
        serviceBindings,
        durableObjects: { FLOOR: { className: "FloorObject", useSQLite: true } },
        unsafeDirectSockets: [{ host: HOST, port: floorPort }],
      },
    ],
  });
  const url = `http://${HOST}:${port}`;
  const as = async (cloud: string): Promise<Target> => {
    const { token } = await ImageApi.signIn(url, cloud);
    return { name: "Glimpse", url, headers: { "x-auth-token": token } };
  };
  return {
    glimpse: await as("glimpse"),
    admin: await as("glimpse-admin"),
    floor: { name: "the floor", url: `http://${HOST}:${floorPort}`, headers: {} },
    diskFloor: { name: "the disk's floor", url: `http://${HOST}:${floorPort}/disk`, headers: {} },
    database,
    stop,
  };
}

/** Images there are while the small cases run. */
const IMAGES = 20_000;

/** Puts in what the cases ask for. */
export async function prepare(servers: Servers): Promise<Samples> {
  const { glimpse, floor, diskFloor, database } = servers;
  await fill(database, IMAGES, () => undefined);
  const { results } = await database
    .prepare(
      "SELECT id, visibility FROM images WHERE owner = ? AND hidden = 0 AND status = 'active'",
    )
    .bind(VIEWER)
    .all<{ id: string; visibility: string }>();
  const store = async (sizeMiB: number) => {
    const record = { name: "bench", disk_format: "raw", container_format: "bare" };
    const { id } = await call<{ id: string }>(glimpse, "POST", "/v2/images", record);
    await send(glimpse, `/v2/images/${id}/file`, sizeMiB, false);
    await send(floor, `/put/${id}`, sizeMiB, false);
    await send(diskFloor, `/put/${id}`, sizeMiB, false);
    return id;
  };
  return {
    ownIds: results.map(({ id }) => id),
    sharedIds: results.filter(({ visibility }) => visibility === "shared").map(({ id }) => id),
    middleId: await middleOf(database, "public"),
    downloads: { 256: await store(256), 64: await store(64) },
    sourceUrl: (await serveFiles()).url,
  };
}
