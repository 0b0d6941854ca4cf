import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, expect, it } from "vitest";
import { killServers, makeStateDir, startServer } from "./server.ts";

// The README's first session, as it stands there. Only the port is another one, and the checks at its end are ours.

const state = await makeStateDir();

afterAll(async () => {
  await killServers();
  await state.remove();
});

const checks = `
cmp disk.img copy.img
head -c 512 disk.img | cmp - header.bin
test -z "$(openstack image list -f value)"
`;

it("README › A first session works, word by word", async () => {
  const readme = await readFile(join(import.meta.dirname, "../../README.md"), "utf8");
  const [, session = ""] = /^## A first session$.*?^```sh\n(.*?)^```$/ms.exec(readme) ?? [];
  expect(session.split("http://127.0.0.1:9292")).toHaveLength(2);

  const server = await startServer(join(state.path, ".wrangler/state"));
  const script = session.replace("http://127.0.0.1:9292", server.url) + checks;
  const { stdout } = await promisify(execFile)("bash", ["-euo", "pipefail", "-c", script], {
    cwd: state.path,
    env: { ...process.env, TMPDIR: state.path },
  });
  await server.stop();
  expect(stdout).toMatch(/^content-length: 10000000\r?$/im);
  expect(stdout).toContain("os_hash_value='");
  expect(stdout.match(/\| debian-12 +\|/g)?.length).toBeGreaterThanOrEqual(4);
});
