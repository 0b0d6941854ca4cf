import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readDefinition } from "../../cli/definitions.mjs";
import { Commands } from "./commands.ts";
import { Dashboard } from "./dashboard.ts";
import { cellOf, glanceEnvironment } from "./glance.ts";
import { Glimpse } from "./glimpse.ts";
import { ImageApi } from "./image-api.ts";
import { killServers, makeStateDir, type Server, startServer } from "./server.ts";

/*
 * Metadata definitions by those who use them: the operator's loader, Debian's `glance md-*`, and Horizon's own code. The
 * 33 files are those of Debian's glance-common.
 */

const SHIPPED = "/etc/glance/metadefs";

let server: Server;
let commands: Commands;
let state: Awaited<ReturnType<typeof makeStateDir>>;
let glimpse: Glimpse;

beforeAll(async () => {
  state = await makeStateDir();
  server = await startServer(state.path);
  commands = new Commands({});
  glimpse = new Glimpse(state.path, {
    OS_CLIENT_CONFIG_FILE: server.cloudsPath,
    OS_CLOUD: "glimpse-admin",
  });
});

afterAll(async () => {
  commands?.close();
  await killServers();
  await state?.remove();
});

interface Outcome {
  readonly file: string;
  readonly namespace: string;
  readonly result: string;
  readonly properties: number;
  readonly objects: number;
  readonly reason?: string;
}

const load = (...args: string[]) => glimpse.succeed<Outcome[]>("metadefs", "load", ...args);
const resultsOf = (outcomes: readonly Outcome[]) => outcomes.map(({ result }) => result);

