import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  admin,
  type Caller,
  member,
  owner,
  ownersReader,
  serviceUser,
} from "../support/callers.ts";
import { resumeTime, stopTime } from "../support/clock.ts";
import { expectNoImage, expectRefusal } from "../support/image-state.ts";
import { callImport, createStaged, sources, type TaskRecord, tasksOf } from "../support/imports.ts";
import { type ImageRecord, Service } from "../support/service.ts";

// Property protections (contract 13 §9), over HTTP. Roles imply lower ones here: an admin is also a member and a reader.

const OPEN = { create: "@", read: "@", update: "@", delete: "@" };
const REST = { property: ".", ...OPEN };

function under(document: object, settings: Readonly<Record<string, string>> = {}): Service {
  return new Service({ settings: { PROPERTY_PROTECTIONS: JSON.stringify(document), ...settings } });
}

const forAdmins = { create: "admin", read: "admin", update: "admin", delete: "admin" };
/** Names say who may do it; what is not said is open. */
const service = under({
  rules: [
    { property: "^no_create", ...OPEN, create: "admin" },
    { property: "^no_update", ...OPEN, update: "Admin" },
    { property: "^no_delete", ...OPEN, delete: ["admin"] },
    { property: "^secret", ...forAdmins },
    { property: "^drop_box", ...forAdmins, create: "member" },
    { property: "^closed", create: "!", read: "!", update: "!", delete: "!" },
    REST,
  ],
});
/** The same deployment before it had rules. */
const unruled = new Service();

beforeEach(stopTime);
afterEach(resumeTime);

const V20 = "application/openstack-images-v2.0-json-patch";

const patch = (imageId: string, patch: readonly object[], by: Caller = owner, on = service) =>
  on.call(by, "PATCH", `/v2/images/${imageId}`, { patch });

const add = (name: string, value = "new") => ({ op: "add", path: `/${name}`, value });
const replace = (name: string, value = "new") => ({ op: "replace", path: `/${name}`, value });
const remove = (name: string) => ({ op: "remove", path: `/${name}` });

/** The refusal's sentence; the image is as it was. */
const refuse = (status: number, imageId: string, operation: object, by: Caller = owner) =>
  expectRefusal(status, imageId, () => patch(imageId, [operation], by));

/** The image that an allowed patch leaves, as its caller is shown it. */
async function change(imageId: string, operations: readonly object[], by: Caller = owner) {
  const response = await patch(imageId, operations, by);
  expect(response.status).toBe(200);
  return response.json<ImageRecord>();
}

async function listed(caller: Caller, query: string, on = service): Promise<ImageRecord[]> {
  const response = await on.call(caller, "GET", `/v2/images?${query}`);
  expect(response.status).toBe(200);
  return (await response.json<{ images: ImageRecord[] }>()).images;
}

