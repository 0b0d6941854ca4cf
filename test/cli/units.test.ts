import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findCloud } from "../../cli/clouds.mjs";
import { authRequest, givenToken, identityUrl } from "../../cli/credentials.mjs";
import { TransientFailure } from "../../cli/failure.mjs";
import { FileHash } from "../../cli/file-hash.mjs";
import { formatOfName, judge, warnOfPacking } from "../../cli/format.mjs";
import { Gaps } from "../../cli/gaps.mjs";
import { parseSize, readRecord } from "../../cli/options.mjs";
import { formatBytes, formatDuration, Rate, renderBar, renderLine } from "../../cli/progress.mjs";
import { Reporter } from "../../cli/reporter.mjs";
import { persist } from "../../cli/retry.mjs";
import { renderTable } from "../../cli/table.mjs";
import { chooseChunkBytes, cutFile } from "../../cli/upload-plan.mjs";
import { makeStateDir } from "../clients/server.ts";
import { MiB, makeBytes, sha512Of } from "../clients/test-data.ts";

// The parts of the `glimpse` command that need no service.

let home: Awaited<ReturnType<typeof makeStateDir>>;

beforeAll(async () => {
  home = await makeStateDir();
});

afterAll(() => home.remove());

describe("a cloud's settings", () => {
  /** Reads a clouds.yaml in the user's configuration, with no other file near. */
  async function read(yaml: string, env: Record<string, string> = {}, wanted?: string) {
    const dir = join(home.path, "config/openstack");
    await mkdir(dir, { recursive: true });
    await writeFile(join(dir, "clouds.yaml"), yaml);
    const places = { HOME: home.path, XDG_CONFIG_HOME: join(home.path, "config") };
    return findCloud(wanted, { ...places, ...env });
  }

  const one = `
shared: &shared {region_name: R1}
clouds:
  one:
    <<: *shared
    profile: ~
    auth: {auth_url: "https://one.example/v3", username: u, password: 0123456, project_name: p}
    interface: internalURL
    verify: false
  two:
    auth: {auth_url: "https://two.example/"}
    auth_type: v3applicationcredential
`;

  it("are those of the cloud that is named", async () => {
    const cloud = await read(one, { OS_CLOUD: "one" });
    expect(cloud).toMatchObject({
      name: "one",
      region: "R1",
      interface: "internal",
      tls: { rejectUnauthorized: false },
    });
    expect(identityUrl(cloud)).toBe("https://one.example/v3");
    // As it is written, though YAML would call it a number.
    expect(cloud.auth.password).toBe("0123456");
    expect((await read(one, { OS_CLOUD: "one" }, "two")).name).toBe("two");
  });

  it("are those of the only cloud there is", async () => {
    expect((await read(one.replace(/ {2}two:.*/s, ""))).name).toBe("one");
    await expect(read(one)).rejects.toThrow(/^Which cloud\? .*: one, two\.$/);
  });

  it("are those of the environment when no cloud is named", async () => {
    const env = { OS_AUTH_URL: "https://env.example/v2.0", OS_USERNAME: "u", OS_PASSWORD: "p" };
    const cloud = await read(one, { ...env, OS_TENANT_NAME: "t", OS_ENDPOINT_TYPE: "adminURL" });
    expect(cloud).toMatchObject({ name: "environment", interface: "admin" });
    expect(identityUrl(cloud)).toBe("https://env.example/v3");
    expect(authRequest(cloud).auth.scope).toEqual({
      project: { name: "t", domain: { id: "default" } },
    });
    expect((await read(one, { ...env, OS_CLOUD: "one" })).auth.auth_url).toContain("one.example");
  });

  it("take secrets from secure.yaml and the environment, and nothing else of who it is", async () => {
    await mkdir(join(home.path, "config/openstack"), { recursive: true });
    const secure = join(home.path, "secure.yaml");
    await writeFile(secure, "clouds: {two: {auth: {application_credential_secret: s}}}");
    const env = { OS_CLIENT_SECURE_FILE: secure, OS_USERNAME: "other", OS_PASSWORD: "pw" };
    const { auth } = await read(one, env, "two");
    expect(auth).toEqual({
      ...{ auth_url: "https://two.example/", password: "pw", application_credential_secret: "s" },
    });
  });

  it("quote no line of a file that is no YAML", async () => {
    const broken = read("clouds: {one: {auth: {password: geheim]", { OS_CLOUD: "one" });
    await expect(broken).rejects.toThrow(/clouds\.yaml is no YAML/);
    await expect(broken).rejects.not.toThrow(/geheim/);
  });
});

