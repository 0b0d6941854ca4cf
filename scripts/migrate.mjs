// @ts-check
// Brings a D1 database up to date with migrations/. `wrangler d1 migrations apply --remote` is not used: it
// sends a file as one query, and D1 cuts that at the semicolons inside of triggers (cloudflare/workers-sdk
// issue 15178). `wrangler d1 execute --file` imports it, all or nothing.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { unstable_readConfig } from "wrangler";
import { createLedger, listApplied, readPending } from "./migrations.mjs";
import { configPath, Refusal, runWrangler } from "./wrangler.mjs";

const usage = `Applies the migrations that a database lacks.

Usage: node scripts/migrate.mjs --remote
       node scripts/migrate.mjs --local [--persist-to DIR]

  --remote           the deployed database that wrangler.toml names
  --local            the database of \`npm start\` on this machine, which must not be running
  --persist-to DIR   its state directory (default .wrangler/state)
`;

const NO_DATABASE_ID = "00000000-0000-0000-0000-000000000000";

/**
 * The arguments that tell wrangler which database is meant.
 * @param {string[]} args
 */
function readTarget(args) {
  const { values } = parseArgs({
    args,
    options: {
      remote: { type: "boolean", default: false },
      local: { type: "boolean", default: false },
      "persist-to": { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return undefined;
  const persistTo = values["persist-to"];
  if (values.remote === values.local) throw new Refusal("Say either --remote or --local.");
  if (values.local) return ["--local", ...(persistTo ? ["--persist-to", resolve(persistTo)] : [])];
  if (persistTo !== undefined) throw new Refusal("--persist-to goes with --local only.");
  /** @type {{ database_id?: string }[]} */
  const databases = unstable_readConfig({ config: configPath }).d1_databases;
  if (databases.some(({ database_id }) => database_id === NO_DATABASE_ID)) {
    throw new Refusal(
      "wrangler.toml names no database yet: put the id that `npx wrangler d1 create glimpse` printed into database_id.",
    );
  }
  return ["--remote"];
}

/** @param {string[]} target */
async function migrate(target) {
  const execute = ["d1", "execute", "DB", ...target];
  const answer = await runWrangler([
    ...execute,
    "--json",
    `--command=${createLedger}; ${listApplied}`,
  ]);
  const applied = JSON.parse(answer).at(-1).results;
  const pending = await readPending(applied);
  if (pending.length === 0) console.log("The database has every migration.");
  const directory = await mkdtemp(join(tmpdir(), "glimpse-migrate-"));
  try {
    for (const { name, sql } of pending) {
      const file = join(directory, name);
      await writeFile(file, sql);
      await runWrangler([...execute, "--yes", `--file=${file}`]);
      console.log(`Applied ${name}.`);
    }
  } finally {
    await rm(directory, { recursive: true });
  }
}

try {
  const target = readTarget(process.argv.slice(2));
  if (target === undefined) console.log(usage);
  else await migrate(target);
} catch (error) {
  const isOption =
    error instanceof TypeError && "code" in error && `${error.code}`.startsWith("ERR_PARSE_ARGS");
  if (isOption) console.error(`${error.message}\n\n${usage}`);
  else console.error(error instanceof Refusal ? error.message : error);
  process.exit(isOption ? 2 : 1);
}