describe("property protections", () => {
  it("CHG-10: are off by default, and restrict custom properties by role when they are on", async () => {
    const { id } = await unruled.create(owner, { secret: "s", no_update: "n" });
    expect(await unruled.show(ownersReader, id)).toMatchObject({ secret: "s", no_update: "n" });
    const shown = await service.show(owner, id);
    expect(shown).toHaveProperty("no_update", "n");
    expect(shown).not.toHaveProperty("secret");
    await refuse(403, id, replace("no_update"));
    expect(await change(id, [replace("no_update")], admin)).toHaveProperty("no_update", "new");
  });

  it("13 §9 Scope: base attributes are not theirs, whatever the rules say", async () => {
    const strict = under({ rules: [] });
    const base = { name: "n", tags: ["t"], min_disk: 1, protected: true, visibility: "private" };
    const { id } = await strict.create(owner, { id: crypto.randomUUID(), ...base });
    const operations = [replace("name"), { op: "add", path: "/min_ram", value: 1 }];
    const response = await patch(id, operations, owner, strict);
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ ...base, name: "new", min_ram: 1 });
    expect(await listed(owner, `name=new&id=${id}`, strict)).toHaveLength(1);
    await expectNoImage(403, () =>
      strict.call(owner, "POST", "/v2/images", { json: { colour: "red" } }),
    );
  });

  it("13 §9 File: a rule is searched in the name, and one without all operations stops the service", async () => {
    const { id } = await service.create(admin, { my_no_update: "n", no_update_of_mine: "n" });
    expect(await change(id, [replace("my_no_update")], admin)).toBeDefined();
    const searched = under({ rules: [{ property: "o.ner", ...OPEN }] });
    expect(await searched.create(owner, { x_owner_y: "v" })).toHaveProperty("x_owner_y", "v");
    for (const operation of Object.keys(OPEN)) {
      const broken = under({ rules: [{ ...REST, [operation]: undefined }] });
      const response = await broken.call(owner, "GET", "/v2/images");
      expect(response.status).toBe(503);
      const sentence = `The variable PROPERTY_PROTECTIONS is not usable: ${operation} of '.' is missing.`;
      expect(await response.text()).toContain(sentence);
    }
  });

  it("13 §9 First match wins: later rules are not asked, and what no rule names is closed to admins", async () => {
    const few = under({
      rules: [
        { property: "^a", ...OPEN, update: "!" },
        { property: "^ab", ...OPEN },
      ],
    });
    const { id } = await few.create(owner, { ab: "v" });
    expect((await patch(id, [replace("ab")], owner, few)).status).toBe(403);
    for (const caller of [owner, admin]) {
      await expectNoImage(403, () => few.call(caller, "POST", "/v2/images", { json: { b: "v" } }));
    }
    const old = await unruled.create(admin, { b: "v" });
    expect(await few.show(admin, old.id)).not.toHaveProperty("b");
  });

  it("13 §9 Value, format roles: names in any letter case, @ for everyone, ! and nothing for nobody", async () => {
    const values = under({
      rules: [
        { property: "^roles", ...OPEN, create: "Service , ADMIN" },
        { property: "^everyone", ...OPEN },
        { property: "^nobody", ...OPEN, create: "!" },
        { property: "^empty", ...OPEN, create: "" },
        REST,
      ],
    });
    const may = async (caller: Caller, name: string) =>
      (await values.call(caller, "POST", "/v2/images", { json: { [name]: "v" } })).status;
    expect([await may(owner, "roles"), await may(admin, "roles")]).toEqual([403, 201]);
    expect([await may(owner, "everyone"), await may(admin, "everyone")]).toEqual([201, 201]);
    expect([await may(owner, "nobody"), await may(admin, "nobody")]).toEqual([403, 403]);
    expect([await may(owner, "empty"), await may(admin, "empty")]).toEqual([403, 403]);
    const both = under({ rules: [{ ...REST, read: "@,!" }] });
    expect((await both.call(owner, "GET", "/v2/images")).status).toBe(503);
  });

  it("13 §9 Value, format policies: one rule each, of POLICY or of the document; a list stops the service", async () => {
    const rules = [
      { property: "^p_", ...OPEN, create: "curators", update: "context_is_admin" },
      REST,
    ];
    const policies = { curators: "role:service or rule:context_is_admin" };
    const POLICY = JSON.stringify({ context_is_admin: "role:admin" });
    const byPolicy = under({ format: "policies", policies, rules }, { POLICY });
    await expectNoImage(403, () =>
      byPolicy.call(owner, "POST", "/v2/images", { json: { p_a: "v" } }),
    );
    const { id } = await byPolicy.create(admin, { p_a: "v", visibility: "public" });
    expect((await patch(id, [replace("p_a")], admin, byPolicy)).status).toBe(200);
    const list = { format: "policies", rules: [{ ...REST, read: "get_image,add_image" }] };
    expect((await under(list).call(owner, "GET", "/v2/images")).status).toBe(503);
    const unknown = { format: "policies", rules: [{ ...REST, read: "curators" }] };
    expect((await under(unknown).call(owner, "GET", "/v2/images")).status).toBe(503);
  });

  it("13 §9 Roles considered: those of the token, with what they imply", async () => {
    const rules = [
      { property: "^for_members", ...OPEN, read: "member" },
      { property: "^for_services", ...OPEN, read: "service" },
      REST,
    ];
    const sharing = under({ rules }, { POLICY: JSON.stringify({ get_image: "@" }) });
    const record = { visibility: "public", for_members: "m", for_services: "s" };
    const { id } = await sharing.create(admin, record);
    const seenBy = async (caller: Caller) =>
      Object.keys(await sharing.show(caller, id)).filter((name) => name.startsWith("for_"));
    expect(await seenBy(owner)).toEqual(["for_members"]);
    expect(await seenBy(admin)).toEqual(["for_members"]);
    expect(await seenBy(ownersReader)).toEqual([]);
    expect(await seenBy(serviceUser)).toEqual(["for_services"]);
  });

  it("13 §9 Reserved names: rules for os_glance do nothing; its notes are shown and stay the service's", async () => {
    const strict = under({ rules: [{ property: "os_glance", ...OPEN, read: "!" }] });
    const { id } = await strict.create(owner);
    const notes = JSON.stringify({ os_glance_failed_import: "archive" });
    await env.DB.prepare("UPDATE images SET properties = ? WHERE id = ?").bind(notes, id).run();
    expect(await strict.show(owner, id)).toHaveProperty("os_glance_failed_import", "archive");
    const operation = replace("os_glance_failed_import");
    await expectRefusal(403, id, () => patch(id, [operation], admin, strict));
  });
});

