import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { openDatabase } from "../../../src/db/database.ts";
import {
  changeNamespace,
  deleteNamespace,
  findNamespace,
  insertNamespace,
} from "../../../src/db/metadefs.ts";
import { addParts, assertUnprotected } from "../../../src/domain/metadefs/changes.ts";
import type { NewNamespace, WholeNamespace } from "../../../src/domain/metadefs/namespace.ts";
import { interceptD1 } from "../../support/intercept.ts";

const db = openDatabase(env.DB);

const tag = (name: string) => ({ name, createdAtMs: 0, updatedAtMs: 0 });

async function make(changes: Partial<NewNamespace> = {}): Promise<string> {
  const name = crypto.randomUUID();
  await insertNamespace(db, {
    ...{ name, displayName: null, description: null, visibility: "private", owner: null },
    ...{ isProtected: false, createdAtMs: 0, updatedAtMs: 0 },
    ...{ associations: [], properties: [], objects: [], tags: [], ...changes },
  });
  return name;
}

const present = (found: WholeNamespace | undefined): WholeNamespace => {
  if (found === undefined) throw new Error("there is no such namespace");
  return found;
};
const addTag = (name: string) => (found: WholeNamespace | undefined) =>
  addParts(present(found), "tag", [tag(name)]);

/** A database where something happens behind each of the first reads, before what was read is acted on. */
function interrupted(times: number, interrupt: (nth: number) => Promise<unknown>) {
  let reads = 0;
  return openDatabase(
    interceptD1(env.DB, async ({ statements = [] }, proceed) => {
      const answer = await proceed();
      const isRead = statements.every(({ sql }) => /^select/i.test(sql));
      if (isRead && reads < times) await interrupt(++reads);
      return answer;
    }),
  );
}

describe("a change of a namespace", () => {
  it("is decided on anew when another came between, and both hold", async () => {
    const name = await make();
    const busy = interrupted(2, (nth) => changeNamespace(db, name, addTag(`other ${nth}`)));
    await changeNamespace(busy, name, addTag("mine"));
    const { tags, revision } = present(await findNamespace(db, name));
    expect(tags.map((one) => one.name)).toEqual(["other 1", "other 2", "mine"]);
    expect(revision).toBe(4);
  });

  it("writes what differs, and one row of the table for it", async () => {
    const associations = [{ name: "OS::Test::Kept", createdAtMs: 5, updatedAtMs: 5 }];
    const name = await make({ associations });
    const updates: string[] = [];
    const watched = openDatabase(
      interceptD1(env.DB, ({ statements = [] }, proceed) => {
        updates.push(...statements.map(({ sql }) => sql).filter((sql) => /^update/i.test(sql)));
        return proceed();
      }),
    );
    await changeNamespace(watched, name, addTag("new"));
    await changeNamespace(watched, name, present);
    expect(updates).toHaveLength(1);
    expect(updates[0]).toContain('set "revision" = ?, "tags" = ? where');
    expect(await findNamespace(db, name)).toMatchObject({ associations, tags: [tag("new")] });
  });

  it("MN-23: is refused by what came between", async () => {
    const name = await make();
    const protect = () =>
      changeNamespace(db, name, (found) => ({ ...present(found), isProtected: true }));
    const deletion = deleteNamespace(interrupted(1, protect), name, (found) => {
      assertUnprotected(present(found));
      return present(found);
    });
    await expect(deletion).rejects.toEqual(
      expect.objectContaining({ code: "namespace_protected" }),
    );
    expect(await findNamespace(db, name)).toMatchObject({ isProtected: true });
  });

  it("MN-18: finds nothing when the namespace is deleted meanwhile, be another made by its name", async () => {
    const name = await make();
    const replace = async () => {
      await deleteNamespace(db, name, present);
      await insertNamespace(db, { ...present(await findNamespace(db, await make())), name });
    };
    const seen: number[] = [];
    await changeNamespace(interrupted(1, replace), name, (found) => {
      seen.push(present(found).id);
      return addTag("mine")(found);
    });
    expect(new Set(seen).size).toBe(2);
    const gone = interrupted(1, () => deleteNamespace(db, name, present));
    await expect(changeNamespace(gone, name, addTag("late"))).rejects.toThrow("no such namespace");
  });

  it("gives up with 409 when there is no end of others", async () => {
    const name = await make();
    const busy = interrupted(100, (nth) => changeNamespace(db, name, addTag(`other ${nth}`)));
    const endless = expect.objectContaining({ code: "namespace_changed", status: 409 });
    await expect(changeNamespace(busy, name, addTag("mine"))).rejects.toEqual(endless);
    const { tags } = present(await findNamespace(db, name));
    expect(tags.map((one) => one.name)).not.toContain("mine");
  });

  it("MN-60: keeps what it had when its new name is taken meanwhile", async () => {
    const name = await make();
    const taken = crypto.randomUUID();
    const take = async () =>
      insertNamespace(db, { ...present(await findNamespace(db, name)), name: taken });
    const renaming = changeNamespace(interrupted(1, take), name, (found) => ({
      ...present(found),
      name: taken,
    }));
    const conflict = expect.objectContaining({ code: "metadef_exists", status: 409 });
    await expect(renaming).rejects.toEqual(conflict);
    expect(await findNamespace(db, name)).toMatchObject({ revision: 1 });
  });
});

it("MN-62: a deletion leaves nothing that leads to the namespace", async () => {
  const associations = [{ name: "OS::Test::Gone", createdAtMs: 5, updatedAtMs: 5 }];
  const name = await make({ associations });
  const { id } = present(await findNamespace(db, name));
  const leading = () =>
    env.DB.prepare("SELECT * FROM metadef_associations WHERE namespace_id = ?").bind(id).all();
  expect((await leading()).results).toEqual([
    { resource_type: "OS::Test::Gone", namespace_id: id },
  ]);
  await deleteNamespace(db, name, present);
  expect((await leading()).results).toEqual([]);
});
