import { describe, expect, it } from "vitest";
import { buildImageSchema } from "../../../src/domain/image-schema.ts";
import type { PatchOperation } from "../../../src/domain/patch.ts";
import {
  PATCH_MEDIA_TYPES,
  type PatchVersion,
  parsePatch,
  patchMediaType,
} from "../../../src/domain/patch-parse.ts";
import { imageId, limits, outcome, schema, textOf } from "./builders.ts";

const v20 = "application/openstack-images-v2.0-json-patch";
const v21 = "application/openstack-images-v2.1-json-patch";

function parse(body: unknown, version: PatchVersion = "v2.1"): readonly PatchOperation[] {
  return parsePatch(version, body, schema);
}

function parsing(body: unknown, version: PatchVersion = "v2.1"): string {
  return outcome(() => parse(body, version));
}

/** The property that an add of this pointer names. */
function propertyAt(path: string): string | undefined {
  const [operation] = parse([{ op: "add", path, value: "v" }]);
  return operation !== undefined && "property" in operation ? operation.property : undefined;
}

function pointing(path: unknown, op = "add"): string {
  return parsing([{ op, path, value: "v" }]);
}

describe("the media type", () => {
  it("PAT-1, PAT-2, HDR-6: is one of two, v2.0 first", () => {
    expect(patchMediaType(v21)).toBe("v2.1");
    expect(patchMediaType(v20)).toBe("v2.0");
    expect(PATCH_MEDIA_TYPES).toEqual([v20, v21]);
  });

  it("PAT-3: its parameters do not matter, its letter case does", () => {
    expect(patchMediaType(`${v21}; charset=UTF-8`)).toBe("v2.1");
    expect(patchMediaType(`${v20} ;a=b;c`)).toBe("v2.0");
    expect(patchMediaType(v21.toUpperCase())).toBeUndefined();
  });

  it.each([null, "", "application/json", "application/json-patch+json", `${v21}x`])(
    "PAT-4: %j is not accepted",
    (given) => {
      expect(patchMediaType(given)).toBeUndefined();
    },
  );
});

describe("a patch document", () => {
  it("PAT-1: is a list of op, path and value", () => {
    expect(
      parse([
        { op: "add", path: "/name", value: "x" },
        { op: "replace", path: "/note", value: "y" },
        { op: "remove", path: "/other" },
      ]),
    ).toEqual([
      { op: "add", property: "name", value: "x", mustBeNew: false },
      { op: "replace", property: "note", value: "y" },
      { op: "remove", property: "other" },
    ]);
  });

  it("PAT-2: in v2.0 is a list of one operation key each", () => {
    const body = [{ add: "/name", value: "x" }, { replace: "/note", value: "y" }, { remove: "/z" }];
    expect(parse(body, "v2.0")).toEqual([
      { op: "add", property: "name", value: "x", mustBeNew: true },
      { op: "replace", property: "note", value: "y" },
      { op: "remove", property: "z" },
    ]);
  });

  it("PAT-2: in v2.0 refuses none or two of the keys, and v2.1's form", () => {
    expect(parsing([{ value: "x" }], "v2.0")).toBe("400 bad_request");
    expect(parsing([{ add: "/a", replace: "/a", value: "x" }], "v2.0")).toBe("400 bad_request");
    expect(parsing([{ op: "add", path: "/a", value: "x" }], "v2.0")).toBe("400 bad_request");
    expect(parsing([{ add: "/a", value: "x" }], "v2.1")).toBe("400 bad_request");
  });

  it.each([[{}], ["x"], [null], [undefined], [["x"]], [[null]], [[[]]], [[5]]])(
    "PAT-5: refuses %j",
    (body) => {
      expect(parsing(body)).toBe("400 bad_request");
      expect(parsing(body, "v2.0")).toBe("400 bad_request");
    },
  );

  it("PAT-6: may be empty", () => {
    expect(parse([])).toEqual([]);
  });

  it.each([undefined, null, "test", "move", "copy", "ADD", ["add"], "toString"])(
    "PAT-7: refuses %j as an op",
    (op) => {
      expect(parsing([{ op, path: "/a", value: "x" }])).toBe("400 bad_request");
    },
  );

  it.each([undefined, null, 5, ["/a"], {}])("PAT-8: refuses %j as a path", (path) => {
    expect(pointing(path)).toBe("400 bad_request");
    expect(parsing([{ add: path, value: "x" }], "v2.0")).toBe("400 bad_request");
  });

  it("PAT-9: add and replace need a value, and null is one", () => {
    expect(parsing([{ op: "add", path: "/name" }])).toBe("400 bad_request");
    expect(parsing([{ op: "replace", path: "/name" }])).toBe("400 bad_request");
    expect(parsing([{ replace: "/name" }], "v2.0")).toBe("400 bad_request");
    expect(parse([{ op: "replace", path: "/name", value: null }])).toMatchObject([{ value: null }]);
  });

  it("PAT-10: ignores other keys, and a value on remove", () => {
    expect(parse([{ op: "remove", path: "/a", value: 5, from: "/b", x: 1 }])).toEqual([
      { op: "remove", property: "a" },
    ]);
  });

  it("PAT-10: takes __proto__ as one more key without meaning", () => {
    const body = JSON.parse('[{"__proto__":{"op":"add","path":"/a","value":"x"}}]');
    expect(parsing(body)).toBe("400 bad_request");
  });

  it("gives plain data, fit for the way to the image's object", () => {
    const operations = parse([
      { op: "add", path: "/tags", value: ["a"] },
      { op: "remove", path: "/__proto__" },
    ]);
    expect(structuredClone(operations)).toEqual(operations);
  });

  it("MSK-9: the first fault in order is the one that counts", () => {
    expect(parsing([{ op: "remove", path: "/id" }, "x"])).toBe("403 property_read_only");
    expect(parsing(["x", { op: "remove", path: "/id" }])).toBe("400 bad_request");
  });
});

