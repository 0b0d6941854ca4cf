import { describe, expect, it } from "vitest";
import {
  admin,
  type Caller,
  member,
  membersReader,
  owner,
  ownersReader,
  stranger,
  strangersReader,
} from "../support/callers.ts";
import { plantMembers, stateOf } from "../support/image-state.ts";
import { Service } from "../support/service.ts";

/*
 * The whole matrix of contract 06 §6.6, and its last paragraph for the readers: who gets what for which call
 * on an image of which visibility. A call that is refused must leave the image as it is.
 */

const service = new Service();

const CALLERS = {
  O: owner,
  R: ownersReader,
  M: member,
  MR: membersReader,
  S: stranger,
  SR: strangersReader,
  A: admin,
} as const;

type Name = keyof typeof CALLERS;

/** The columns by visibility; a member of an image that is not shared is one more stranger. */
const COLUMNS = {
  public: ["O", "R", "S", "SR", "A"],
  community: ["O", "R", "S", "SR", "A"],
  shared: ["O", "R", "M", "MR", "S", "SR", "A"],
  private: ["O", "R", "S", "SR", "A"],
} as const satisfies Record<string, readonly Name[]>;

type Visibility = keyof typeof COLUMNS;
type Status = "queued" | "active" | "deactivated";
type Call = (caller: Caller, path: string) => Promise<Response>;

interface Row {
  readonly rows: string;
  readonly name: string;
  readonly from: Status;
  readonly call: Call;
  /** Answers in the order of COLUMNS: public and community, shared, private. */
  readonly open: string;
  readonly shared: string;
  readonly private: string;
}

/** A member of each image beside the member project. */
const ANOTHER = "another-project";
const OWN = member.projectId;

const without =
  (method: string, rest = ""): Call =>
  (caller, path) =>
    service.call(caller, method, `${path}${rest}`);

const withJson =
  (method: string, rest: string, json: unknown): Call =>
  (caller, path) =>
    service.call(caller, method, `${path}${rest}`, { json });

const patch: Call = (caller, path) =>
  service.call(caller, "PATCH", path, { patch: [{ op: "add", path: "/custom", value: "x" }] });

const upload: Call = (caller, path) =>
  service.call(caller, "PUT", `${path}/file`, {
    body: "data",
    headers: { "content-type": "application/octet-stream" },
  });

const accepted = { status: "accepted" };

