// `npm run test:fair`: one project attacks, another is measured, each pair of them. Prints a table, and fails when a
// victim does not get its image within 10 s more than three times what it takes alone.
//
//   --attack REGEX, --victim REGEX   only those whose names match
//   --honest                         only the clients that are slow because their line is
//   --limit SECONDS                  gives every victim so long, in place of its own limit
//   --list                           prints the names

import { parseArgs } from "node:util";
import { ATTACKS } from "./fair/attackers.ts";
import { measureHonest } from "./fair/honest.ts";
import { limitOf, measureAlone, measureUnder } from "./fair/pairs.ts";
import { VICTIMS } from "./fair/victims.ts";
import { killServers } from "./server.ts";

const { values } = parseArgs({
  options: {
    attack: { type: "string", default: "" },
    victim: { type: "string", default: "" },
    limit: { type: "string" },
    honest: { type: "boolean", default: false },
    list: { type: "boolean", default: false },
  },
});

const chosen = <T extends { readonly name: string }>(all: readonly T[], pattern: string) =>
  all.filter(({ name }) => new RegExp(pattern).test(name));
const attacks = values.honest ? [] : chosen(ATTACKS, values.attack);
const victims = chosen(VICTIMS, values.victim);

if (values.list) {
  for (const { name } of [...ATTACKS, ...VICTIMS]) console.log(name);
  process.exit();
}

const row = (...cells: readonly string[]) => console.log(`| ${cells.join(" | ")} |`);
let failures = 0;
let pairs = 0;

const startedAtMs = performance.now();
try {
  const alone = attacks.length > 0 ? await measureAlone(victims) : new Map<string, number>();
  row("attacker", "victim", "alone, s", "under attack, s", "limit, s", "verdict");
  row("---", "---", "---", "---", "---", "---");
  for (const attack of attacks) {
    const aloneOf = (name: string) => alone.get(name) ?? Number.NaN;
    const limit = (name: string) => Number(values.limit ?? limitOf(aloneOf(name)));
    const fate = await measureUnder(
      attack,
      victims,
      ({ name }) => limit(name),
      ({ name }, { seconds, failure }) => {
        pairs += 1;
        if (failure !== undefined) failures += 1;
        const times = [aloneOf(name), seconds, limit(name)].map((time) => time.toFixed(1));
        row(attack.name, name, ...times, failure ?? "ok");
      },
    );
    console.error(`${attack.name}: ${fate}`);
  }
  const isWhole = values.attack === "" && values.victim === "";
  for (const { name, beside, seconds, limitSeconds, failure } of isWhole
    ? await measureHonest()
    : []) {
    pairs += 1;
    if (failure !== undefined) failures += 1;
    row(beside, name, "", seconds.toFixed(1), limitSeconds.toFixed(1), failure ?? "ok");
  }
} finally {
  await killServers();
}
const minutes = (performance.now() - startedAtMs) / 60_000;
console.log(`\n${pairs} pairs in ${minutes.toFixed(1)} minutes, ${failures} of them failed.`);
process.exit(failures === 0 ? 0 : 1);
