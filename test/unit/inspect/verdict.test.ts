import { describe, expect, it } from "vitest";
import { safe, unsafe } from "../../../src/inspect/format.ts";
import { FORMATS } from "../../../src/inspect/formats.ts";
import {
  type Finding,
  type InspectionRules,
  isInspected,
  judge,
} from "../../../src/inspect/verdict.ts";

// The rules alone, for all that can be found; test/unit/inspect/inspector.test.ts has them with data.

const STRICT: InspectionRules = { requireMatch: true, formats: FORMATS, toleratedGptChecks: [] };
const LENIENT: InspectionRules = { ...STRICT, requireMatch: false };
const NAMES = FORMATS.map(({ name }) => name);

/** Bytes of the data, and of the disk within. */
const LENGTH = 1000;
const WITHIN = 7;

const MATCH: Finding = { is: "examined", findings: safe(WITHIN) };
const UNSAFE: Finding = { is: "examined", findings: unsafe("a_check", "it is bad") };

/** What the readers found, those not named having found nothing. */
function found(findings: Readonly<Record<string, Finding>>): ReadonlyMap<string, Finding> {
  return new Map(NAMES.map((name) => [name, findings[name] ?? { is: "absent" }]));
}

const matching = (...names: readonly string[]) =>
  found(Object.fromEntries(names.map((name) => [name, MATCH])));

/** The virtual size, why the data is refused, or `undefined` where more has to be found out. */
function outcome(
  diskFormat: string | null,
  findings: ReadonlyMap<string, Finding>,
  rules = STRICT,
  dataBytes: number | undefined = LENGTH,
): number | null | string | undefined {
  const verdict = judge(
    { diskFormat, containerFormat: "bare" },
    rules,
    findings,
    undefined,
    dataBytes,
  );
  if (verdict === undefined) return undefined;
  return verdict.isAccepted ? verdict.virtualSize : verdict.reason;
}

/** A cell of the tables: the disk within, the length of the data, unknown, or refused. */
const CELLS = { own: WITHIN, len: LENGTH, "?": null, no: expect.any(String) } as const;
type Cell = keyof typeof CELLS;

const FOUND = {
  nothing: [],
  qcow2: ["qcow2"],
  vdi: ["vdi"],
  luks: ["luks"],
  gpt: ["gpt"],
  iso: ["iso"],
  "iso, gpt": ["iso", "gpt"],
  "qcow2, gpt": ["qcow2", "gpt"],
  "iso, gpt, vdi": ["iso", "gpt", "vdi"],
} as const;

type Row = readonly [Cell, Cell, Cell, Cell, Cell, Cell, Cell, Cell, Cell];

/** In the order of `FOUND`; what is declared is in front. */
const WITH_MATCH: Readonly<Record<string, Row>> = {
  raw: ["len", "len", "len", "len", "len", "len", "len", "no", "no"],
  ami: ["?", "no", "no", "no", "no", "no", "no", "no", "no"],
  ari: ["?", "no", "no", "no", "no", "no", "no", "no", "no"],
  aki: ["?", "no", "no", "no", "no", "no", "no", "no", "no"],
  ploop: ["?", "no", "no", "no", "no", "no", "no", "no", "no"],
  qcow2: ["no", "own", "no", "no", "no", "no", "no", "no", "no"],
  vdi: ["no", "no", "own", "no", "no", "no", "no", "no", "no"],
  vhd: ["no", "no", "no", "no", "no", "no", "no", "no", "no"],
  luks: ["no", "no", "no", "own", "no", "no", "no", "no", "no"],
  gpt: ["no", "no", "no", "no", "own", "no", "no", "no", "no"],
  iso: ["no", "no", "no", "no", "no", "own", "own", "no", "no"],
};

const WITHOUT_MATCH: Readonly<Record<string, Row>> = {
  raw: ["len", "len", "len", "len", "len", "len", "len", "?", "?"],
  ami: ["?", "?", "?", "?", "?", "?", "?", "?", "?"],
  ploop: ["?", "?", "?", "?", "?", "?", "?", "?", "?"],
  qcow2: ["?", "own", "?", "?", "?", "?", "?", "?", "?"],
  vdi: ["?", "?", "own", "?", "?", "?", "?", "?", "?"],
  luks: ["?", "?", "?", "own", "?", "?", "?", "?", "?"],
  gpt: ["?", "?", "?", "?", "own", "?", "?", "?", "?"],
  iso: ["?", "?", "?", "?", "?", "own", "own", "?", "?"],
};

