import { execFileSync } from "node:child_process";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Glimpse } from "../clients/glimpse.ts";
import { makeStateDir } from "../clients/server.ts";
import { HostileService } from "./hostile-service.ts";

// `glimpse metadefs` against a service that means harm or is in trouble.

const NAMESPACES = "/v2/metadefs/namespaces";

let service: HostileService;
let root: Awaited<ReturnType<typeof makeStateDir>>;
let home: string;
let glimpse: Glimpse;

beforeEach(async () => {
  service = await HostileService.start();
  root = await makeStateDir();
  home = join(root.path, "home");
  await mkdir(home);
  glimpse = new Glimpse(home, {
    ...{ OS_AUTH_URL: `${service.url}/identity/v3`, OS_USERNAME: "u", OS_PASSWORD: "p" },
    OS_PROJECT_NAME: "p",
  });
});

afterEach(async () => {
  await service.close();
  await root.remove();
});

const writes = () =>
  service.requests.filter(({ path, method }) => path.startsWith(NAMESPACES) && method !== "GET");

describe("glimpse metadefs export", () => {
  const files = async () =>
    (await readdir(root.path, { recursive: true })).filter((name) => name.endsWith("json")).sort();

  it("writes nowhere but into its directory, whatever the namespaces are called", async () => {
    const names = [
      "OS::A",
      "OS__A",
      "os__a",
      "../../up",
      "/etc/x",
      ".hidden",
      "-rf",
      "a\u202eb",
      "n".repeat(300),
      " ",
    ];
    service.gives(`GET ${NAMESPACES}`, { namespaces: names.map((namespace) => ({ namespace })) });
    for (const namespace of names) {
      service.gives(`GET ${NAMESPACES}/${encodeURIComponent(namespace)}`, { namespace });
    }
    const { code, stderr } = await glimpse.run("metadefs", "export", "out", "-q");
    expect([code, stderr]).toEqual([0, ""]);
    const written = await files();
    expect(written).toHaveLength(names.length);
    for (const file of written) expect(file).toMatch(/^home\/out\/[^./-][^/]*\.json$/);
    expect(written).toEqual(
      expect.arrayContaining([
        "home/out/OS__A.json",
        "home/out/OS__A-2.json",
        "home/out/os__a-3.json",
      ]),
    );
  });

  it("replaces a file only by force", async () => {
    service.gives(`GET ${NAMESPACES}`, { namespaces: [{ namespace: "x" }] });
    service.gives(`GET ${NAMESPACES}/x`, { namespace: "x" });
    await mkdir(join(home, "out"));
    await writeFile(join(home, "out/x.json"), "mine");
    const refused = await glimpse.run("metadefs", "export", "out");
    expect(refused.code).toBe(7);
    expect(refused.stderr).toContain("x.json: it is there already");
    expect((await glimpse.run("metadefs", "export", "out", "--force")).code).toBe(0);
  });

  it.each([
    ["no list", {}],
    ["a list of what is none", { namespaces: [5] }],
    ["a name that no address has", { namespaces: [{ namespace: ".." }] }],
    ["a visibility that is no text", { namespaces: [{ namespace: "x", visibility: 5 }] }],
    ["an owner that is no text", { namespaces: [{ namespace: "x", owner: {} }] }],
    ["a list without end", { namespaces: [], next: `${NAMESPACES}?marker=x` }],
  ])("ends at %s", async (_, answer) => {
    service.gives(`GET ${NAMESPACES}`, answer);
    expect((await glimpse.run("metadefs", "export", "out")).code).toBe(1);
    expect(await files()).toEqual([]);
    const { code, stderr } = await glimpse.run("metadefs", "list");
    expect([code, stderr]).toEqual([1, expect.stringMatching(/^The service.*\n$/)]);
  });

  it("ends at another namespace than it asked for", async () => {
    service.gives(`GET ${NAMESPACES}`, { namespaces: [{ namespace: "x" }] });
    service.gives(`GET ${NAMESPACES}/x`, { namespace: "y" });
    const { code, stderr } = await glimpse.run("metadefs", "export", "out", "-q");
    expect([code, stderr]).toEqual([
      1,
      "The service answered with the namespace y in place of x.\n",
    ]);
  });
});

