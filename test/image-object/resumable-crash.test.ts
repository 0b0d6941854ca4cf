import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ResumableRequest } from "../../src/domain/resumable-upload.ts";
import { owner } from "../support/callers.ts";
import { passTime, resumeTime, stopTime } from "../support/clock.ts";
import { expectData, expectNothingLeft, expectQueued } from "../support/expect-sound.ts";
import { tasksOf } from "../support/imports.ts";
import { type Around, interceptD1, interceptR2 } from "../support/intercept.ts";
import { Gate, withObject } from "../support/one-object.ts";
import { Service } from "../support/service.ts";
import { findStrays, isOpen, storedKeys } from "../support/stored-bytes.ts";
import { TWO_BUCKETS } from "../support/stores.ts";
import { TestedObject } from "../support/tested-object.ts";
import { Tus } from "../support/tus.ts";
import { bytesOf } from "../support/upload-body.ts";

// Resumable uploads that are broken off, raced or given up wherever it may be. In the end the image has the right
// bytes, or the client is told and can go on; and nobody's bytes are left.

const MiB = 1024 ** 2;
const PART = 8 * MiB;
const STORES = JSON.stringify(TWO_BUCKETS);
const service = new Service();
const tus = new Tus(service);

beforeEach(stopTime);
afterEach(resumeTime);

const lengthOf = (bytes: number) => ({ "upload-length": String(bytes) });
const partial = (bytes: number) => ({ ...lengthOf(bytes), "upload-concat": "partial" });
const placed = (offset: number, bytes: number, total: number) => ({
  ...partial(bytes),
  "upload-metadata": `offset ${btoa(String(offset))},length ${btoa(String(total))}`,
});
const finalOf = (parts: readonly string[]) => ({ "upload-concat": `final;${parts.join(" ")}` });
const idOf = (upload: string) => upload.split("/").at(-1) ?? "";
const streamOf = (bytes: Uint8Array<ArrayBuffer>) => new Blob([bytes]).stream();
const data = (bytes: number, seed = 1) => bytesOf(bytes, seed) as Uint8Array<ArrayBuffer>;

const whole: Omit<ResumableRequest, "length"> = {
  storeId: "default",
  kind: "whole",
  place: undefined,
  expected: undefined,
  metadata: undefined,
  requestId: "req-test",
};

/** A piece without a checksum. */
const at = (offset: number) => ({ offset, length: undefined, checksum: undefined });

/** Multipart uploads that were begun, for none of them is to be left open. */
class Watch {
  readonly #begun = new Map<string, string>();

  constructor(private readonly around: Around = (_, proceed) => proceed()) {}

  readonly bucket = interceptR2(env.BLOBS, async (call, proceed) => {
    const answer = await this.around(call, async () => {
      const made = await proceed();
      if (call.operation === "createMultipartUpload") this.#note(made);
      return made;
    });
    return answer;
  });

  #note(made: unknown): void {
    const { key, uploadId } = made as R2MultipartUpload;
    this.#begun.set(uploadId, key);
  }

  async expectNoneOpen(): Promise<void> {
    for (const [uploadId, key] of this.#begun) {
      expect([uploadId, await isOpen(key, uploadId)]).toEqual([uploadId, false]);
    }
  }
}

/** A body that comes as the test says. It can be piped on, other than OpenBody. */
class Sender {
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  readonly stream = new ReadableStream<Uint8Array>(
    {
      start: (controller) => {
        this.#controller = controller;
      },
    },
    { highWaterMark: 0 },
  );

