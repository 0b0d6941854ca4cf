// @ts-check
// One request over HTTP. Node's own client, and not fetch, for bodies of known length that stream, and for the TLS
// settings of clouds.yaml.

import http from "node:http";
import https from "node:https";
import { EXIT, Failure, TransientFailure } from "./failure.mjs";

/** @typedef {http.IncomingMessage} Answer */

/**
 * Bytes to send, which can be asked for again.
 * @typedef {object} Body
 * @property {number} size
 * @property {() => import("node:stream").Readable} open
 */

/**
 * @typedef {object} Call
 * @property {string} method
 * @property {string} url
 * @property {Readonly<Record<string, string>>} [headers]
 * @property {Body | undefined} [body]
 * @property {import("./clouds.mjs").Tls} [tls]
 * @property {AbortSignal | undefined} [signal]
 */

/** A connection on which nothing moves for that long is taken to be dead. */
const IDLE_MS = 90_000;

/** A connection that the server has closed already breaks at once. */
const STALE_MS = 1_000;

const agents = {
  "http:": new http.Agent({ keepAlive: true }),
  "https:": new https.Agent({ keepAlive: true }),
};

/**
 * Sends a request and gives its answer, whatever the status. Throws a TransientFailure when the connection breaks.
 * @param {Call} call
 * @returns {Promise<Answer>}
 */
export async function send(call) {
  for (;;) {
    const answer = await exchange(call);
    if (answer !== STALE) return answer;
  }
}

/** The server had closed an idle connection that the request was to use: there is nothing wrong with either. */
const STALE = Symbol("stale connection");

/**
 * @param {Call} call
 * @returns {Promise<Answer | typeof STALE>}
 */
function exchange({ method, url, headers = {}, body, tls = {}, signal }) {
  return new Promise((resolve, reject) => {
    const { protocol, host } = new URL(url);
    if (protocol !== "http:" && protocol !== "https:") {
      throw new Failure(`${url} is no address of http or https.`, EXIT.usage);
    }
    const begin = protocol === "https:" ? https.request : http.request;
    const length = body && { "content-length": String(body.size) };
    const outgoing = begin(url, {
      method,
      headers: { accept: "application/json", "user-agent": "glimpse", ...headers, ...length },
      agent: agents[protocol],
      timeout: IDLE_MS,
      ...(protocol === "https:" && tls),
      ...(signal && { signal }),
    });
    const startedAtMs = performance.now();
    outgoing.on("error", (error) => {
      const isQuick = performance.now() - startedAtMs < STALE_MS;
      // Of an upload's bytes some may have arrived; its own way of going on finds out.
      const isStale = method !== "PATCH" && outgoing.reusedSocket && isQuick;
      if (isStale && isCut(error) && !signal?.aborted) resolve(STALE);
      else reject(connectionFailure(error, host, signal));
    });
    outgoing.on("timeout", () => outgoing.destroy(new Error("nothing came for too long")));
    const stopBody = body === undefined ? () => outgoing.end() : stream(body, outgoing);
    outgoing.once("response", (answer) => {
      // An answer before the end of the body refuses it: the rest is not wanted.
      if (!outgoing.writableEnded) {
        stopBody();
        answer.once("close", () => outgoing.destroy());
      }
      resolve(answer);
    });
    if (body === undefined) outgoing.end();
  });
}

/** @param {Error} error */
function isCut(error) {
  return "code" in error && (error.code === "ECONNRESET" || error.code === "EPIPE");
}

/**
 * Pipes a body into a request, and gives the call that ends this.
 * @param {Body} body
 * @param {http.ClientRequest} outgoing
 */
function stream(body, outgoing) {
  const source = body.open();
  let sent = 0;
  source.on("data", (chunk) => {
    sent += chunk.length;
  });
  source.once("error", ({ message }) => {
    outgoing.destroy(new Failure(`The file could not be read: ${message}.`, EXIT.file));
  });
  source.once("end", () => {
    if (sent === body.size) outgoing.end();
    else outgoing.destroy(new Failure("The file became shorter while it was read.", EXIT.file));
  });
  outgoing.once("close", () => source.destroy());
  source.pipe(outgoing, { end: false });
  return () => source.unpipe(outgoing).destroy();
}

/** A page of a thousand of the largest image records is smaller. */
const MAX_TEXT_BYTES = 256 * 1024 ** 2;

/**
 * The text of an answer. Throws a TransientFailure when it breaks off, and a Failure when there is no end of it.
 * @param {Answer} answer
 */
export async function readText(answer) {
  /** @type {Buffer[]} */
  const chunks = [];
  let bytes = 0;
  for await (const chunk of readChunks(answer)) {
    bytes += chunk.length;
    if (bytes > MAX_TEXT_BYTES) throw new Failure("The answer has no end.", EXIT.unexpected);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

/**
 * The bytes of an answer as they come.
 * @param {Answer} answer
 * @param {AbortSignal} [signal]
 * @returns {AsyncGenerator<Buffer, void, void>}
 */
export async function* readChunks(answer, signal) {
  try {
    yield* answer;
  } catch (error) {
    throw connectionFailure(error, "the service", signal);
  }
}

/**
 * @param {unknown} error
 * @param {string} host
 * @param {AbortSignal | undefined} signal
 */
function connectionFailure(error, host, signal) {
  if (signal?.aborted) return signal.reason;
  if (error instanceof Failure) return error;
  const { code = "", message } = /** @type {NodeJS.ErrnoException} */ (error);
  if (/^(ERR_TLS|CERT_|DEPTH_|SELF_SIGNED|UNABLE_TO|EPROTO)/.test(code)) {
    return new Failure(`No safe connection to ${host}: ${message}.`, EXIT.unavailable);
  }
  /** @type {Record<string, string>} */
  const reasons = {
    ECONNREFUSED: "the connection was refused",
    ECONNRESET: "the connection was cut",
    EPIPE: "the connection was cut",
    ENOTFOUND: "the name is not known",
    EAI_AGAIN: "the name could not be looked up",
  };
  return new TransientFailure(`${host}: ${reasons[code] ?? message}.`);
}
