import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Fault } from "../../../src/domain/fault.ts";
import { hasBody, readJson } from "../../../src/http/body.ts";

const MAX = 1000;

function post(body?: BodyInit, headers: Record<string, string> = {}): Request {
  return new Request("http://x/", { method: "POST", headers, ...(body !== undefined && { body }) });
}

/** Bytes as they come from a network: cut anywhere. */
function inChunks(bytes: Uint8Array, sizes: readonly number[]): ReadableStream<Uint8Array> {
  let offset = 0;
  let turn = 0;
  return new ReadableStream({
    pull(controller) {
      if (offset >= bytes.length) return controller.close();
      const size = sizes[turn++ % sizes.length] ?? 1;
      controller.enqueue(bytes.slice(offset, offset + size));
      offset += size;
    },
  });
}

const encode = (text: string) => new TextEncoder().encode(text);

async function faultOf(reading: Promise<unknown>): Promise<string> {
  try {
    await reading;
  } catch (error) {
    if (error instanceof Fault) return `${error.status} ${error.code}`;
    throw error;
  }
  return "no fault";
}

describe("hasBody", () => {
  it.each([
    ["no body at all", new Request("http://x/"), false],
    ["no body of a POST", post(), false],
    ["Content-Length 0", post(undefined, { "content-length": "0" }), false],
    ["Content-Length 5", post("12345", { "content-length": "5" }), true],
    [
      "Content-Length of a GET",
      new Request("http://x/", { headers: { "content-length": "5" } }),
      true,
    ],
    ["chunks", post(inChunks(encode("x"), [1])), true],
    ["Transfer-Encoding", post(undefined, { "transfer-encoding": "chunked" }), true],
    ["a text", post("x"), true],
  ])("REQ-2, REQ-8: knows by the framing: %s", (_, request, expected) => {
    expect(hasBody(request)).toBe(expected);
  });
});

describe("readJson", () => {
  it.each([
    ["{}", {}],
    ["[]", []],
    [' \n{"a": [1, {"b": null}]}\t', { a: [1, { b: null }] }],
    ['{"ü€": "日本😀"}', { "ü€": "日本😀" }],
  ])("REQ-1: reads %s", async (text, value) => {
    expect(await readJson(post(encode(text)), MAX)).toEqual(value);
  });

  it("REQ-6: takes the last of two equal keys", async () => {
    expect(await readJson(post('{"a":1,"b":2,"a":3}'), MAX)).toEqual({ a: 3, b: 2 });
  });

  it("takes __proto__ for a key like any other", async () => {
    const value = await readJson(post('{"__proto__": {"isAdmin": true}}'), MAX);
    expect(Object.keys(value)).toEqual(["__proto__"]);
    expect(value).not.toHaveProperty("isAdmin");
  });

  it.each([
    ["REQ-2", "", "400 body_required"],
    ["REQ-3", " ", "400 body_malformed"],
    ["REQ-3", "{", "400 body_malformed"],
    ["REQ-3", "{} {}", "400 body_malformed"],
    ["REQ-3", "\ufeff{}", "400 body_malformed"],
    ["REQ-4", "null", "400 body_malformed"],
    ["REQ-4", "true", "400 body_malformed"],
    ["REQ-4", "1", "400 body_malformed"],
    ["REQ-4", '"{}"', "400 body_malformed"],
    ["REQ-7", '{"a": NaN}', "400 body_malformed"],
  ])("%s: %j is %s", async (_, text, fault) => {
    expect(await faultOf(readJson(post(encode(text)), MAX))).toBe(fault);
  });

  it("REQ-2: no body is 400", async () => {
    expect(await faultOf(readJson(post(), MAX))).toBe("400 body_required");
  });

  it("REQ-3: bytes that are not UTF-8 are 400, at the end too", async () => {
    for (const bytes of [
      [0x7b, 0x7d, 0xff],
      [0x22, 0xc3, 0x28, 0x22],
      [0x7b, 0x7d, 0xe2, 0x82],
    ]) {
      const reading = readJson(post(new Uint8Array(bytes)), MAX);
      expect(await faultOf(reading)).toBe("400 body_malformed");
    }
  });

  it("counts bytes, not letters, up to the very limit", async () => {
    const text = `{"a":"${"é".repeat(10)}"}`;
    const bytes = encode(text);
    expect(bytes.length).toBe(28);
    expect(await faultOf(readJson(post(bytes), 28))).toBe("no fault");
    expect(await faultOf(readJson(post(bytes), 27))).toBe("413 body_too_large");
  });

  it("stops reading at the limit", async () => {
    let sent = 0;
    let isCancelled = false;
    const endless = new ReadableStream<Uint8Array>(
      {
        pull(controller) {
          sent += 100;
          controller.enqueue(new Uint8Array(100).fill(0x20));
        },
        cancel() {
          isCancelled = true;
        },
      },
      { highWaterMark: 0 },
    );
    expect(await faultOf(readJson(post(endless), MAX))).toBe("413 body_too_large");
    expect(isCancelled).toBe(true);
    expect(sent).toBeLessThan(3 * MAX);
  });

  it("REQ-8: reads the same however the bytes are cut", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.array(fc.jsonValue()),
          fc.dictionary(fc.string({ unit: "binary" }), fc.jsonValue()),
        ),
        fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1 }),
        async (value, sizes) => {
          const text = JSON.stringify(value);
          const request = post(inChunks(encode(text), sizes));
          expect(JSON.stringify(await readJson(request, 1_000_000))).toBe(
            JSON.stringify(JSON.parse(text)),
          );
        },
      ),
    );
  });

  it("REQ-3: gives an object, an array or a Fault for any bytes", async () => {
    const anything = fc.oneof(
      fc.uint8Array({ maxLength: 1200 }),
      fc.string({ unit: "binary" }).map(encode),
      fc.json().map(encode),
      fc.string({ unit: fc.constantFrom(...'{}[]",:0eE.-+ntf\\u \n') }).map(encode),
    );
    await fc.assert(
      fc.asyncProperty(anything, async (bytes) => {
        try {
          expect(typeof (await readJson(post(bytes), MAX))).toBe("object");
        } catch (error) {
          expect(error).toBeInstanceOf(Fault);
        }
      }),
    );
  });
});