  /** Sends bytes, and lets them arrive. */
  async send(bytes: Uint8Array): Promise<void> {
    this.#controller?.enqueue(bytes);
    while ((this.#controller?.desiredSize ?? 0) < 0) await scheduler.wait(5);
    await scheduler.wait(50);
  }

  end(): void {
    try {
      this.#controller?.close();
    } catch {
      // Nobody listens any more.
    }
  }

  breakOff(): void {
    this.#controller?.error(new Error("the client has left"));
  }
}

async function expectDone(id: string, bytes: Uint8Array, watch = new Watch()): Promise<void> {
  await new TestedObject(id).untilAtRest();
  await expectData(id, bytes);
  await expectNothingLeft(id);
  await watch.expectNoneOpen();
}

describe("a resumable upload of which one call fails", () => {
  type Moment = "before" | "behind";

  /** A client that does not give up. It gives the statuses that stopped it for good. */
  class StubbornClient {
    constructor(
      private readonly tus: Tus,
      private readonly imageId: string,
    ) {}

    async create(headers: Readonly<Record<string, string>>): Promise<string | undefined> {
      for (let tries = 0; tries < 4; tries++) {
        const response = await this.tus.begin(owner, this.imageId, headers);
        if (response.status === 201)
          return new URL(response.headers.get("location") ?? "").pathname;
        if (response.status < 500) return undefined;
      }
      // A final one may have been taken note of all the same: then the alarm brings it to its end.
      return undefined;
    }

    /** Sends pieces that end at these offsets; whatever fails, it goes on from where it is. */
    async send(upload: string, bytes: Uint8Array<ArrayBuffer>, ends: readonly number[]) {
      let offset = 0;
      for (let tries = 0; offset < bytes.length; tries++) {
        if (tries > 10) throw new Error("the upload does not come through");
        const end = ends.find((one) => one > offset) ?? bytes.length;
        const sent = await this.tus.send(owner, upload, offset, bytes.subarray(offset, end));
        if (sent.status === 204) {
          offset = Number(sent.headers.get("upload-offset"));
          continue;
        }
        const head = await this.tus.head(owner, upload);
        if (head.status === 200) offset = Number(head.headers.get("upload-offset"));
        else if (head.status < 500) throw new Error(`the upload is gone: ${head.status}`);
      }
    }
  }

  const WAYS = {
    "of a whole": async (client: StubbornClient, bytes: Uint8Array<ArrayBuffer>) => {
      const upload = await client.create(lengthOf(bytes.length));
      await client.send(upload ?? "", bytes, [MiB, 2 * MiB, PART + 1, bytes.length]);
    },
    "of one put": async (client: StubbornClient, bytes: Uint8Array<ArrayBuffer>) => {
      const upload = await client.create(lengthOf(bytes.length));
      await client.send(upload ?? "", bytes, [1, bytes.length]);
    },
    "of parts that are copied": async (client: StubbornClient, bytes: Uint8Array<ArrayBuffer>) => {
      const parts: string[] = [];
      for (const piece of [bytes.subarray(0, MiB), bytes.subarray(MiB)]) {
        const part = (await client.create(partial(piece.length))) ?? "";
        await client.send(part, piece, [5]);
        parts.push(part);
      }
      await client.create(finalOf(parts));
    },
    "of parts at their places": async (client: StubbornClient, bytes: Uint8Array<ArrayBuffer>) => {
      const parts: string[] = [];
      for (const [offset, piece] of [
        [0, bytes.subarray(0, PART)],
        [PART, bytes.subarray(PART)],
      ] as const) {
        const part = (await client.create(placed(offset, piece.length, bytes.length))) ?? "";
        await client.send(part, piece, [2]);
        parts.push(part);
      }
      await client.create(finalOf(parts));
    },
  } as const;

  const SIZES: Readonly<Record<keyof typeof WAYS, number>> = {
    "of a whole": PART + MiB,
    "of one put": 10,
    "of parts that are copied": PART + MiB,
    "of parts at their places": PART + 7,
  };

  async function uploadWith(way: keyof typeof WAYS, failing: number, moment: Moment) {
    let calls = 0;
    let failed = "none";
    const around: Around = async (call, proceed) => {
      const isIt = calls++ === failing;
      if (isIt) failed = `${failing} ${call.operation} ${call.statements?.[0]?.sql.slice(0, 30)}`;
      if (isIt && moment === "before") throw new Error("Network connection lost.");
      const result = await proceed();
      if (isIt) throw new Error("Network connection lost.");
      return result;
    };
    const watch = new Watch(around);
    const broken = new Service({
      bindings: { DB: interceptD1(env.DB, around), BLOBS: watch.bucket },
    });
    const { id } = await service.createEmpty(owner);
    const bytes = data(SIZES[way], 3);
    await WAYS[way](new StubbornClient(new Tus(broken), id), bytes);
    await new TestedObject(id).untilAtRest(broken.env);
    const { status } = await service.show(owner, id);
    expect([failed, status]).toEqual([failed, "active"]);
    await expectData(id, bytes);
    await expectNothingLeft(id);
    // One whose beginning was not heard of has no parts, and R2 drops it after seven days.
    if (!failed.includes("createMultipartUpload")) await watch.expectNoneOpen();
    return { hasFailed: calls > failing, calls };
  }

  for (const way of Object.keys(WAYS) as (keyof typeof WAYS)[]) {
    it.each(["before", "behind"] as const)(
      `${way} comes through, whichever it is that fails %s its effect`,
      async (moment) => {
        for (let failing = 0; ; failing++) {
          const { hasFailed } = await uploadWith(way, failing, moment);
          if (hasFailed) continue;
          expect(failing).toBeGreaterThan(10);
          return;
        }
      },
      120_000,
    );
  }
});

describe("a tail", () => {
  it.each(["before", "behind"] as const)(
    "stays as it was when the store fails for good (%s the put) to take it up",
    async (moment) => {
      let isBroken = true;
      const watch = new Watch(async (call, proceed) => {
        const isIt = isBroken && call.operation === "put";
        if (isIt && moment === "before") throw new Error("out of order");
        const answer = await proceed();
        if (isIt) throw new Error("out of order");
        return answer;
      });
      const broken = new Tus(new Service({ bindings: { BLOBS: watch.bucket } }));
      const { id } = await service.createEmpty(owner);
      const bytes = data(3 * MiB);
      const upload = await tus.create(owner, id, lengthOf(bytes.length));
      await broken.patch(owner, upload, 0, bytes.subarray(0, MiB));
      const failed = await broken.send(owner, upload, MiB, bytes.subarray(MiB));
      expect(failed.status).toBe(503);
      expect(await broken.offset(owner, upload)).toBe(MiB);
      isBroken = false;
      await broken.patch(owner, upload, MiB, bytes.subarray(MiB));
      await expectDone(id, bytes, watch);
    },
  );
});

describe("a deletion of the image during a request that adds bytes", () => {
  it.each([
    ["parts", 9 * MiB],
    ["a tail", MiB],
  ])("leaves nothing of what came behind its look at the ledger: %s", async (_, size) => {
    const { id } = await service.createEmpty(owner);
    const upload = idOf(await tus.create(owner, id, lengthOf(20 * MiB)));
    const gate = new Gate();
    const watch = new Watch();
    const DB = interceptD1(env.DB, async (call, proceed) => {
      if (call.operation === "batch") await gate.pass();
      return proceed();
    });
    await withObject(id, { DB, BLOBS: watch.bucket }, async ({ caller, restart }) => {
      const object = restart();
      const pipe = new IdentityTransformStream();
      const pen = pipe.writable.getWriter();
      const appending = object.appendResumable(caller, upload, at(0), pipe.readable);
      await pen.write(data(10));
      const deleting = object.delete({ ...caller, rule: "delete_image" });
      await gate.reached;
      await pen.write(data(size));
      await pen.close();
      const seen = async () => (await new TestedObject(id).resumables())[0];
      for (;;) {
        const record = await seen();
        if (size > PART ? record?.parts === 1 : (record?.tailBytes ?? 0) > MiB) break;
        await scheduler.wait(5);
      }
      gate.open();
      expect(await deleting).toMatchObject({ ok: true });
      expect(await appending).toMatchObject({ ok: false });
    });
    await expectNothingLeft(id);
    await watch.expectNoneOpen();
  });

  it("ends the request", async () => {
    const { id } = await service.createEmpty(owner);
    const upload = await tus.create(owner, id, lengthOf(20 * MiB));
    const body = new Sender();
    const sending = tus.send(owner, upload, 0, body.stream);
    await body.send(data(9 * MiB));
    expect((await service.call(owner, "DELETE", `/v2/images/${id}`)).status).toBe(204);
    body.end();
    expect([404, 410]).toContain((await sending).status);
    await expectNothingLeft(id);
  });
});

describe("an upload that is given up between its last byte and its end", () => {
  it.each(["terminated", "deleted"] as const)("by being %s stays given up", async (how) => {
    const { id } = await service.createEmpty(owner);
    const upload = idOf(await tus.create(owner, id, lengthOf(10)));
    const gate = new Gate();
    let isHolding = false;
    const DB = interceptD1(env.DB, async (_, proceed) => {
      if (isHolding) await gate.pass();
      return proceed();
    });
    const answer = await withObject(id, { DB }, async ({ caller, restart }) => {
      const object = restart();
      const pipe = new IdentityTransformStream();
      const pen = pipe.writable.getWriter();
      const appending = object.appendResumable(caller, upload, at(0), pipe.readable);
      await pen.write(data(10));
      isHolding = true;
      const tagging = object.addTag(caller, "held");
      await gate.reached;
      isHolding = false;
      await pen.close();
      const seen = async () => (await new TestedObject(id).resumables())[0]?.parts;
      while ((await seen()) !== 1) await scheduler.wait(5);
      await scheduler.wait(20);
      const ending =
        how === "terminated"
          ? object.terminateResumable(caller, upload)
          : object.delete({ ...caller, rule: "delete_image" });
      gate.open();
      await tagging;
      expect(await ending).toMatchObject({ ok: true });
      return appending;
    });
    expect(answer).toMatchObject({ ok: false });
    if (how === "terminated") await expectQueued(id);
    await expectNothingLeft(id);
  });
});

describe("an object that dies in the hand-over", () => {
  for (const kind of ["whole", "joined", "placed"] as const) {
    it.each([1, 2, 3])(
      `of ${kind} data comes through (D1's call %i is the last one)`,
      async (nth) => {
        const { id } = await service.createEmpty(owner);
        const bytes = data(PART + 9);
        let parts: string[] = [];
        let upload = "";
        if (kind === "whole") {
          upload = idOf(await tus.create(owner, id, lengthOf(bytes.length)));
        } else {
          for (const [offset, end] of [
            [0, PART],
            [PART, bytes.length],
          ] as const) {
            const size = end - offset;
            const own = kind === "joined" ? partial(size) : placed(offset, size, bytes.length);
            const part = await tus.create(owner, id, own);
            await tus.patch(owner, part, 0, bytes.subarray(offset, end));
            parts = [...parts, idOf(part)];
          }
        }
        const gate = new Gate();
        let calls = 0;
        const DB = interceptD1(env.DB, async (_, proceed) => {
          const answer = await proceed();
          if (++calls === nth) await gate.pass();
          return answer;
        });
        await withObject(id, { DB }, async ({ caller, restart }) => {
          const object = restart();
          const own = { expected: undefined, metadata: undefined, requestId: "req-test" };
          const ending =
            kind === "whole"
              ? object.appendResumable(caller, upload, at(0), streamOf(bytes))
              : object.joinResumables(caller, { ...own, parts, concat: "final;" });
          await Promise.race([gate.reached, ending]);
        });
        const object = new TestedObject(id);
        for (const seconds of [0, 11, 600]) {
          passTime(seconds);
          await object.ringAll();
        }
        // Till then the bytes that were copied are spared over and over, for the upload still names them.
        passTime(86_400);
        await object.untilAtRest();
        const { status } = await service.show(owner, id);
        // A request that died before it was taken up is the client's to repeat.
        if (status === "queued") {
          expect(nth).toBe(1);
          return;
        }
        await expectDone(id, bytes);
      },
    );
  }
});

describe("partial uploads", () => {
  it("that take the place of one with a tail leave nothing of it, or are told of it", async () => {
    const { id } = await service.createEmpty(owner);
    const first = await tus.create(owner, id, placed(0, PART, 2 * PART));
    await tus.patch(owner, first, 0, data(MiB));
    const second = await tus.begin(owner, id, placed(0, PART, 2 * PART));
    expect(second.status).toBe(409);
    expect(await tus.offset(owner, first)).toBe(MiB);
    await tus.terminate(owner, first);
    await expectNothingLeft(id);
  });

  it("that take the place of one without a byte are the same again", async () => {
    const { id } = await service.createEmpty(owner);
    const bytes = data(PART + 1);
    const first = await tus.create(owner, id, placed(0, PART, bytes.length));
    const second = await tus.create(owner, id, placed(0, PART, bytes.length));
    expect((await tus.head(owner, first)).status).toBe(404);
    const third = await tus.create(owner, id, placed(PART, 1, bytes.length));
    await tus.patch(owner, second, 0, bytes.subarray(0, PART));
    await tus.patch(owner, third, 0, bytes.subarray(PART));
    await tus.create(owner, id, finalOf([second, third]));
    await expectDone(id, bytes);
  });

  it.each([
    [0, 2 * PART],
    [PART, PART],
    [0, 3 * PART],
    [PART, 2 * PART],
  ])("that overlap one with bytes are refused: %i, %i bytes", async (offset, bytes) => {
    const { id } = await service.createEmpty(owner);
    const total = 3 * PART;
    const first = await tus.create(owner, id, placed(PART, PART, total));
    await tus.patch(owner, first, 0, data(PART));
    expect((await tus.begin(owner, id, placed(offset, bytes, total))).status).toBe(409);
    await tus.create(owner, id, placed(0, PART, total));
    await tus.create(owner, id, placed(2 * PART, PART, total));
  });

  it("with a place that is none are refused", async () => {
    const { id } = await service.createEmpty(owner);
    const total = 2 * PART + 1;
    for (const [offset, bytes] of [
      [1, PART],
      [0, PART + 1],
      [0, 0],
      [2 * PART, 2],
      [3 * PART, 1],
    ] as const) {
      expect((await tus.begin(owner, id, placed(offset, bytes, total))).status).toBe(400);
    }
    const deferred = { ...placed(0, PART, total), "upload-defer-length": "1" };
    const { "upload-length": _, ...unknown } = deferred;
    expect((await tus.begin(owner, id, unknown)).status).toBe(400);
    expect(await new TestedObject(id).isAtRest()).toBe(true);
  });

  it("with a place are joined all of them, in order, and once", async () => {
    const { id } = await service.createEmpty(owner);
    const bytes = data(2 * PART);
    const parts: string[] = [];
    for (const offset of [0, PART]) {
      const part = await tus.create(owner, id, placed(offset, PART, bytes.length));
      await tus.patch(owner, part, 0, bytes.subarray(offset, offset + PART));
      parts.push(part);
    }
    const loose = await tus.create(owner, id, partial(1));
    await tus.patch(owner, loose, 0, data(1));
    for (const list of [
      parts.toReversed(),
      parts.slice(1),
      parts.slice(0, 1),
      [...parts, loose],
      [...parts, ...parts],
      [loose, ...parts],
    ]) {
      expect((await tus.begin(owner, id, finalOf(list))).status).toBe(400);
    }
    await tus.create(owner, id, finalOf(parts));
    await new TestedObject(id).untilAtRest();
    await expectData(id, bytes);
    await expectNothingLeft(id);
  });

  it("in two stores are joined", async () => {
    const twice = new Service({ settings: { STORES } });
    const client = new Tus(twice);
    const { id } = await twice.createEmpty(owner);
    const parts: string[] = [];
    for (const [store, text] of [
      ["fast", "hello"],
      ["archive", " world"],
    ] as const) {
      const headers = { ...partial(text.length), "upload-metadata": `store ${btoa(store)}` };
      const part = await client.create(owner, id, headers);
      await client.patch(owner, part, 0, text);
      parts.push(part);
    }
    await client.create(owner, id, finalOf(parts));
    await new TestedObject(id).untilAtRest(twice.env);
    expect(await tasksOf(twice, owner, id)).toMatchObject([{ status: "success" }]);
    const file = await twice.call(owner, "GET", `/v2/images/${id}/file`);
    expect(await file.text()).toBe("hello world");
    expect((await env.ARCHIVE.list({ prefix: `blobs/${id}/` })).objects).toEqual([]);
  });

  it("that are joined once more, the answer having been lost, come to the same", async () => {
    const { id } = await service.createEmpty(owner);
    const part = await tus.create(owner, id, partial(5));
    await tus.patch(owner, part, 0, data(5));
    const first = await tus.create(owner, id, finalOf([part]));
    expect(await tus.create(owner, id, finalOf([part]))).toBe(first);
    await expectDone(id, data(5));
  });

  it("of which one is given up while they are joined, which failed, do not keep the object awake", async () => {
    const { id } = await service.createEmpty(owner);
    const part = await tus.create(owner, id, partial(5));
    await tus.patch(owner, part, 0, data(5));
    let isBroken = true;
    const around: Around = (call, proceed) => {
      if (isBroken && call.operation === "batch") throw new Error("out of order");
      return proceed();
    };
    const broken = new Service({ bindings: { DB: interceptD1(env.DB, around) } });
    const response = await new Tus(broken).begin(owner, id, finalOf([part]));
    expect(response.status).toBeGreaterThanOrEqual(500);
    isBroken = false;
    await tus.terminate(owner, part);
    const pauses = await new TestedObject(id).untilAtRest();
    expect(pauses.length).toBeLessThan(10);
    await expectNothingLeft(id);
  });
});

describe("requests at once", () => {
  it("on one upload: one of them is refused, and the data is right", async () => {
    const { id } = await service.createEmpty(owner);
    const bytes = data(PART + 5);
    const upload = await tus.create(owner, id, lengthOf(bytes.length));
    const statuses = await Promise.all(
      [1, 2, 3].map(async () => (await tus.send(owner, upload, 0, bytes)).status),
    );
    expect(statuses.filter((status) => status === 204)).toHaveLength(1);
    for (const status of statuses) expect([204, 409, 423]).toContain(status);
    await expectDone(id, bytes);
  });

  it("a silent one gives way after five seconds, one with bytes does not", async () => {
    const { id } = await service.createEmpty(owner);
    const bytes = data(2 * MiB);
    const upload = await tus.create(owner, id, lengthOf(bytes.length));
    const body = new Sender();
    const silent = tus.send(owner, upload, 0, body.stream);
    await body.send(bytes.subarray(0, MiB));
    passTime(4);
    expect((await tus.send(owner, upload, MiB, bytes.subarray(MiB))).status).toBe(423);
    expect((await tus.head(owner, upload)).status).toBe(423);
    passTime(2);
    expect(await tus.offset(owner, upload)).toBe(MiB);
    expect((await silent).status).toBe(423);
    await tus.patch(owner, upload, MiB, bytes.subarray(MiB));
    await expectDone(id, bytes);
  });

  it("a silent one gives way to bytes", async () => {
    const { id } = await service.createEmpty(owner);
    const bytes = data(20 * MiB);
    const upload = await tus.create(owner, id, lengthOf(bytes.length));
    const body = new Sender();
    const silent = tus.send(owner, upload, 0, body.stream);
    await body.send(bytes.subarray(0, 17 * MiB));
    passTime(6);
    await tus.patch(owner, upload, 17 * MiB, bytes.subarray(17 * MiB));
    expect((await silent).status).toBe(423);
    await expectDone(id, bytes);
  });

  it("a termination ends one that adds bytes", async () => {
    const { id } = await service.createEmpty(owner);
    const upload = await tus.create(owner, id, lengthOf(20 * MiB));
    const body = new Sender();
    const sending = tus.send(owner, upload, 0, body.stream);
    await body.send(data(9 * MiB));
    expect((await tus.terminate(owner, upload)).status).toBe(204);
    body.end();
    expect((await sending).status).toBe(404);
    expect((await tus.head(owner, upload)).status).toBe(404);
    await expectQueued(id);
    await expectNothingLeft(id);
  });

  it("two uploads to one image: the first that is whole wins, the other is told", async () => {
    const { id } = await service.createEmpty(owner);
    const first = await tus.create(owner, id, lengthOf(5));
    const second = await tus.create(owner, id, lengthOf(5));
    await tus.patch(owner, second, 0, data(4, 7));
    await tus.patch(owner, first, 0, data(5));
    expect((await tus.send(owner, second, 4, data(1))).status).toBe(409);
    await expectDone(id, data(5));
  });

  it("PUT of the data wins while uploads are open, which expire", async () => {
    const { id } = await service.createEmpty(owner);
    const upload = await tus.create(owner, id, lengthOf(20 * MiB));
    await tus.patch(owner, upload, 0, data(9 * MiB));
    expect((await service.upload(owner, id, "hello")).status).toBe(204);
    expect((await tus.send(owner, upload, 9 * MiB, data(1))).status).toBe(409);
    expect(await tus.offset(owner, upload)).toBe(9 * MiB);
    await expectDone(id, new TextEncoder().encode("hello"));
    expect((await tus.head(owner, upload)).status).toBe(404);
  });

  it("PUT of the data that goes on holds the image; if it fails, the upload goes on", async () => {
    const { id } = await service.createEmpty(owner);
    const bytes = data(5);
    const upload = await tus.create(owner, id, lengthOf(5));
    await tus.patch(owner, upload, 0, bytes.subarray(0, 2));
    const body = new Sender();
    const putting = service.upload(owner, id, body.stream);
    await body.send(data(10));
    while ((await service.show(owner, id)).status !== "saving") await scheduler.wait(5);
    expect((await tus.send(owner, upload, 2, bytes.subarray(2))).status).toBe(409);
    body.breakOff();
    expect((await putting).status).toBe(400);
    await tus.patch(owner, upload, 2, bytes.subarray(2));
    await expectDone(id, bytes);
  });
});

describe("an upload that expires", () => {
  const STATES = {
    empty: async (id: string) => void (await tus.create(owner, id, lengthOf(20 * MiB))),
    "with a tail": async (id: string) => {
      await tus.patch(owner, await tus.create(owner, id, lengthOf(20 * MiB)), 0, data(MiB));
    },
    "with parts and a tail": async (id: string) => {
      await tus.patch(owner, await tus.create(owner, id, lengthOf(40 * MiB)), 0, data(19 * MiB));
    },
    "of unknown length": async (id: string) => {
      const upload = await tus.create(owner, id, { "upload-defer-length": "1" });
      await tus.patch(owner, upload, 0, data(17 * MiB));
    },
    "partial and complete": async (id: string) => {
      await tus.patch(owner, await tus.create(owner, id, partial(10)), 0, data(10));
    },
    "partial, at places": async (id: string) => {
      const total = 2 * PART + 5;
      await tus.create(owner, id, placed(0, PART, total));
      await tus.patch(owner, await tus.create(owner, id, placed(PART, PART, total)), 0, data(PART));
      await tus.patch(owner, await tus.create(owner, id, placed(2 * PART, 5, total)), 0, data(3));
    },
  };

  it.each(Object.keys(STATES) as (keyof typeof STATES)[])("%s leaves nothing", async (state) => {
    const { id } = await service.createEmpty(owner);
    await STATES[state](id);
    const multipartIds = new Map(
      (await new TestedObject(id).resumables()).flatMap(({ key, multipartId }) =>
        multipartId === undefined ? [] : [[multipartId, key] as const],
      ),
    );
    await expectNothingLeft(id, multipartIds);
    await expectQueued(id);
  });

  it("is not put off by the alarm that rings early", async () => {
    const { id } = await service.createEmpty(owner);
    const upload = await tus.create(owner, id, lengthOf(20 * MiB));
    passTime(80_000);
    await tus.patch(owner, upload, 0, data(9 * MiB));
    passTime(7_000);
    await new TestedObject(id).ringAll();
    expect(await tus.offset(owner, upload)).toBe(9 * MiB);
    passTime(79_000);
    await new TestedObject(id).ringAll();
    await new TestedObject(id).untilAtRest();
    expect(await storedKeys(id)).toEqual([]);
  });
});

describe("uploads of one image", () => {
  it("are 64 at most, and one more when one is given up", async () => {
    const { id } = await service.createEmpty(owner);
    const uploads: string[] = [];
    for (let n = 0; n < 64; n++) uploads.push(await tus.create(owner, id, lengthOf(5)));
    expect((await tus.begin(owner, id, lengthOf(5))).status).toBe(413);
    await tus.terminate(owner, uploads[0] ?? "");
    await tus.create(owner, id, lengthOf(5));
    for (const upload of uploads.slice(1)) await tus.patch(owner, upload, 0, data(3));
    expect((await service.call(owner, "DELETE", `/v2/images/${id}`)).status).toBe(204);
    expect((await tus.head(owner, uploads[1] ?? "")).status).toBe(404);
    await expectNothingLeft(id);
  });

  it("are not those of another image", async () => {
    const one = await service.createEmpty(owner);
    const other = await service.createEmpty(owner);
    const upload = await tus.create(owner, one.id, lengthOf(5));
    const wrong = `/v2/images/${other.id}/uploads/${idOf(upload)}`;
    expect((await tus.head(owner, wrong)).status).toBe(404);
    expect((await tus.send(owner, wrong, 0, data(5))).status).toBe(404);
    expect((await tus.terminate(owner, wrong)).status).toBe(404);
    expect(await tus.offset(owner, upload)).toBe(0);
    expect(await findStrays(one.id)).toEqual([]);
  });

  it("go on in an object that was restarted between any two pieces", async () => {
    const restarting = new Tus(new Service({ bindings: { BLOBS: env.BLOBS } }));
    const { id } = await service.createEmpty(owner);
    const bytes = data(20 * MiB + 3);
    const upload = await restarting.create(owner, id, lengthOf(bytes.length));
    for (let offset = 0; offset < bytes.length; ) {
      const piece = bytes.subarray(offset, offset + 3 * MiB);
      offset = await restarting.patch(owner, upload, offset, piece);
    }
    await expectDone(id, bytes);
  });

  it("of an object that is restarted while bytes come keep those that were put down", async () => {
    const { id } = await service.createEmpty(owner);
    const bytes = data(20 * MiB);
    const upload = idOf(await tus.create(owner, id, lengthOf(bytes.length)));
    await withObject(id, {}, async ({ caller, restart }) => {
      const pipe = new IdentityTransformStream();
      const pen = pipe.writable.getWriter();
      void restart().appendResumable(caller, upload, at(0), pipe.readable);
      await pen.write(bytes.subarray(0, 17 * MiB));
      while ((await new TestedObject(id).resumables())[0]?.parts !== 2) await scheduler.wait(5);
      const again = restart();
      const shown = await again.showResumable(caller, upload);
      expect(shown).toMatchObject({ ok: true, value: { offset: 16 * MiB } });
      const rest = streamOf(bytes.subarray(16 * MiB));
      const outcome = await again.appendResumable(caller, upload, at(16 * MiB), rest);
      expect(outcome).toMatchObject({ ok: true });
      pen.abort().catch(() => undefined);
    });
    await expectDone(id, bytes);
  });
});

describe("an upload that cannot be handed over", () => {
  it("is told to the client, and tried again", async () => {
    const { id } = await service.createEmpty(owner);
    let isBroken = true;
    const around: Around = (call, proceed) => {
      if (isBroken && call.operation === "batch") throw new Error("out of order");
      return proceed();
    };
    const broken = new Service({ bindings: { DB: interceptD1(env.DB, around) } });
    const upload = await tus.create(owner, id, lengthOf(5));
    const response = await new Tus(broken).send(owner, upload, 0, data(5));
    expect(response.status).toBeGreaterThanOrEqual(500);
    expect(await tus.offset(owner, upload)).toBe(5);
    isBroken = false;
    await expectDone(id, data(5));
  });

  it("to an image that is gone leaves nothing", async () => {
    const { id } = await service.createEmpty(owner);
    await withObject(id, {}, async ({ caller, restart }) => {
      const object = restart();
      await object.createResumable(caller, { ...whole, length: 5 });
      await object.delete({ ...caller, rule: "delete_image" });
    });
    await expectNothingLeft(id);
  });
});
