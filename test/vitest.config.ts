import { join } from "node:path";
import { cloudflareTest, readD1Migrations } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";
import { identityDocument } from "./support/identity-document.ts";
import { ONE_STORE } from "./support/stores.ts";

const root = join(import.meta.dirname, "..");

export default defineConfig({
  root,
  plugins: [
    cloudflareTest(async () => ({
      wrangler: { configPath: join(root, "wrangler.toml") },
      miniflare: {
        // Vitest itself loads node:inspector; nothing else of Node is let in, as in production.
        compatibilityFlags: ["enable_nodejs_inspector_module"],
        bindings: {
          // One store, as most tests need no more; those of several stores say so.
          STORES: JSON.stringify(ONE_STORE),
          IDENTITY: JSON.stringify(identityDocument),
          TOKEN_SECRET: "not-a-secret-only-for-the-tests-0123456789",
          TEST_MIGRATIONS: await readD1Migrations(join(root, "migrations")),
        },
      },
    })),
  ],
  test: {
    include: ["test/{unit,worker,image-object}/**/*.test.ts"],
    globalSetup: ["test/support/s3-server.ts"],
    setupFiles: ["test/setup.ts"],
    // A log line a request is worth reading only when its test fails.
    silent: "passed-only",
  },
});