describe("the request for a token", () => {
  const cloudOf = (auth: Record<string, string>, authType?: string) => ({
    ...{ name: "c", auth, authType, region: undefined, interface: "public" },
    ...{ imageEndpoint: undefined, tls: {} },
  });

  it("has a password, by name and domain or by id", () => {
    const auth = { username: "u", user_domain_name: "D", password: "p", project_id: "7" };
    expect(authRequest(cloudOf(auth))).toEqual({
      auth: {
        identity: {
          methods: ["password"],
          password: { user: { name: "u", domain: { name: "D" }, password: "p" } },
        },
        scope: { project: { id: "7" } },
      },
    });
    const byId = authRequest(cloudOf({ user_id: "1", password: "p" })).auth;
    expect(byId).toEqual({
      identity: { methods: ["password"], password: { user: { id: "1", password: "p" } } },
    });
  });

  it("has an application credential, and then no scope", () => {
    const secret = { application_credential_secret: "s", project_name: "p" };
    const byId = authRequest(cloudOf({ ...secret, application_credential_id: "1" }));
    expect(byId).toEqual({
      auth: {
        identity: {
          methods: ["application_credential"],
          application_credential: { id: "1", secret: "s" },
        },
      },
    });
    const named = { ...secret, application_credential_name: "n", username: "u" };
    const byName = authRequest(cloudOf(named, "v3applicationcredential"));
    expect(byName.auth.identity.application_credential).toEqual({
      ...{ name: "n", secret: "s", user: { name: "u", domain: { id: "default" } } },
    });
  });

  it("has a token where another scope is wanted; else the token is used as it is", () => {
    expect(givenToken(cloudOf({ token: "t" }))).toBe("t");
    const scoped = cloudOf({ token: "t", project_name: "p", project_domain_id: "d" }, "token");
    expect(givenToken(scoped)).toBeUndefined();
    expect(authRequest(scoped).auth).toEqual({
      identity: { methods: ["token"], token: { id: "t" } },
      scope: { project: { name: "p", domain: { id: "d" } } },
    });
  });

  it("names what is missing, and a type that is not known", () => {
    expect(() => authRequest(cloudOf({ username: "u" }))).toThrow("The cloud c has no password.");
    expect(() => authRequest(cloudOf({}, "v3kerberos"))).toThrow("auth_type v3kerberos");
    expect(() => identityUrl(cloudOf({}))).toThrow("The cloud c has no auth_url");
  });
});

describe("the format of a file", () => {
  const at = (offset: number, mark: string) =>
    Buffer.concat([Buffer.alloc(offset), Buffer.from(mark, "latin1")]);
  const none = Buffer.alloc(512);

  it.each([
    ["disk.img", at(0, "QFI\xfb\0\0\0\x03"), "qcow2"],
    ["disk.img", at(0, "KDMV"), "vmdk"],
    ["disk.img", at(0, "# Disk DescriptorFile\n"), "vmdk"],
    ["disk.img", at(0, "vhdxfile"), "vhdx"],
    ["disk.img", at(0, "conectix"), "vhd"],
    ["disk.img", at(0x40, "\x7f\x10\xda\xbe"), "vdi"],
    ["disk.img", at(32_769, "CD001"), "iso"],
    ["live.iso", none, "iso"],
    ["disk.ami", none, "ami"],
    ["disk.raw", none, "raw"],
    ["disk", Buffer.alloc(0), "raw"],
  ])("%s is found by its content, else by its name", (name, head, disk) => {
    expect(judge(name, head, none)).toMatchObject({ disk });
  });

  it("a fixed VHD is known by its end, an OVA by both", () => {
    expect(judge("disk", none, at(0, "conectix"))).toMatchObject({
      disk: "raw",
      warning: expect.stringContaining("is a fixed VHD"),
    });
    const ova = { disk: "vmdk", container: "ova" };
    expect(judge("box.ova", at(257, "ustar"), none)).toEqual(ova);
  });

  it("content that is not what the name says is told", () => {
    const warning = "disk.qcow2 is no qcow2 file by its content; it is taken as raw.";
    expect(judge("disk.qcow2", none, none)).toMatchObject({ disk: "raw", warning });
  });

  it.each([
    ["\x1f\x8b", "gzip"],
    ["\xfd7zXZ\0", "xz"],
    ["(\xb5/\xfd", "zstd"],
    ["BZh9", "bzip2"],
    ["PK\x03\x04", "zip"],
    ["\x04\x22\x4d\x18", "lz4"],
    ["]\0\0\x80\0", "lzma"],
  ])("compressed files are refused: %j", (mark, name) => {
    expect(() => judge("disk", at(0, mark), none)).toThrow(`is compressed with ${name}`);
  });

  it("13 §3 raw: what is stored as a raw disk and is compressed is told", async () => {
    const dir = await makeStateDir();
    const path = join(dir.path, "disk.xz");
    await writeFile(path, at(0, "\xfd7zXZ\0"));
    const told = await warnOfPacking(path, "raw");
    const others = [
      await warnOfPacking(path, "ari"),
      await warnOfPacking(import.meta.filename, "raw"),
    ];
    await dir.remove();
    expect(told).toBe(
      `${path} is compressed with xz; it is stored as it is, and is no disk until it is unpacked.`,
    );
    expect(others).toEqual([undefined, undefined]);
  });

  it("an address promises a format only by a name that means one", () => {
    expect(formatOfName("https://example.com/a.qcow2?x=.raw")).toBe("qcow2");
    expect(formatOfName("https://example.com/a.img")).toBeUndefined();
  });
});

