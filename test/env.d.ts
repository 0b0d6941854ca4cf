import type { D1Migration } from "@cloudflare/vitest-plugin";

declare global {
  namespace Cloudflare {
    // What vitest.config.ts binds on top of wrangler.toml.
    interface Env {
      TEST_MIGRATIONS: D1Migration[];
      DISK: Fetcher;
    }
  }
}
