import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ATTACKS, type Load } from "./fair/attackers.ts";
import { Scene } from "./fair/pairs.ts";
import { dataOfSize } from "./fair/victims.ts";
import type { ImageApi } from "./image-api.ts";
import { type Answer, answerTo, beginToSend, type WayIn, writeAll } from "./sending.ts";
import { killServers } from "./server.ts";
import { MiB } from "./test-data.ts";

// More clients at once than there is memory for: each is served, or told at once that it cannot be.

let scene: Scene;
let load: Load | undefined;

afterEach(async () => {
  load?.stop();
  load = undefined;
  await scene?.close();
  await killServers();
});

/**
 * Sends an image's data. Gives up, which stands as a status of 0, when nothing is taken of it and nothing is answered for
 * so long.
 */
async function send(
  api: ImageApi,
  way: WayIn,
  sizeBytes: number,
  patienceSeconds: number,
): Promise<Answer> {
  const { id } = await api.create(way);
  const request = await beginToSend(api, id, way, sizeBytes);
  const silence = setTimeout(() => {
    request.destroy(new Error(`nothing taken and no answer for ${patienceSeconds} s`));
  }, patienceSeconds * 1000);
  function* pieces() {
    for (const piece of dataOfSize(sizeBytes)) {
      silence.refresh();
      yield piece;
    }
    silence.refresh();
  }
  const answer = answerTo(request).catch((error: unknown) => {
    return { status: 0, retryAfter: undefined, body: String(error) };
  });
  await writeAll(request, pieces());
  request.end();
  await answer;
  clearTimeout(silence);
  return answer;
}

describe("200 uploads of 1 MB at once, with a lease of 8 s", { timeout: 240_000 }, () => {
  beforeEach(async () => {
    scene = await Scene.open({ UPLOAD_LEASE_SECONDS: "8" });
  });

  it.each(["PUT", "PUT in chunks"] as const)(
    "by %s: none is given up whose client has sent all",
    async (way) => {
      const { api } = await scene.of("glimpse");
      const ends = await Promise.all(
        Array.from({ length: 200 }, () => send(api, way, 1_000_000, 200)),
      );
      const others = ends.filter(({ status }) => status !== 204);
      expect(others, JSON.stringify(others.slice(0, 5))).toEqual([]);
      const images = await api.list();
      expect(images.filter(({ status }) => status === "active")).toHaveLength(200);
    },
  );
});

describe("uploads beside 50 clients that hold what they can", { timeout: 240_000 }, () => {
  beforeEach(async () => {
    scene = await Scene.open();
    const attack = ATTACKS.find(({ name }) => name === "50 × stage in chunks, then nothing");
    load = await attack?.start(await scene.of("glimpse"));
  });

  it("are served, or told within 20 s that they are not, why, and when to try again", async () => {
    const { api } = await scene.of("glimpse-other");
    const ways = ["PUT", "PUT in chunks", "stage in chunks", "tus"] as const;
    const ends = await Promise.all(
      [...ways, ...ways, ...ways].map((way) => send(api, way, 20 * MiB, 20)),
    );
    for (const { status, retryAfter, body } of ends) {
      expect([204, 503], body).toContain(status);
      if (status === 204) continue;
      expect(Number(retryAfter)).toBeGreaterThan(0);
      expect(body).toMatch(/"message":".+"/);
    }
  });
});
