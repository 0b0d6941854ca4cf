import { abbreviate } from "../lib/code-points.ts";
import { Fault } from "./fault.ts";
import type { Location } from "./image.ts";
import type { StoreDefinition } from "./store-definition.ts";

/** What an import says of stores (contract 10 §6). */
export interface StoreChoice {
  /** The body's `stores` as given, undefined when it has none. */
  readonly ids: unknown;
  /** The body's `all_stores`. */
  readonly all: boolean;
  /** The header `x-image-meta-store`. */
  readonly header: string | null;
}

/** The stores of a deployment, and what the contract says of choosing among them. */
export class Stores {
  readonly default: StoreDefinition;

  constructor(readonly all: readonly StoreDefinition[]) {
    const found = all.find((store) => store.isDefault);
    if (found === undefined) throw new Error("no store is the default");
    this.default = found;
  }

  /** Whether callers know of stores at all: a service with one store is a single-store service. */
  get isMulti(): boolean {
    return this.all.length > 1;
  }

  find(id: string): StoreDefinition | undefined {
    return this.all.find((store) => store.id === id);
  }

  /** Ids that images can be put into, in configured order. */
  get writableIds(): readonly string[] {
    return this.all.filter((store) => !isReadOnly(store)).map((store) => store.id);
  }

  /**
   * The store that an upload's `x-image-meta-store` asks for (contract STO-1 … STO-4): the default without one,
   * and in a single-store service whatever it says. Throws `store_unknown` or `store_read_only`.
   */
  forUpload(requested: string | null): StoreDefinition {
    if (requested === null || !this.isMulti) return this.default;
    const store = this.find(requested);
    if (store === undefined) throw new Fault("store_unknown", { storeId: requested });
    if (isReadOnly(store)) throw new Fault("store_read_only", { storeId: requested });
    return store;
  }

  /**
   * The stores that an import is to write, in this order: those of its body, of its header, or the default
   * (contract 10 §6, IMP-9 … IMP-11). In a single-store service the one there is, whatever the import says.
   * Throws `invalid_value` or `stores_ambiguous`, and `store_in_conflict` or `store_not_writable`, which are 409.
   */
  forImport({ ids, all, header }: StoreChoice): readonly string[] {
    if (!this.isMulti) return [this.default.id];
    const given = [
      ...(all ? ["all_stores"] : []),
      ...(ids === undefined ? [] : ["stores"]),
      ...(header === null ? [] : ["the header x-image-meta-store"]),
    ];
    // openstacksdk says it twice.
    if (!all && header !== null && namesOnly(ids, header)) given.pop();
    if (given.length > 1) throw new Fault("stores_ambiguous", { given: given.join(" and ") });
    if (all) return this.writableIds;
    const chosen = ids === undefined ? [header ?? this.default.id] : readStoreIds(ids);
    for (const storeId of chosen) {
      const store = this.find(storeId);
      if (store === undefined)
        throw new Fault("store_in_conflict", { storeId: abbreviate(storeId) });
      if (isReadOnly(store)) throw new Fault("store_not_writable", { storeId });
    }
    return chosen;
  }

  /** The store that data on other people's servers is counted to, undefined where there is none (contract 11 §1). */
  get remote(): StoreDefinition | undefined {
    return this.all.find(isReadOnly);
  }

  /** Those of these ids that callers are told of: none in a single-store service (contract 10 §10). */
  shownIds(ids: readonly string[]): readonly string[] {
    return this.isMulti ? ids : [];
  }

  /** An image's copies as they are shown and read: the heaviest store first (contract 11 §1). */
  byWeight(locations: readonly Location[]): readonly Location[] {
    const weightOf = (location: Location) => this.find(location.store)?.weight ?? 0;
    return locations.toSorted((a, b) => weightOf(b) - weightOf(a));
  }

  /**
   * The order in which copies are tried for `?prefer=a,b`: these stores first, the others as fallback (contract
   * DWN-14, DWN-15). Throws `invalid_parameter` for an unknown store, or where there is only one.
   */
  inPreference(locations: readonly Location[], prefer: string | null): readonly Location[] {
    const wanted = (prefer ?? "")
      .split(",")
      .map((id) => id.trim())
      .filter((id) => id !== "");
    const [unknown] = this.isMulti ? wanted.filter((id) => this.find(id) === undefined) : wanted;
    if (unknown !== undefined) {
      const reason = this.isMulti ? `there is no store '${unknown}'` : "this service has one store";
      throw new Fault("invalid_parameter", { name: "prefer", reason });
    }
    const rankOf = ({ store }: Location) => {
      const rank = wanted.indexOf(store);
      return rank < 0 ? wanted.length : rank;
    };
    return this.byWeight(locations).toSorted((a, b) => rankOf(a) - rankOf(b));
  }
}

/** Http stores are other people's servers: nothing is written there (contract 11 §1). */
export function isReadOnly(store: StoreDefinition): boolean {
  return store.type === "http";
}

/** Whether a list of ids, as it came, says nothing but this one. */
function namesOnly(ids: unknown, id: string): boolean {
  return Array.isArray(ids) && ids.length > 0 && ids.every((each) => each === id);
}

/** A list of ids from a request. One named twice is meant once: a second copy there would be none. */
function readStoreIds(given: unknown): readonly string[] {
  if (Array.isArray(given) && given.length > 0 && given.every((id) => typeof id === "string")) {
    return [...new Set(given)];
  }
  const reason = "it must be a list of one store id or more";
  throw new Fault("invalid_value", { name: "stores", reason });
}
