import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import type { TestProject } from "vitest/node";
import { BadQuery, readBehaviour } from "./source-behaviour.ts";
import { type RemoteImage, SourceControl } from "./source-control.ts";
import { closeSignal, Exchange } from "./source-exchange.ts";
import { serveFile } from "./source-file.ts";
import { FakeImageApi } from "./source-image-api.ts";
import { Gate, Registry, Scenario } from "./source-state.ts";

// Other people's image servers, as good and as bad as a test wants them. The URL of a file says what
// its data are and how it behaves; source-behaviour.ts has the words, and source-control.ts the calls
// with which tests steer it. Data are made while they are sent, so their size costs nothing.

declare module "vitest" {
  interface ProvidedContext {
    /** The source server of this run, for a SourceControl. */
    readonly source: { readonly url: string };
  }
}

/** Vitest's global set-up. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const server = await startSourceServer();
  project.provide("source", { url: server.url });
  return () => server.close();
}

/** A running source server. */
export class SourceServer extends SourceControl {
  readonly #server: Server;

  constructor(server: Server, url: string) {
    super(url);
    this.#server = server;
  }

  /** Hangs up on everybody. */
  async close(): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}

/** Starts a server on a free port of the loopback. */
export async function startSourceServer(): Promise<SourceServer> {
  const site = new Site();
  // A file's bytes may stand in its URL.
  const server = createServer({ maxHeaderSize: 1024 ** 2 }, (request, response) => {
    site.answer(request, response).catch((error: unknown) => fail(response, error));
  });
  // No end to an idle connection: a client could use it in that very moment.
  server.keepAliveTimeout = 0;
  await once(server.listen(0, "127.0.0.1"), "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("The server has no port.");
  return new SourceServer(server, `http://127.0.0.1:${address.port}`);
}

function fail(response: ServerResponse, error: unknown): void {
  // The client went away.
  if (response.destroyed) return;
  if (response.headersSent) response.destroy();
  else response.writeHead(error instanceof BadQuery ? 400 : 500).end(`${error}\n`);
}

class Site {
  readonly #scenarios = new Registry(() => new Scenario());
  readonly #gates = new Registry(() => new Gate());
  readonly #images = new FakeImageApi(this.#gates);

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? "", "http://localhost");
    const [first = "", ...rest] = pathname.slice(1).split("/").map(decodeURIComponent);
    const [name = ""] = rest;
    switch (first) {
      case "file":
        return this.#serveFile(request, response, searchParams);
      case "image-api":
        return this.#serveImageApi(request, response, rest);
      case "image-api-records":
        this.#images.put(name, JSON.parse(await text(request)) as RemoteImage);
        return void response.end();
      case "log":
        return this.#serveLog(request, response, name);
      case "gate":
        return this.#serveGate(response, this.#gates.get(name), searchParams);
      default:
        response.writeHead(404).end();
    }
  }

  async #serveFile(
    request: IncomingMessage,
    response: ServerResponse,
    query: URLSearchParams,
  ): Promise<void> {
    const behaviour = readBehaviour(query);
    const { id, gate } = behaviour;
    const scenario = id === undefined ? new Scenario() : this.#scenarios.get(id);
    const exchange = new Exchange(request, response, scenario);
    await serveFile(exchange, behaviour, gate === undefined ? undefined : this.#gates.get(gate));
  }

  async #serveImageApi(
    request: IncomingMessage,
    response: ServerResponse,
    path: readonly string[],
  ): Promise<void> {
    const [, id, part] = /^v2\/images\/([^/]+)(\/file)?$/.exec(path.join("/")) ?? [];
    if (id === undefined) return void response.writeHead(404).end();
    const exchange = new Exchange(request, response, this.#scenarios.get(id));
    await this.#images.serve(exchange, id, part === undefined ? "record" : "file");
  }

  #serveLog({ method }: IncomingMessage, response: ServerResponse, id: string): void {
    const { log } = this.#scenarios.get(id);
    if (method === "DELETE") this.#scenarios.forget(id);
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(log));
  }

  async #serveGate(response: ServerResponse, gate: Gate, query: URLSearchParams): Promise<void> {
    const count = Number(query.get("open") ?? 0);
    gate.open(count < 0 ? Number.POSITIVE_INFINITY : count);
    await gate.waitFor(Number(query.get("waiting") ?? 0), closeSignal(response));
    response.end();
  }
}
