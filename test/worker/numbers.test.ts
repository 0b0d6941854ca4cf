import { env } from "cloudflare:workers";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { admin, owner } from "../support/callers.ts";
import { Service } from "../support/service.ts";
import { TestedObject } from "../support/tested-object.ts";
import { Tus } from "../support/tus.ts";

// Every number that a caller can send, as text that is no whole number from 0 to 2^53 - 1: each is refused, and neither
// an image nor what its project uses is another than before.

const NONE = { image_size_total: 10, image_stage_total: 10, image_count_total: -1 };
const QUOTAS = JSON.stringify({ default: { ...NONE, image_count_uploading: -1 } });
const service = new Service({ settings: { USE_KEYSTONE_LIMITS: "true", QUOTAS } });
const tus = new Tus(service);

/** What is no number in any place: signs, fractions, exponents, other bases, words. */
const odd = fc.oneof(
  fc.constantFrom("-1", "-0", "1.5", "1e3", "1E3", "0x10", "1_000", "NaN", "Infinity", "-2^53"),
  fc.constantFrom("-9007199254740992", "-9223372036854775808", "5 5", "5,5", "٣", "five"),
  fc.integer({ max: -1 }).map(String),
  fc.bigInt({ max: -1n }).map(String),
  fc.double({ noInteger: true, noDefaultInfinity: true, noNaN: true }).map(String),
  fc.tuple(fc.nat(), fc.nat(400)).map(([digits, power]) => `${digits}e${power}`),
);

/** Whole numbers, beyond what is exact. */
const huge = fc.oneof(
  fc.constantFrom("9007199254740992", "9223372036854775807", "9223372036854775808"),
  fc.constantFrom("18446744073709551616", "9".repeat(400)),
  fc.bigInt({ min: 2n ** 53n, max: 2n ** 80n }).map(String),
);

/** Sends a text where a number belongs. */
type Send = (text: string) => Promise<Response>;

const octets = { "content-type": "application/octet-stream" };
const base64 = (text: string) => btoa(unescape(encodeURIComponent(text)));
let queued = "";
let active = "";
let deferred = "";

const put = (way: "file" | "stage", header: string): Send => {
  return (text) =>
    service.call(owner, "PUT", `/v2/images/${queued}/${way}`, {
      body: "hello",
      headers: { ...octets, [header]: text },
    });
};
const create = (headers: (text: string) => Record<string, string>): Send => {
  return (text) => tus.begin(owner, queued, headers(text));
};
const place = (offset: string, length: string) => ({
  "upload-length": "8388608",
  "upload-concat": "partial",
  "upload-metadata": `offset ${base64(offset)},length ${base64(length)}`,
});
const get = (path: string): Send => {
  return (text) => service.call(admin, "GET", `${path}=${encodeURIComponent(text)}`);
};
const patch = (property: string): Send => {
  return (text) =>
    service.call(owner, "PATCH", `/v2/images/${queued}`, {
      body: `[{"op": "replace", "path": "/${property}", "value": ${text}}]`,
      headers: { "content-type": "application/openstack-images-v2.1-json-patch" },
    });
};
const make = (property: string): Send => {
  return (text) => service.call(owner, "POST", "/v2/images", { body: `{"${property}": ${text}}` });
};

const ASCII = /^[\x20-\x7e]*$/;

/** Counts: bytes that are announced, offsets, lengths. Whatever is no count is 400. */
const COUNTS: Readonly<Record<string, Send>> = {
  "x-openstack-image-size of an upload": put("file", "x-openstack-image-size"),
  "x-openstack-image-size of a stage": put("stage", "x-openstack-image-size"),
  "Content-Length of an upload": put("file", "content-length"),
  "Content-Length of a stage": put("stage", "content-length"),
  "Upload-Length of a creation": create((text) => ({ "upload-length": text })),
  "Upload-Length of a partial upload": create((text) => ({
    "upload-length": text,
    "upload-concat": "partial",
  })),
  "Upload-Defer-Length": create((text) => ({ "upload-defer-length": text })),
  "the metadata offset of a partial upload": create((text) => place(text, "16777216")),
  "the metadata length of a partial upload": create((text) => place("0", text)),
  "Upload-Length that comes later": (text) =>
    tus.send(owner, deferred, 0, "hello", { "upload-length": text }),
  "Upload-Offset": (text) => tus.send(owner, deferred, 0, "hello", { "upload-offset": text }),
  "Upload-Length of OPTIONS": (text) =>
    service.call(null, "OPTIONS", `/v2/images/${queued}/uploads`, {
      headers: { "upload-length": text },
    }),
};

/** Fields of a record, which have limits of their own (LIM-16). */
const FIELDS: Readonly<Record<string, Send>> = {
  "min_disk of a creation": make("min_disk"),
  "min_ram of a creation": make("min_ram"),
  "min_disk of a patch": patch("min_disk"),
  "min_ram of a patch": patch("min_ram"),
};

/** The least and the most that is asked for may be any whole number; what is none is 400. */
const BOUNDS: Readonly<Record<string, Send>> = {
  "limit of images": get("/v2/images?limit"),
  "limit of tasks": get("/v2/tasks?limit"),
  ...Object.fromEntries(
    ["size", "virtual_size", "min_disk", "min_ram"].flatMap((name) =>
      ["min", "max"].map((end) => [`${name}_${end}`, get(`/v2/images?${name}_${end}`)] as const),
    ),
  ),
};

