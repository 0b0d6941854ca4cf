import { Digests, type HashAlgorithm, isHashAlgorithm } from "../blob/digest.ts";
import { blobKey } from "../blob/keys.ts";
import { planParts } from "../blob/part-size.ts";
import { blobSource, joinedSource, type RangedSource } from "../blob/source.ts";
import type { ByteRange } from "../blob/store.ts";
import { openUnpacked } from "../blob/unpack.ts";
import type { Activity } from "../blob/write/body-reader.ts";
import { ingest } from "../blob/write/from-body.ts";
import { hashSource, transfer } from "../blob/write/from-ranges.ts";
import type { Spool } from "../blob/write/spool.ts";
import { withoutValues } from "../db/errors.ts";
import { updateTask } from "../db/tasks.ts";
import { Fault } from "../domain/fault.ts";
import type { Hashes, Image } from "../domain/image.ts";
import { type ImageSignature, readSignature, signedHash } from "../domain/image-signature.ts";
import { assertFormats } from "../domain/import-plan.ts";
import { assertNameLength } from "../domain/properties.ts";
import { assertFits, assertStorable } from "../domain/storable.ts";
import { inspectRanges } from "../inspect/inspect-ranges.ts";
import { Inspector } from "../inspect/inspector.ts";
import { logIfTaken } from "../inspect/log-taken.ts";
import { log } from "../lib/log.ts";
import { detectPacking, PACKING_HEAD_BYTES } from "../lib/packing.ts";
import { describeRemoteImage, findEndpoint } from "../net/image-api.ts";
import { type Door, remembering } from "../net/resolve.ts";
import { rejected, unreachable } from "../net/safe-fetch.ts";
import { probe, readAll, readRange, type SourceFacts, sourceFault } from "../net/source.ts";
import {
  type Base,
  baseStore,
  type Description,
  type ImportJob,
  type Target,
  withDescription,
} from "./import-job.ts";
import { type RunMemory, TIME_IS_UP } from "./import-memory.ts";
import { GRANT_BYTES, type Keeper } from "./keeper.ts";
import { oweUnfinished } from "./removals.ts";

/** Work that cannot be gone on with is begun only in the first minute of an alarm's time. */
const FRESH_MS = 60_000;

/** How often the task tells how far the work is; also what keeps its lock alive (contract 10 §7). */
const REPORT_MS = 10_000;

/** How long the addresses of a source's names hold. */
const NAMES_MS = 10_000;

/** How often the pace of a source is looked at. */
const LOOK_MS = 5_000;

const MiB = 1024 ** 2;

/** How work that moves bytes tells that it goes on. */
interface Watch {
  /** So many bytes more have come. */
  readonly touch: (bytes: number) => void;
  /** Whether the source is waited for at this moment. */
  readonly activity: Activity;
}

/** Bytes on their way in, readable once. */
interface Pour {
  readonly stream: ReadableStream<Uint8Array>;
  /** Undefined when nobody says. */
  readonly size: number | undefined;
}

/** One step of an import that moves bytes: between stores, into one, or through a hash. It ends with a checkpoint. */
export class Mover {
  #reportedAtMs = 0;
  readonly #door: Door;

  constructor(
    private readonly keeper: Keeper,
    private readonly memory: RunMemory,
    private readonly options: {
      readonly job: ImportJob;
      readonly signal: AbortSignal;
      /** When this alarm's time began. */
      readonly startedAtMs: number;
    },
  ) {
    const { door } = keeper.config;
    const resolve = door.resolve && remembering(door.resolve, NAMES_MS);
    this.#door = { ...door, resolve };
  }

  // --- Fetching -----------------------------------------------------------------------------------------

