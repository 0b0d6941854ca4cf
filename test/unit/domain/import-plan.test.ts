import { describe, expect, it } from "vitest";
import { Fault } from "../../../src/domain/fault.ts";
import type { Image } from "../../../src/domain/image.ts";
import { type ImportChecks, planImport } from "../../../src/domain/import-plan.ts";
import {
  IMPORT_METHODS,
  type ImportMethodName,
  parseImportRequest,
} from "../../../src/domain/import-request.ts";
import { STATUSES, type Status } from "../../../src/domain/status.ts";
import { parseStores } from "../../../src/domain/store-definition.ts";
import { Stores } from "../../../src/domain/stores.ts";
import { ONE_STORE } from "../../support/stores.ts";
import { anImage, imageId, outcome, textOf } from "./builders.ts";

const one = new Stores(parseStores(JSON.stringify(ONE_STORE)));
const many = new Stores(
  parseStores(
    JSON.stringify([
      { id: "slow", type: "r2", binding: "BLOBS" },
      { id: "http", type: "http" },
      { id: "fast", type: "r2", binding: "BLOBS", default: true },
      { id: "archive", type: "r2", binding: "BLOBS" },
    ]),
  ),
);

const STATUS: Record<ImportMethodName, Status> = {
  "glance-direct": "uploading",
  "web-download": "queued",
  "glance-download": "queued",
  "copy-image": "active",
};
/** The least that each method needs. */
const METHOD: Record<ImportMethodName, object> = {
  "glance-direct": { name: "glance-direct" },
  "copy-image": { name: "copy-image" },
  "web-download": { name: "web-download", uri: "https://example.com/x" },
  "glance-download": {
    name: "glance-download",
    glance_region: "north",
    glance_image_id: imageId,
  },
};

interface Attempt {
  method?: ImportMethodName;
  /** Changes to the method's object, and to the body. */
  settings?: object;
  body?: object;
  image?: Partial<Image>;
  stores?: Stores;
  header?: string;
  checks?: Partial<ImportChecks>;
}

/** A request that passes, unless something is said otherwise. */
function plan({ method = "glance-direct", settings, body, image, ...rest }: Attempt) {
  const request = parseImportRequest(
    { method: { ...METHOD[method], ...settings }, ...body },
    IMPORT_METHODS,
  );
  const formats = { diskFormat: "raw", containerFormat: "bare" };
  return planImport(anImage({ status: STATUS[method], ...formats, ...image }), request, {
    stores: rest.stores ?? many,
    storeHeader: rest.header ?? null,
    authorize: () => {},
    assertUnlocked: () => {},
    checkUri: () => {},
    ...rest.checks,
  });
}

const planning = (attempt: Attempt) => outcome(() => plan(attempt));
const inStores = (...ids: string[]) => ({ locations: ids.map((store) => ({ store, key: "k" })) });

const forbid = (rule: string) => {
  throw new Fault("forbidden", { rule });
};
const locked = () => {
  throw new Fault("import_under_way", { imageId, taskId: "task-1" });
};
const refuseUri = () => {
  throw new Fault("uri_refused", { reason: "it is not allowed" });
};

describe("what an import needs of its image", () => {
  it.each(IMPORT_METHODS)("IMP-5, 10 §5: %s works in one status only", (method) => {
    for (const status of STATUSES) {
      const expected = status === STATUS[method] ? "no fault" : "409 import_wrong_status";
      expect(planning({ method, image: { status } }), status).toBe(expected);
    }
    expect(textOf(() => plan({ method, image: { status: "saving" } }))).toContain(
      `is in status saving; ${method} imports into an image that is ${STATUS[method]}.`,
    );
  });

  it.each(IMPORT_METHODS)("IMP-6, 10 §4 #9: %s wants both formats", (method) => {
    const none = { containerFormat: null, diskFormat: null };
    for (const image of [none, { containerFormat: null }, { diskFormat: null }]) {
      expect(planning({ method, image })).toBe("409 import_formats_missing");
    }
    expect(textOf(() => plan({ method, image: none }))).toBe(
      `Set container_format and disk_format on image ${imageId} before you import data into it.`,
    );
  });
});