describe("a pointer", () => {
  it.each(["", "name", "name/", " /name"])("PTR-1: %j does not start with a slash", (path) => {
    expect(pointing(path)).toBe("400 bad_request");
  });

  it("PTR-2: unescapes ~1 and ~0, and nothing twice", () => {
    expect(propertyAt("/a~1b")).toBe("a/b");
    expect(propertyAt("/a~0b")).toBe("a~b");
    expect(propertyAt("/~01")).toBe("~1");
    expect(propertyAt("/~0~1")).toBe("~/");
  });

  it.each(["/a~", "/a~2", "/~", "/~~0", "/a~b"])("PTR-2: refuses the tilde in %j", (path) => {
    expect(pointing(path)).toBe("400 bad_request");
  });

  it.each(["/name/", "//", "/a//b", "//name", "///", "/locations/"])(
    "PTR-3: refuses %j",
    (path) => {
      expect(pointing(path)).toBe("400 bad_request");
    },
  );

  it("PTR-4: keeps blanks, as parts of the name", () => {
    expect(propertyAt("/ x ")).toBe(" x ");
  });

  it.each(["/tags/-", "/tags/0", "/a/b", "/name/x"])("PTR-5: %j is too deep", (path) => {
    for (const op of ["add", "replace", "remove"]) {
      expect(pointing(path, op)).toBe("400 bad_request");
    }
  });

  it("PTR-5: locations are added and removed one by one, and replaced as a list", () => {
    const value = { url: "http://a/", metadata: {} };
    expect(parsing([{ op: "add", path: "/locations/-", value }])).toBe("no fault");
    expect(parsing([{ op: "remove", path: "/locations/0" }])).toBe("no fault");
    expect(parsing([{ op: "replace", path: "/locations", value: [value] }])).toBe("no fault");
    expect(parsing([{ op: "add", path: "/locations", value: [value] }])).toBe("400 bad_request");
    expect(parsing([{ op: "remove", path: "/locations" }])).toBe("400 bad_request");
    expect(parsing([{ op: "replace", path: "/locations/0", value }])).toBe("400 bad_request");
    expect(parsing([{ op: "add", path: "/locations/0/url", value }])).toBe("400 bad_request");
  });

  it("PTR-6: / alone names nothing", () => {
    expect(pointing("/")).toBe("400 bad_request");
    expect(pointing("/", "replace")).toBe("400 bad_request");
  });

  it("LIM-14: names a property of up to 255 characters", () => {
    expect(propertyAt(`/${"é".repeat(255)}`)).toHaveLength(255);
    expect(pointing(`/${"x".repeat(256)}`)).toBe("400 invalid_value");
    expect(textOf(() => propertyAt(`/${"x".repeat(5000)}`)).length).toBeLessThan(300);
  });
});

