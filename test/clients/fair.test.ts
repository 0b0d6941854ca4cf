import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ATTACKS } from "./fair/attackers.ts";
import { limitOf, measureAlone, measureUnder, type Result } from "./fair/pairs.ts";
import { VICTIMS } from "./fair/victims.ts";
import { killServers } from "./server.ts";

// Nobody makes others wait for longer than their own bytes take. `npm run test:fair` has all pairs; these were the worst
// while clients that fell silent could hold the memory of all.

const PAIRS = [
  ["50 × PUT, then nothing", "100 KB by PUT"],
  ["50 × stage in chunks, then 1 byte a second", "20 MiB by stage"],
  ["4 × PUT in chunks, then nothing", "20 MiB by PUT in chunks"],
  ["10 × PUT, then 1 byte a second", "9 MiB by tus"],
  ["10 × tus, then 1 byte in 50 s", "20 MiB by web-download without ranges"],
  ["8 × web-download from a source of 20 KB/s", "1 MiB by PUT in chunks"],
] as const;

function named<T extends { readonly name: string }>(all: readonly T[], name: string): T {
  const found = all.find((one) => one.name === name);
  if (found === undefined) throw new Error(`There is no ${name}.`);
  return found;
}

let aloneSeconds: ReadonlyMap<string, number>;

beforeAll(async () => {
  aloneSeconds = await measureAlone(PAIRS.map(([, victim]) => named(VICTIMS, victim)));
});

afterAll(killServers);

describe("beside clients of another project that are slow or silent", { timeout: 240_000 }, () => {
  it.each(PAIRS)("%s: an image of %s takes hardly longer", async (attackName, victimName) => {
    const victim = named(VICTIMS, victimName);
    const limit = () => limitOf(aloneSeconds.get(victimName) ?? 0);
    let result: Result | undefined;
    await measureUnder(named(ATTACKS, attackName), [victim], limit, (_, end) => {
      result = end;
    });
    expect(result).toMatchObject({ failure: undefined });
  });
});
