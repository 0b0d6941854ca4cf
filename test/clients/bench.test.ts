import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";

// That the measurements of docs/performance.md can be made again; their figures are for people to judge.

const bench = join(import.meta.dirname, "../../bench");

async function run(script: string, ...args: string[]): Promise<string[][]> {
  const { stdout } = await promisify(execFile)(process.execPath, [join(bench, script), ...args]);
  const lines = stdout.split("\n").filter((line) => line.startsWith("|"));
  return lines.map((line) => line.split("|").map((cell) => cell.trim()));
}

describe("npm run bench", () => {
  it("measures cases against the floor, and counts what they ask for", async () => {
    const [heads = [], , ...rows] = await run(
      "bench.ts",
      ...["--rounds", "1", "--seconds", "1", "--case", "show", "--case", "patch"],
    );
    const cell = (row: number, head: string) => rows[row]?.[heads.indexOf(head)];
    expect(rows.map(([, name]) => name)).toEqual(["show", "patch"]);
    for (const [row, trips, objects] of [
      [0, "1", "0"],
      [1, "2", "1"],
    ] as const) {
      expect(Number(cell(row, "ratio"))).toBeGreaterThan(0);
      expect(cell(row, "D1 trips")).toBe(trips);
      expect(cell(row, "object calls")).toBe(objects);
    }
  });
});

describe("npm run bench:scale", () => {
  it("measures lists in tables of several sizes, none of which reads more than its bound but those that say so", async () => {
    const [, , ...rows] = await run("scale.ts", "--sizes", "1000,3000", "--rounds", "1");
    expect(rows.length).toBeGreaterThan(100);
    const beyond = rows.filter(([, , bound, , large]) => Number(large) > Number(bound));
    for (const [, list] of beyond) expect(list).toMatch(/size_min=1…$/);
  });
});