describe("the methods' own fields", () => {
  it("IMP-7, 10 §4 #17: web-download wants an address that passes the filter", () => {
    const seen: string[] = [];
    const checks = { checkUri: (uri: string) => void seen.push(uri) };
    expect(plan({ method: "web-download", checks })?.method).toEqual(METHOD["web-download"]);
    expect(seen).toEqual(["https://example.com/x"]);
    for (const uri of [undefined, null, 5, ["https://example.com/x"], {}]) {
      expect(planning({ method: "web-download", settings: { uri } })).toBe("400 invalid_value");
    }
    const refused = { method: "web-download", checks: { checkUri: refuseUri } } as const;
    expect(planning(refused)).toBe("400 uri_refused");
  });

  it.each(IMPORT_METHODS.filter((name) => name !== "web-download"))(
    "10 §3 uri: with %s it has no influence, whatever it is",
    (method) => {
      for (const uri of ["file:///etc/passwd", 5]) {
        const made = plan({ method, settings: { uri }, checks: { checkUri: refuseUri } });
        expect(made?.method).toEqual(plan({ method })?.method);
        expect(JSON.stringify(made)).not.toContain("uri");
      }
    },
  );

  it("IMP-8: glance-download takes region, image and interface, which is public by default", () => {
    const method = "glance-download";
    const region = { name: method, region: "north", imageId };
    expect(plan({ method })?.method).toEqual({ ...region, serviceInterface: "public" });
    const settings = { glance_service_interface: "internal" };
    expect(plan({ method, settings })?.method).toEqual({ ...region, serviceInterface: "internal" });
  });

  it.each([
    ...["glance_region", "glance_image_id"].map((name) => [name, undefined] as const),
    ...["glance_region", "glance_image_id", "glance_service_interface"].flatMap((name) =>
      [null, 5, "", ["x"], "x".repeat(256)].map((value) => [name, value] as const),
    ),
    ...[imageId.replaceAll("-", ""), `{${imageId}}`, `${imageId}\n`, "x"].map(
      (value) => ["glance_image_id", value] as const,
    ),
  ])("IMP-8, 10 §4 #10: glance-download refuses %s %j", (name, value) => {
    const attempt = { method: "glance-download", settings: { [name]: value } } as const;
    expect(planning(attempt)).toBe("400 invalid_value");
    expect(textOf(() => plan(attempt))).toContain(`method.${name}:`);
  });

  it("IMP-8, 10 §4 #10: says of an id that it does not look like a UUID, whatever it is", () => {
    for (const glance_image_id of [imageId.slice(1), "", "x".repeat(256), null, 5, [imageId]]) {
      const attempt = { method: "glance-download", settings: { glance_image_id } } as const;
      expect(textOf(() => plan(attempt))).toContain("image id does not look like a UUID");
    }
  });

  it("carries the expected hash and all_stores_must_succeed over", () => {
    const settings = { checksum: `md5:${"a".repeat(32)}` };
    expect(plan({ settings, body: { all_stores_must_succeed: false } })).toEqual({
      method: { name: "glance-direct" },
      stores: ["fast"],
      mustSucceed: false,
      expected: { algorithm: "md5", value: "a".repeat(32) },
    });
    expect(plan({})).toMatchObject({ mustSucceed: true, expected: undefined });
  });
});

describe("who may", () => {
  it.each(IMPORT_METHODS)("IMP-12, IMP-13, 10 §4 #11: %s has one rule", (method) => {
    const rules: string[] = [];
    plan({
      method,
      image: inStores("slow"),
      checks: { authorize: (rule) => void rules.push(rule) },
    });
    expect(rules).toEqual([method === "copy-image" ? "copy_image" : "modify_image"]);
    expect(planning({ method, checks: { authorize: forbid } })).toBe("403 forbidden");
  });

  it("IMP-15, 10 §7: nobody while another import holds the image", () => {
    const attempt = { checks: { assertUnlocked: locked } };
    expect(planning(attempt)).toBe("409 import_under_way");
    expect(textOf(() => plan(attempt))).toContain("Task task-1 is importing into image");
  });
});

