import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";

export type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** Other people's server, which keeps the requests that reach it. */
export class OtherServer {
  readonly #server: Server;
  readonly url: string;
  readonly requests: { method: string; path: string; token: string | undefined }[] = [];

  protected constructor(server: Server) {
    this.#server = server;
    const address = server.address();
    const port = typeof address === "object" ? address?.port : "";
    this.url = `http://127.0.0.1:${port}`;
  }

  /** A server that says yes to everything. */
  static async start(): Promise<OtherServer> {
    const server = createServer();
    const other = new OtherServer(await listening(server));
    server.on("request", (request: IncomingMessage, response: ServerResponse) => {
      other.take(request);
      response.end("{}");
    });
    return other;
  }

  protected take({ method = "", url = "", headers }: IncomingMessage): void {
    const token = headers["x-auth-token"];
    this.requests.push({ method, path: url, token: token === undefined ? token : String(token) });
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}

async function listening(server: Server): Promise<Server> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

/** An image service with its identity service, whose other answers are as bad as a test makes them. */
export class HostileService extends OtherServer {
  readonly #answers = new Map<string, Answer>();

  static override async start(): Promise<HostileService> {
    const server = createServer();
    const service = new HostileService(await listening(server));
    server.on("request", (request: IncomingMessage, response: ServerResponse) => {
      service.take(request);
      service.#answer(request, response);
    });
    return service;
  }

  /** What is answered to `GET /v2/images` and its like. */
  on(call: string, answer: Answer): void {
    this.#answers.set(call, answer);
  }

  /** What is answered to such a call as JSON. */
  gives(call: string, body: unknown, status = 200): void {
    this.on(call, (_, response) => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify(body));
    });
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const [path = ""] = (request.url ?? "").split("?");
    const answer = this.#answers.get(`${request.method} ${path}`);
    if (answer !== undefined) answer(request, response);
    else if (path === "/identity/v3/auth/tokens") this.#signIn(response);
    else response.writeHead(404).end("{}");
  }

  #signIn(response: ServerResponse): void {
    const endpoints = [{ interface: "public", url: this.url }];
    response.writeHead(201, { "x-subject-token": "the-token" });
    response.end(JSON.stringify({ token: { catalog: [{ type: "image", endpoints }] } }));
  }
}
