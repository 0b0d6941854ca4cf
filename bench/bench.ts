// `npm run bench`: what calls take, beside what the platform itself takes for the same (floor.js), in one workerd and in
// turn. `--help` tells of the options.

import { parseArgs } from "node:util";
import { makeStateDir } from "../test/clients/server.ts";
import type { BytesCase, Case, SmallCase, Target } from "./case.ts";
import { casesFor } from "./cases.ts";
import { prepare, type Servers, startServers } from "./servers.ts";
import { measureSmall, nextRequest } from "./small.ts";
import { figure, markdownTable, median, provenance } from "./table.ts";
import { call } from "./transfer.ts";
import { findWorkerd } from "./workerd.ts";

const USAGE = `Usage: npm run bench -- [options]

  --rounds N      rounds of each case; the table has their medians (3)
  --seconds S     length of a round of small requests (2)
  --case TEXT     only cases with this in their name; may be given several times
  --large         uploads of 2 GiB, too
  --store NAME    where Glimpse keeps images, disk or r2 (r2). The floor of R2's simulator and that of workerd's
                  disk service are measured in either case; the ratio is to that of the same store
  --against URL   another Image API to measure in the same run
  --token TOKEN   a token for that one`;

const { values: options } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "2" },
    case: { type: "string", multiple: true, default: [] },
    large: { type: "boolean", default: false },
    store: { type: "string", default: "r2" },
    against: { type: "string" },
    token: { type: "string", default: "" },
    help: { type: "boolean", default: false },
  },
});

/** What one target took for a case, round by round. */
interface Taken {
  /** Requests or MiB a second. */
  readonly rates: number[];
  readonly p50Ms: number[];
  readonly p99Ms: number[];
  /** CPU time of workerd for a request in ms, or for a GiB in s. */
  readonly cpu: number[];
  readonly peakMiB: number[];
}

async function measure(each: Case, target: Target, isFloor: boolean, taken: Taken): Promise<void> {
  const workerd = findWorkerd();
  workerd?.resetPeak();
  const cpuBefore = workerd?.cpuSeconds() ?? Number.NaN;
  const units = await (each.kind === "small"
    ? measureRequests(each, target, isFloor, taken)
    : measureBytes(each, target, isFloor, taken));
  taken.cpu.push(((workerd?.cpuSeconds() ?? Number.NaN) - cpuBefore) / units);
  taken.peakMiB.push(workerd?.peakMiB() ?? Number.NaN);
}

/** Gives thousands of requests. */
async function measureRequests(each: SmallCase, target: Target, isFloor: boolean, taken: Taken) {
  const round = await measureSmall(each, target, isFloor, Number(options.seconds));
  taken.rates.push(round.perSecond);
  taken.p50Ms.push(round.p50Ms);
  taken.p99Ms.push(round.p99Ms);
  return round.requests / 1000;
}

/** Gives GiB. */
async function measureBytes(each: BytesCase, target: Target, isFloor: boolean, taken: Taken) {
  const seconds = await (isFloor ? each.floor(target) : each.run(target));
  taken.rates.push(each.sizeMiB / seconds);
  taken.p50Ms.push(seconds * 1000);
  return each.sizeMiB / 1024;
}

const newTaken = (): Taken => ({ rates: [], p50Ms: [], p99Ms: [], cpu: [], peakMiB: [] });

interface Measured {
  readonly glimpse: Taken;
  readonly floor: Taken;
  readonly diskFloor: Taken | undefined;
  readonly other: Taken | undefined;
}

const store = options.store === "disk" ? "disk" : "r2";

/** All rounds of a case, each target in its turn and first as often as last; a round before them warms up. */
async function measureInTurn(each: Case, servers: Servers, other?: Target): Promise<Measured> {
  const hasOther = other !== undefined && !(each.kind === "small" && each.isOwn);
  const measured = {
    glimpse: newTaken(),
    floor: newTaken(),
    diskFloor: each.kind === "bytes" || each.isBytes ? newTaken() : undefined,
    other: hasOther ? newTaken() : undefined,
  };
  const turns: [Target, boolean, Taken][] = [
    [servers.glimpse, false, measured.glimpse],
    [servers.floor, true, measured.floor],
  ];
  if (measured.diskFloor !== undefined) {
    turns.push([servers.diskFloor, true, measured.diskFloor]);
  }
  if (hasOther && measured.other !== undefined) turns.push([other, false, measured.other]);
  for (const [target, isFloor] of turns) await measure(each, target, isFloor, newTaken());
  for (let round = 0; round < Number(options.rounds); round++) {
    for (const turn of round % 2 === 0 ? turns : turns.toReversed()) await measure(each, ...turn);
  }
  return measured;
}