/** Writes a file of definitions and gives its path. */
async function put(name: string, content: unknown): Promise<string> {
  const path = join(state.path, name);
  await mkdir(join(path, ".."), { recursive: true });
  await writeFile(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
}

/** What a namespace has now, as a file would say it. */
async function shown(namespace: string): Promise<Record<string, unknown>> {
  const api = await ImageApi.signIn(server.url, "glimpse-admin");
  const url = `${server.url}/v2/metadefs/namespaces/${encodeURIComponent(namespace)}`;
  const response = await fetch(url, { headers: { "x-auth-token": api.token } });
  if (!response.ok) throw new Error(`${namespace}: ${response.status}`);
  const { owner, ...definition } = readDefinition(await response.json());
  return definition;
}

const text = (title: string) => ({ title, type: "string" });

describe("glimpse metadefs", () => {
  const first = {
    namespace: "Test::Loaded",
    description: "First",
    protected: true,
    resource_type_associations: [{ name: "OS::Glance::Image", prefix: "t_" }],
    properties: { colour: { ...text("Colour"), default: 5, enum: ["a", 1] } },
    objects: [{ name: "box", required: ["width"], properties: { width: text("Width") } }],
    tags: [{ name: "one" }],
  };
  const second = {
    ...first,
    description: "Second",
    resource_type_associations: [{ name: "OS::Glance::Image", prefix: "u_" }],
    properties: { colour: text("Color"), depth: text("Depth") },
    objects: [{ name: "bag" }],
    tags: [{ name: "two" }],
  };

  it("loads a file once, says first what it would do, and keeps what is there", async () => {
    const path = await put("first.json", first);
    expect(resultsOf(await load(path, "--dry-run"))).toEqual(["made"]);
    await expect(shown("Test::Loaded")).rejects.toThrow("404");
    expect(await load(path)).toEqual([
      { file: path, namespace: "Test::Loaded", result: "made", properties: 1, objects: 1, tags: 1 },
    ]);
    expect(await shown("Test::Loaded")).toEqual({ ...first, visibility: "public" });
    expect(resultsOf(await load(await put("second.json", second)))).toEqual(["kept"]);
    expect(await shown("Test::Loaded")).toMatchObject({ description: "First" });
  });

  it("merges: what is missing comes, and with --prefer-new what differs changes", async () => {
    const path = await put("second.json", second);
    expect(resultsOf(await load(path, "--merge", "--dry-run"))).toEqual(["changed"]);
    expect(await shown("Test::Loaded")).toEqual({ ...first, visibility: "public" });
    expect(resultsOf(await load(path, "--merge"))).toEqual(["changed"]);
    expect(resultsOf(await load(path, "--merge"))).toEqual(["kept"]);
    const bag = { name: "bag", required: [], properties: {} };
    expect(await shown("Test::Loaded")).toMatchObject({
      description: "First",
      resource_type_associations: first.resource_type_associations,
      properties: { colour: first.properties.colour, depth: text("Depth") },
      objects: [...first.objects, bag],
      tags: [{ name: "two" }, { name: "one" }],
    });
    expect(resultsOf(await load(path, "--merge", "--prefer-new"))).toEqual(["changed"]);
    expect(resultsOf(await load(path, "--merge", "--prefer-new"))).toEqual(["kept"]);
    expect(await shown("Test::Loaded")).toMatchObject({
      description: "Second",
      protected: true,
      resource_type_associations: second.resource_type_associations,
      properties: second.properties,
    });
  });

  it("overwrites a namespace, protected as it is", async () => {
    const path = await put("first.json", first);
    expect(resultsOf(await load(path, "--overwrite", "--dry-run"))).toEqual(["replaced"]);
    expect(await shown("Test::Loaded")).toMatchObject({ description: "Second" });
    expect(resultsOf(await load(path, "--overwrite"))).toEqual(["replaced"]);
    expect(await shown("Test::Loaded")).toEqual({ ...first, visibility: "public" });
    expect(resultsOf(await load(path, "--overwrite"))).toEqual(["kept"]);
  });

  it("loads what is right of a directory, says what is not, and ends with an error", async () => {
    await put("mixed/a.json", "{");
    await put("mixed/b.json", { namespace: "Test::Refused", properties: { p: {} } });
    await put("mixed/c.json", { namespace: "Test::Good", display_name: null, visibility: null });
    await put("mixed/d.txt", "nothing of ours");
    await put("mixed/e.json", { objects: [] });
    const path = join(state.path, "mixed");
    const { code, stdout, stderr } = await glimpse.run("metadefs", "load", path, "--json", "-q");
    expect(code).toBe(5);
    expect(resultsOf(JSON.parse(stdout))).toEqual(["failed", "failed", "made", "failed"]);
    expect(stderr).toContain("a.json: No JSON");
    expect(stderr).toContain("b.json: Invalid value for the body: properties: p:");
    expect(stderr).toContain("3 of 4 files were not loaded.");
    expect(await shown("Test::Good")).toMatchObject({ visibility: "public" });
  });

  it("lets nobody but an administrator load, and everybody list what is public", async () => {
    const path = await put("other.json", { namespace: "Test::Other" });
    const { code, stderr } = await glimpse.run("metadefs", "load", path, "--os-cloud", "glimpse");
    expect(code).toBe(3);
    expect(stderr).toContain("add_metadef_namespace");
    const listed = await glimpse.run("metadefs", "list", "--os-cloud", "glimpse-other");
    expect(listed.stdout).toMatch(/^Test::Loaded +public +yes +\S+ +OS::Glance::Image$/m);
  });

  it("loads all that Debian ships, twice the same, and saves it as it was", async () => {
    const made = await load(SHIPPED);
    expect(resultsOf(made)).toEqual(Array.from({ length: 33 }, () => "made"));
    const total = (of: (outcome: Outcome) => number) => made.map(of).reduce((a, b) => a + b);
    expect([total(({ properties }) => properties), total(({ objects }) => objects)]).toEqual([
      132, 23,
    ]);
    for (const options of [[], ["--merge"], ["--merge", "--prefer-new"], ["--overwrite"]]) {
      expect(new Set(resultsOf(await load(SHIPPED, ...options)))).toEqual(new Set(["kept"]));
    }
    const directory = join(state.path, "saved");
    await glimpse.succeed("metadefs", "export", directory);
    const saved = new Map<string, unknown>();
    for (const name of await readdir(directory)) {
      const definition = readDefinition(JSON.parse(await readFile(join(directory, name), "utf8")));
      saved.set(definition.namespace, definition);
    }
    let described = 0;
    for (const name of await readdir(SHIPPED)) {
      const given = readDefinition(JSON.parse(await readFile(join(SHIPPED, name), "utf8")));
      expect(saved.get(given.namespace), name).toEqual(given);
      for (const { properties } of given.objects) described += Object.keys(properties ?? {}).length;
    }
    expect(described).toBe(63);
    expect(new Set(resultsOf(await load(directory, "--overwrite")))).toEqual(new Set(["kept"]));
  });

  it("shows the properties of images, and all there is of them, in one call", async () => {
    const { token } = await ImageApi.signIn(server.url, "glimpse-reader");
    const query = "resource_types=OS::Glance::Image&include=properties,objects,tags&limit=50";
    const response = await fetch(`${server.url}/v2/metadefs/namespaces?${query}`, {
      headers: { "x-auth-token": token },
    });
    const { namespaces } = (await response.json()) as {
      namespaces: { namespace: string; properties?: object; objects?: object[] }[];
    };
    const shipped = namespaces.filter(({ namespace }) => !namespace.startsWith("Test"));
    expect(shipped).toHaveLength(21);
    for (const { properties, objects } of shipped) expect(properties ?? objects).toBeTruthy();
  });
});

describe("glance md-*", () => {
  const NS = "Md::a b";
  const glance = (...args: string[]) =>
    commands.succeed(["glance", ...args], { env: glanceEnvironment(server, "glimpse-admin") });
  const refused = (...args: string[]) =>
    commands.fail(["glance", ...args], { env: glanceEnvironment(server, "glimpse-admin") });
  /** The first cells of a table's rows. */
  const rowsOf = (table: string) =>
    table
      .split("\n")
      .filter((line) => line.startsWith("|"))
      .slice(1)
      .map((line) => line.split("|")[1]?.trim());

  it("namespaces: create, import, show, list, update", async () => {
    const made = await glance(
      "md-namespace-create",
      NS,
      "--description",
      "A test",
      "--visibility",
      "private",
    );
    expect(cellOf(made, "namespace")).toBe(NS);
    const file = await put("import.json", {
      namespace: "Md::Imported",
      ...{ properties: { p: text("P") } },
    });
    expect(await glance("md-namespace-import", "--file", file)).toContain("Md::Imported");
    expect(cellOf(await glance("md-namespace-show", NS), "description")).toBe("A test");
    const listed = rowsOf(await glance("md-namespace-list", "--page-size", "5"));
    expect(listed.filter((name) => !name?.startsWith("Md::"))).not.toHaveLength(0);
    expect(listed.length).toBe(new Set(listed).size);
    expect(listed).toEqual(expect.arrayContaining([NS, "Md::Imported", "OS::Software::DBMS"]));
    const updated = await glance(
      "md-namespace-update",
      NS,
      "--visibility",
      "public",
      "--protected",
      "False",
    );
    expect(cellOf(updated, "visibility")).toBe("public");
    expect(cellOf(updated, "description")).toBe("A test");
    expect(rowsOf(await glance("md-namespace-list", "--visibility", "public"))).toContain(NS);
  });

  it("resource types: associate, list, deassociate", async () => {
    const options = [
      "--name",
      "OS::Glance::Image",
      "--prefix",
      "md_",
      "--properties-target",
      "image",
    ];
    expect(await glance("md-resource-type-associate", NS, ...options)).toContain("md_");
    expect(await refused("md-resource-type-associate", NS, ...options)).toContain("409");
    expect(await glance("md-namespace-resource-type-list", NS)).toContain("OS::Glance::Image");
    expect(rowsOf(await glance("md-resource-type-list"))).toContain("OS::Glance::Image");
    const filtered = await glance("md-namespace-list", "--resource-types", "OS::Glance::Image");
    expect(rowsOf(filtered)).toContain(NS);
    await glance("md-resource-type-deassociate", NS, "OS::Glance::Image");
    expect(await glance("md-namespace-resource-type-list", NS)).not.toContain("OS::Glance::Image");
  });

  it("properties: create, show, list, update, delete, delete all", async () => {
    const schema = JSON.stringify({ type: "integer", default: 5, minimum: 1 });
    const options = ["--name", "colour", "--title", "Colour", "--schema", schema];
    expect(cellOf(await glance("md-property-create", NS, ...options), "name")).toBe("colour");
    expect(cellOf(await glance("md-property-show", NS, "colour"), "default")).toBe("5");
    expect(rowsOf(await glance("md-property-list", NS))).toEqual(["colour"]);
    const renamed = ["md-property-update", NS, "colour", "--name", "color", "--title", "Color"];
    expect(cellOf(await glance(...renamed), "title")).toBe("Color");
    expect(await refused("md-property-show", NS, "colour")).toContain("404");
    await glance("md-property-delete", NS, "color");
    await glance("md-property-create", NS, ...options);
    await glance("md-namespace-properties-delete", NS);
    expect(rowsOf(await glance("md-property-list", NS))).toEqual([]);
  });

  it("objects: create, show, list, update, show a property, delete, delete all", async () => {
    const schema = JSON.stringify({
      description: "A box",
      properties: { width: text("Width") },
      required: ["width"],
    });
    const options = ["--name", "box", "--schema", schema];
    expect(cellOf(await glance("md-object-create", NS, ...options), "name")).toBe("box");
    expect(cellOf(await glance("md-object-show", NS, "box"), "description")).toBe("A box");
    expect(cellOf(await glance("md-object-property-show", NS, "box", "width"), "title")).toBe(
      "Width",
    );
    expect(rowsOf(await glance("md-object-list", NS))).toEqual(["box"]);
    expect(cellOf(await glance("md-object-update", NS, "box", "--name", "bag"), "name")).toBe(
      "bag",
    );
    await glance("md-object-delete", NS, "bag");
    expect(await refused("md-object-show", NS, "bag")).toContain("404");
    await glance("md-object-create", NS, ...options);
    await glance("md-namespace-objects-delete", NS);
    expect(rowsOf(await glance("md-object-list", NS))).toEqual([]);
  });

  it("tags: create, create many, append, show, list, update, delete, delete all", async () => {
    expect(cellOf(await glance("md-tag-create", NS, "--name", "one"), "name")).toBe("one");
    await glance("md-tag-create-multiple", NS, "--names", "two,three");
    expect(rowsOf(await glance("md-tag-list", NS))).toEqual(["three", "two"]);
    // This one stumbles over its own header before anything is sent; test/worker/metadef-tags.test.ts sends it.
    const more = ["md-tag-create-multiple", NS, "--names", "four;five", "--delim", ";"];
    expect(await refused(...more, "--append")).toContain("quote_from_bytes");
    expect(cellOf(await glance("md-tag-show", NS, "two"), "name")).toBe("two");
    expect(cellOf(await glance("md-tag-update", NS, "two", "--name", "zwei"), "name")).toBe("zwei");
    await glance("md-tag-delete", NS, "zwei");
    expect(await refused("md-tag-show", NS, "zwei")).toContain("404");
    await glance("md-namespace-tags-delete", NS);
    expect(rowsOf(await glance("md-tag-list", NS))).toEqual([]);
  });

  it("shows the properties of a namespace with a resource type's prefix, and deletes it", async () => {
    const typed = [
      "md-namespace-show",
      "OS::Compute::Watchdog",
      "--resource-type",
      "OS::Glance::Image",
    ];
    expect(await glance(...typed)).toContain("hw_watchdog_action");
    await glance("md-namespace-delete", NS);
    expect(await refused("md-namespace-show", NS)).toContain("404");
    const reader = { env: glanceEnvironment(server, "glimpse-reader") };
    const denied = ["glance", "md-namespace-delete", "OS::Compute::Watchdog"];
    expect(await commands.fail(denied, reader)).toContain("403");
  });

  it("has had each of its 30 commands run above", async () => {
    const help = await glance("help");
    const all = new Set(help.match(/\bmd-[a-z-]+/g));
    const run = new Set(
      (await readFile(import.meta.filename, "utf8")).match(/(?<=")md-[a-z-]+(?=")/g),
    );
    expect(all.size).toBe(30);
    expect([...all].filter((name) => !run.has(name))).toEqual([]);
  });
});

describe("Horizon", () => {
  let admin: Dashboard;
  let reader: Dashboard;

  beforeAll(async () => {
    const dashboard = async (cloud: string) =>
      new Dashboard(server.url, (await ImageApi.signIn(server.url, cloud)).token, 10);
    admin = await dashboard("glimpse-admin");
    reader = await dashboard("glimpse-reader");
  });

  afterAll(() => {
    admin?.close();
    reader?.close();
  });

  const ask = async (dashboard: Dashboard, name: string, args: unknown[] = [], kwargs = {}) => {
    const { value, error } = await dashboard.call(name, args, kwargs);
    if (error !== undefined) throw new Error(`${name}: ${error}`);
    return value;
  };
  type Named = { namespace: string };

  it("fills its metadata widget for images, flavors and volumes, as a project's reader", async () => {
    for (const [type, count] of [
      ["OS::Glance::Image", 21],
      ["OS::Nova::Flavor", 17],
      ["OS::Cinder::Volume", 12],
    ] as const) {
      const [items] = await ask(reader, "metadefs_namespace_full_list", [type]);
      const shipped = items.filter(({ namespace }: Named) => !namespace.startsWith("Test::"));
      expect(shipped.length, type).toBe(count);
    }
    const watchdog = ["OS::Compute::Watchdog", "OS::Glance::Image"];
    const { properties } = await ask(reader, "metadefs_namespace_get", watchdog);
    expect(Object.keys(properties)).toEqual(["hw_watchdog_action"]);
    const target = { resource_types: ["OS::Cinder::Volume"], properties_target: "image" };
    const [targeted] = await ask(reader, "metadefs_namespace_list", [target]);
    expect(targeted.length).toBeGreaterThan(0);
  });

  it("pages through its admin panel, forward and back", async () => {
    const page = (kwargs: object) =>
      ask(admin, "metadefs_namespace_list", [], { paginate: true, ...kwargs });
    const walked: string[] = [];
    let marker: string | undefined;
    for (let hasMore = true; hasMore; ) {
      const [items, more] = await page(marker === undefined ? {} : { marker });
      walked.push(...items.map(({ namespace }: Named) => namespace));
      marker = walked.at(-1);
      hasMore = more;
    }
    expect(walked.length).toBeGreaterThanOrEqual(33);
    expect(walked).toEqual([...new Set(walked)].sort());
    const [back] = await page({ marker: walked[20], sort_dir: "desc" });
    expect(back.map(({ namespace }: Named) => namespace)).toEqual(walked.slice(10, 20).reverse());
  });

  it("makes a pasted namespace, changes it with all that it has, and deletes it", async () => {
    const pasted = {
      ...{ namespace: "Hz::Pasted", display_name: "Pasted", description: "By hand" },
      properties: { colour: { ...text("Colour"), default: 5 } },
      objects: [{ name: "box", properties: { width: text("Width") } }],
      tags: [{ name: "one" }],
    };
    expect(await ask(admin, "metadefs_namespace_create", [pasted])).toMatchObject(pasted);
    const change = { visibility: "public", protected: true };
    const changed = await ask(admin, "metadefs_namespace_update", ["Hz::Pasted"], change);
    expect(changed).toMatchObject({
      ...change,
      properties: pasted.properties,
      display_name: "Pasted",
    });
    const { status } = await admin.call("metadefs_namespace_delete", ["Hz::Pasted"]);
    expect(status).toBe(403);
    await ask(admin, "metadefs_namespace_update", ["Hz::Pasted"], { protected: false });
    await ask(admin, "metadefs_namespace_delete", ["Hz::Pasted"]);
    expect((await admin.call("metadefs_namespace_get", ["Hz::Pasted"])).status).toBe(404);
  });

  it("associates resource types", async () => {
    const types = await ask(admin, "metadefs_resource_types_list");
    expect(types.map(({ name }: { name: string }) => name)).toContain("OS::Nova::Server");
    await ask(admin, "metadefs_namespace_create", [{ namespace: "Hz::Typed" }]);
    const association = { name: "OS::Nova::Server", prefix: "hz_", properties_target: "metadata" };
    await ask(admin, "metadefs_namespace_add_resource_type", ["Hz::Typed", association]);
    const [listed] = await ask(admin, "metadefs_namespace_resource_types", ["Hz::Typed"]);
    expect(listed).toMatchObject(association);
    const gone = ["Hz::Typed", "OS::Nova::Server"];
    await ask(admin, "metadefs_namespace_remove_resource_type", gone);
    expect(await ask(admin, "metadefs_namespace_resource_types", ["Hz::Typed"])).toEqual([]);
  });
});
