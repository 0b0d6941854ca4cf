import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { DatabaseSync } from "node:sqlite";
import { text } from "node:stream/consumers";

/** As much of Cloudflare's API as wrangler calls for one D1 database. Its `/query` knows no triggers. */
export class D1Api {
  readonly database = new DatabaseSync(":memory:");
  readonly #server = createServer((request, response) => void this.#answer(request, response));
  #uploaded = "";

  async listen(): Promise<void> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
  }

  get url(): string {
    const address = this.#server.address();
    return typeof address === "object" ? `http://127.0.0.1:${address?.port}` : "";
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await text(request);
    if (request.method === "PUT") {
      this.#uploaded = body;
      response.setHeader("etag", createHash("md5").update(body).digest("hex")).end();
      return;
    }
    const call = request.url?.split("/").at(-1) ?? "";
    const result = call === "query" ? this.#query(body) : this.#import(body);
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ success: true, errors: [], messages: [], result }));
  }

  #query(body: string): unknown {
    const { sql } = JSON.parse(body) as { sql: string };
    const statements = sql.split(";").filter((statement) => statement.trim() !== "");
    const rows = statements.map((statement) => this.database.prepare(statement).all());
    return rows.map((results) => ({ results, success: true, meta: { duration: 0 } }));
  }

  #import(body: string): unknown {
    const { action } = JSON.parse(body) as { action: string };
    const common = { success: true, messages: [], filename: "uploaded.sql" };
    if (action === "init") return { ...common, upload_url: `${this.url}/upload` };
    this.database.exec(`BEGIN; ${this.#uploaded}; COMMIT;`);
    const meta = { duration: 0, rows_read: 0, rows_written: 0, size_after: 0 };
    const result = { num_queries: 1, final_bookmark: "1", meta };
    return { ...common, status: "complete", result };
  }
}