describe("sizes", () => {
  it.each([
    ["64M", 64 * MiB],
    ["64MiB", 64 * MiB],
    ["1g", 1024 * MiB],
    ["500", 500],
  ])("%s is read", (text, bytes) => expect(parseSize("--x", text)).toBe(bytes));

  it.each(["", "0", "-1", "M", "1.5G", "1T"])("'%s' is refused", (text) => {
    expect(() => parseSize("--x", text)).toThrow("--x must be a size such as 64M");
  });

  it.each([
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1.0 KiB"],
    [1.5 * MiB, "1.5 MiB"],
    [1023 * 1024, "1.0 MiB"],
    [5e12, "4.5 TiB"],
  ])("%i bytes are told as %s", (bytes, text) => expect(formatBytes(bytes)).toBe(text));

  it.each([
    [0.4, "0 s"],
    [59.6, "1:00"],
    [187, "3:07"],
    [3723, "1:02:03"],
  ])("%d seconds are told as %s", (seconds, text) => expect(formatDuration(seconds)).toBe(text));
});

describe("a new image's record", () => {
  it("is what the options say, in the types that the service wants", () => {
    const property = ["a=b=c", "min_disk=2", "protected=TRUE", "os_version=12"];
    const values = { property, name: "n", tag: ["t"], "disk-format": "raw", visibility: "public" };
    expect(readRecord(values)).toEqual({
      ...{ a: "b=c", min_disk: 2, protected: true, os_version: "12" },
      ...{ name: "n", tags: ["t"], disk_format: "raw", visibility: "public" },
    });
  });
});