function cases(table: Readonly<Record<string, Row>>) {
  return Object.entries(table).flatMap(([declared, row]) =>
    Object.entries(FOUND).map(
      ([what, names], column) => [declared, what, row[column] ?? "no", names] as const,
    ),
  );
}

describe("13 §3 verdict", () => {
  it.each(cases(WITH_MATCH))("declared %s, found %s: %s", (declared, _, cell, names) => {
    expect(outcome(declared, matching(...names))).toEqual(CELLS[cell]);
  });

  it.each(cases(WITHOUT_MATCH))(
    "13 §3 require_image_format_match false: declared %s, found %s: %s",
    (declared, _, cell, names) => {
      expect(outcome(declared, matching(...names), LENIENT)).toEqual(CELLS[cell]);
    },
  );

  it("13 §3 inspector crashed: refuses it, unless formats need not match", () => {
    for (const declared of ["raw", "qcow2", "ami", "vhd"]) {
      const findings = found({ qcow2: MATCH, vhd: { is: "broken" } });
      expect(outcome(declared, findings)).toBe("its content could not be made out");
      expect(outcome(declared, findings, LENIENT)).not.toEqual(expect.any(String));
    }
  });

  it("takes an image without a format for one of a format that nothing is", () => {
    expect(outcome(null, matching("qcow2"))).toEqual(expect.any(String));
    expect(outcome(null, matching("qcow2"), LENIENT)).toBeNull();
  });
});

describe("13 §2 decision format", () => {
  const pairs = NAMES.flatMap((one, i) => NAMES.slice(i + 1).map((other) => [one, other] as const));

  it("exactly one: is that one, whichever it is", () => {
    for (const name of NAMES) expect([name, outcome(name, matching(name))]).toEqual([name, WITHIN]);
  });

  it.each(pairs)("%s and %s", (one, other) => {
    const isHybrid = one === "iso" && other === "gpt";
    for (const declared of [one, other, "raw", "ami"]) {
      const result = outcome(declared, matching(one, other));
      if (isHybrid && declared === "iso") expect(result).toBe(WITHIN);
      else if (isHybrid && declared === "raw") expect(result).toBe(LENGTH);
      else if (isHybrid) expect(result).toContain("it is iso, not");
      else expect(result).toBe(`it is several formats at once: ${one}, ${other}`);
    }
  });
});

describe("13 §4 a failing check", () => {
  const others = NAMES.filter((name) => name !== "iso");

  it.each(others)("%s: refuses whatever is declared, found besides, or not asked for", (name) => {
    for (const rules of [STRICT, LENIENT]) {
      for (const declared of [name, "raw", "ami", "qcow2", null]) {
        for (const besides of [{}, { vdi: MATCH }, { vdi: { is: "broken" } }] as const) {
          const findings = found({ ...besides, [name]: UNSAFE });
          expect(outcome(declared, findings, rules)).toBe(
            `it is ${name}, and it is bad (check a_check)`,
          );
        }
      }
    }
  });

  it("gpt mbr: does not matter to a CD, which others must not be at the same time", () => {
    const findings = { iso: MATCH, gpt: UNSAFE };
    expect(outcome("iso", found(findings))).toBe(WITHIN);
    expect(outcome("raw", found(findings))).toBe(LENGTH);
    expect(outcome("raw", found({ ...findings, vdi: MATCH }))).toContain("several formats");
  });

  it("gpt mbr: is tolerated where it is configured, and other checks are not", () => {
    const mbr: Finding = { is: "examined", findings: unsafe("mbr", "it is odd") };
    const rules = { ...STRICT, toleratedGptChecks: ["mbr", "a_check"] };
    expect(outcome("raw", found({ gpt: mbr }), rules)).toBe(LENGTH);
    expect(outcome("gpt", found({ gpt: mbr }), rules)).toBeNull();
    expect(outcome("qcow2", found({ gpt: mbr }), rules)).toContain("it is gpt, not qcow2");
    expect(outcome("qcow2", found({ qcow2: UNSAFE }), rules)).toContain("(check a_check)");
  });
});

