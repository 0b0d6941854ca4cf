import { hashOf } from "../../support/source-hash.ts";
import type { SourceServer } from "../../support/source-server.ts";
import type { ImageApi } from "../image-api.ts";
import { poll } from "../poll.ts";
import { answerTo, beginToSend, type WayIn, writeAll } from "../sending.ts";
import { MiB, makeBytes, sha512Of } from "../test-data.ts";

/** Whom the victims sign in as, and the server that their imports read from. */
export interface VictimScene {
  readonly api: ImageApi;
  readonly source: SourceServer;
}

/** Somebody who wants an image, and nothing else of the service. */
export interface Victim {
  readonly name: string;
  /** Makes the image active and checks its record. Throws what went wrong; ends when it is told to. */
  run(scene: VictimScene, imageId: string, signal: AbortSignal): Promise<void>;
  /** What its data hash to. */
  readonly sha512: string;
}

const SIZES: Readonly<Record<string, number>> = {
  "100 KB": 100_000,
  "1 MiB": MiB,
  "5 MiB": 5 * MiB,
  "9 MiB": 9 * MiB,
  "20 MiB": 20 * MiB,
};
const WAYS: readonly WayIn[] = ["PUT", "PUT in chunks", "stage", "tus"];
const PATIENCE_SECONDS = 600;

export const VICTIMS: readonly Victim[] = Object.entries(SIZES).flatMap(([size, sizeBytes]) => [
  ...WAYS.map((way) => sender(`${size} by ${way}`, way, sizeBytes)),
  importer(`${size} by web-download with ranges`, sizeBytes, true),
  importer(`${size} by web-download without ranges`, sizeBytes, false),
]);

/** The bytes of a victim's image, in pieces. */
export function* dataOfSize(sizeBytes: number): Generator<Buffer> {
  let left = sizeBytes;
  for (const piece of makeBytes(Math.ceil(sizeBytes / MiB))) {
    yield piece.subarray(0, left);
    left -= piece.length;
  }
}

/** A client that sends its data by one request, as fast as it can or at a steady rate. */
export function sender(
  name: string,
  way: WayIn,
  sizeBytes: number,
  bytesPerSecond = Number.POSITIVE_INFINITY,
): Victim {
  const sha512 = sha512Of(dataOfSize(sizeBytes));
  const run: Victim["run"] = async ({ api }, imageId, signal) => {
    const request = await beginToSend(api, imageId, way, sizeBytes);
    signal.addEventListener("abort", () => request.destroy());
    const answer = answerTo(request);
    const sent = writeAll(request, dataOfSize(sizeBytes), bytesPerSecond).then(() => request.end());
    const { status, body } = await answer;
    if (status !== 204) throw new Error(`answered with ${status} ${body.slice(0, 200)}`);
    await sent;
    if (way.startsWith("stage")) await importStaged(api, imageId, sizeBytes);
    await expectActive(api, imageId, sizeBytes, sha512, signal);
  };
  return { name, run, sha512 };
}

async function importStaged(api: ImageApi, imageId: string, sizeBytes: number): Promise<void> {
  const { status, size } = await api.show(imageId);
  if (status !== "uploading" || size !== sizeBytes) throw new Error(`staged: ${status}, ${size}`);
  await api.import(imageId, { method: { name: "glance-direct" } });
}

function importer(name: string, sizeBytes: number, hasRanges: boolean): Victim {
  const data = { seed: 7, size: sizeBytes };
  const sha512 = hashOf(data);
  const run: Victim["run"] = async ({ api, source }, imageId, signal) => {
    const uri = source.fileUrl({ ...data, ...(hasRanges ? {} : { ranges: "no" }) });
    await api.import(imageId, { method: { name: "web-download", uri } });
    await expectActive(api, imageId, sizeBytes, sha512, signal);
  };
  return { name, run, sha512 };
}

async function expectActive(
  api: ImageApi,
  imageId: string,
  sizeBytes: number,
  sha512: string,
  signal: AbortSignal,
): Promise<void> {
  const record = await poll(
    () => api.show(imageId),
    ({ status }) => signal.aborted || status === "active" || status === "queued",
    PATIENCE_SECONDS,
  );
  const { status, size, os_hash_value: hash } = record;
  if (status !== "active") throw new Error(`the image is ${status}`);
  if (size !== sizeBytes || hash !== sha512)
    throw new Error(`the image has ${size} bytes, ${hash}`);
}
