import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { type Gate, type LogEntry, logRequest, type Scenario } from "./source-state.ts";

/** When a body is held up, or broken off. */
export interface Course {
  /** Hangs up after so many bytes. */
  readonly resetAt: number | undefined;
  /** Waits at the gate after so many bytes. */
  readonly gateAt: number | undefined;
  readonly gate: Gate | undefined;
  readonly bytesPerSecond: number;
}

const PIECE_BYTES = 64 * 1024;
const DRIPS_PER_SECOND = 20;

/** One request, its answer and its line in the log. What waits ends when the client goes away. */
export class Exchange {
  readonly request: IncomingMessage;
  readonly signal: AbortSignal;
  readonly scenario: Scenario;
  readonly #response: ServerResponse;
  readonly #entry: LogEntry;

  constructor(request: IncomingMessage, response: ServerResponse, scenario: Scenario) {
    this.request = request;
    this.scenario = scenario;
    this.signal = closeSignal(response);
    this.#response = response;
    this.#entry = logRequest(scenario, request);
  }

  /** A whole answer with a short text. */
  answer(status: number, headers: OutgoingHttpHeaders = {}, text = `${status}, as asked\n`): void {
    this.sendHead(status, { "content-length": Buffer.byteLength(text), ...headers });
    this.#response.end(text);
    this.#entry.bytesSent = Buffer.byteLength(text);
  }

  sendHead(status: number, headers: OutgoingHttpHeaders): void {
    this.#entry.status = status;
    this.#response.writeHead(status, headers);
    // A body that waits before its first byte must not hold up the head.
    this.#response.flushHeaders();
  }

  /** Sends a body of that length; tells whether it was broken off. */
  async sendBody(
    read: (offset: number, length: number) => Uint8Array,
    length: number,
    course: Course,
  ): Promise<"complete" | "broken"> {
    const { resetAt, gateAt, gate, bytesPerSecond } = course;
    for (let sent = 0; sent < length; ) {
      if (sent === gateAt) await gate?.pass(this.signal);
      if (sent === resetAt) return "broken";
      const piece = Math.min(PIECE_BYTES, Math.ceil(bytesPerSecond / DRIPS_PER_SECOND));
      const stops = [length, gateAt ?? length, resetAt ?? length].filter((stop) => stop > sent);
      const end = Math.min(sent + piece, ...stops);
      await this.#write(read(sent, end - sent));
      if (bytesPerSecond < Number.POSITIVE_INFINITY) {
        await sleep(((end - sent) / bytesPerSecond) * 1000, undefined, { signal: this.signal });
      }
      sent = end;
    }
    return "complete";
  }

  end(): void {
    this.#response.end();
  }

  /** Closes the connection once what was written has gone out. */
  hangUp(): void {
    this.#response.socket?.destroySoon();
  }

  /** Resolves when the bytes have been handed to the network, which is what holds up a fast source. */
  #write(bytes: Uint8Array): Promise<void> {
    return new Promise((done, fail) => {
      this.#entry.bytesSent += bytes.length;
      this.#response.write(bytes, (error) => (error ? fail(error) : done()));
    });
  }
}

/** Aborts when the answer is over: sent, or given up by the client. */
export function closeSignal(response: ServerResponse): AbortSignal {
  const closing = new AbortController();
  response.once("close", () => closing.abort());
  return closing.signal;
}
