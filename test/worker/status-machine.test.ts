import { describe, expect, it } from "vitest";
import { admin, type Caller, owner } from "../support/callers.ts";
import { expectRefusal, stateOf } from "../support/image-state.ts";
import { type ImageRecord, Service } from "../support/service.ts";
import { imageIn, MET_STATUSES, type MetStatus, openUpload } from "../support/statuses.ts";

const service = new Service();

function act(imageId: string, action: "deactivate" | "reactivate"): Promise<Response> {
  return service.call(owner, "POST", `/v2/images/${imageId}/actions/${action}`);
}

async function statusNow(imageId: string): Promise<string> {
  return (await service.show(owner, imageId)).status;
}

describe("an image's status", () => {
  it("ST-1: is queued from its creation", async () => {
    expect(await service.create(owner)).toMatchObject({ status: "queued" });
  });

  it("ST-2, ST-3, MX-3, MX-5: is saving while data comes in, and active when it is there", async () => {
    const { id } = await service.createEmpty(owner);
    const upload = await openUpload(service, owner, id);
    expect(await statusNow(id)).toBe("saving");
    expect((await service.call(owner, "GET", `/v2/images/${id}/file`)).status).toBe(204);
    await expectRefusal(409, id, () => service.upload(owner, id, "another"));
    upload.finish("data");
    expect((await upload.response).status).toBe(204);
    expect(await service.show(owner, id)).toMatchObject({ status: "active", size: 4 });
  });

  it("ST-4: is queued again when the upload breaks off, with nothing of it left", async () => {
    const image = await service.createEmpty(owner);
    const upload = await openUpload(service, owner, image.id);
    upload.breakOff();
    expect((await upload.response).status).toBe(400);
    const { updated_at: _, ...rest } = image;
    expect(await service.show(owner, image.id)).toMatchObject(rest);
    expect(await stateOf(image.id)).toMatchObject({ blobs: [] });
    expect((await service.upload(owner, image.id, "data")).status).toBe(204);
  });

  it("ST-12, ST-13: goes from active to deactivated and back", async () => {
    const { id } = await service.createActive(owner, "data");
    expect((await act(id, "deactivate")).status).toBe(204);
    expect(await statusNow(id)).toBe("deactivated");
    expect((await act(id, "reactivate")).status).toBe(204);
    expect(await statusNow(id)).toBe("active");
  });

  it.each([
    [{ disk_format: "raw" }, "container_format"],
    [{ container_format: "bare" }, "disk_format"],
    [{}, "disk_format"],
  ])("NUL-3: cannot become saving while a format is missing, with %j", async (record, missing) => {
    const { id } = await service.create(owner, record);
    const sentence = await expectRefusal(400, id, () => service.upload(owner, id, "data"));
    expect(sentence).toContain(missing);
    expect(await statusNow(id)).toBe("queued");
  });
});

/** What a call answers by status, in the order of MET_STATUSES. */
function row(answers: string): [MetStatus, number][] {
  const codes = answers.split(" ").map(Number);
  return MET_STATUSES.map((status, index) => [status, codes[index] ?? 0]);
}

function patch(image: ImageRecord, name: string, value: string): Promise<Response> {
  const operations = [{ op: "replace", path: `/${name}`, value }];
  return service.call(owner, "PATCH", `/v2/images/${image.id}`, { patch: operations });
}

async function download(image: ImageRecord, by: Caller): Promise<Response> {
  return service.call(by, "GET", `/v2/images/${image.id}/file`);
}

/** Makes the call and expects its answer: one that refuses leaves everything, all leave the status. */
async function expectAnswer(
  image: ImageRecord,
  expected: number,
  call: () => Promise<Response>,
): Promise<void> {
  if (expected >= 400) {
    await expectRefusal(expected, image.id, call);
    return;
  }
  const response = await call();
  await response.body?.cancel();
  expect(response.status).toBe(expected);
}

describe("what a status lets through", () => {
  it.each(MET_STATUSES)("MX-1: show, tags, PATCH and sharing while %s", async (status) => {
    const image = await imageIn(service, status);
    const path = `/v2/images/${image.id}`;
    await expectAnswer(image, 200, () => service.call(owner, "GET", path));
    await expectAnswer(image, 204, () => service.call(owner, "PUT", `${path}/tags/a`));
    await expectAnswer(image, 204, () => service.call(owner, "DELETE", `${path}/tags/a`));
    await expectAnswer(image, 200, () => patch(image, "name", "new"));
    const json = { member: "some-project" };
    await expectAnswer(image, 200, () => service.call(owner, "POST", `${path}/members`, { json }));
    expect(await statusNow(image.id)).toBe(status);
  });

  it.each(row("200 403 403 200 403 403 403"))(
    "MX-2, PRO-5: a change of the formats while %s gives %d",
    async (status, expected) => {
      const image = await imageIn(service, status);
      await expectAnswer(image, expected, () => patch(image, "disk_format", "qcow2"));
      await expectAnswer(image, expected, () => patch(image, "container_format", "ova"));
    },
  );

  // A `saving` that no upload holds is what a crash left; the first test has one that an upload holds.
  it.each(row("204 0 409 409 409 409 409").filter(([status]) => status !== "saving"))(
    "MX-3, ST-2: PUT file while %s gives %d",
    async (status, expected) => {
      const image = await imageIn(service, status);
      await expectAnswer(image, expected, () => service.upload(owner, image.id, "new data"));
    },
  );

  it.each(row("204 204 204 204 200 403 204"))(
    "MX-5: GET file while %s gives the owner %d",
    async (status, expected) => {
      const image = await imageIn(service, status);
      await expectAnswer(image, expected, () => download(image, owner));
    },
  );

  it("MX-5: GET file while deactivated gives an admin 200", async () => {
    const image = await imageIn(service, "deactivated");
    const response = await download(image, admin);
    expect(response.status).toBe(200);
    expect(new TextDecoder().decode(await response.arrayBuffer())).toBe("data");
  });

  it.each(row("403 403 403 403 204 204 403"))(
    "MX-6, ACT-3, ST-12, ST-13: deactivate and reactivate while %s give %d",
    async (status, expected) => {
      const image = await imageIn(service, status);
      await expectAnswer(image, expected, () => act(image.id, "deactivate"));
      const other = await imageIn(service, status);
      await expectAnswer(other, expected, () => act(other.id, "reactivate"));
    },
  );

  it.each(row("1 1 1 1 1 1 0"))(
    "MX-10, FIL-3: an image that is %s stands in lists %d times",
    async (status, times) => {
      const image = await imageIn(service, status);
      for (const [caller, query] of [
        [owner, `id=${image.id}`],
        [owner, "limit=1000"],
        [admin, `id=${image.id}&status=${status}`],
      ] as const) {
        const response = await service.call(caller, "GET", `/v2/images?${query}`);
        const { images } = await response.json<{ images: ImageRecord[] }>();
        expect(images.filter(({ id }) => id === image.id)).toHaveLength(times);
      }
    },
  );
});