describe("a property in a patch", () => {
  const readOnly =
    "id,status,checksum,os_hash_algo,os_hash_value,size,virtual_size,created_at,updated_at," +
    "direct_url,self,file,schema,stores";

  it.each(readOnly.split(","))("PRO-1, PRO-12: %s is read-only", (name) => {
    for (const op of ["add", "replace", "remove"]) {
      expect(parsing([{ op, path: `/${name}`, value: 5 }])).toBe("403 property_read_only");
      expect(parsing([{ [op]: `/${name}`, value: 5 }], "v2.0")).toBe("403 property_read_only");
    }
  });

  it.each([
    "location",
    "deleted",
    "deleted_at",
    "os_glance",
    "os_glance_import_task",
    "os_glancex",
  ])("PRO-2: %s is reserved", (name) => {
    for (const op of ["add", "replace", "remove"]) {
      expect(parsing([{ op, path: `/${name}`, value: 5 }])).toBe("403 property_reserved");
    }
  });

  it.each([
    ["name", 5],
    ["visibility", "secret"],
    ["protected", "true"],
    ["os_hidden", null],
    ["min_disk", "1"],
    ["min_ram", 1.5],
    ["tags", ["x".repeat(256)]],
    ["disk_format", "floppy"],
    ["container_format", "box"],
    ["owner", "x".repeat(256)],
    ["kernel_id", "vmlinuz"],
    ["note", 5],
    ["note", null],
    ["note", ["x"]],
    ["constructor", {}],
  ])("PRO-3: %s cannot be %j", (name, value) => {
    expect(parsing([{ op: "add", path: `/${name}`, value }])).toBe("400 invalid_value");
    expect(parsing([{ op: "replace", path: `/${name}`, value }])).toBe("400 invalid_value");
  });

  it("NUL-1, NUL-2: null is a value where the schema says so", () => {
    for (const name of ["name", "owner", "disk_format", "container_format", "kernel_id"]) {
      expect(parsing([{ op: "replace", path: `/${name}`, value: null }])).toBe("no fault");
    }
    expect(parsing([{ op: "add", path: "/note", value: "" }])).toBe("no fault");
  });

  it("SIN-2, SI-40: is judged alone, without what create requires", () => {
    const own = buildImageSchema(limits, '{"properties":{},"required":["team"]}');
    const body = [{ op: "add", path: "/note", value: "x" }];
    expect(outcome(() => parsePatch("v2.1", body, own))).toBe("no fault");
  });

  it.each([
    [{ url: "http://a/" }],
    [{ metadata: {} }],
    [{ url: "x".repeat(256), metadata: {} }],
    [{ url: "http://a/", metadata: [] }],
    [{ url: "http://a/", metadata: {}, validation_data: { os_hash_algo: "sha512" } }],
    ["http://a/"],
    [null],
  ])("LOP-2, LIM-18: %j is no location", (value) => {
    expect(parsing([{ op: "add", path: "/locations/-", value }])).toBe("400 invalid_value");
    expect(parsing([{ op: "replace", path: "/locations", value: [value] }])).toBe(
      "400 invalid_value",
    );
    expect(parsing([{ op: "replace", path: "/locations", value }])).toBe("400 invalid_value");
  });

  it("LOP-2: validation data is two hashes and perhaps a checksum", () => {
    const hashes = { os_hash_algo: "sha512", os_hash_value: "a".repeat(128) };
    const locationWith = (validation_data: object) => [
      {
        op: "add",
        path: "/locations/-",
        value: { url: "http://a/", metadata: {}, validation_data },
      },
    ];
    expect(parsing(locationWith(hashes))).toBe("no fault");
    expect(parsing(locationWith({ ...hashes, checksum: "a".repeat(32) }))).toBe("no fault");
    expect(parsing(locationWith({ ...hashes, checksum: "a" }))).toBe("400 invalid_value");
    expect(parsing(locationWith({ ...hashes, other: "a" }))).toBe("400 invalid_value");
  });

  it("MSK-9: an id in the body is refused whether or not that image exists", () => {
    expect(parsing([{ op: "replace", path: "/id", value: imageId }])).toBe(
      "403 property_read_only",
    );
  });
});
