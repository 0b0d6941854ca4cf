// `npm run bench:scale`: what lists take in tables of a thousand, a hundred thousand and a million images. Each table has a
// server of its own; a case is asked of all of them in turn, round by round, so that their times can be compared.

import { parseArgs } from "node:util";
import { makeStateDir } from "../test/clients/server.ts";
import { type ListCase, listCases } from "./scale-cases.ts";
import { fill, middleOf } from "./scale-data.ts";
import { type Servers, startServers } from "./servers.ts";
import { figure, markdownTable, median, provenance } from "./table.ts";
import { call, secondsOf } from "./transfer.ts";

const { values: options } = parseArgs({
  options: {
    /** Images, smallest first. */
    sizes: { type: "string", default: "1000,100000,1000000" },
    rounds: { type: "string", default: "40" },
  },
});
const sizes = options.sizes.split(",").map(Number);

/** A table of so many images, behind the server that is on it now. */
interface Table {
  readonly images: number;
  readonly stateDir: string;
  servers: Servers;
  readonly middles: { readonly public: string; readonly own: string };
}

async function makeTable(images: number, stateDir: string): Promise<Table> {
  const servers = await startServers(stateDir, "r2", false);
  await fill(servers.database, images, (done) =>
    process.stderr.write(`\r\u001b[K${images}: ${done}`),
  );
  const own = await middleOf(servers.database, "viewer");
  const middles = { public: await middleOf(servers.database, "public"), own };
  process.stderr.write("\n");
  return { images, stateDir, servers, middles };
}

const pathOf = ({ query }: ListCase, { middles }: Table) => `/v2/images?${query(middles)}`;

/** Milliseconds, by case and table, the medians of all rounds. */
async function timeAll(cases: readonly ListCase[], tables: readonly Table[]): Promise<number[][]> {
  const times: number[][] = [];
  for (const each of cases) {
    const ask = (table: Table) =>
      secondsOf(() => call(table.servers[each.as], "GET", pathOf(each, table)));
    const taken = tables.map((): number[] => []);
    for (const table of tables) await ask(table);
    for (let round = 0; round < Number(options.rounds); round++) {
      for (const [i, table] of tables.entries()) taken[i]?.push(1000 * (await ask(table)));
    }
    times.push(taken.map(median));
    process.stderr.write(`${each.name}: ${times.at(-1)?.map(figure).join(", ")} ms\n`);
  }
  return times;
}

/** Rows read, by case and table. */
async function countAll(cases: readonly ListCase[], tables: readonly Table[]): Promise<number[][]> {
  const rows: number[][] = cases.map(() => []);
  for (const table of tables) {
    await table.servers.stop();
    table.servers = await startServers(table.stateDir, "r2", true);
    for (const [i, each] of cases.entries()) {
      const target = table.servers[each.as];
      await call(target, "DELETE", "/__tally");
      await call(target, "GET", pathOf(each, table));
      rows[i]?.push((await call<{ rowsRead: number }>(target, "GET", "/__tally")).rowsRead);
    }
  }
  return rows;
}

const state = await makeStateDir();
try {
  const tables: Table[] = [];
  for (const size of sizes) tables.push(await makeTable(size, `${state.path}/${size}`));
  const times = await timeAll(listCases, tables);
  const rows = await countAll(listCases, tables);
  for (const { servers } of tables) await servers.stop();
  const named = sizes.map((size) => size.toLocaleString("en"));
  const heads = [
    "list",
    "bound",
    ...named.map((size) => `rows read of ${size}`),
    ...named.map((size) => `ms of ${size}`),
    "last / first",
  ];
  const cells = listCases.map(({ name, limit }, i) => {
    const ms = times[i] ?? [];
    const ratio = (ms.at(-1) ?? Number.NaN) / (ms[0] ?? Number.NaN);
    const bound = `${20 * (limit + 1)}`;
    return [name, bound, ...(rows[i] ?? []).map(String), ...ms.map(figure), ratio.toFixed(2)];
  });
  console.log(`${provenance("npm run bench:scale")}\n\n${markdownTable(heads, cells)}`);
} finally {
  await state.remove();
}
process.exit(0);
