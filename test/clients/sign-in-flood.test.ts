import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ImageApi } from "./image-api.ts";
import { killServers, makeStateDir, type Server, startServer } from "./server.ts";

// What strangers who sign in do to those who have.

let state: Awaited<ReturnType<typeof makeStateDir>>;
let server: Server;

beforeAll(async () => {
  state = await makeStateDir();
  server = await startServer(state.path);
});

afterAll(async () => {
  await killServers();
  await state.remove();
});

/** Milliseconds that one call takes, its body included. */
async function msOf(call: () => Promise<Response>): Promise<number> {
  const startedAtMs = performance.now();
  const response = await call();
  await response.arrayBuffer();
  expect(response.status).toBe(200);
  return performance.now() - startedAtMs;
}

const median = (values: readonly number[]) =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

describe("BI-7: 60 anonymous sign-ins at once", () => {
  it("leave the median of another user's show below 3 times its own", async () => {
    const api = await ImageApi.signIn(server.url, "glimpse");
    const { id } = await api.create("shown");
    const headers = { "X-Auth-Token": api.token };
    const show = () => fetch(`${server.url}/v2/images/${id}`, { headers });
    const guess = (n: number) => {
      const user = { name: `nobody ${n}`, domain: { id: "default" }, password: "wrong" };
      const body = JSON.stringify({
        auth: { identity: { methods: ["password"], password: { user } } },
      });
      return fetch(`${server.url}/identity/v3/auth/tokens`, { method: "POST", body });
    };

    for (let n = 0; n < 20; n++) await msOf(show);
    const alone: number[] = [];
    for (let n = 0; n < 100; n++) alone.push(await msOf(show));

    let isOver = false;
    const flood = Promise.all(
      Array.from({ length: 60 }, async (_, n) => {
        const response = await guess(n);
        await response.arrayBuffer();
        return response.status;
      }),
    ).finally(() => {
      isOver = true;
    });
    const meanwhile: number[] = [];
    while (!isOver) meanwhile.push(await msOf(show));
    const statuses = await flood;

    console.log(
      `Show: ${median(alone).toFixed(1)} ms alone, ${median(meanwhile).toFixed(1)} ms in the flood (${meanwhile.length} of them)`,
    );
    expect(statuses.filter((status) => status === 401 || status === 429).length).toBe(60);
    expect(statuses).toContain(429);
    expect(meanwhile.length).toBeGreaterThan(20);
    expect(median(meanwhile)).toBeLessThan(3 * median(alone));
  });
});
