import { and, asc, eq } from "drizzle-orm";
import { Fault } from "../domain/fault.ts";
import { assertNamespaceFits, assertPartsDistinct } from "../domain/metadefs/changes.ts";
import type { NewNamespace, ResourceType, WholeNamespace } from "../domain/metadefs/namespace.ts";
import type { Database } from "./database.ts";
import { withoutValues } from "./errors.ts";
import { metadefNamespaces, metadefResourceTypes } from "./schema.ts";

/*
 * A namespace is one row with everything in it (docs/decisions/0002-metadefs-in-one-row.md). A change is read, decided on
 * and written under the revision it was decided on, so it is whole or not there, and none is lost to another.
 */

type NamespaceRow = typeof metadefNamespaces.$inferSelect;
type NewRow = Omit<NamespaceRow, "id" | "revision">;

/** A namespace by its name, whoever may see it. */
export async function findNamespace(
  db: Database,
  name: string,
): Promise<WholeNamespace | undefined> {
  const [row] = await db.select().from(metadefNamespaces).where(eq(metadefNamespaces.name, name));
  return row && namespaceFromRow(row);
}

/** Stores a new namespace with everything in it. Throws `metadef_exists`, and `quota_exceeded` for too much. */
export async function insertNamespace(db: Database, namespace: NewNamespace): Promise<void> {
  assertPartsDistinct(namespace);
  assertNamespaceFits(namespace);
  await write(namespace.name, () =>
    db.insert(metadefNamespaces).values({ ...rowFromNamespace(namespace), revision: 1 }),
  );
}

/**
 * Changes a namespace. `decide` is given what is there under the name, and throws what it refuses; what it gives back is
 * written, unless another change came between: then it is asked again. Throws `metadef_exists` when the new name is
 * taken, `quota_exceeded` for too much in it, and `namespace_changed` when there is no end of other changes.
 */
export async function changeNamespace(
  db: Database,
  name: string,
  decide: (found: WholeNamespace | undefined) => WholeNamespace,
): Promise<WholeNamespace> {
  return repeat(name, async () => {
    const before = await findNamespace(db, name);
    const after = decide(before);
    if (before === undefined || after === before) return after;
    assertNamespaceFits(after);
    const revision = after.revision + 1;
    const written = await write(after.name, () =>
      db
        .update(metadefNamespaces)
        .set({ ...changedColumns(before, after), revision })
        .where(isAsDecidedOn(after))
        .returning({ id: metadefNamespaces.id }),
    );
    return written.length === 0 ? undefined : { ...after, revision };
  });
}

/** Deletes a namespace with everything in it; `decide` as for a change, and what it gives back goes. */
export async function deleteNamespace(
  db: Database,
  name: string,
  decide: (found: WholeNamespace | undefined) => WholeNamespace,
): Promise<void> {
  await repeat(name, async () => {
    const namespace = decide(await findNamespace(db, name));
    const deleted = await db
      .delete(metadefNamespaces)
      .where(isAsDecidedOn(namespace))
      .returning({ id: metadefNamespaces.id });
    return deleted.length === 0 ? undefined : namespace;
  });
}

/** All resource types by name: the migration bounds how many there are. */
export async function listResourceTypes(db: Database): Promise<readonly ResourceType[]> {
  const rows = await db.select().from(metadefResourceTypes).orderBy(asc(metadefResourceTypes.name));
  return rows.map(({ name, createdAt, updatedAt }) => ({
    name,
    createdAtMs: createdAt,
    updatedAtMs: updatedAt,
  }));
}

/** Far more than people who edit one namespace at the same time come to. */
const MAX_TRIES = 5;

async function repeat<T>(name: string, attempt: () => Promise<T | undefined>): Promise<T> {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const done = await attempt();
    if (done !== undefined) return done;
  }
  throw new Fault("namespace_changed", { name });
}

/** What differs of a row: an index is written for each column that is set, be it to what it was. */
function changedColumns(before: WholeNamespace, after: WholeNamespace): Partial<NewRow> {
  const old = new Map<string, unknown>(Object.entries(rowFromNamespace(before)));
  const changed = Object.entries(rowFromNamespace(after)).filter(
    ([name, value]) => old.get(name) !== value,
  );
  return Object.fromEntries(changed);
}

function isAsDecidedOn({ id, revision }: WholeNamespace) {
  return and(eq(metadefNamespaces.id, id), eq(metadefNamespaces.revision, revision));
}

/** Says in our words what the table's constraints refuse. */
async function write<T>(name: string, statement: () => PromiseLike<T>): Promise<T> {
  try {
    return await statement();
  } catch (error) {
    const bare = withoutValues(error);
    const message = bare instanceof Error ? bare.message : "";
    if (message.includes("UNIQUE constraint failed: metadef_namespaces.name")) {
      throw new Fault("metadef_exists", { kind: "namespace", name }, error);
    }
    if (message.includes("too many resource types")) {
      const what = "resource types";
      throw new Fault("quota_exceeded", { attempted: 1001, what, maximum: 1000 }, error);
    }
    throw error;
  }
}

/** A namespace from all of its row. */
export function namespaceFromRow(row: NamespaceRow): WholeNamespace {
  const { protected: isProtected, createdAt, updatedAt, ...same } = row;
  return { ...same, isProtected, createdAtMs: createdAt, updatedAtMs: updatedAt };
}

function rowFromNamespace(namespace: NewNamespace): NewRow {
  const { name, displayName, description, visibility, owner } = namespace;
  const { associations, tags, properties, objects } = namespace;
  return {
    ...{ name, displayName, description, visibility, owner },
    protected: namespace.isProtected,
    createdAt: namespace.createdAtMs,
    updatedAt: namespace.updatedAtMs,
    ...{ associations, tags, properties, objects },
  };
}
