// `npm run test:throughput`: uploads to a server that inspects data and to one that does not, in turn, and prints the
// rates and their ratio.

import { ImageApi } from "./image-api.ts";
import { makeStateDir, startServer } from "./server.ts";
import { MiB, makeBytes } from "./test-data.ts";

const sizeMiB = Number(process.argv[2] ?? 64);
const rounds = Number(process.argv[3] ?? 21);

const SETTINGS = { inspected: {}, "not inspected": { INSPECT_FORMATS: "" } };
type Kind = keyof typeof SETTINGS;
const kinds = Object.keys(SETTINGS) as Kind[];

const median = (values: readonly number[]) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

const state = await makeStateDir();
const rates: Record<Kind, number[]> = { inspected: [], "not inspected": [] };
try {
  const [on, off] = await Promise.all([
    startServer(`${state.path}/on`, SETTINGS.inspected),
    startServer(`${state.path}/off`, SETTINGS["not inspected"]),
  ]);
  const apis: Record<Kind, ImageApi> = {
    inspected: await ImageApi.signIn(on.url, "glimpse"),
    "not inspected": await ImageApi.signIn(off.url, "glimpse"),
  };
  for (let round = 0; round <= rounds; round++) {
    // In turn, and each first as often as the other.
    for (const kind of round % 2 === 0 ? kinds : kinds.toReversed()) {
      const api = apis[kind];
      const { id } = await api.create("throughput");
      const startedAtMs = performance.now();
      const status = await api.upload(id, makeBytes(sizeMiB), sizeMiB * MiB);
      const seconds = (performance.now() - startedAtMs) / 1000;
      if (status !== 204) throw new Error(`The upload was answered with ${status}.`);
      await api.delete(id);
      // The first round warms the servers up.
      if (round > 0) rates[kind].push(sizeMiB / seconds);
    }
  }
  await Promise.all([on.stop(), off.stop()]);
} finally {
  await state.remove();
}
for (const kind of kinds) {
  console.log(
    `${kind}: ${median(rates[kind]).toFixed(1)} MiB/s, of ${rounds} uploads of ${sizeMiB} MiB`,
  );
}
const ratios = rates.inspected.map((rate, round) => rate / (rates["not inspected"][round] ?? 1));
console.log(`ratio: ${median(ratios).toFixed(3)}, the median of the rounds`);