describe("glimpse metadefs load", () => {
  const put = (name: string, content: unknown) =>
    writeFile(join(home, name), typeof content === "string" ? content : JSON.stringify(content));

  it("asks for one way at a time, and for something to load", async () => {
    await put("x.json", { namespace: "x" });
    for (const options of [
      ["--merge", "--overwrite"],
      ["--prefer-new"],
      ["--prefer-new", "--overwrite"],
    ]) {
      expect((await glimpse.run("metadefs", "load", "x.json", ...options)).code).toBe(2);
    }
    expect((await glimpse.run("metadefs", "load", "nothing.json")).code).toBe(7);
    await mkdir(join(home, "empty"));
    expect((await glimpse.run("metadefs", "load", "empty")).code).toBe(7);
    const { code, stderr } = await glimpse.run("metadefs", "unload");
    expect(code).toBe(2);
    expect(stderr).toContain("metadefs load, metadefs export, metadefs list");
    expect(service.requests).toEqual([]);
  });

  it("loads the other files when one is a pipe, deeper than any, or of another kind", async () => {
    execFileSync("mkfifo", [join(home, "a.json")]);
    const deep = `${"[".repeat(200_000)}${"]".repeat(200_000)}`;
    await put("b.json", `{"namespace": "b", "properties": {"p": {"default": ${deep}}}}`);
    await put("c.json", { namespace: "c", visibility: {} });
    await put("d.json", { namespace: "d", protected: "yes" });
    await put("e.json", { namespace: "e" });
    service.gives(`POST ${NAMESPACES}`, {}, 201);
    const { code, stdout, stderr } = await glimpse.run("metadefs", "load", home, "-q");
    expect(code).toBe(5);
    expect(stdout).toContain("4 failed, 1 made");
    expect(stderr).toMatch(
      /a\.json: It is no regular.*\n.*b\.json: .* levels .*\n.*c\.json: .*visibility.*\n.*d\.json: .*protected/,
    );
    expect(writes()).toHaveLength(1);
  });

  it("takes nothing else away where a name would lead there", async () => {
    const of = (prefix: string) => ({
      namespace: "a",
      resource_type_associations: [{ name: "..", prefix }],
    });
    await put("a.json", of("new_"));
    service.gives(`GET ${NAMESPACES}/a`, of("old_"));
    const options = ["--merge", "--prefer-new", "-q"];
    const { code, stderr } = await glimpse.run("metadefs", "load", "a.json", ...options);
    expect([code, stderr]).toEqual([5, expect.stringContaining("No address leads to")]);
    expect(writes()).toEqual([]);
  });

  it("protects a namespace again whose deletion is refused", async () => {
    await put("a.json", { namespace: "a", description: "New" });
    service.gives(`GET ${NAMESPACES}/a`, { namespace: "a", protected: true });
    service.gives(`DELETE ${NAMESPACES}/a`, { message: "It stays." }, 409);
    service.gives(`POST ${NAMESPACES}`, {}, 409);
    const bodies: string[] = [];
    service.on(`PUT ${NAMESPACES}/a`, async (request, response) => {
      bodies.push(await text(request));
      response.end("{}");
    });
    const { code, stderr } = await glimpse.run("metadefs", "load", "a.json", "--overwrite", "-q");
    expect([code, stderr]).toEqual([5, expect.stringContaining("It stays.")]);
    expect(bodies.map((body) => JSON.parse(body).protected)).toEqual([false, true]);
  });

  it("finishes what it has begun when it is interrupted, and tells what it could not put back", async () => {
    await put("a.json", { namespace: "a", description: "New" });
    await put("b.json", { namespace: "b" });
    service.gives(`GET ${NAMESPACES}/a`, { namespace: "a", description: "Old" });
    const running = glimpse.start("metadefs", "load", home, "--overwrite", "-q");
    service.on(`DELETE ${NAMESPACES}/a`, (_, response) => {
      running.signal("SIGINT");
      // For the signal to be there first.
      setTimeout(() => response.writeHead(204).end(), 300);
    });
    service.gives(`POST ${NAMESPACES}`, {}, 201);
    expect((await running.ended).code).toBe(130);
    expect(writes().map(({ method }) => method)).toEqual(["DELETE", "POST"]);

    service.gives(`DELETE ${NAMESPACES}/a`, {});
    service.gives(`POST ${NAMESPACES}`, { message: "Not this." }, 400);
    const { code, stderr } = await glimpse.run("metadefs", "load", home, "--overwrite", "-q");
    expect([code, stderr]).toEqual([
      1,
      "a was there, and could not be put back: Not this. Look at it yourself.\n",
    ]);
  });

  it("stops at once when it is not let in", async () => {
    await put("a.json", { namespace: "a" });
    await put("b.json", { namespace: "b" });
    service.gives(`POST ${NAMESPACES}`, { message: "No." }, 403);
    const { code, stderr } = await glimpse.run("metadefs", "load", home, "-q");
    expect([code, stderr]).toEqual([3, "No.\n"]);
    expect(writes()).toHaveLength(1);
  });

  it("takes a namespace for made when an answer was lost and it is there", async () => {
    await put("a.json", { namespace: "a", tags: [{ name: "t" }] });
    let tries = 0;
    service.on(`POST ${NAMESPACES}`, (_, response) => {
      tries++;
      if (tries > 1) response.writeHead(409).end("{}");
      else {
        service.gives(`GET ${NAMESPACES}/a`, { namespace: "a", tags: [{ name: "t" }] });
        response.destroy();
      }
    });
    const { code, stdout } = await glimpse.run("metadefs", "load", "a.json", "-q");
    expect([code, tries]).toEqual([0, 2]);
    expect(stdout).toMatch(/^a +made /m);
  });

  it("protects a namespace again when a change of it is refused", async () => {
    const old = {
      ...{ namespace: "a", protected: true },
      resource_type_associations: [{ name: "OS::X", prefix: "old_" }],
    };
    await put("a.json", {
      ...{ namespace: "a", protected: true },
      resource_type_associations: [{ name: "OS::X", prefix: "new_" }],
    });
    service.gives(`GET ${NAMESPACES}/a`, old);
    const bodies: string[] = [];
    service.on(`PUT ${NAMESPACES}/a`, (request, response) => {
      let body = "";
      request.on("data", (chunk) => {
        body += chunk;
      });
      request.on("end", () => {
        bodies.push(body);
        response.end("{}");
      });
    });
    const type = `${NAMESPACES}/a/resource_types/${encodeURIComponent("OS::X")}`;
    service.gives(`DELETE ${type}`, { message: "Not this one." }, 409);
    const options = ["--merge", "--prefer-new", "-q"];
    const { code, stderr } = await glimpse.run("metadefs", "load", "a.json", ...options);
    expect(code).toBe(5);
    expect(stderr).toContain("Not this one.");
    expect(bodies.map((body) => JSON.parse(body).protected)).toEqual([false, true]);
  });

  it("puts a namespace back whose successor is refused", async () => {
    await put("a.json", { namespace: "a", description: "New" });
    const old = { namespace: "a", description: "Old", visibility: "public", protected: true };
    service.gives(`GET ${NAMESPACES}/a`, old);
    for (const method of ["PUT", "DELETE"]) service.gives(`${method} ${NAMESPACES}/a`, {});
    const bodies: string[] = [];
    service.on(`POST ${NAMESPACES}`, (request, response) => {
      let body = "";
      request.on("data", (chunk) => {
        body += chunk;
      });
      request.on("end", () => {
        bodies.push(body);
        const isRefused = bodies.length === 1;
        response.writeHead(isRefused ? 400 : 201, { "content-type": "application/json" });
        response.end(JSON.stringify(isRefused ? { message: "Not like this." } : {}));
      });
    });
    const { code, stderr } = await glimpse.run("metadefs", "load", "a.json", "--overwrite", "-q");
    expect(code).toBe(5);
    expect(stderr).toContain("a.json: Not like this.");
    expect(writes().map(({ method }) => method)).toEqual(["PUT", "DELETE", "POST", "POST"]);
    expect(JSON.parse(bodies[1] ?? "")).toMatchObject(old);
  });
});
