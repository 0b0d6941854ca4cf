import type { Formats } from "../domain/image.ts";
import type { Packing } from "../lib/packing.ts";
import type { Danger, Findings, Format } from "./format.ts";

/** How strict a deployment is (contract 13 §1). */
export interface InspectionRules {
  /** Whether data must be of the format that its image declares. What is unsafe is refused in any case. */
  readonly requireMatch: boolean;
  /** The formats that are looked for. */
  readonly formats: readonly Format[];
  /** Checks of GPT and MBR disks whose failure is tolerated. */
  readonly toleratedGptChecks: readonly string[];
}

/** What is known of the data as to one format. */
export type Finding =
  | { readonly is: "undecided" | "absent" | "broken" | "recognised" }
  | { readonly is: "examined"; readonly findings: Findings };

/** `reason` is a clause such as "it is qcow2, not raw". */
export type Verdict = { readonly isAccepted: false; readonly reason: string } | Acceptance;

export interface Acceptance {
  readonly isAccepted: true;
  /** Bytes of the disk within; null where it is unknown. */
  readonly virtualSize: number | null;
  /** The format that was recognised; undefined when there was no look, or no telling. */
  readonly detected: string | undefined;
  /** How data that is taken as raw is packed, if that can be told. */
  readonly packing: Packing | undefined;
}

/** Whether the data of such an image is inspected at all (contract 13 §1, HSH-2). */
export function isInspected({ containerFormat }: Formats): boolean {
  return containerFormat === "bare";
}

/**
 * Judges by what has been found so far (contract 13 §§2 to 4), and how the data is packed; undefined while more has to
 * be found out. There is no acceptance before the data's end, whose length then is given.
 */
export function judge(
  { diskFormat }: Formats,
  rules: InspectionRules,
  found: ReadonlyMap<string, Finding>,
  packing: Packing | undefined,
  dataBytes: number | undefined,
): Verdict | undefined {
  const danger = findDanger(rules, found);
  if (danger !== undefined) return refused(danger);
  const kinds = [...found.values()].map(({ is }) => is);
  if (kinds.includes("undecided")) return undefined;

  const detected = resolve(found);
  if (rules.requireMatch) {
    if (kinds.includes("broken")) return refused("its content could not be made out");
    const reason = mismatch(diskFormat ?? "", rules, detected, packing);
    if (reason !== undefined) return refused(reason);
  }
  if (dataBytes === undefined) return undefined;
  const format = detected.length === 1 ? detected[0] : undefined;
  return {
    isAccepted: true,
    virtualSize: virtualSizeOf(diskFormat, format, found, dataBytes) || null,
    detected: format,
    packing: diskFormat === "raw" && format === "raw" ? packing : undefined,
  };
}

/** What makes the data unsafe, as a clause. That a disk's boot record is odd does not matter to a CD. */
function findDanger(
  { toleratedGptChecks }: InspectionRules,
  found: ReadonlyMap<string, Finding>,
): string | undefined {
  const iso = found.get("iso")?.is ?? "absent";
  const mayBeIso = iso !== "absent" && iso !== "broken";
  for (const [format, finding] of found) {
    const danger = finding.is === "examined" ? finding.findings.danger : undefined;
    if (danger === undefined) continue;
    if (format === "gpt" && (mayBeIso || toleratedGptChecks.includes(danger.check))) continue;
    return describe(format, danger);
  }
  return undefined;
}

function describe(format: string, { check, reason }: Danger): string {
  return `it is ${format}, and ${reason} (check ${check})`;
}

/** The formats that the data is of: one, or several if that is ambiguous (contract 13 §2). */
function resolve(found: ReadonlyMap<string, Finding>): readonly string[] {
  const matches = [...found]
    .filter(([, { is }]) => is === "recognised" || is === "examined")
    .map(([format]) => format);
  if (matches.length === 0) return ["raw"];
  const isHybrid = matches.length === 2 && matches.includes("iso") && matches.includes("gpt");
  return isHybrid ? ["iso"] : matches;
}

/** Why data of such a format is not for this image (contract 13 §3). */
function mismatch(
  declared: string,
  { formats }: InspectionRules,
  detected: readonly string[],
  packing: Packing | undefined,
): string | undefined {
  const [format = "raw", ...others] = detected;
  if (others.length > 0) return `it is several formats at once: ${detected.join(", ")}`;
  if (declared === format || declared === "raw") return undefined;
  const isKnown = formats.some(({ name }) => name === declared);
  if (!isKnown && format === "raw") return undefined;
  const saying = `not ${declared} as the image's disk_format says`;
  if (format !== "raw") return `it is ${format}, ${saying}`;
  if (packing !== undefined) return `it is packed with ${packing}, ${saying}: unpack it first`;
  const reason = `it is of no format that is recognised, ${saying}`;
  return declared === "vhd" ? `${reason}; a fixed VHD is to be declared raw` : reason;
}

/** Contract 13 §§3, 5. */
function virtualSizeOf(
  declared: string | null,
  detected: string | undefined,
  found: ReadonlyMap<string, Finding>,
  dataBytes: number,
): number | null {
  if (declared === "raw") return detected === undefined ? null : dataBytes;
  const finding = declared === detected ? found.get(declared ?? "") : undefined;
  return finding?.is === "examined" ? finding.findings.virtualSize(dataBytes) : null;
}

function refused(reason: string): Verdict {
  return { isAccepted: false, reason };
}
