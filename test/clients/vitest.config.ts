import { defineConfig } from "vitest/config";

// The stock-client suite: plain Node, a real server, real programs. One file after another, so that
// the clients and the servers have the machine to themselves.
export default defineConfig({
  root: import.meta.dirname,
  cacheDir: "../../node_modules/.vite",
  test: {
    include: ["*.test.ts"],
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
