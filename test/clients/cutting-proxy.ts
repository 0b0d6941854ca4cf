import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

/** Which way bytes go: `up` to the server, `down` to the client. */
export type Way = "up" | "down";

/** A connection that cannot be relied upon: TCP to a server on this machine, cut or held as a test says. */
export class CuttingProxy {
  readonly #targetPort: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #passed = { up: 0, down: 0 };
  #cuts: { way: Way; everyBytes: number; nextAt: number; left: number } | undefined;
  #holdAt: { way: Way; bytes: number } | undefined;
  #waiting: (() => void)[] = [];
  cutsMade = 0;

  private constructor(targetPort: number) {
    this.#targetPort = targetPort;
    this.#server = createServer((client) => this.#serve(client));
  }

  static async start(targetPort: number): Promise<CuttingProxy> {
    const proxy = new CuttingProxy(targetPort);
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("It does not listen.");
    return `http://127.0.0.1:${address.port}`;
  }

  /** Bytes that went by that way so far. */
  passed(way: Way): number {
    return this.#passed[way];
  }

  /** Cuts the connection that brings the byte, each time so many more have passed, until it was done so often. */
  cut(way: Way, everyBytes: number, times: number): void {
    this.#cuts = { way, everyBytes, nextAt: this.#passed[way] + everyBytes, left: times };
  }

  /** Lets so many more bytes pass and no others, until they are released. */
  hold(way: Way, afterBytes: number): void {
    this.#holdAt = { way, bytes: this.#passed[way] + afterBytes };
  }

  release(): void {
    this.#holdAt = undefined;
    for (const go of this.#waiting.splice(0)) go();
  }

  async close(): Promise<void> {
    this.release();
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }

  #serve(client: Socket): void {
    const server = connect(this.#targetPort, "127.0.0.1");
    const end = () => {
      client.destroy();
      server.destroy();
    };
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket.once("close", () => {
        this.#sockets.delete(socket);
        end();
      });
      socket.on("error", end);
    }
    void this.#pass("up", client, server);
    void this.#pass("down", server, client);
  }

  async #pass(way: Way, from: Socket, to: Socket): Promise<void> {
    try {
      for await (const chunk of from) {
        if (this.#isHeld(way)) await new Promise<void>((go) => this.#waiting.push(go));
        this.#passed[way] += chunk.length;
        if (this.#cutsNow(way)) {
          from.resetAndDestroy();
          to.resetAndDestroy();
          return;
        }
        if (!to.write(chunk)) await once(to, "drain");
      }
      to.end();
    } catch {
      to.destroy();
    }
  }

  #isHeld(way: Way): boolean {
    return this.#holdAt?.way === way && this.#passed[way] >= this.#holdAt.bytes;
  }

  #cutsNow(way: Way): boolean {
    const cuts = this.#cuts;
    if (cuts?.way !== way || cuts.left === 0 || this.#passed[way] < cuts.nextAt) return false;
    cuts.left -= 1;
    cuts.nextAt = this.#passed[way] + cuts.everyBytes;
    this.cutsMade += 1;
    return true;
  }
}
