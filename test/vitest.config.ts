import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { cloudflareTest, readD1Migrations } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";
import { identityDocument } from "./support/identity-document.ts";
import { ONE_STORE } from "./support/stores.ts";

const root = join(import.meta.dirname, "..");

/** A directory for the tests of workerd's disk service, which is gone when they are over. */
function makeDiskDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), "glimpse-disk-"));
  process.once("exit", () => rmSync(path, { recursive: true, force: true }));
  return path;
}

export default defineConfig({
  root,
  test: {
    projects: [
      {
        extends: true,
        plugins: [
          cloudflareTest(async () => ({
            wrangler: { configPath: join(root, "wrangler.toml") },
            miniflare: {
              // Vitest itself loads node:inspector; of Node's modules the Worker uses node:zlib and node:async_hooks.
              compatibilityFlags: ["enable_nodejs_inspector_module"],
              serviceBindings: { DISK: { disk: { path: makeDiskDirectory(), writable: true } } },
              bindings: {
                // One store, as most tests need no more; those of several stores say so.
                STORES: JSON.stringify(ONE_STORE),
                // So that data which is cut into parts need not be long.
                SINGLE_PUT_MAX_BYTES: String(10 * 1024 ** 2),
                // Imports read from servers of this machine.
                DEVELOPMENT: "true",
                IMPORT_ALLOW_PRIVATE_ADDRESSES: "true",
                IMPORT_ALLOWED_PORTS: "",
                IDENTITY: JSON.stringify(identityDocument),
                TOKEN_SECRET: "not-a-secret-only-for-the-tests-0123456789",
                TEST_MIGRATIONS: await readD1Migrations(join(root, "migrations")),
              },
            },
          })),
        ],
        test: {
          name: "workerd",
          include: ["test/{unit,worker,image-object}/**/*.test.ts"],
          globalSetup: ["test/support/s3-server.ts", "test/support/source-server.ts"],
          setupFiles: ["test/setup.ts"],
        },
      },
      // The `glimpse` command runs in Node, and so do its tests.
      { extends: true, test: { name: "node", include: ["test/cli/**/*.test.ts"] } },
    ],
    // Half of what a test waits for is not its own work, so that two have room on two cores.
    maxWorkers: Math.max(2, Math.floor(availableParallelism() / 2)),
    // Some tests move hundreds of MiB, on machines that have other work as well.
    testTimeout: 20_000,
    // A log line a request is worth reading only when its test fails.
    silent: "passed-only",
  },
});
