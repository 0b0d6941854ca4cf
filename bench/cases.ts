import type { BytesCase, Case, CaseRequest, SmallCase, Target } from "./case.ts";
import { call, MiB, receive, secondsOf, send } from "./transfer.ts";

/** What there is to be asked for, in the database that `scale-data.ts` fills. */
export interface Samples {
  /** The caller's own images, and those of them that are shared. */
  readonly ownIds: readonly string[];
  readonly sharedIds: readonly string[];
  /** An image in the middle of the list. */
  readonly middleId: string;
  /** Active images of 256 and of 64 MiB, which the floor has under the same ids as its keys. */
  readonly downloads: { readonly 256: string; readonly 64: string };
  /** A web server with files, see `serveFiles`. */
  readonly sourceUrl: string;
}

/** The cases, in the order of the table. */
export function casesFor(samples: Samples): readonly Case[] {
  return [...reads(samples), ...changes(samples), ...transfers(samples)];
}

const get = (path: string): CaseRequest => ({ method: "GET", path });

function reads({ ownIds, middleId, downloads }: Samples): SmallCase[] {
  const list = (name: string, query: string, limit = 25): SmallCase => ({
    kind: "small",
    name: `list: ${name}`,
    ...(name === "25" && { goal: 0.6 }),
    request: () => get(`/v2/images${query}`),
    floor: () => get(`/list?limit=${limit}`),
    isOwn: true,
  });
  const id = at(ownIds, 7);
  const range = { range: `bytes=${3 * MiB}-${4 * MiB - 1}` };
  return [
    {
      kind: "small",
      name: "token check",
      goal: 0.8,
      request: () => get("/v2/schemas/member"),
      floor: () => get("/nothing"),
    },
    {
      kind: "small",
      name: "show",
      goal: 0.8,
      request: () => get(`/v2/images/${id}`),
      floor: () => get(`/show/${id}`),
      isOwn: true,
    },
    list("25", ""),
    list("1000 rows", "?limit=1000", 1000),
    list("by tag", "?tag=os:3"),
    list("by property", "?os_distro=distro-3"),
    list("by owner", `?owner=${"0".repeat(29)}12c`),
    list("visibility=all", "?visibility=all"),
    list("second page", `?marker=${middleId}`),
    list("sort by name", "?sort_key=name&sort_dir=asc"),
    list("sort by size", "?sort=size:desc"),
    {
      kind: "small",
      name: "1 MiB range",
      goal: 0.95,
      request: () => ({ ...get(`/v2/images/${downloads[256]}/file`), headers: range }),
      floor: () => ({ ...get(`/get/${downloads[256]}`), headers: range }),
      isOwn: true,
      isBytes: true,
    },
  ];
}

function changes({ ownIds, sharedIds }: Samples): SmallCase[] {
  const json = { "content-type": "application/json" };
  const own = (n: number) => at(ownIds, n);
  const change = (name: string, goal: number | undefined, request: SmallCase["request"]) => ({
    kind: "small" as const,
    name,
    ...(goal !== undefined && { goal }),
    request,
    floor: (n: number): CaseRequest => ({ method: "POST", path: `/change/${own(n)}` }),
    isOwn: name !== "create",
  });
  return [
    change("create", 0.5, (n) => ({
      method: "POST",
      path: "/v2/images",
      headers: json,
      body: JSON.stringify({ name: `bench-${n}`, disk_format: "raw", container_format: "bare" }),
    })),
    change("patch", 0.5, (n) => ({
      method: "PATCH",
      path: `/v2/images/${own(n)}`,
      headers: { "content-type": "application/openstack-images-v2.1-json-patch" },
      body: JSON.stringify([{ op: "add", path: "/bench", value: String(n) }]),
    })),
    // Put on, and taken off when all have it.
    change("tag", 0.5, (n) => ({
      method: Math.floor(n / ownIds.length) % 2 === 0 ? "PUT" : "DELETE",
      path: `/v2/images/${own(n)}/tags/bench`,
    })),
    change("member add", undefined, (n) => ({
      method: "POST",
      path: `/v2/images/${at(sharedIds, n)}/members`,
      headers: json,
      body: JSON.stringify({ member: `bench-${n}` }),
    })),
  ];
}

function transfers({ downloads, sourceUrl }: Samples): BytesCase[] {
  const upload = (sizeMiB: number, isChunked: boolean): BytesCase => ({
    kind: "bytes",
    name: `upload ${sizeMiB} MiB, ${isChunked ? "chunked" : "known length"}`,
    goal: 0.8,
    sizeMiB,
    isLarge: sizeMiB > 256,
    run: (on) =>
      withImage(on, (id) => secondsOf(() => send(on, `/v2/images/${id}/file`, sizeMiB, isChunked))),
    floor: (on) =>
      withKey(on, (key) => secondsOf(() => send(on, `/put/${key}`, sizeMiB, isChunked))),
  });
  const download = (sizeMiB: 256 | 64, times: number): BytesCase => {
    const all = (on: Target, path: string) =>
      secondsOf(() => Promise.all(Array.from({ length: times }, () => receive(on, path, sizeMiB))));
    return {
      kind: "bytes",
      name:
        times === 1 ? `download ${sizeMiB} MiB` : `${times} downloads of ${sizeMiB} MiB at once`,
      goal: 0.95,
      sizeMiB: times * sizeMiB,
      run: (on) => all(on, `/v2/images/${downloads[sizeMiB]}/file`),
      floor: (on) => all(on, `/get/${downloads[sizeMiB]}`),
    };
  };
  const imports: BytesCase = {
    kind: "bytes",
    name: "import 256 MiB from loopback",
    sizeMiB: 256,
    run: (on) =>
      withImage(on, (id) =>
        secondsOf(async () => {
          const method = { name: "web-download", uri: `${sourceUrl}/256` };
          await call(on, "POST", `/v2/images/${id}/import`, { method });
          await untilActive(on, id);
        }),
      ),
    floor: (on) =>
      withKey(on, (key) =>
        secondsOf(() => call(on, "POST", `/import/${key}?from=${sourceUrl}/256`)),
      ),
  };
  return [
    ...[256, 2048].flatMap((sizeMiB) => [upload(sizeMiB, false), upload(sizeMiB, true)]),
    download(256, 1),
    download(64, 16),
    imports,
  ];
}

/** Does something with an image that is made before, and deleted after. */
async function withImage<T>(on: Target, work: (id: string) => Promise<T>): Promise<T> {
  const record = { name: "bench", disk_format: "raw", container_format: "bare" };
  const { id } = await call<{ id: string }>(on, "POST", "/v2/images", record);
  const result = await work(id);
  await call(on, "DELETE", `/v2/images/${id}`);
  return result;
}

async function withKey<T>(on: Target, work: (key: string) => Promise<T>): Promise<T> {
  const result = await work("bench");
  await call(on, "POST", "/delete/bench");
  return result;
}

async function untilActive(on: Target, id: string): Promise<void> {
  for (;;) {
    const { status } = await call<{ status: string }>(on, "GET", `/v2/images/${id}`);
    if (status === "active") return;
    if (status !== "importing") throw new Error(`The import left the image ${status}.`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

/** The nth of a list that goes round. */
function at(list: readonly string[], n: number): string {
  const item = list[n % list.length];
  if (item === undefined) throw new Error("There are no images of that kind.");
  return item;
}