describe("a verdict before the data's end", () => {
  const UNDECIDED: Finding = { is: "undecided" };
  const early = (declared: string, findings: Readonly<Record<string, Finding>>, rules = STRICT) =>
    judge(
      { diskFormat: declared, containerFormat: "bare" },
      rules,
      found(findings),
      undefined,
      undefined,
    );

  it("is never that the data is accepted", () => {
    for (const rules of [STRICT, LENIENT]) {
      for (const declared of ["raw", "qcow2", "ami"]) {
        for (const findings of [{}, { qcow2: MATCH }, { qcow2: UNDECIDED }, { vdi: MATCH }]) {
          expect(early(declared, findings, rules)?.isAccepted).not.toBe(true);
        }
      }
    }
  });

  it("is a refusal at once of what is unsafe, whatever else may come", () => {
    const findings = { qcow2: UNSAFE, iso: UNDECIDED, vhdx: UNDECIDED };
    expect(early("raw", findings)).toMatchObject({ isAccepted: false });
  });

  it("waits with an odd boot record until it is known whether it is a CD", () => {
    expect(early("raw", { gpt: UNSAFE, iso: UNDECIDED })).toBeUndefined();
    expect(early("raw", { gpt: UNSAFE })).toMatchObject({ isAccepted: false });
    expect(early("raw", { gpt: UNSAFE, iso: { is: "recognised" } })).toBeUndefined();
    expect(early("raw", { gpt: UNSAFE, iso: { is: "broken" } })).toMatchObject({
      isAccepted: false,
    });
  });

  it("is a refusal of a wrong format once all are told apart, recognised or examined", () => {
    expect(early("vmdk", { qcow2: MATCH, iso: UNDECIDED })).toBeUndefined();
    expect(early("vmdk", { qcow2: MATCH })).toMatchObject({ isAccepted: false });
    expect(early("vmdk", { qcow2: { is: "recognised" } })).toMatchObject({ isAccepted: false });
    expect(early("vmdk", { vmdk: { is: "recognised" } })).toBeUndefined();
    expect(early("vmdk", { qcow2: MATCH }, LENIENT)).toBeUndefined();
  });
});

describe("13 §5 virtual_size", () => {
  const sized = (size: (dataBytes: number) => number | null): Finding => ({
    is: "examined",
    findings: { virtualSize: size },
  });

  it("is unknown where it is 0, or where nobody knows", () => {
    expect(outcome("vhd", found({ vhd: sized(() => 0) }))).toBeNull();
    expect(outcome("vhd", found({ vhd: sized(() => null) }))).toBeNull();
    expect(outcome("vhd", found({ vhd: { is: "recognised" } }))).toBeNull();
    expect(outcome("raw", matching(), STRICT, 0)).toBeNull();
    expect(outcome("raw", matching("qcow2"), STRICT, 0)).toBeNull();
  });

  it("is told the length of the data", () => {
    expect(outcome("luks", found({ luks: sized((dataBytes) => dataBytes - 1) }))).toBe(LENGTH - 1);
  });
});

describe("where fewer formats are looked for", () => {
  const rules = { ...STRICT, formats: FORMATS.filter(({ name }) => name === "vdi") };
  const only = (finding: Finding) => new Map([["vdi", finding]]);

  it("takes anything for those that are not, of unknown size", () => {
    expect(outcome("qcow2", only({ is: "absent" }), rules)).toBeNull();
    expect(outcome("qcow2", only(MATCH), rules)).toContain("it is vdi, not qcow2");
    expect(outcome("vdi", only({ is: "absent" }), rules)).toContain("of no format");
  });
});

it("13 §1 container_format: only bare data is inspected", () => {
  const containers = ["bare", "ami", "ari", "aki", "ovf", "ova", "docker", "compressed", null];
  const inspected = containers.filter((containerFormat) =>
    isInspected({ diskFormat: "raw", containerFormat }),
  );
  expect(inspected).toEqual(["bare"]);
});

describe("data that is packed", () => {
  const packed = (declared: string, findings: Readonly<Record<string, Finding>> = {}) =>
    judge({ diskFormat: declared, containerFormat: "bare" }, STRICT, found(findings), "xz", LENGTH);

  it("13 §3 not inspectable, raw: is taken, and as raw told", () => {
    expect(packed("raw")).toMatchObject({ isAccepted: true, packing: "xz", virtualSize: LENGTH });
    // Kernels and ramdisks mostly are.
    expect(packed("ari")).toMatchObject({ isAccepted: true, packing: undefined });
    // What is a disk all the same is no packed one.
    expect(packed("raw", { gpt: MATCH })).toMatchObject({ isAccepted: true, packing: undefined });
  });

  it("13 §3 anything else: is refused, and told to be packed", () => {
    expect(packed("qcow2")).toEqual({
      isAccepted: false,
      reason: "it is packed with xz, not qcow2 as the image's disk_format says: unpack it first",
    });
  });

  it("13 §3 vhd: what is no VHD is told that a fixed one is raw", () => {
    expect(outcome("vhd", found({}))).toBe(
      "it is of no format that is recognised, not vhd as the image's disk_format says; a fixed VHD is to be declared raw",
    );
    expect(outcome("vhd", matching("qcow2"))).not.toContain("fixed");
  });
});
