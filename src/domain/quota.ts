import { Fault } from "./fault.ts";

/*
 * Limits of what a project may use (contract 12 §6). Usage is kept per project in one row of the database, and held
 * against these by the very write that adds to it (db/usage.ts).
 */

/** The four limits that Keystone would know, in the order in which they are told of. */
export const QUOTA_NAMES = [
  "image_size_total",
  "image_stage_total",
  "image_count_total",
  "image_count_uploading",
] as const;
export type QuotaName = (typeof QUOTA_NAMES)[number];

/**
 * What a project may have open at a time, whatever the four limits are: each ties up memory, connections or space that
 * nobody has paid for yet. Ours, not Glance's.
 */
export type BoundName = "open_resumable_uploads" | "imports_at_work";

/** Whatever a limit can be on. */
export type Counted = QuotaName | BoundName;

/** What a project uses. Sizes in bytes. */
export interface Usage {
  readonly images: number;
  readonly uploading: number;
  readonly size: number;
  readonly stage: number;
  /** Granted to work under way, on top of `size` and `stage`. */
  readonly reservedSize: number;
  readonly reservedStage: number;
  readonly openUploads: number;
  /** Imports, and reads of data that is to be a location. */
  readonly jobs: number;
  /** Bytes that are staged, those that are being imported included. */
  readonly staged: number;
}

/** A limit that holds for a project: the most of something. */
export interface Limit {
  /** As callers are told: what is counted, or `user_storage_quota`, which is on all bytes. */
  readonly name: Counted | "user_storage_quota";
  /** In units: MiB or images; bytes for `user_storage_quota`. */
  readonly maximum: number;
  /** Bytes of a unit of size, 1 for numbers of images. A part of a unit does not count. */
  readonly unit: number;
}

const MiB = 1024 ** 2;

/** The limits of a deployment, by project. */
export class Quotas {
  constructor(
    /** Undefined: the four limits are off. */
    private readonly perProject: QuotaDocument | undefined,
    /** Bytes a project may have in all; 0: no limit. Only without the four (LIM-9, LIM-10). */
    private readonly storageBytes: number,
    /** Negative: no bound. */
    private readonly bounds: Readonly<Record<BoundName, number>>,
  ) {}

  /** Whether the four limits are on. */
  get hasFour(): boolean {
    return this.perProject !== undefined;
  }

  /** Whether bytes are limited at all. */
  get isLimited(): boolean {
    return this.hasFour || this.storageBytes > 0;
  }

  /** The limit on something that a project has; undefined where there is none. */
  limitOn(of: Counted, projectId: string | null): Limit | undefined {
    if (of === "open_resumable_uploads" || of === "imports_at_work") {
      const maximum = this.bounds[of];
      return maximum < 0 ? undefined : { name: of, maximum, unit: 1 };
    }
    if (this.perProject === undefined) {
      const isOfBytes = of === "image_size_total" || of === "image_stage_total";
      if (!isOfBytes || this.storageBytes === 0) return undefined;
      return { name: "user_storage_quota", maximum: this.storageBytes, unit: 1 };
    }
    const { defaults, projects } = this.perProject;
    // A limit that nobody has set lets nothing pass.
    const maximum = projects.get(projectId ?? "")?.[of] ?? defaults[of] ?? 0;
    const unit = of === "image_size_total" || of === "image_stage_total" ? MiB : 1;
    return maximum < 0 ? undefined : { name: of, maximum, unit };
  }

  /** Refuses what a project would have with so much more (bytes, or images). Throws `quota_over`. */
  assertWithin(of: QuotaName, projectId: string | null, usage: Usage, delta: number): void {
    const limit = this.limitOn(of, projectId);
    if (limit === undefined) return;
    const fault = quotaFault(limit, usage, delta);
    if (Number(fault.detail.usage) + Number(fault.detail.delta) > limit.maximum) throw fault;
  }
}

type Limits = Readonly<Partial<Record<QuotaName, number>>>;

/** The four limits: everybody's, and those of some projects. */
export interface QuotaDocument {
  readonly defaults: Limits;
  readonly projects: ReadonlyMap<string, Limits>;
}

/** How much is used of what a limit is on, in bytes or numbers, with what is reserved. */
export function usedOf(name: Limit["name"], usage: Usage): number {
  switch (name) {
    case "image_size_total":
      return usage.size + usage.reservedSize;
    case "user_storage_quota":
      return usage.size + usage.reservedSize + usage.staged + usage.reservedStage;
    case "image_stage_total":
      return usage.stage + usage.reservedStage;
    case "image_count_total":
      return usage.images;
    case "image_count_uploading":
      return usage.uploading;
    case "open_resumable_uploads":
      return usage.openUploads;
    case "imports_at_work":
      return usage.jobs;
  }
}

/**
 * That a limit would be passed, with the figures (contract 10 §9, Task message). Units are counted as the guard of a write
 * counts them (db/usage.ts): what is more is whole units more of all that is used then.
 */
export function quotaFault({ name, maximum, unit }: Limit, usage: Usage, delta: number): Fault {
  const usedNow = usedOf(name, usage);
  const used = Math.floor(usedNow / unit);
  const more = Math.floor((usedNow + delta) / unit) - used;
  return new Fault("quota_over", { name, maximum, usage: used, delta: more });
}

/**
 * Reads `{"default": {"image_size_total": 1000, …}, "projects": {"<id>": {…}}}`. Sizes are in MiB; a negative number is
 * no limit, a missing one is 0. Throws an Error with a sentence.
 */
export function parseQuotas(json: string): QuotaDocument {
  const document: unknown = JSON.parse(json);
  const { default: defaults = {}, projects = {}, ...others } = objectOf(document, "the document");
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw new Error(`"${unknown}" is not known there`);
  return {
    defaults: readLimits(defaults, "default"),
    projects: new Map(
      Object.entries(objectOf(projects, "projects")).map(([id, limits]) => [
        id,
        readLimits(limits, `the project "${id}"`),
      ]),
    ),
  };
}

function readLimits(given: unknown, where: string): Limits {
  const entries = Object.entries(objectOf(given, where)).map(([name, value]) => {
    const known = QUOTA_NAMES.find((one) => one === name);
    if (known === undefined) throw new Error(`${where} has "${name}", which is no limit`);
    if (!Number.isSafeInteger(value)) throw new Error(`${where} has no whole number as ${name}`);
    return [known, value] as const;
  });
  return Object.fromEntries(entries);
}

function objectOf(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Readonly<Record<string, unknown>>;
  }
  throw new Error(`${what} is not a JSON object`);
}

/** Reads a number of bytes with a suffix, as Glance has it: B, KB, MB, GB, TB in powers of 1024. Throws an Error. */
export function parseBytes(text: string): number {
  const [, digits = "", suffix = ""] = /^(\d+)\s*(B|KB|MB|GB|TB)?$/i.exec(text) ?? [];
  const power = ["", "KB", "MB", "GB", "TB"].indexOf(suffix.toUpperCase().replace(/^B$/, ""));
  const bytes = Number(digits) * 1024 ** power;
  if (digits !== "" && Number.isSafeInteger(bytes)) return bytes;
  throw new Error(`"${text}" is not a number of bytes such as 500GB`);
}
