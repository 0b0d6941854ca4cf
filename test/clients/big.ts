// `npm run test:big`: 2 GiB in and out of a server as `npm start` runs it. Prints the rates and the most
// memory that workerd ever had, and fails when the bytes differ.

import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { ImageApi } from "./image-api.ts";
import { makeStateDir, startServer } from "./server.ts";
import { MiB, makeBytes, sha512Of } from "./test-data.ts";

const sizeMiB = Number(process.argv[2] ?? 2048);

/** Peak resident memory of the server's workerd, in MiB; Linux only. */
async function peakMemoryMiB(serverPid: number): Promise<number> {
  const { stdout } = await promisify(execFile)("pgrep", ["-g", String(serverPid), "workerd"]);
  const status = await readFile(`/proc/${stdout.trim()}/status`, "utf8");
  return Math.round(Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / 1024);
}

/** Does something with the whole image and prints how fast that went. */
async function timed<T>(what: string, work: () => Promise<T>): Promise<T> {
  const startedAtMs = performance.now();
  const result = await work();
  const seconds = (performance.now() - startedAtMs) / 1000;
  const megabytes = (sizeMiB * MiB) / 1e6;
  console.log(
    `${what}: ${seconds.toFixed(1)} s, ${Math.round(megabytes / seconds)} MB/s, ` +
      `peak of workerd ${await peakMemoryMiB(server.pid)} MiB`,
  );
  return result;
}

const state = await makeStateDir();
const server = await startServer(state.path);
try {
  const api = await ImageApi.signIn(server.url, "glimpse");
  console.log(`${sizeMiB} MiB; workerd starts with ${await peakMemoryMiB(server.pid)} MiB`);
  const sha512 = sha512Of(makeBytes(sizeMiB));
  for (const [kind, lengthBytes] of [
    ["with Content-Length", sizeMiB * MiB],
    ["in chunks", undefined],
  ] as const) {
    const { id } = await api.create("big");
    const status = await timed(`upload ${kind}`, () =>
      api.upload(id, makeBytes(sizeMiB), lengthBytes),
    );
    if (status !== 204) throw new Error(`The upload was answered with ${status}.`);
    const record = await api.show(id);
    if (record.os_hash_value !== sha512) throw new Error("os_hash_value is wrong.");
    const down = await timed("download", () => api.download(id));
    if (down.sha512 !== sha512)
      throw new Error(`Other bytes came back: ${down.sizeBytes} of them.`);
    await api.delete(id);
  }
} finally {
  await server.stop();
  await state.remove();
}