describe("the stores of a multi-store service", () => {
  const chosen = (attempt: Attempt) => plan(attempt)?.stores;

  it("IMP-9, 10 §6 none: the default", () => {
    expect(chosen({})).toEqual(["fast"]);
  });

  it("IMP-9, 10 §6 header: the one it names", () => {
    expect(chosen({ header: "slow" })).toEqual(["slow"]);
  });

  it("IMP-9, 10 §6 stores: those, in their order", () => {
    expect(chosen({ body: { stores: ["archive", "slow"] } })).toEqual(["archive", "slow"]);
    expect(chosen({ body: { stores: ["slow", "archive"] } })).toEqual(["slow", "archive"]);
  });

  it("10 §6 stores: one that is named twice is written once, where it came first", () => {
    const stores = ["slow", "fast", "slow", "archive", "fast"];
    expect(chosen({ body: { stores } })).toEqual(["slow", "fast", "archive"]);
  });

  it("IMP-9, 10 §6 all_stores: all that can be written, as they are configured", () => {
    expect(chosen({ body: { all_stores: true } })).toEqual(["slow", "fast", "archive"]);
  });

  it("IMP-11, 10 §6 stores and header: refused together", () => {
    const attempt = { body: { stores: ["slow"] }, header: "fast" };
    expect(planning(attempt)).toBe("400 stores_ambiguous");
    expect(textOf(() => plan(attempt))).toContain("with stores and the header x-image-meta-store.");
    for (const stores of [["slow", "fast"], [], "slow", null, [["slow"]]]) {
      expect(planning({ body: { stores }, header: "slow" })).toBe("400 stores_ambiguous");
    }
  });

  it("IMP-11, 10 §6 stores and header: taken together where they say the same", () => {
    expect(chosen({ body: { stores: ["slow"] }, header: "slow" })).toEqual(["slow"]);
    expect(chosen({ body: { stores: ["slow", "slow"] }, header: "slow" })).toEqual(["slow"]);
    const nowhere = { body: { stores: ["nowhere"] }, header: "nowhere" };
    expect(planning(nowhere)).toBe("409 store_in_conflict");
  });

  it("IMP-11, 10 §6 all_stores with stores or header: refused together", () => {
    for (const stores of [["slow"], [], null, "slow"]) {
      expect(planning({ body: { all_stores: true, stores } })).toBe("400 stores_ambiguous");
    }
    expect(planning({ body: { all_stores: true }, header: "slow" })).toBe("400 stores_ambiguous");
  });

  it("IMP-10, 10 §6 unknown: a conflict, as is one that is reserved or read-only", () => {
    for (const id of ["nowhere", "Slow", "", "os_glance_staging_store", "__proto__"]) {
      expect(planning({ body: { stores: ["slow", id] } }), id).toBe("409 store_in_conflict");
      expect(planning({ header: id }), id).toBe("409 store_in_conflict");
    }
    expect(planning({ body: { stores: ["slow", "http"] } })).toBe("409 store_not_writable");
    expect(planning({ header: "http" })).toBe("409 store_not_writable");
  });

  it.each([[[]], ["slow"], [null], [{}], [1], [[1]], [["slow", null]], [[["slow"]]]])(
    "10 §6 stores: refuses %j, which is no list of ids, or an empty one",
    (stores) => {
      expect(planning({ body: { stores } })).toBe("400 invalid_value");
    },
  );
});

describe("copy-image", () => {
  const copy = (attempt: Attempt) => plan({ method: "copy-image", ...attempt });
  const copying = (attempt: Attempt) => outcome(() => copy(attempt));

  it("IMP-12, 10 §6: all_stores drops those that hold the image", () => {
    const image = inStores("fast", "http");
    const made = copy({ image, body: { all_stores: true } });
    expect(made?.stores).toEqual(["slow", "archive"]);
  });

  it("IMP-12, 10 §4 #14: there is no plan when all of them hold it", () => {
    const image = inStores("fast", "slow", "archive");
    expect(copy({ image, body: { all_stores: true } })).toBeUndefined();
  });

  it("IMP-12, 10 §4 #15: refuses a named store that holds it, also the default and the header's", () => {
    const image = inStores("fast", "slow");
    for (const attempt of [{ body: { stores: ["archive", "slow"] } }, { header: "slow" }, {}]) {
      expect(copying({ image, ...attempt })).toBe("400 store_has_copy");
    }
    expect(textOf(() => copy({ image, header: "slow" }))).toContain("a copy in the store 'slow'");
    expect(copy({ image, body: { stores: ["archive"] } })?.stores).toEqual(["archive"]);
  });

  it("10 §4 #13, #15: an unknown store is found before one that holds the image", () => {
    const image = inStores("fast");
    expect(copying({ image, body: { stores: ["fast", "nowhere"] } })).toBe("409 store_in_conflict");
  });

  it("10 §4 quirk: is refused in a single-store service", () => {
    const attempt = { stores: one, body: { all_stores: true, all_stores_must_succeed: false } };
    expect(copying(attempt)).toBe("400 invalid_value");
    expect(textOf(() => copy(attempt))).toContain("there is none to copy to");
  });
});

