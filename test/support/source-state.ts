import { EventEmitter, once } from "node:events";
import type { IncomingMessage } from "node:http";
import type { LoggedRequest } from "./source-control.ts";

/** A request in the log, as long as its answer is under way. */
export type LogEntry = { -readonly [Key in keyof LoggedRequest]: LoggedRequest[Key] };

/** Kinds of trouble, each of which is counted for itself. */
export type Trouble = "hang" | "status" | "reset" | "lie";

/** What the server remembers of one scenario. */
export class Scenario {
  readonly log: LogEntry[] = [];
  #requests = 0;
  readonly #met = new Map<Trouble, number>();

  /** Counts a request for the file, from 1. */
  countRequest(): number {
    this.#requests += 1;
    return this.#requests;
  }

  /** Counts an answer that this trouble can befall, and tells whether it does. */
  isDue(trouble: Trouble, { skip, times }: { skip: number; times: number }): boolean {
    const count = (this.#met.get(trouble) ?? 0) + 1;
    this.#met.set(trouble, count);
    return count > skip && count <= skip + times;
  }
}

/** Adds a request to a scenario's log. */
export function logRequest(scenario: Scenario, request: IncomingMessage): LogEntry {
  const { method = "", url = "", headers } = request;
  const entry: LogEntry = {
    method,
    url,
    range: headers.range ?? null,
    headers: Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name, String(value)]),
    ),
    status: null,
    bytesSent: 0,
  };
  scenario.log.push(entry);
  return entry;
}

/** Where answers wait until a test lets them go on. */
export class Gate {
  #waiting = 0;
  #open = 0;
  readonly #changed = new EventEmitter().setMaxListeners(0);

  /** Lets so many answers through, those that come later included. */
  open(count: number): void {
    this.#open += count;
    this.#changed.emit("change");
  }

  /** Goes through the gate, when it is open. */
  async pass(signal: AbortSignal): Promise<void> {
    this.#waiting += 1;
    this.#changed.emit("change");
    try {
      await this.#until(() => this.#tryToPass(), signal);
    } finally {
      this.#waiting -= 1;
    }
  }

  /** Waits until so many answers are in front of it. */
  waitFor(count: number, signal: AbortSignal): Promise<void> {
    return this.#until(() => this.#waiting >= count, signal);
  }

  /** Asks and takes in one step, for several may be woken by one opening. */
  #tryToPass(): boolean {
    if (this.#open === 0) return false;
    this.#open -= 1;
    return true;
  }

  async #until(isTrue: () => boolean, signal: AbortSignal): Promise<void> {
    while (!isTrue()) await once(this.#changed, "change", { signal });
  }
}

/** Things by name, made when they are first asked for. */
export class Registry<T> {
  readonly #things = new Map<string, T>();
  readonly #make: () => T;

  constructor(make: () => T) {
    this.#make = make;
  }

  get(name: string): T {
    const thing = this.#things.get(name) ?? this.#make();
    this.#things.set(name, thing);
    return thing;
  }

  forget(name: string): void {
    this.#things.delete(name);
  }
}
