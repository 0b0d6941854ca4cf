import { Fault } from "./fault.ts";
import type { Location } from "./image.ts";
import type { StoreDefinition } from "./store-definition.ts";

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