const MATRIX: readonly Row[] = [
  {
    rows: "MTX-1, POL-2",
    name: "GET image",
    from: "queued",
    call: without("GET"),
    open: "200 200 200 200 200",
    shared: "200 200 200 200 404 404 200",
    private: "200 200 404 404 200",
  },
  {
    rows: "MTX-2, POL-9, DWN-6, MIN-3",
    name: "GET file",
    from: "active",
    call: without("GET", "/file"),
    open: "200 403 200 403 200",
    shared: "200 403 200 403 404 404 200",
    private: "200 403 404 404 200",
  },
  {
    rows: "MTX-3, POL-8",
    name: "PUT file",
    from: "queued",
    call: upload,
    open: "204 403 403 403 204",
    shared: "204 403 403 403 404 404 204",
    private: "204 403 404 404 204",
  },
  {
    rows: "MTX-4, POL-4",
    name: "PATCH",
    from: "queued",
    call: patch,
    open: "200 403 403 403 200",
    shared: "200 403 403 403 404 404 200",
    private: "200 403 404 404 200",
  },
  {
    rows: "MTX-5, POL-4",
    name: "PUT tag",
    from: "queued",
    call: without("PUT", "/tags/new"),
    open: "204 403 403 403 204",
    shared: "204 403 403 403 404 404 204",
    private: "204 403 404 404 204",
  },
  {
    rows: "MTX-5, POL-4",
    name: "DELETE tag",
    from: "queued",
    call: without("DELETE", "/tags/old"),
    open: "204 403 403 403 204",
    shared: "204 403 403 403 404 404 204",
    private: "204 403 404 404 204",
  },
  {
    rows: "MTX-6, POL-5",
    name: "DELETE image",
    from: "queued",
    call: without("DELETE"),
    open: "204 403 403 403 204",
    shared: "204 403 403 403 404 404 204",
    private: "204 403 404 404 204",
  },
  {
    rows: "MTX-7, POL-11, ACT-5, MIN-4",
    name: "deactivate",
    from: "active",
    call: without("POST", "/actions/deactivate"),
    open: "204 403 403 403 204",
    shared: "204 403 403 403 404 404 204",
    private: "204 403 404 404 204",
  },
  {
    rows: "MTX-7, POL-11, ACT-5",
    name: "reactivate",
    from: "deactivated",
    call: without("POST", "/actions/reactivate"),
    open: "204 403 403 403 204",
    shared: "204 403 403 403 404 404 204",
    private: "204 403 404 404 204",
  },
  {
    rows: "MTX-13, POL-17",
    name: "GET locations",
    from: "active",
    call: without("GET", "/locations"),
    open: "403 403 403 403 200",
    shared: "403 403 403 403 404 404 200",
    private: "403 403 404 404 200",
  },
  {
    rows: "MTX-8, POL-13",
    name: "GET members",
    from: "queued",
    call: without("GET", "/members"),
    open: "403 403 403 403 403",
    shared: "200 200 200 200 404 404 200",
    private: "403 403 404 404 403",
  },
  {
    rows: "MTX-9, POL-13",
    name: "GET members/{member project}",
    from: "queued",
    call: without("GET", `/members/${OWN}`),
    open: "404 404 404 404 404",
    shared: "200 200 200 200 404 404 200",
    private: "404 404 404 404 404",
  },
  {
    rows: "MTX-9, POL-13",
    name: "GET members/{another}",
    from: "queued",
    call: without("GET", `/members/${ANOTHER}`),
    open: "404 404 404 404 404",
    shared: "200 200 404 404 404 404 200",
    private: "404 404 404 404 404",
  },
  {
    rows: "MTX-10, POL-12",
    name: "POST members",
    from: "queued",
    call: withJson("POST", "/members", { member: "new-project" }),
    open: "403 403 403 403 403",
    shared: "200 403 403 403 404 404 200",
    private: "403 403 404 404 403",
  },
  {
    rows: "MTX-11, POL-14",
    name: "PUT members/{member project}",
    from: "queued",
    call: withJson("PUT", `/members/${OWN}`, accepted),
    open: "403 403 403 403 403",
    shared: "403 403 200 403 404 404 200",
    private: "403 403 404 404 403",
  },
  {
    rows: "MTX-11, POL-14",
    name: "PUT members/{another}",
    from: "queued",
    call: withJson("PUT", `/members/${ANOTHER}`, accepted),
    open: "403 403 403 403 403",
    shared: "403 403 404 404 404 404 200",
    private: "403 403 404 404 403",
  },
  {
    rows: "MTX-12, POL-12",
    name: "DELETE members/{member project}",
    from: "queued",
    call: without("DELETE", `/members/${OWN}`),
    open: "403 403 403 403 403",
    shared: "204 403 403 403 404 404 204",
    private: "403 403 404 404 403",
  },
  {
    rows: "MTX-12, POL-12",
    name: "DELETE members/{another}",
    from: "queued",
    call: without("DELETE", `/members/${ANOTHER}`),
    open: "403 403 403 403 403",
    shared: "204 403 404 404 404 404 204",
    private: "403 403 404 404 403",
  },
];

const CASES = MATRIX.flatMap((row) =>
  (["public", "community", "shared", "private"] as const).map((visibility) => ({
    ...row,
    visibility,
    expected: expectation(row, visibility),
  })),
);

function expectation(row: Row, visibility: Visibility): Record<string, number> {
  const isOpen = visibility === "public" || visibility === "community";
  const codes = (isOpen ? row.open : row[visibility]).split(" ").map(Number);
  return Object.fromEntries(COLUMNS[visibility].map((name, index) => [name, codes[index] ?? 0]));
}

/** An image of the owner project, with a tag and two members, whether or not they count. */
async function arrange(from: Status, visibility: Visibility): Promise<string> {
  const record = { owner: owner.projectId, visibility, tags: ["old"] };
  const { id } =
    from === "queued"
      ? await service.createEmpty(admin, record)
      : await service.createActive(admin, "data", record);
  if (from === "deactivated") {
    await service.call(admin, "POST", `/v2/images/${id}/actions/deactivate`);
  }
  await plantMembers(id, [OWN, ANOTHER]);
  return id;
}

describe("the result matrix", () => {
  it.each(CASES)(
    "$rows: $name of a $visibility image",
    async ({ from, visibility, call, expected }) => {
      const answers: Record<string, number> = {};
      let imageId = await arrange(from, visibility);
      for (const name of COLUMNS[visibility]) {
        const before = await stateOf(imageId);
        const response = await call(CALLERS[name], `/v2/images/${imageId}`);
        await response.body?.cancel();
        answers[name] = response.status;
        // One image serves until a call has succeeded on it.
        if (response.ok) imageId = await arrange(from, visibility);
        else expect(await stateOf(imageId)).toEqual(before);
      }
      expect(answers).toEqual(expected);
    },
  );
});
