// `npm run bench:glance`: Glimpse as `npm start` runs it beside Debian's Glance, on the same machine and in turn.
// `--help` tells of the options.

import { loadavg } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ImageApi } from "../test/clients/image-api.ts";
import { makeStateDir, startServer } from "../test/clients/server.ts";
import type { SmallCase, Target } from "./case.ts";
import { missingPackages, startGlance, WORKERS } from "./glance-server.ts";
import { measureSmall } from "./small.ts";
import { figure, markdownTable, median, provenance } from "./table.ts";
import { call, MiB, receive, secondsOf, send, sendPieces, serveFiles } from "./transfer.ts";

const USAGE = `Usage: npm run bench:glance -- [options]

  --rounds N      rounds of each case; the table has their medians (3)
  --seconds S     length of a round of small requests (3)
  --size MIB      size of the images; may be given several times (256 and 2048)
  --store NAME    where npm start keeps images: disk or r2 (disk)`;

const { values: options } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "3" },
    size: { type: "string", multiple: true, default: ["256", "2048"] },
    store: { type: "string", default: "disk" },
    help: { type: "boolean", default: false },
  },
});
const rounds = Number(options.rounds);

interface Servers {
  readonly glimpse: Target;
  readonly glance: Target;
  /** A web server that imports read from. */
  readonly sourceUrl: string;
}

/** The ways in which an image gets its data. Glance has no tus, and its imports stay unmeasured. */
const WAYS = ["PUT", "tus", "import"] as const;
type Way = (typeof WAYS)[number];

/** One row: the figures of Glimpse and of Glance, of the same round at the same place. */
interface Row {
  readonly name: string;
  readonly unit: "MiB/s" | "1/s";
  readonly goal?: number;
  readonly glimpse: number[];
  readonly glance: number[];
}

async function create(on: Target): Promise<string> {
  const record = { name: "bench", disk_format: "raw", container_format: "bare" };
  return (await call<{ id: string }>(on, "POST", "/v2/images", record)).id;
}

/** Gives an image its data, and the MiB a second until it is active. */
async function upload(on: Target, id: string, way: Way, sizeMiB: number, sourceUrl: string) {
  const ways = {
    PUT: () => send(on, `/v2/images/${id}/file`, sizeMiB, false),
    tus: async () => {
      await sendResumable(on, id, sizeMiB);
      await untilActive(on, id);
    },
    import: async () => {
      const method = { name: "web-download", uri: `${sourceUrl}/${sizeMiB}` };
      await call(on, "POST", `/v2/images/${id}/import`, { method });
      await untilActive(on, id);
    },
  };
  return sizeMiB / (await secondsOf(ways[way]));
}

/** By tus, in one request. */
async function sendResumable(on: Target, id: string, sizeMiB: number): Promise<void> {
  const tus = { ...on.headers, "tus-resumable": "1.0.0" };
  const made = await fetch(`${on.url}/v2/images/${id}/uploads`, {
    method: "POST",
    headers: { ...tus, "upload-length": String(sizeMiB * MiB) },
  });
  const location = made.headers.get("location");
  if (location === null) throw new Error(`POST uploads: ${made.status} ${await made.text()}`);
  const headers = {
    ...tus,
    "content-type": "application/offset+octet-stream",
    "upload-offset": "0",
  };
  await sendPieces("PATCH", new URL(location, on.url).href, headers, sizeMiB, false);
}