describe("a single-store service", () => {
  it("10 §3 Single-store: overlooks stores, all_stores and the header", () => {
    for (const stores of [["nowhere"], [], "x", null]) {
      const body = { stores, all_stores: true };
      expect(plan({ stores: one, body, header: "nowhere" })?.stores).toEqual(["default"]);
    }
  });

  it("IMP-14, 10 §4 #16: refuses all_stores_must_succeed: false", () => {
    const attempt = { stores: one, body: { all_stores_must_succeed: false } };
    expect(planning(attempt)).toBe("400 invalid_value");
    expect(textOf(() => plan(attempt))).toContain("all_stores_must_succeed: this service has one");
  });

  it("10 §10 Single-store: tells nobody of its store", () => {
    expect(one.shownIds(["default"])).toEqual([]);
    expect(many.shownIds(["slow", "fast"])).toEqual(["slow", "fast"]);
  });
});

describe("the order of checks", () => {
  /** What comes first when all is wrong, and then each time after that has been mended. */
  function faultsInOrder(wrong: Attempt, mends: readonly Attempt[]): string[] {
    let attempt = wrong;
    const faults = [planning(attempt)];
    for (const mend of mends) {
      attempt = {
        ...attempt,
        ...mend,
        settings: { ...attempt.settings, ...mend.settings },
        body: { ...attempt.body, ...mend.body },
        image: { ...attempt.image, ...mend.image },
        checks: { ...attempt.checks, ...mend.checks },
      };
      faults.push(planning(attempt));
    }
    return faults;
  }

  const allWrong = {
    image: { status: "deactivated", diskFormat: null, containerFormat: null },
    checks: { authorize: forbid, assertUnlocked: locked, checkUri: refuseUri },
  } as const;
  const formats = { image: { diskFormat: "raw", containerFormat: "bare" } };
  const allowed = { checks: { authorize: () => {} } };
  const unlocked = { checks: { assertUnlocked: () => {} } };
  const inStatus = (status: Status) => ({ image: { status } });

  it("10 §4 #8, #9, #11, #12, #13, #17: web-download, status before rights (§5)", () => {
    const wrong: Attempt = {
      ...allWrong,
      method: "web-download",
      settings: { uri: null },
      body: { stores: ["nowhere"] },
    };
    const named = { body: { stores: ["slow"] } };
    const mends = [inStatus("queued"), formats, allowed, unlocked, named];
    const addressed = { settings: { uri: "ftp://h/x" } };
    expect(faultsInOrder(wrong, [...mends, addressed, { checks: { checkUri: () => {} } }])).toEqual(
      [
        "409 import_wrong_status",
        "409 import_formats_missing",
        "403 forbidden",
        "409 import_under_way",
        "409 store_in_conflict",
        "400 invalid_value",
        "400 uri_refused",
        "no fault",
      ],
    );
  });

  it("10 §4 #9, #10, #11: glance-download, whose fields come before rights", () => {
    const settings = { glance_region: "" };
    const wrong: Attempt = { ...allWrong, method: "glance-download", settings };
    const named = { settings: { glance_region: "north" } };
    expect(faultsInOrder(wrong, [inStatus("queued"), formats, named, allowed, unlocked])).toEqual([
      "409 import_wrong_status",
      "409 import_formats_missing",
      "400 invalid_value",
      "403 forbidden",
      "409 import_under_way",
      "no fault",
    ]);
  });

  it("10 §4 #11, #12, #14, #15: copy-image finds nothing to do only once rights and lock let it", () => {
    const everywhere = inStores("slow", "fast", "archive");
    const wrong: Attempt = {
      ...allWrong,
      method: "copy-image",
      image: { ...allWrong.image, ...everywhere },
      body: { all_stores: true },
      header: "slow",
    };
    const named = { body: { all_stores: false } };
    const mends = [inStatus("active"), formats, allowed, unlocked, named];
    expect(faultsInOrder(wrong, [...mends, { image: inStores("fast") }])).toEqual([
      "409 import_wrong_status",
      "409 import_formats_missing",
      "403 forbidden",
      "409 import_under_way",
      "400 stores_ambiguous",
      "400 store_has_copy",
      "no fault",
    ]);
  });

  it("10 §4 #12, #16, #17: in a single-store service", () => {
    const body = { all_stores_must_succeed: false };
    const wrong: Attempt = { ...allWrong, method: "web-download", stores: one, body };
    const must = { body: { all_stores_must_succeed: true } };
    const mends = [inStatus("queued"), formats, allowed, unlocked, must];
    expect(faultsInOrder(wrong, mends)).toEqual([
      "409 import_wrong_status",
      "409 import_formats_missing",
      "403 forbidden",
      "409 import_under_way",
      "400 invalid_value",
      "400 uri_refused",
    ]);
  });
});
