import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { cp, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { D1Api } from "./d1-api.ts";
import { ImageApi } from "./image-api.ts";
import { killServers, makeStateDir, startServer } from "./server.ts";

// What `npm run deploy` does to a database, on a local one; and what is refused before it gets that far.

const root = join(import.meta.dirname, "../..");
let state: Awaited<ReturnType<typeof makeStateDir>>;

beforeEach(async () => {
  state = await makeStateDir();
});

afterEach(async () => {
  await killServers();
  await state.remove();
});

function run(
  script: string,
  args: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<{ code: unknown; output: string }> {
  const command = [resolve(root, script), ...args];
  return new Promise((done) => {
    execFile(process.execPath, command, { env: { ...process.env, ...env } }, (error, ...output) =>
      done({ code: error === null ? 0 : error.code, output: output.join("") }),
    );
  });
}

const migrate = (...args: string[]) => run("scripts/migrate.mjs", args);
const migrateState = () => migrate("--local", "--persist-to", state.path);

/** A checkout whose wrangler.toml names the database. */
async function checkOut(databaseId: string): Promise<void> {
  for (const name of ["scripts", "migrations"]) {
    await cp(join(root, name), join(state.path, name), { recursive: true });
  }
  await symlink(join(root, "node_modules"), join(state.path, "node_modules"));
  const config = await readFile(join(root, "wrangler.toml"), "utf8");
  const named = config.replace(/^database_id = .*$/m, `database_id = "${databaseId}"`);
  await writeFile(join(state.path, "wrangler.toml"), named);
}

const triggers = [
  "cache_entries_deleted",
  "grants_not_negative",
  "image_counts_by_insert",
  "image_counts_by_update",
  "image_members_added",
  "images_deleted",
  "images_described",
  "images_inserted",
  "images_renamed",
  "images_reshared",
  "images_shown",
  "images_tagged",
  "metadef_associations_inserted",
  "metadef_namespaces_associated",
  "metadef_namespaces_deleted",
  "metadef_namespaces_inserted",
  "tasks_counted_by_insert",
  "tasks_counted_by_update",
  "tasks_kept_by_insert",
  "tasks_kept_by_update",
  "uploads_counted",
  "usage_by_insert",
  "usage_by_update",
];

const migrations = readdirSync(join(root, "migrations"))
  .map((file) => file.replace(/\.sql$/, ""))
  .sort();
const applied = migrations.map((name) => `Applied ${name}.sql.\n`).join("");

/** The names of a database's tables or triggers, in order. */
const namesIn = (database: DatabaseSync, type: string) =>
  database
    .prepare("SELECT name FROM sqlite_master WHERE type = ? ORDER BY name")
    .all(type)
    .map(({ name }) => name);

async function namesOf(type: string): Promise<unknown[]> {
  const dir = join(state.path, "v3/d1/miniflare-D1DatabaseObject");
  const files = (await readdir(dir)).filter((name) => /^[0-9a-f]{64}\.sqlite$/.test(name));
  expect(files).toHaveLength(1);
  const database = new DatabaseSync(join(dir, files[0] ?? ""), { readOnly: true });
  const names = namesIn(database, type);
  database.close();
  return names;
}

/** Images of all kinds, as a service of any version would have put them in. */
const SOME_IMAGES = `
  WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
  INSERT INTO images (id, status, visibility, owner, name, hidden, size, created_at, updated_at, tags, properties,
    locations)
  SELECT 'image-' || i, CASE i % 5 WHEN 0 THEN 'deleted' WHEN 1 THEN 'queued' ELSE 'active' END,
    CASE i % 4 WHEN 0 THEN 'public' WHEN 1 THEN 'community' WHEN 2 THEN 'shared' ELSE 'private' END,
    iif(i % 7, 'p' || (i % 3), NULL), iif(i % 6, 'n' || (i % 4), NULL), i % 3 = 0, i, i, i,
    iif(i % 2, '["a","b"]', '[]'), iif(i % 3, '{"os":"x","none":null}', '{}'), '[{"store":"s","key":"k"}]'
  FROM n`;
const SOME_MEMBERS = `
  INSERT INTO image_members (image_id, member_id, status, created_at, updated_at, image_created_at)
  SELECT id, 'm', 'accepted', 0, 0, created_at FROM images WHERE visibility = 'shared'`;

it("migrations make the same of what is there as of what comes after them", async () => {
  const apply = async (database: DatabaseSync, names: readonly string[]) => {
    for (const name of names) {
      database.exec(await readFile(join(root, "migrations", `${name}.sql`), "utf8"));
    }
  };
  const contents = async (before: readonly string[]) => {
    const database = new DatabaseSync(":memory:");
    await apply(database, before);
    database.exec(SOME_IMAGES);
    database.exec(SOME_MEMBERS);
    await apply(database, migrations.slice(before.length));
    const tables = namesIn(database, "table").map((name) => {
      const rows = database.prepare(`SELECT * FROM ${name}`).all();
      return [name, rows.map((row) => JSON.stringify(row)).sort()];
    });
    database.close();
    return Object.fromEntries(tables);
  };
  const fresh = await contents(migrations);
  expect(fresh.image_tags.length).toBeGreaterThan(20);
  expect(fresh.image_counts.length).toBeGreaterThan(5);
  for (let count = 2; count < migrations.length; count++) {
    expect(await contents(migrations.slice(0, count)), `after ${count}`).toEqual(fresh);
  }
});

describe("scripts/migrate.mjs", () => {
  it("makes the tables and triggers once, and a server finds nothing left to do", async () => {
    expect(await migrateState()).toEqual({ code: 0, output: applied });
    const again = { code: 0, output: "The database has every migration.\n" };
    expect(await migrateState()).toEqual(again);
    expect(await namesOf("table")).toEqual(
      expect.arrayContaining([
        ...["images", "image_tags", "image_properties", "image_members", "tasks", "d1_migrations"],
      ]),
    );
    expect(await namesOf("trigger")).toEqual(triggers);

    const server = await startServer(state.path);
    const { id } = await (await ImageApi.signIn(server.url, "glimpse")).create("first");
    await server.stop();
    expect(id).toMatch(/^[0-9a-f-]{36}$/);
    expect(await migrateState()).toEqual(again);
  });

  it("has nothing to do where npm start was first", async () => {
    await (await startServer(state.path)).stop();
    expect((await migrateState()).output).toBe("The database has every migration.\n");
  });

  it("imports into a deployed database, whose queries may hold no triggers", async () => {
    await checkOut("11111111-1111-4111-8111-111111111111");
    const api = new D1Api();
    await api.listen();
    const deploy = () =>
      run(join(state.path, "scripts/migrate.mjs"), ["--remote"], {
        CLOUDFLARE_API_BASE_URL: api.url,
        CLOUDFLARE_API_TOKEN: "token",
        CLOUDFLARE_ACCOUNT_ID: "account",
      });
    const first = await deploy();
    const second = await deploy();
    const made = namesIn(api.database, "trigger");
    api.close();
    expect(first).toEqual({ code: 0, output: applied });
    expect(second).toEqual({ code: 0, output: "The database has every migration.\n" });
    expect(made).toEqual(triggers);
  });

  it("refuses a wrangler.toml that still names no database", async () => {
    await checkOut("00000000-0000-0000-0000-000000000000");
    const { code, output } = await run(join(state.path, "scripts/migrate.mjs"), ["--remote"]);
    expect(code).toBe(1);
    expect(output).toMatch(/^wrangler\.toml names no database yet: .*\n$/);
  });

  it.each([
    [[], "Say either --remote or --local."],
    [["--local", "--remote"], "Say either --remote or --local."],
    [["--remote", "--persist-to", "x"], "--persist-to goes with --local only."],
  ])("refuses %j in one sentence", async (args, sentence) => {
    expect(await migrate(...args)).toEqual({ code: 1, output: `${sentence}\n` });
  });
});

describe("the check of migrations", () => {
  const check = async (sql: string) => {
    await writeFile(join(state.path, "0001_tried.sql"), sql);
    return run(".ci/migrations.mjs", [state.path]);
  };

  it("accepts those that are there", async () => {
    expect(await run(".ci/migrations.mjs")).toMatchObject({ code: 0 });
  });

  it.each([
    "-- it's",
    "CREATE TABLE t ( -- the first; the second",
    '-- a "name"',
    "-- a `name`",
    "-- [tag]",
    "/* a comment */",
    "SELECT CASE WHEN a THEN b END",
    "create trigger t begin",
    "end;",
    "SELECT 'a text that goes on",
  ])("refuses %j", async (line) => {
    const { code, output } = await check(`CREATE TABLE t (a);\n${line}\n`);
    expect(code).toBe(1);
    expect(output).toMatch(/^migrations\/0001_tried\.sql:2: .*\.\n$/);
  });

  it("refuses two of one number", async () => {
    await writeFile(join(state.path, "0001_other.sql"), "SELECT 1;");
    const { code, output } = await check("SELECT 1;");
    expect(code).toBe(1);
    expect(output).toMatch(/^migrations\/0001_tried\.sql: 0001_other\.sql has its number; .*\.\n$/);
  });

  it.each([
    "SELECT 'in case; it''s -- \"[`' -- plain",
    "BEGIN SELECT 1 - 1; END;",
    "-- in any case",
  ])("accepts %j", async (line) => {
    expect(await check(line)).toMatchObject({ code: 0 });
  });
});