describe("a protected property", () => {
  it("13 §9 create denied: POST and PATCH add are 403", async () => {
    const json = { name: "x", no_create: "v" };
    const sentence = await expectNoImage(403, () =>
      service.call(owner, "POST", "/v2/images", { json }),
    );
    expect(sentence).toContain("You are not permitted to create the property 'no_create'.");
    const { id } = await service.create(owner);
    expect(await refuse(403, id, add("no_create"))).toContain("create the property");
    expect(await change(id, [add("no_create")], admin)).toHaveProperty("no_create", "new");
    expect(await service.create(admin, json)).toHaveProperty("no_create", "v");
  });

  it("13 §9 create denied: comes after the policy and before the quotas (CRE-22)", async () => {
    const tags = Array.from({ length: 129 }, (_, index) => `t${index}`);
    const json = { tags, no_create: "v" };
    await expectNoImage(403, () => service.call(owner, "POST", "/v2/images", { json }));
    const sentence = await expectNoImage(403, () =>
      service.call(owner, "POST", "/v2/images", { json: { ...json, visibility: "public" } }),
    );
    expect(sentence).toContain("publicize_image");
  });

  it("13 §9 update denied: replace and add of what is there are 403", async () => {
    const { id } = await service.create(owner, { no_update: "old" });
    expect(await refuse(403, id, replace("no_update"))).toContain("update the property");
    await refuse(403, id, add("no_update"));
    expect(await change(id, [remove("no_update")])).not.toHaveProperty("no_update");
    const changed = await change(id, [add("no_update"), replace("name")], owner);
    expect(changed).toMatchObject({ no_update: "new", name: "new" });
    expect(await change(id, [add("no_update", "x")], admin)).toHaveProperty("no_update", "x");
  });

  it("13 §9 update denied: what one patch adds it may not replace, and nothing of it is kept", async () => {
    const { id } = await service.create(owner);
    await expectRefusal(403, id, () => patch(id, [add("no_update"), replace("no_update")]));
  });

  it("13 §9 delete denied: PATCH remove is 403", async () => {
    const { id } = await service.create(owner, { no_delete: "old" });
    expect(await refuse(403, id, remove("no_delete"))).toContain("delete the property");
    expect(await change(id, [replace("no_delete")])).toHaveProperty("no_delete", "new");
    expect(await change(id, [remove("no_delete")], admin)).not.toHaveProperty("no_delete");
  });

  it("13 §9 delete denied: deleting the image takes it along", async () => {
    const { id } = await service.create(owner, { no_delete: "old" });
    expect((await service.call(owner, "DELETE", `/v2/images/${id}`)).status).toBe(204);
  });

  it("13 §9 read denied: it is in no response, be it POST, GET, list or PATCH", async () => {
    const created = await service.create(owner, { drop_box: "v", open: "o" });
    const { id } = created;
    const responses = [
      created,
      await service.show(owner, id),
      ...(await listed(owner, `id=${id}`)),
      await change(id, [replace("open")]),
      await change(id, []),
      await change(id, [add("drop_box_2")]),
    ];
    expect(responses).toHaveLength(6);
    for (const image of responses) {
      expect(image).toHaveProperty("open");
      expect(JSON.stringify(image)).not.toContain("drop_box");
    }
    for (const image of [await service.show(admin, id), ...(await listed(admin, `id=${id}`))]) {
      expect(image).toMatchObject({ drop_box: "v", drop_box_2: "new" });
    }
  });

  it("13 §9 read denied: members of a shared image do not see it either", async () => {
    const { id } = await service.createShared(owner, member, "accepted", { drop_box: "v" });
    expect(await service.show(member, id)).not.toHaveProperty("drop_box");
    const [image] = await listed(member, `visibility=shared&id=${id}`);
    expect(image).toHaveProperty("id", id);
    expect(image).not.toHaveProperty("drop_box");
  });

  it("13 §9 read denied: a filter by it finds what one by an absent property finds", async () => {
    const { id } = await service.create(owner, { drop_box: "v", open: "o" });
    const found = async (caller: Caller, query: string) =>
      (await listed(caller, `${query}&visibility=all`)).map((image) => image.id);
    expect(await found(owner, "drop_box=v")).toEqual([]);
    expect(await found(owner, `drop_box=v&open=o&id=${id}`)).toEqual([]);
    expect(await found(owner, "absent=v")).toEqual([]);
    expect(await found(owner, `open=o&id=${id}`)).toEqual([id]);
    expect(await found(admin, `drop_box=v&id=${id}`)).toEqual([id]);
    const marker = await service.call(
      owner,
      "GET",
      `/v2/images?drop_box=v&marker=${crypto.randomUUID()}`,
    );
    expect(marker.status).toBe(400);
  });

  it("13 §9 PATCH replace/remove of an unreadable property: 409, as if absent", async () => {
    const { id } = await service.create(admin, { visibility: "public", secret: "s" });
    await service.call(admin, "PATCH", `/v2/images/${id}`, {
      patch: [{ op: "replace", path: "/owner", value: owner.projectId }],
    });
    for (const operation of [replace, remove]) {
      const there = await refuse(409, id, operation("secret"));
      const absent = await refuse(409, id, operation("secret_2"));
      expect(there.replace("secret", "secret_2")).toBe(absent);
    }
    // What may be neither read nor changed is no different.
    await refuse(409, id, replace("closed"), admin);
  });

  it("13 §9 PATCH add of an unreadable existing name: judged as create", async () => {
    const { id } = await unruled.create(owner, { secret: "s", drop_box: "d" });
    const there = await refuse(403, id, add("secret"));
    const absent = await refuse(403, id, add("secret_2"));
    expect(there.replace("secret", "secret_2")).toBe(absent);
    expect(await change(id, [add("drop_box")])).not.toHaveProperty("drop_box");
    expect(await service.show(admin, id)).toMatchObject({ secret: "s", drop_box: "new" });
  });

  it("13 §9 PATCH add of an unreadable existing name: in v2.0, too, where add makes only new ones", async () => {
    const { id } = await unruled.create(owner, { open: "o", drop_box: "d" });
    const call = (name: string) =>
      service.call(owner, "PATCH", `/v2/images/${id}`, {
        patch: [{ add: `/${name}`, value: "new" }],
        headers: { "content-type": V20 },
      });
    expect((await call("open")).status).toBe(409);
    expect((await call("drop_box")).status).toBe(200);
    expect(await service.show(admin, id)).toMatchObject({ open: "o", drop_box: "new" });
  });

  it("13 §9 [Q] any save by someone who cannot read a property: leaves it as it is", async () => {
    const hidden = { secret: "s", drop_box: "d", closed: "c" };
    const { id } = await unruled.createActive(owner, "0123456789", { ...hidden, open: "o" });
    const saves = [
      () => patch(id, [replace("name"), add("other"), remove("open")]),
      () => patch(id, [replace("visibility", "private")]),
      () => service.call(owner, "PUT", `/v2/images/${id}/tags/t`),
      () => service.call(owner, "POST", `/v2/images/${id}/actions/deactivate`),
      () => service.call(owner, "POST", `/v2/images/${id}/actions/reactivate`),
    ];
    for (const save of saves) {
      expect((await save()).status).toBeLessThan(300);
      expect(await unruled.show(owner, id)).toMatchObject(hidden);
    }
    expect(await unruled.show(owner, id)).toMatchObject({ name: "new", other: "new", tags: ["t"] });
  });
});