interface Tally {
  readonly d1Trips: number;
  readonly rowsRead: number;
  readonly rowsWritten: number;
  readonly storeCalls: number;
  readonly objectCalls: number;
}

/** What a case asks of the bindings when it is done once. */
async function count(each: Case, target: Target): Promise<Tally> {
  await call(target, "DELETE", "/__tally");
  if (each.kind === "bytes") await each.run(target);
  else {
    const { method, path, headers, body } = nextRequest(each, target, false);
    const init = { method, headers: { ...target.headers, ...headers }, body: body ?? null };
    await (await fetch(target.url + path, init)).arrayBuffer();
  }
  return call<Tally>(target, "GET", "/__tally");
}

const HEADS = [
  ...[
    "case",
    "unit",
    "Glimpse",
    "floor",
    "disk's floor",
    "ratio",
    "goal",
    "p50 ms",
    "p99 ms",
    "D1 trips",
  ],
  ...["rows read", "rows written", "store calls", "object calls", "CPU", "floor's CPU", "peak MiB"],
];

/** The floor of what a case asks of. */
function ownFloor({ floor, diskFloor }: Measured): Taken {
  return (store === "disk" ? diskFloor : undefined) ?? floor;
}

function rowOf(each: Case, measured: Measured, tally: Tally): string[] {
  const { glimpse, floor, diskFloor, other } = measured;
  const floorRates = ownFloor(measured).rates;
  const ratios = glimpse.rates.map((rate, round) => rate / (floorRates[round] ?? Number.NaN));
  const [rate, cpu] = each.kind === "small" ? ["req/s", "ms"] : ["MiB/s", "s/GiB"];
  return [
    each.name,
    rate,
    figure(median(glimpse.rates)),
    figure(median(floor.rates)),
    figure(diskFloor && median(diskFloor.rates)),
    median(ratios).toFixed(2),
    each.goal?.toFixed(2) ?? "",
    figure(median(glimpse.p50Ms)),
    figure(median(glimpse.p99Ms)),
    ...[tally.d1Trips, tally.rowsRead, tally.rowsWritten, tally.storeCalls, tally.objectCalls].map(
      String,
    ),
    `${figure(median(glimpse.cpu))} ${cpu}`,
    figure(median(ownFloor(measured).cpu)),
    figure(Math.max(...glimpse.peakMiB)),
    ...(other === undefined ? [] : [figure(median(other.rates))]),
  ];
}

async function main(): Promise<void> {
  const state = await makeStateDir();
  const other = options.against && {
    name: options.against,
    url: options.against.replace(/\/+$/, ""),
    headers: { "x-auth-token": options.token },
  };
  try {
    let servers = await startServers(state.path, store, false);
    const cases = casesFor(await prepare(servers)).filter(
      (each) =>
        (options.large || each.kind === "small" || !each.isLarge) &&
        (options.case.length === 0 || options.case.some((text) => each.name.includes(text))),
    );
    const measured = new Map<Case, Measured>();
    for (const each of cases) {
      const taken = await measureInTurn(each, servers, other || undefined);
      measured.set(each, taken);
      const ratio = median(taken.glimpse.rates) / median(ownFloor(taken).rates);
      console.error(`${each.name}: ${ratio.toFixed(2)} of the floor`);
    }
    await servers.stop();
    servers = await startServers(state.path, store, true);
    const rows: string[][] = [];
    for (const each of cases) {
      const taken = measured.get(each);
      if (taken !== undefined) rows.push(rowOf(each, taken, await count(each, servers.glimpse)));
    }
    await servers.stop();
    const heads = other ? [...HEADS, other.name] : HEADS;
    console.log(
      `${provenance("npm run bench")} CPU and peak memory are those of the whole workerd, the`,
    );
    console.log(
      "simulators of D1 and R2 included; counted is one request, everything behind it too.\n",
    );
    console.log(markdownTable(heads, rows));
  } finally {
    await state.remove();
  }
  process.exit(0);
}

if (options.help) console.log(USAGE);
else await main();