  /** Finds out what the source has, and begins to bring it to the first store. */
  async fetch(): Promise<void> {
    if (this.options.job.method.name === "resumable-upload") return this.#join();
    const { url, headers, size, job } = await this.#reach();
    const options = { ...this.#door, headers, signal: this.options.signal };
    const facts = await probe(url, options);
    if (size !== undefined && facts.size !== undefined && facts.size !== size) {
      throw rejected(`its data has ${facts.size} bytes, not the ${size} of its record`);
    }
    this.#assertFits(facts.size);
    await this.#chargeAnnounced(facts.size ?? size);
    const ranged = rangedBy(facts, job.expected !== undefined);
    if (ranged !== undefined) {
      return this.#checkpoint({ ...job, target: this.#newTarget("fetch", baseStore(job), ranged) });
    }
    await this.#pour("fetch", baseStore(job), job, async () => {
      const whole = await readAll(url, options);
      await this.#chargeAnnounced(whole.size);
      return { stream: whole.stream, size: whole.size ?? size };
    });
  }

  /** Begins to put the segments of an upload together. */
  async #join(): Promise<void> {
    const { job, signal } = this.options;
    const source = this.#segments();
    const ranged = this.#partsFor(source.size, baseStore(job));
    if (ranged !== undefined) {
      return this.#checkpoint({ ...job, target: this.#newTarget("fetch", baseStore(job), ranged) });
    }
    await this.#pour("fetch", baseStore(job), job, async () => {
      const stream = await readWhole(source, signal);
      return { stream, size: source.size };
    });
  }

  #segments(): RangedSource {
    const { method } = this.options.job;
    const segments = method.name === "resumable-upload" ? method.segments : [];
    return joinedSource(
      segments.map(({ storeId, key, size }) => blobSource(this.keeper.store(storeId), key, size)),
    );
  }

  /** Where the source is. Of a remote image the record is read first, and noted in the job (contract 10 §12). */
  async #reach() {
    const { job, signal } = this.options;
    const { method } = job;
    if (method.name === "web-download") {
      return { url: method.uri, headers: {}, size: undefined, job };
    }
    const { url, token } = this.#remoteData();
    if (method.name !== "glance-download" || url === undefined)
      throw new Error("no source to fetch");
    const { remoteProperties: prefixes, regions } = this.keeper.config;
    const endpoint = findEndpoint(regions, method.region, method.serviceInterface) ?? "";
    const remote = await describeRemoteImage(endpoint, method.imageId, {
      ...this.#door,
      token,
      prefixes,
      signal,
    });
    const { size, hash, diskFormat, containerFormat, properties } = remote;
    const described = { diskFormat, containerFormat, properties: Object.fromEntries(properties) };
    const signature = (await this.#assertTakeable(described)) ?? null;
    const expected = job.expected ?? hash;
    const headers = { "x-auth-token": token };
    return { url, headers, size, job: { ...job, expected, described, signature } };
  }

  /** Refuses what the image could not take over from the remote one in the end. Gives the signature that it then has. */
  async #assertTakeable(described: Description): Promise<ImageSignature | undefined> {
    const { diskFormats, containerFormats } = this.keeper.config.limits;
    const { diskFormat, containerFormat } = described;
    const isKnown =
      (diskFormat === null || diskFormats.includes(diskFormat)) &&
      (containerFormat === null || containerFormats.includes(containerFormat));
    if (!isKnown) throw rejected("the remote image has a format that is not known here");
    const after = withDescription(await this.#image(), described);
    for (const name of after.properties.keys()) assertNameLength(name);
    assertFits(after);
    assertStorable(after);
    return this.#signatureOf(after);
  }

  /** What can be found out before any byte is moved: whether there is room, and a signature that can be verified. */
  async prepare(): Promise<void> {
    const { job } = this.options;
    const image = await this.#image();
    const signature = await this.#signatureOf(image);
    await this.#charge(image);
    await this.#checkpoint({ ...job, signature: signature ?? null });
  }

  /** Holds the import against the limits that apply before it begins (contract 10 §8 step 3, 12 §6). */
  async #charge(image: Image): Promise<void> {
    const { method, base, projectId } = this.options.job;
    // That of an upload is charged already.
    if (method.name === "resumable-upload" || !this.keeper.config.quotas.isLimited) return;
    if (method.name === "glance-direct") return this.#chargeFor({ size: base?.size ?? 0 }, image);
    // What these two count is there with the image's status, or the stores that are to be filled.
    const demands = [
      { of: "image_stage_total", delta: 0 },
      { of: "image_count_uploading", delta: 0 },
    ] as const;
    await this.keeper.reserve({ projectId, demands }, image, image.reservedBytes);
  }

  /** Data whose source tells its size takes up its space before a byte of it is stored, if there is so much left. */
  async #chargeAnnounced(size: number | undefined): Promise<void> {
    if (size === undefined) return;
    await this.keeper.alone(async () => this.#chargeFor({ size }, await this.#image()));
  }

  /**
   * Asks for space as bytes come, before they are stored, where nobody has told how many there will be; undefined where
   * that is of no use.
   */
  #meter(purpose: Target["purpose"]): ((bytes: number) => Promise<void>) | undefined {
    const { method, projectId } = this.options.job;
    const isCharged = purpose !== "copy" && method.name !== "resumable-upload";
    const { quotas } = this.keeper.config;
    if (!isCharged || quotas.limitOn("image_size_total", projectId) === undefined) return undefined;
    let granted = 0;
    return async (needed) => {
      if (needed <= granted) return;
      granted = await this.keeper.alone(async () => {
        const image = await this.#image();
        const staged = this.#chargedAsStaged(image);
        const held = image.reservedBytes + staged;
        if (needed <= held) return held;
        const wanted = needed + GRANT_BYTES;
        const growth = { of: "image_size_total", projectId, held, needed, wanted } as const;
        return this.keeper.grant(growth, (bytes, charge) =>
          this.keeper.reserve(charge, image, bytes - staged),
        );
      });
    };
  }

  /** Bytes of the image that count already as those staged, where one limit is on all bytes. */
  #chargedAsStaged({ staged, size }: Image): number {
    return staged === null || this.keeper.config.quotas.hasFour ? 0 : (size ?? 0);
  }

  /** Data whose size was not known before takes up its space now, if there is so much left. */
  async #chargeFor({ size }: Pick<Base, "size">, image: Image): Promise<void> {
    const { method, projectId } = this.options.job;
    const { isLimited } = this.keeper.config.quotas;
    const staged = this.#chargedAsStaged(image);
    const delta = size - staged - image.reservedBytes;
    if (delta <= 0 || method.name === "copy-image" || !isLimited) return;
    const demands = [{ of: "image_size_total", delta }] as const;
    await this.keeper.reserve({ projectId, demands }, image, size - staged);
  }

  /** That of a copy was verified when its image came to be (contract 13 §8, Changing the properties later). */
  async #signatureOf({ properties }: Image): Promise<ImageSignature | undefined> {
    if (this.options.job.method.name === "copy-image") return undefined;
    const signature = readSignature(properties);
    if (signature !== undefined) {
      await this.keeper.config.signatures.verifier(signature, Date.now());
    }
    return signature;
  }

  /** The address of a remote image's data, and the token that it takes. */
  #remoteData(): { url: string | undefined; token: string } {
    const { method, token = "" } = this.options.job;
    if (method.name !== "glance-download") return { url: undefined, token };
    const { region, imageId, serviceInterface } = method;
    const endpoint = findEndpoint(this.keeper.config.regions, region, serviceInterface);
    if (endpoint === undefined) {
      throw rejected(`there is no ${serviceInterface} image service of the region ${region}`);
    }
    return { url: `${endpoint}/v2/images/${imageId}/file`, token };
  }

  // --- Writing ------------------------------------------------------------------------------------------

  /** Goes on with a target in parts. Throws for one that was to be written in one pass, which is then given up. */
  async fill(): Promise<void> {
    const { job, signal } = this.options;
    const { target } = job;
    // Its process died, which counts as a try: what kills one may kill the next.
    if (target?.ranged === undefined) throw unreachable("its data was broken off half-way");
    const { size, partBytes } = target.ranged;
    const { ledger } = this.keeper;
    const uploadId = target.multipartId ?? (await this.#openMultipart(target));
    const stored = await ledger.parts(target.key);
    let storedParts = 0;
    while (stored.has(storedParts + 1)) storedParts += 1;
    let done = storedParts * partBytes;
    // Bytes that the digest has had and no part has are read again. Somebody else's server may send others then, which
    // would be stored under the hash of the first ones, whatever it calls their version.
    const hadBytes = this.memory.digestOf(target.key)?.position ?? 0;
    if (hadBytes > done && this.#isRemote(target)) this.memory.dropDigest();
    const digest =
      this.memory.digestOf(target.key) ??
      (storedParts === 0 ? this.memory.keepDigest(target.key, this.#newDigest()) : undefined);
    const inOrder = digest && (await this.#inspecting(digest, target));
    const store = this.keeper.store(target.storeId);
    await this.#watched(this.#isRemote(target), (watchedSignal, { touch, activity }) =>
      transfer(this.#rangedSource(target), {
        store,
        key: target.key,
        uploadId,
        partBytes,
        storedParts,
        spool: this.#spool(),
        digest: inOrder,
        onStored: async (receipt) => {
          // A job that was ended has left the ledger, and nothing is to follow it there.
          signal.throwIfAborted();
          await ledger.addPart(target.key, receipt);
          this.memory.noteProgress();
          done = Math.min(size, done + partBytes);
          await this.#report(target, done, size);
        },
        onBytes: touch,
        activity,
        signal: watchedSignal,
      }),
    );
    signal.throwIfAborted();
    const parts = [...(await ledger.parts(target.key)).values()];
    await store.completeMultipart(target.key, uploadId, parts);
    const hashes = digest?.position === size ? await digest.finish() : {};
    const content = { size, hashes };
    await this.#checkpoint({ ...job, target: { ...target, multipartId: uploadId, content } });
  }

  /** Begins to write a copy in a further store. */
  async copy(base: Base, storeId: string): Promise<void> {
    const { job } = this.options;
    const ranged = this.#partsFor(base.size, storeId);
    if (ranged !== undefined) {
      return this.#checkpoint({ ...job, target: this.#newTarget("copy", storeId, ranged) });
    }
    await this.#pour("copy", storeId, job, () => this.#readBase(base));
  }

  /** How what lies in stores already is cut for another one; undefined for what one `put` stores. */
  #partsFor(size: number, storeId: string): Target["ranged"] {
    const { putting } = this.keeper.store(storeId);
    const { partBytes } = planParts(size);
    const longestPut = Math.min(this.keeper.config.singlePutMaxBytes, putting.maxBytes);
    return size > Math.max(partBytes, longestPut) ? { size, partBytes, validator: {} } : undefined;
  }

  /** Unpacks compressed bytes where that is configured (contract 10 §14, image_decompression). */
  async unpack(base: Base): Promise<void> {
    const { job } = this.options;
    const image = await this.#image();
    const packing = this.#mayBePacked(image) ? detectPacking(await this.#headOf(base)) : undefined;
    if (packing === undefined) {
      return this.#checkpoint({ ...job, base: { ...base, isPlain: true } });
    }
    // Staged bytes need not lie in a store that is to have a copy.
    await this.#pour("unpack", baseStore(job), job, async () => ({
      stream: await openUnpacked(packing, (range) => this.#openBlob(base, range), base.size),
      size: undefined,
    }));
  }

  /** Whether compressed data is to be unpacked; that of an image which is to be compressed stays so. */
  #mayBePacked({ containerFormat }: Image): boolean {
    const { plugins } = this.keeper.config.importPlugins;
    // Plugins are for imports (contract 10 §14).
    const isUpload = this.options.job.method.name === "resumable-upload";
    const isWanted = plugins.includes("image_decompression") && !isUpload;
    return isWanted && containerFormat !== "compressed";
  }

  /** What was fetched or unpacked is the base from now on; packed bytes have done their duty. */
  async takeForBase({ purpose, storeId, key, content }: Target): Promise<void> {
    const { job } = this.options;
    if (content === undefined) return;
    const isPlain = purpose === "unpack";
    const own = { isOurs: true, isPlain, inspected: undefined };
    const base: Base = { storeId, key, ...content, ...own };
    await this.#checkpoint({ ...job, base, target: undefined, failures: 0 }, job.base);
  }

  // --- Checks -------------------------------------------------------------------------------------------

  /** Holds data that is there, whole and unpacked, against the image's format and signature (contract 13 §§3, 8). */
  async check(base: Base): Promise<void> {
    const { job } = this.options;
    const { config } = this.keeper;
    const current = await this.#image();
    await this.#chargeFor(base, current);
    const { diskFormat, containerFormat } = withDescription(current, job.described);
    const formats = { diskFormat, containerFormat };
    // They may have been taken away while the data came.
    assertFormats({ ...current, ...formats });
    const read = async (range: ByteRange) =>
      new Response(await this.#openBlob(base, range)).bytes();
    const found = await inspectRanges(base.size, read, formats, config.inspection);
    logIfTaken(job.imageId, formats, found);
    if (job.signature) {
      const verifier = await config.signatures.verifier(job.signature, Date.now());
      await verifier.verify(base.hashes[verifier.algorithm] ?? "");
    }
    const { virtualSize, packing } = found;
    const inspected = { ...formats, virtualSize, packing };
    await this.#checkpoint({ ...job, base: { ...base, inspected } });
  }

  /** Looks at data as it comes, so that most of what is refused in the end need not come at all. */
  async #earlyInspection({ purpose }: Target, job: ImportJob): Promise<Inspector | undefined> {
    const image = await this.#image();
    if (purpose !== "fetch" || this.#mayBePacked(image)) return undefined;
    return new Inspector(withDescription(image, job.described), this.keeper.config.inspection);
  }

  /** A digest whose bytes are inspected before it has them, if it begins with the first one. */
  async #inspecting(digest: Digests, target: Target): Promise<Pick<Digests, "take">> {
    const inspector =
      digest.position === 0 ? await this.#earlyInspection(target, this.options.job) : undefined;
    if (inspector === undefined) return digest;
    return {
      take: (offset, bytes) => {
        inspector.take(bytes);
        return digest.take(offset, bytes);
      },
    };
  }

  // --- Hashes -------------------------------------------------------------------------------------------

  /** Whether all hashes that this import is about are known. */
  isHashed(hashes: Hashes): boolean {
    return this.#algorithms().every((name) => hashes[name] !== undefined);
  }

  /** Throws when a copy turned out to differ from what it is a copy of (contract 10 §13). */
  assertSame(base: Base, content: { readonly size: number; readonly hashes: Hashes }): void {
    const isSame =
      content.size === base.size &&
      Object.entries(base.hashes).every(
        ([name, value]) => (content.hashes[name] ?? value) === value,
      );
    if (!isSame) throw new Fault("copy_differs");
  }

  async hashBase(base: Base): Promise<void> {
    const hashes = await this.#hash(base);
    const isDamaged = Object.entries(base.hashes).some(
      ([name, value]) => hashes[name] !== undefined && hashes[name] !== value,
    );
    if (isDamaged) throw unreachable("its stored copy is damaged");
    await this.#checkpoint({ ...this.options.job, base: { ...base, hashes } });
  }

  async hashTarget(target: Target): Promise<void> {
    if (target.content === undefined) return;
    const { size } = target.content;
    const hashes = await this.#hash({ ...target, size });
    await this.#checkpoint({
      ...this.options.job,
      target: { ...target, content: { size, hashes } },
    });
  }

  #hash(blob: Pick<Base, "storeId" | "key" | "size">): Promise<Hashes> {
    return this.hash(blobSource(this.keeper.store(blob.storeId), blob.key, blob.size), blob);
  }

  /**
   * Reads bytes through the hashes, on from where an earlier alarm of this process came with the same key. `isProgress`
   * says whether it is, to have come so far.
   */
  async hash(
    source: RangedSource,
    blob: Pick<Base, "storeId" | "key">,
    isProgress: (position: number) => boolean = () => true,
  ): Promise<Hashes> {
    const digest =
      this.memory.digestOf(blob.key) ?? this.memory.keepDigest(blob.key, this.#newDigest());
    const isRemote = this.options.job.method.name === "add-location";
    await this.#watched(isRemote, (signal, { touch, activity }) =>
      hashSource(source, digest, {
        activity,
        signal,
        onBytes: (bytes) => {
          touch(bytes);
          if (isProgress(digest.position)) this.memory.noteProgress();
          void this.#report(blob, digest.position, source.size, "Hashed");
        },
      }),
    );
    return digest.finish();
  }

  /** Those of the image for a copy of it, which may be none; else those that it is to have and to be held against. */
  #algorithms(): readonly HashAlgorithm[] {
    const { method, base, expected, signature } = this.options.job;
    const { hashAlgorithm } = this.keeper.config;
    if (method.name === "add-location") return ["md5", expected?.algorithm ?? hashAlgorithm];
    const own =
      method.name === "copy-image"
        ? Object.keys(base?.hashes ?? {}).filter(isHashAlgorithm)
        : (["md5", hashAlgorithm] as const);
    const expectedHash = expected === undefined ? [] : [expected.algorithm];
    const signed = signature ? [signedHash(signature)] : [];
    return [...own, ...expectedHash, ...signed];
  }

  #newDigest(): Digests {
    return new Digests(this.#algorithms());
  }

  // --- Parts of the above -------------------------------------------------------------------------------

  #rangedSource({ purpose, ranged }: Target): RangedSource {
    const { method, base } = this.options.job;
    if (purpose === "copy" && base !== undefined) {
      return blobSource(this.keeper.store(base.storeId), base.key, base.size);
    }
    if (method.name === "resumable-upload") return this.#segments();
    if (ranged === undefined) throw new Error("the target is not written in parts");
    const { size, validator } = ranged;
    const remote = this.#remoteData();
    const url = method.name === "web-download" ? method.uri : remote.url;
    if (url === undefined) throw new Error("no source to fetch");
    const headers: Record<string, string> =
      remote.url === undefined ? {} : { "x-auth-token": remote.token };
    return {
      size,
      read: async (range, signal) => {
        const wanted = { ...range, size, validator };
        const read = await readRange(url, wanted, { ...this.#door, headers, signal });
        if (read.outcome === "changed") throw new Fault("source_changed");
        return read.stream;
      },
    };
  }

  /** Writes a blob in one pass. It cannot be gone on with: what fails is begun anew, under another key. */
  async #pour(
    purpose: Target["purpose"],
    storeId: string,
    job: ImportJob,
    open: () => Promise<Pour>,
  ): Promise<void> {
    const { signal, startedAtMs } = this.options;
    if (Date.now() - startedAtMs > FRESH_MS) throw TIME_IS_UP;
    const target = this.#newTarget(purpose, storeId, undefined);
    await this.#checkpoint({ ...job, target });
    const store = this.keeper.store(storeId);
    const { config } = this.keeper;
    let multipartId: string | undefined;
    const meter = this.#meter(purpose);
    const isRemote = this.#isRemote(target);
    const written = await this.#watched(isRemote, async (watchedSignal, { touch, activity }) => {
      let seen = 0;
      const inspection = await this.#earlyInspection(target, job);
      const { stream, size } = await open();
      return ingest(stream, {
        store,
        key: target.key,
        declaredBytes: size,
        maxBytes: config.limits.imageBytes,
        singlePutMaxBytes: config.singlePutMaxBytes,
        algorithms: ["md5", config.hashAlgorithm, ...this.#algorithms()],
        inspection,
        spool: this.#spool(),
        openMultipart: async () => {
          multipartId = await this.#openMultipart(target);
          return multipartId;
        },
        onProgress: async (bytes) => {
          touch(bytes - seen);
          seen = bytes;
          await meter?.(bytes);
          await this.#report(target, bytes, size);
        },
        activity,
        signal: watchedSignal,
      });
    }).catch((error: unknown) => {
      if (signal.aborted && signal.reason === TIME_IS_UP) throw tooSlow();
      throw error instanceof Fault && error.code === "body_broken_off"
        ? sourceFault(error.cause)
        : error;
    });
    const { size, hashes, multipart } = written;
    if (multipart !== undefined) {
      await store.completeMultipart(target.key, multipart.uploadId, multipart.parts);
    }
    const content = { size, hashes };
    await this.#checkpoint({ ...job, target: { ...target, multipartId, content } });
  }

  async #readBase(base: Base): Promise<Pour> {
    const source = blobSource(this.keeper.store(base.storeId), base.key, base.size);
    return { stream: await readWhole(source, this.options.signal), size: base.size };
  }

  async #openBlob(base: Base, range?: { offset: number; length: number }) {
    const wanted = range ?? { offset: 0, length: base.size };
    const source = blobSource(this.keeper.store(base.storeId), base.key, base.size);
    return source.read(wanted, this.options.signal);
  }

  async #headOf(base: Base): Promise<Uint8Array> {
    const length = Math.min(base.size, PACKING_HEAD_BYTES);
    if (length === 0) return new Uint8Array(0);
    return new Response(await this.#openBlob(base, { offset: 0, length })).bytes();
  }

  /** Where bytes wait that fill no part yet. A job that was ended keeps none any more. */
  #spool(): Spool {
    const spool = this.keeper.ledger.spool.of("import");
    return {
      ...spool,
      append: async (...row) => {
        this.options.signal.throwIfAborted();
        await spool.append(...row);
      },
    };
  }

  #newTarget(purpose: Target["purpose"], storeId: string, ranged: Target["ranged"]): Target {
    const key = blobKey(this.options.job.imageId, crypto.randomUUID());
    return { purpose, storeId, key, multipartId: undefined, ranged, content: undefined };
  }

  /** Begins the target's multipart upload and remembers its id. */
  #openMultipart(target: Target): Promise<string> {
    return this.keeper.alone(async () => {
      const { job } = await this.keeper.ledger.read();
      if (job?.target?.key !== target.key) throw this.#gone();
      const multipartId = await this.keeper.store(target.storeId).beginMultipart(target.key);
      await this.keeper.ledger.write({ job: { ...job, target: { ...job.target, multipartId } } });
      return multipartId;
    });
  }

  /** Puts down how far the job is, unless it was ended meanwhile. */
  checkpoint(job: ImportJob): Promise<void> {
    return this.#checkpoint(job);
  }

  /** The same; `replaced` is to go, if it is the import's own. */
  #checkpoint(job: ImportJob, replaced?: Target | Base): Promise<void> {
    return this.keeper.alone(async () => {
      const { ledger, config } = this.keeper;
      const { job: current, owed } = await ledger.read();
      if (current?.taskId !== job.taskId) throw this.#gone();
      const isOwed = replaced !== undefined && !("isOurs" in replaced && !replaced.isOurs);
      const blob = isOwed ? { multipartId: undefined, ...replaced } : undefined;
      const doomed =
        blob === undefined
          ? []
          : [oweUnfinished(job.imageId, blob, Date.now(), config.uploadLeaseMs)];
      // Those of an earlier target are of no use any more.
      if (job.target?.key !== current.target?.key) await ledger.clearParts();
      await ledger.write({ job, owed: [...owed, ...doomed] });
    });
  }

  async #image(): Promise<Image> {
    const image = await this.keeper.present(this.options.job.imageId);
    if (image === undefined) throw this.#gone();
    return image;
  }

  #gone(): Fault {
    return new Fault("image_gone", { imageId: this.options.job.imageId });
  }

  #assertFits(size: number | undefined): void {
    const { imageBytes: maximum } = this.keeper.config.limits;
    if (size !== undefined && size > maximum) throw new Fault("image_too_large", { maximum });
  }

  /** Whether what is written comes from somebody else's server. */
  #isRemote({ purpose }: Target): boolean {
    const { name } = this.options.job.method;
    return purpose === "fetch" && (name === "web-download" || name === "glance-download");
  }

  /**
   * Runs work that moves bytes, and ends it when none have moved for too long; where they come from somebody else's
   * server, also when they come too slowly.
   */
  async #watched<T>(
    isRemote: boolean,
    work: (signal: AbortSignal, watch: Watch) => Promise<T>,
  ): Promise<T> {
    const { importIdleMs, importPace } = this.keeper.config;
    const pace = isRemote ? this.memory.paceOf(this.options.job.taskId, importPace) : undefined;
    const stop = new AbortController();
    const activity = { reads: 0, isWaiting: true };
    let moved = 0;
    let seen = -1;
    // Counted, not timed: of two looks in a row that find nothing new, the second one ends it.
    const idle = setInterval(() => {
      if (moved === seen && activity.isWaiting)
        stop.abort(unreachable(`no data came for ${importIdleMs / 1000} seconds`));
      seen = moved;
    }, importIdleMs);
    let lookedAtMs = performance.now();
    const look = (isWaiting = activity.isWaiting) => {
      const nowMs = performance.now();
      // A store that is slow says nothing about the source.
      const slow = isWaiting ? pace?.passed(nowMs - lookedAtMs) : undefined;
      lookedAtMs = nowMs;
      if (slow !== undefined) stop.abort(slow);
    };
    const looks = setInterval(() => look(), Math.min(LOOK_MS, importPace.windowMs));
    try {
      const signal = AbortSignal.any([this.options.signal, stop.signal]);
      return await work(signal, {
        touch: (bytes) => {
          moved += 1;
          pace?.came(bytes);
        },
        activity,
      });
    } catch (error) {
      // A source that breaks off again and again is not to be faster for it.
      look(true);
      throw stop.signal.aborted ? stop.signal.reason : error;
    } finally {
      clearInterval(idle);
      clearInterval(looks);
    }
  }

  /** Tells the task how far the work is; whoever follows it waits for nothing else, so a failure is only logged. */
  async #report(
    { storeId }: Pick<Target, "storeId">,
    doneBytes: number,
    allBytes: number | undefined,
    what = "Copied",
  ): Promise<void> {
    const nowMs = Date.now();
    if (nowMs - this.#reportedAtMs < REPORT_MS) return;
    this.#reportedAtMs = nowMs;
    const { job } = this.options;
    const all = allBytes === undefined ? "" : ` of ${Math.ceil(allBytes / MiB)}`;
    const tries = job.failures === 0 ? "" : `; try ${job.failures + 1} after: ${job.lastError}`;
    const message = `${what} ${Math.floor(doneBytes / MiB)}${all} MiB (${storeId})${tries}`;
    try {
      await updateTask(this.keeper.db, job.taskId, { message, updatedAtMs: nowMs });
    } catch (error) {
      log({ event: "import_not_reported", error: String(withoutValues(error)) });
    }
  }
}

/**
 * How data is fetched in parts: where ranges are served, and there is more than one part of it. Parts of two versions
 * must not be joined: something has to tell them apart, a validator or the hash that is expected in the end.
 */
function rangedBy(facts: SourceFacts, isHashKnown: boolean): Target["ranged"] {
  const { acceptsRanges, size, validator } = facts;
  if (!acceptsRanges || size === undefined) return undefined;
  const isTold = validator.etag !== undefined || validator.lastModified !== undefined;
  if (!isTold && !isHashKnown) return undefined;
  const { partBytes } = planParts(size);
  return size > partBytes ? { size, partBytes, validator } : undefined;
}

async function readWhole(
  { size, read }: RangedSource,
  signal: AbortSignal,
): Promise<ReadableStream<Uint8Array>> {
  return size === 0 ? new Blob([]).stream() : read({ offset: 0, length: size }, signal);
}

function tooSlow(): Fault {
  return rejected(
    "it cannot be read from any place on, so that it has to come at once, and that took too long",
  );
}