describe("protected properties and imports", () => {
  it("13 §9 create denied: for the image that a task makes, too", async () => {
    const rules = [{ property: "^no_create", ...OPEN, create: "service" }, REST];
    const json = taskWith({ no_create: "v" });
    await expectNoImage(403, () => under({ rules }).call(admin, "POST", "/v2/tasks", { json }));
  });

  it("13 §9 read denied: a task does not tell what its image was given", async () => {
    const json = taskWith({
      name: "of a task",
      min_disk: 1,
      secret: "s",
      closed_not: "x",
      open: "o",
    });
    const created = await unruled.call(admin, "POST", "/v2/tasks", { json });
    const { id, image_id: imageId } = await created.json<TaskRecord>();
    const shown = await service.call(admin, "GET", `/v2/tasks/${id}`);
    const forAdmin = { name: "of a task", min_disk: 1, secret: "s", open: "o" };
    expect((await shown.json<TaskRecord>()).input.image_properties).toEqual(forAdmin);
    const [task] = await tasksOf(service, admin, String(imageId));
    expect(task?.input.image_properties).toEqual(forAdmin);
  });

  it("13 §9 Scope: what an operator's plugin adds is not the caller's doing", async () => {
    const injecting = under(
      { rules: [{ property: "^secret", ...forAdmins }] },
      {
        IMAGE_IMPORT_PLUGINS: "inject_image_metadata",
        INJECT_IMAGE_METADATA: JSON.stringify({ inject: { secret: "s" } }),
      },
    );
    const { id } = await createStaged(injecting, "0123456789");
    expect((await callImport(injecting, owner, id, "glance-direct")).status).toBe(202);
    expect(await injecting.show(owner, id)).not.toHaveProperty("secret");
    expect(await injecting.show(admin, id)).toHaveProperty("secret", "s");
  });

  function taskWith(properties: object) {
    const uri = sources().fileUrl({ size: 1000, seed: 1 });
    const input = {
      import_from: uri,
      import_from_format: "raw",
      image_properties: properties,
    };
    return { type: "import", input };
  }
});