describe("progress", () => {
  const half = { label: "disk.img", done: 50 * MiB, total: 100 * MiB, bytesPerSecond: 10 * MiB };

  it("is a bar with rate and time left", () => {
    const line = renderBar(half, 100);
    expect(line).toMatch(
      /^disk\.img \[#{15}-{15}\] {2}50% {2}50\.0 MiB of 100 MiB, 10\.0 MiB\/s, 5 s left$/,
    );
  });

  it("is a line elsewhere", () => {
    const text = "disk.img: 50%, 50.0 MiB of 100 MiB, 10.0 MiB/s, 5 s left";
    expect(renderLine(half)).toBe(text);
  });

  it("fits every terminal, and is never more than 100% or done before the end", () => {
    const anyState = fc.record({
      label: fc.string({ maxLength: 40 }),
      done: fc.nat(),
      total: fc.nat(),
      bytesPerSecond: fc.option(fc.nat(), { nil: undefined }),
    });
    fc.assert(
      fc.property(anyState, fc.integer({ min: 2, max: 200 }), (state, columns) => {
        const done = Math.min(state.done, state.total);
        const line = renderBar({ ...state, done }, columns);
        expect(line.length).toBeLessThan(columns);
        if (done < state.total)
          expect(renderLine({ ...state, done, label: "" })).not.toContain("100%");
      }),
    );
  });

  it("measures the rate over the last moments, and not over what is sent again", () => {
    const rate = new Rate();
    for (let second = 0; second <= 20; second += 1) {
      rate.take(second * 1000, second < 10 ? 0 : (second - 10) * 1000);
    }
    expect(rate.bytesPerSecond).toBeCloseTo(1000, -2);
    rate.take(21_000, 5_000);
    expect(rate.bytesPerSecond).toBeUndefined();
  });

  it("is drawn over and over on a terminal, below notes that stay", () => {
    let shown = "";
    let nowMs = 0;
    const write = (text: string) => {
      shown += text;
    };
    const screen = { write, isTTY: true, columns: 80 };
    const reporter = new Reporter({ screen, now: () => nowMs });
    reporter.begin("d", 100, 0);
    nowMs = 1000;
    reporter.move(50);
    reporter.show();
    for (const text of ["cut\u001b", "cut\u001b"]) reporter.note(text);
    reporter.move(50);
    nowMs = 2000;
    reporter.end();
    const lines = shown.split("\r").map((line) => line.replace("\u001b[K", ""));
    expect(lines[1]).toMatch(/^d \[#+-+\] {2}50% {2}50 B of 100 B, 50 B\/s, 1 s left$/);
    expect(lines[2]).toBe("cut\ufffd\n");
    expect(lines[3]).toMatch(/^d \[#+\] 100% {2}100 B of 100 B, 50 B\/s\n$/);
  });
});

describe("trying again", () => {
  const cut = () => {
    throw new TransientFailure("cut", { status: 503, retryAfterMs: 0 });
  };

  it("pauses 1, 2, 4 … 30 seconds, and gives up when nothing helps", async () => {
    const pauses: number[] = [];
    const patience = { retries: 7, sleep: async (ms: number) => void pauses.push(ms / 1000) };
    await expect(persist(async () => cut(), patience)).rejects.toThrow("cut");
    expect(pauses).toEqual([1, 2, 4, 8, 16, 30, 30]);
  });

  it("begins to count anew whenever something got done", async () => {
    const pauses: number[] = [];
    const patience = { retries: 2, sleep: async (ms: number) => void pauses.push(ms / 1000) };
    let done = 0;
    const work = async (tries: number) => {
      if (tries === 9) return "end";
      if (tries % 2 === 1) done += 1;
      return cut();
    };
    expect(await persist(work, patience, () => done)).toBe("end");
    expect(pauses).toEqual([1, 1, 2, 1, 2, 1, 2, 1, 2]);
  });

  it("is not done after what cannot get better", async () => {
    const failing = async () => Promise.reject(new Error("bug"));
    await expect(persist(failing, { retries: 9 })).rejects.toThrow("bug");
  });

  it("waits as long as the service asks, within reason", async () => {
    const pauses: number[] = [];
    const patience = { retries: 1, sleep: async (ms: number) => void pauses.push(ms) };
    const busy = async () => {
      throw new TransientFailure("busy", { retryAfterMs: 5000 });
    };
    await expect(persist(busy, patience)).rejects.toThrow("busy");
    expect(pauses).toEqual([5000]);
  });
});

describe("cutting a file", () => {
  it("gives whole parts in order, all of the file, and as many ranges as wanted if there are", () => {
    const sizes = fc.integer({ min: 0, max: 10_000 });
    const counts = fc.integer({ min: 1, max: 32 });
    fc.assert(
      fc.property(sizes, counts, fc.integer({ min: 1, max: 500 }), (size, parallel, partBytes) => {
        const ranges = cutFile(size, parallel, partBytes);
        let end = 0;
        for (const { offset, length } of ranges) {
          expect(offset).toBe(end);
          expect(offset % partBytes).toBe(0);
          expect(length > 0 || size === 0).toBe(true);
          end += length;
        }
        expect(end).toBe(size);
        const parts = Math.max(1, Math.ceil(size / partBytes));
        expect(ranges).toHaveLength(Math.min(parallel, parts));
      }),
    );
  });

  it("sends requests of whole parts where one fits", () => {
    expect(chooseChunkBytes(64 * MiB, 10 * MiB)).toBe(60 * MiB);
    expect(chooseChunkBytes(5 * MiB, 10 * MiB)).toBe(5 * MiB);
    expect(chooseChunkBytes(5 * MiB, undefined)).toBe(5 * MiB);
  });
});

describe("what a download misses", () => {
  it("is what was not taken, and what of the taken did not come", () => {
    const gaps = new Gaps([{ start: 0, end: 100 }]);
    const first = gaps.take(30);
    const second = gaps.take(30);
    if (first !== undefined) first.start = 30;
    if (second !== undefined) second.start = 40;
    expect(gaps.missing).toEqual([
      { start: 40, end: 60 },
      { start: 60, end: 100 },
    ]);
    expect(gaps.bytes).toBe(60);
    expect(gaps.take(Number.POSITIVE_INFINITY)).toEqual({ start: 60, end: 100 });
    expect(gaps.take(1)).toBeUndefined();
  });
});

describe("the hash of a file", () => {
  it("is the same whichever of its bytes passed by, and how often", async () => {
    const path = join(home.path, "hashed");
    const bytes = Buffer.concat([...makeBytes(1)]).subarray(0, 5000);
    await writeFile(path, bytes);
    const pieces = fc.array(fc.tuple(fc.nat(5000), fc.nat(2000)), { maxLength: 10 });
    await fc.assert(
      fc.asyncProperty(pieces, async (given) => {
        const hash = new FileHash(path);
        for (const [offset, length] of given) {
          hash.take(offset, bytes.subarray(offset, offset + length));
        }
        expect(await hash.finish()).toBe(sha512Of([bytes]));
        expect(await hash.finish()).toBe(sha512Of([bytes]));
      }),
      { numRuns: 30 },
    );
  });
});

it("a table has columns as wide as they need to be", () => {
  expect(
    renderTable(
      ["ID", "NAME"],
      [
        ["1", "long name"],
        ["100", ""],
      ],
    ),
  ).toBe("ID   NAME\n1    long name\n100\n");
});
