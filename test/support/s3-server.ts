import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from "miniflare";
import type { TestProject } from "vitest/node";
import type { S3Settings } from "../../src/blob/s3-bucket.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** The S3 service of this run. */
    readonly s3: S3Settings;
    /** A service that hangs up in the middle of each answer's body. */
    readonly brokenS3: S3Settings;
  }
}

/**
 * Vitest's global set-up. The S3 service is the one that Cloudflare puts in front of Miniflare's R2,
 * on a free port and with a directory of its own; it checks signatures, sums of payloads, the ETags
 * of parts and their lengths. TEST_S3, settings in JSON, names another one to test against.
 */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { TEST_S3 } = process.env;
  const s3: Started = TEST_S3 === undefined ? await startS3() : { settings: JSON.parse(TEST_S3) };
  const broken = await startBroken();
  project.provide("s3", s3.settings);
  project.provide("brokenS3", { ...s3.settings, endpoint: broken.endpoint });
  return async () => {
    await s3.stop?.();
    broken.stop();
  };
}

interface Started {
  readonly settings: S3Settings;
  readonly stop?: () => Promise<void>;
}

async function startS3(): Promise<Started> {
  const directory = await mkdtemp(join(tmpdir(), "glimpse-s3-"));
  const credentials = { accessKeyId: "key-of-the-tests", secretAccessKey: "secret-of-the-tests" };
  const server = new Miniflare(
    convertV4MiniflareOptions({
      modules: true,
      script: "export default {}",
      compatibilityDate: "2026-06-01",
      r2Buckets: { BUCKET: { id: "images", s3Credentials: credentials } },
      resourcePersistencePath: directory,
      cf: false,
      telemetry: { enabled: false },
      log: new Log(LogLevel.ERROR),
    }),
  );
  const { origin } = await server.ready;
  return {
    settings: {
      endpoint: `${origin}/cdn-cgi/local/r2/s3`,
      region: "auto",
      bucket: "images",
      ...credentials,
    },
    stop: async () => {
      await server.dispose();
      await rm(directory, { recursive: true });
    },
  };
}

async function startBroken() {
  const answer = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234";
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => socket.end(answer));
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  return { endpoint: `http://127.0.0.1:${port}`, stop: () => server.close() };
}