const RANGES: Readonly<Record<string, (text: string) => Record<string, string>>> = {
  "the first byte of Range": (text) => ({ range: `bytes=${text}-` }),
  "the last byte of Range": (text) => ({ range: `bytes=0-${text}` }),
  "the suffix of Range": (text) => ({ range: `bytes=-${text}` }),
  "the first byte of Content-Range": (text) => ({ "content-range": `bytes ${text}-4/10` }),
  "the last byte of Content-Range": (text) => ({ "content-range": `bytes 0-${text}/10` }),
  "the total of Content-Range": (text) => ({ "content-range": `bytes 0-4/${text}` }),
};

async function stateOfAll() {
  const images = await env.DB.prepare("SELECT * FROM images ORDER BY id").all();
  const usage = await env.DB.prepare("SELECT * FROM usage ORDER BY project").all();
  return [images.results, usage.results, await new TestedObject(queued).resumables()];
}

/** Sends a text, and sees to it that nothing has come of it. */
async function expectNone(send: Send, text: string, statuses: readonly number[]): Promise<void> {
  const before = await stateOfAll();
  const { status } = await send(text);
  expect([text, statuses.includes(status), status]).toEqual([text, true, status]);
  expect(await stateOfAll()).toEqual(before);
}

beforeAll(async () => {
  ({ id: queued } = await service.createEmpty(owner));
  ({ id: active } = await service.createActive(owner, "0123456789"));
  deferred = await tus.create(owner, queued, { "upload-defer-length": "1" });
});

const RUNS = { numRuns: 25 };

describe("a number that is none is refused and changes nothing", () => {
  it.each(Object.entries(COUNTS))(
    "SIZ-1, STG-8: %s",
    async (_, send) => {
      const texts = fc.oneof(odd, huge).filter((text) => ASCII.test(text));
      await fc.assert(
        fc.asyncProperty(texts, (text) => expectNone(send, text, [400])),
        RUNS,
      );
    },
    60_000,
  );

  it.each(Object.entries(FIELDS))(
    "LIM-16: %s",
    async (_, send) => {
      // As JSON has it, 1e3 and 5.0 are whole numbers like any other.
      const isWhole = (text: string) => Number(text) >= 0 && Number.isInteger(Number(text));
      const texts = fc
        .oneof(odd, huge)
        .filter((text) => !isWhole(text) || Number(text) > 2 ** 31 - 1);
      await fc.assert(
        fc.asyncProperty(texts, (text) => expectNone(send, text, [400])),
        RUNS,
      );
    },
    60_000,
  );

  it.each(Object.entries(BOUNDS))(
    "PAG-3, FIL-10: %s",
    async (_, send) => {
      const texts = odd.filter((text) => !/^[+-]?\d+$/.test(text.trim()));
      await fc.assert(
        fc.asyncProperty(texts, (text) => expectNone(send, text, [400])),
        RUNS,
      );
      // Whole numbers of any size are bounds like others, but for a page of less than nothing.
      const whole = fc.oneof(huge, fc.bigInt().map(String));
      const statuses = (text: string) => (text.startsWith("-") ? [200, 400] : [200]);
      await fc.assert(
        fc.asyncProperty(whole, (text) => expectNone(send, text, statuses(text))),
        RUNS,
      );
    },
    60_000,
  );

  it.each(Object.entries(RANGES))(
    "RNG-8, RNG-9: %s gives bytes that are there, or none",
    async (_, headers) => {
      const texts = fc.oneof(odd, huge).filter((text) => ASCII.test(text));
      const property = fc.asyncProperty(texts, async (text) => {
        const path = `/v2/images/${active}/file`;
        const response = await service.call(owner, "GET", path, { headers: headers(text) });
        const body = new TextDecoder().decode(await response.bytes());
        expect([206, 400, 416]).toContain(response.status);
        if (response.status === 206) expect("0123456789").toContain(body);
      });
      await fc.assert(property, RUNS);
    },
    60_000,
  );

  it("LOP-8: the place of a location that is added or removed", async () => {
    const open = new Service({ settings: { SHOW_MULTIPLE_LOCATIONS: "true" } });
    const texts = fc.oneof(odd, huge).filter((text) => ASCII.test(text));
    const property = fc.asyncProperty(texts, async (text) => {
      const path = `/locations/${text}`;
      const send = (operation: object) => () =>
        open.call(owner, "PATCH", `/v2/images/${active}`, { patch: [operation] });
      await expectNone(send({ op: "remove", path }), text, [400, 403, 409]);
      const value = { url: "http://example.com/x", metadata: {} };
      await expectNone(send({ op: "add", path, value }), text, [400, 403, 409]);
    });
    await fc.assert(property, RUNS);
  }, 60_000);
});

describe("what is granted is never less than nothing", () => {
  it.each([-1, -(10 ** 15), 0.5, Number.NaN, 2 ** 53, Number.POSITIVE_INFINITY])(
    "an upload of %d bytes gets no grant",
    async (declaredBytes) => {
      const { id } = await service.createEmpty(owner);
      const identity = {
        ...{ userId: "u", projectId: owner.projectId, scope: "project" as const },
        ...{ roles: ["member", "reader"], isAnonymous: false },
      };
      for (const purpose of ["data", "staging"] as const) {
        const outcome = await new TestedObject(id).stub.beginUpload(
          { imageId: id, identity, rule: "upload_image" },
          { attemptId: crypto.randomUUID(), purpose, storeId: "fast", declaredBytes },
        );
        expect(outcome).toMatchObject({ ok: false, code: "invalid_value" });
      }
      expect(await service.show(owner, id)).toMatchObject({ status: "queued" });
    },
  );
});