async function untilActive(on: Target, id: string): Promise<void> {
  for (;;) {
    const { status } = await call<{ status: string }>(on, "GET", `/v2/images/${id}`);
    if (status === "active") return;
    if (!["queued", "importing"].includes(status)) throw new Error(`The image is ${status}.`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

/** Each round, both in their turn, and each first as often as last; a round before them warms up. */
async function inTurn(row: Row, glimpse: () => Promise<number>, glance?: () => Promise<number>) {
  const turns: [() => Promise<number>, number[]][] = [[glimpse, row.glimpse]];
  if (glance !== undefined) turns.push([glance, row.glance]);
  for (const [measure] of turns) await measure();
  for (let round = 0; round < rounds; round++) {
    for (const [measure, figures] of round % 2 === 0 ? turns : turns.toReversed()) {
      figures.push(await measure());
    }
  }
  const ratio = glance === undefined ? "" : `, ${ratioOf(row).toFixed(2)} of Glance's`;
  console.error(`${row.name}: ${figure(median(row.glimpse))} ${row.unit}${ratio}`);
  return row;
}

function ratioOf({ glimpse, glance }: Row): number {
  return median(glimpse.map((value, round) => value / (glance[round] ?? Number.NaN)));
}

const newRow = (name: string, unit: Row["unit"], goal?: number): Row => ({
  ...{ name, unit, glimpse: [], glance: [] },
  ...(goal !== undefined && { goal }),
});

/** What there is to say of images of one size. */
async function measureSize(servers: Servers, sizeMiB: number): Promise<Row[]> {
  const { glimpse, glance, sourceUrl } = servers;
  const uploadOnce = async (on: Target, way: Way) => {
    const id = await create(on);
    const rate = await upload(on, id, way, sizeMiB, sourceUrl);
    await call(on, "DELETE", `/v2/images/${id}`);
    return rate;
  };
  const keep = async (on: Target, way: Way) => {
    const id = await create(on);
    await upload(on, id, way, sizeMiB, sourceUrl);
    return id;
  };
  const rows = [
    await inTurn(
      newRow(`${sizeMiB} MiB: PUT`, "MiB/s", 0.7),
      () => uploadOnce(glimpse, "PUT"),
      () => uploadOnce(glance, "PUT"),
    ),
  ];
  for (const way of ["tus", "import"] as const) {
    const row = newRow(`${sizeMiB} MiB: ${way}`, "MiB/s");
    rows.push(await inTurn(row, () => uploadOnce(glimpse, way)));
  }
  const theirs = await keep(glance, "PUT");
  for (const way of WAYS) {
    const ours = await keep(glimpse, way);
    const get = async (on: Target, id: string) =>
      sizeMiB / (await secondsOf(() => receive(on, `/v2/images/${id}/file`, sizeMiB)));
    rows.push(
      await inTurn(
        newRow(`${sizeMiB} MiB: GET, come by ${way}`, "MiB/s", 0.7),
        () => get(glimpse, ours),
        () => get(glance, theirs),
      ),
    );
    const range = async (on: Target, id: string) => {
      const each = rangesOf(id, sizeMiB);
      return (await measureSmall(each, on, false, Number(options.seconds))).perSecond;
    };
    rows.push(
      await inTurn(
        newRow(`${sizeMiB} MiB: ranges of 1 MiB, come by ${way}`, "1/s", 1),
        () => range(glimpse, ours),
        () => range(glance, theirs),
      ),
    );
    await call(glimpse, "DELETE", `/v2/images/${ours}`);
  }
  await call(glance, "DELETE", `/v2/images/${theirs}`);
  return rows;
}

/** Ranges all over an image, which begin anywhere. */
function rangesOf(id: string, sizeMiB: number): SmallCase {
  return requests(`ranges of ${id}`, (n) => {
    const offset = (n * 77_377_777) % ((sizeMiB - 1) * MiB);
    const range = `bytes=${offset}-${offset + MiB - 1}`;
    return { method: "GET", path: `/v2/images/${id}/file`, headers: { range } };
  });
}

function requests(name: string, request: SmallCase["request"]): SmallCase {
  return { kind: "small", name, request, floor: request };
}

/** Show and list, of as many images as both have made for it. */
async function measureMetadata({ glimpse, glance }: Servers): Promise<Row[]> {
  const IMAGES = 100;
  const make = async (on: Target) => {
    const ids: string[] = [];
    for (let n = 0; n < IMAGES; n++) ids.push(await create(on));
    return ids;
  };
  const [ours, theirs] = [await make(glimpse), await make(glance)];
  const rate = async (on: Target, each: SmallCase) =>
    (await measureSmall(each, on, false, Number(options.seconds))).perSecond;
  const show = (ids: readonly string[]) =>
    requests("show", (n) => ({ method: "GET", path: `/v2/images/${ids[n % IMAGES]}` }));
  const list = requests("list", () => ({ method: "GET", path: "/v2/images?limit=25" }));
  return [
    await inTurn(
      newRow("show", "1/s"),
      () => rate(glimpse, show(ours)),
      () => rate(glance, show(theirs)),
    ),
    await inTurn(
      newRow("list of 25", "1/s"),
      () => rate(glimpse, list),
      () => rate(glance, list),
    ),
  ];
}

async function main(): Promise<void> {
  const missing = missingPackages();
  if (missing.length > 0) {
    console.error(
      `${missing.join(" and ")} of Debian must be installed, but need not run:\n\n` +
        `  apt-get install --no-install-recommends ${missing.join(" ")}\n`,
    );
    process.exit(1);
  }
  const state = await makeStateDir();
  try {
    console.error("Glance and what it needs are starting …");
    const glance = await startGlance(state.path);
    const vars = { IMPORT_ALLOW_PRIVATE_ADDRESSES: "true", IMPORT_ALLOWED_PORTS: "" };
    const store = ["--store", options.store];
    const server = await startServer(join(state.path, "glimpse"), vars, store);
    const { token } = await ImageApi.signIn(server.url, "glimpse-admin");
    const glimpse = { name: "Glimpse", url: server.url, headers: { "x-auth-token": token } };
    const source = await serveFiles();
    const servers = { glimpse, glance: glance.target, sourceUrl: source.url };
    const rows: Row[] = [];
    try {
      rows.push(...(await measureMetadata(servers)));
      for (const size of options.size) rows.push(...(await measureSize(servers, Number(size))));
    } finally {
      await server.stop();
      await glance.stop();
    }
    const load = loadavg().map((value) => value.toFixed(1));
    console.log(`${provenance("npm run bench:glance")} Beside it, with ${WORKERS} workers and a`);
    console.log(`file store: ${glance.versions}.`);
    console.log(`Load of the machine at the end, this run included: ${load.join(", ")}.\n`);
    const heads = ["case", "unit", "Glimpse", "Glance", "ratio", "goal"];
    console.log(markdownTable(heads, rows.map(cellsOf)));
  } finally {
    await state.remove();
  }
  process.exit(0);
}

function cellsOf(row: Row): string[] {
  const { name, unit, goal, glimpse, glance } = row;
  const theirs = glance.length === 0 ? ["–", "–"] : [median(glance), ratioOf(row)].map(figure);
  return [name, unit, figure(median(glimpse)), ...theirs, goal?.toFixed(1) ?? ""];
}

if (options.help) console.log(USAGE);
else await main();
