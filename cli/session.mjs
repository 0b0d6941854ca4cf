// @ts-check
// Signed in to a cloud: a token, the Image API's address, and requests with both.

import { Readable } from "node:stream";
import { authRequest, givenToken, identityUrl } from "./credentials.mjs";
import { EXIT, Failure, TransientFailure } from "./failure.mjs";
import { readText, send } from "./http.mjs";
import { persist } from "./retry.mjs";

/** @typedef {import("./clouds.mjs").Cloud} Cloud */
/** @typedef {import("./retry.mjs").Patience} Patience */
/** @typedef {import("./http.mjs").Answer} Answer */

/**
 * @typedef {object} Request
 * @property {string} [method]
 * @property {string} url an address, or a path below the Image API's
 * @property {Record<string, string>} [headers]
 * @property {import("./http.mjs").Body} [body]
 * @property {AbortSignal | undefined} [signal]
 */

/** Nobody wants to wait minutes to learn that an address is wrong. */
const SIGN_IN_RETRIES = 2;

/** Answers of a service, or of what stands before it, that a later try may not meet. */
const TRANSIENT = [408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 530];

export class Session {
  /** @type {string | undefined} */
  #token;
  #imageUrl = "";
  /** @type {Promise<void> | undefined} */
  #signingIn;

  /**
   * @param {Cloud} cloud
   * @param {Patience} patience
   */
  constructor(cloud, patience) {
    this.cloud = cloud;
    this.patience = patience;
  }

  /**
   * Signs in. Throws a Failure when that is refused, or leads to no Image API.
   * @param {Cloud} cloud
   * @param {Patience} patience
   */
  static async open(cloud, patience) {
    const session = new Session(cloud, patience);
    const retries = Math.min(patience.retries, SIGN_IN_RETRIES);
    await persist(() => session.#signIn(), { ...patience, retries });
    return session;
  }

  /** The Image API's address without its version. */
  get imageUrl() {
    return this.#imageUrl;
  }

  /**
   * One request, repeated once with a new token where the old one has expired. Throws a Failure for any status from
   * 300 on.
   * @param {Request} request
   * @returns {Promise<Answer>}
   */
  async request(request) {
    const token = this.#token;
    const answer = await this.#send(request);
    if (answer.statusCode !== 401 || givenToken(this.cloud) !== undefined) {
      return assertAccepted(answer);
    }
    answer.resume();
    // Several requests may find the token expired; one of them gets the new one.
    if (this.#token === token) await this.#signInOnce();
    return assertAccepted(await this.#send(request));
  }

  /**
   * A request that may be repeated, for as long as the session's patience lasts. Gives the answer's JSON.
   * @param {{method?: string, path: string, json?: unknown}} call
   * @returns {Promise<any>}
   */
  async call({ method = "GET", path, json }) {
    const bytes = json === undefined ? undefined : Buffer.from(JSON.stringify(json));
    return await persist(async () => {
      const answer = await this.request({
        method,
        url: path,
        ...(bytes && { body: bodyOf(bytes), headers: { "content-type": "application/json" } }),
      });
      const text = await readText(answer);
      return text === "" ? undefined : parseJson(text, `${method} ${path}`);
    }, this.patience);
  }

  /**
   * Does work that must not be left half done: an interruption waits for its end.
   * @template T
   * @param {() => Promise<T>} work
   * @returns {Promise<T>}
   */
  async undisturbed(work) {
    const { patience } = this;
    const { signal: _, ...rest } = patience;
    this.patience = rest;
    try {
      return await work();
    } finally {
      this.patience = patience;
    }
  }

  /**
   * The whole address of one that the service gave. Throws a Failure for another origin than the Image API's, since the
   * token is not for others.
   * @param {string} url
   * @param {string} [base] the address or path that it is relative to
   */
  resolve(url, base = "") {
    const imageUrl = new URL(`${this.#imageUrl}/`);
    const parent = new URL(base, imageUrl);
    const whole = URL.canParse(url, parent.href) ? new URL(url, parent) : undefined;
    if (whole?.origin === imageUrl.origin) return whole.href;
    const reason = `which is not of ${imageUrl.origin}, and the token goes nowhere else`;
    throw new Failure(`The service gave the address ${url}, ${reason}.`, EXIT.unexpected);
  }

  /** @param {Request} request */
  #send({ method = "GET", url, headers, body, signal }) {
    return send({
      method,
      url: this.resolve(url),
      headers: { ...headers, ...(this.#token && { "x-auth-token": this.#token }) },
      body,
      tls: this.cloud.tls,
      signal: signal ?? this.patience.signal,
    });
  }

  async #signInOnce() {
    this.#signingIn ??= this.#signIn().finally(() => {
      this.#signingIn = undefined;
    });
    await this.#signingIn;
  }

  async #signIn() {
    const { cloud, patience } = this;
    const url = `${identityUrl(cloud)}/auth/tokens`;
    const token = givenToken(cloud);
    const bytes = Buffer.from(JSON.stringify(authRequest(cloud)));
    const answer = await send({
      url,
      tls: cloud.tls,
      signal: patience.signal,
      ...(token === undefined
        ? { method: "POST", headers: { "content-type": "application/json" }, body: bodyOf(bytes) }
        : { method: "GET", headers: { "x-auth-token": token, "x-subject-token": token } }),
    });
    await assertAccepted(answer);
    const body = parseJson(await readText(answer), url);
    const issued = token ?? answer.headers["x-subject-token"];
    if (typeof issued !== "string") {
      throw new Failure(`${url}: the answer has no token.`, EXIT.unexpected);
    }
    const imageUrl = cloud.imageEndpoint ? rootOf(cloud.imageEndpoint) : findImageApi(body, cloud);
    if (!URL.canParse(imageUrl)) {
      throw new Failure(`The image service's address ${imageUrl} is none.`, EXIT.unexpected);
    }
    this.#token = issued;
    this.#imageUrl = imageUrl;
  }
}

/**
 * @param {Buffer} bytes
 * @returns {import("./http.mjs").Body}
 */
function bodyOf(bytes) {
  return { size: bytes.length, open: () => Readable.from([bytes]) };
}

/**
 * The address of the Image API in a token's catalog.
 * @param {any} body of the token
 * @param {Cloud} cloud
 */
function findImageApi(body, cloud) {
  const services = body?.token?.catalog;
  if (!Array.isArray(services)) {
    const reason = "the token is for no project; name one in the cloud's settings";
    throw new Failure(`There is no catalog of services: ${reason}.`, EXIT.access);
  }
  const endpoints = services
    .filter((service) => service?.type === "image" && Array.isArray(service.endpoints))
    .flatMap((service) => service.endpoints)
    .filter((endpoint) => endpoint?.interface === cloud.interface)
    .filter(({ region, region_id }) => [undefined, region, region_id].includes(cloud.region));
  if (endpoints.length === 0) {
    const region = cloud.region === undefined ? "" : ` in the region ${cloud.region}`;
    throw new Failure(
      `The catalog has no ${cloud.interface} address of an image service${region}.`,
      EXIT.notFound,
    );
  }
  return rootOf(String(endpoints[0].url));
}

/** @param {string} url */
function rootOf(url) {
  return url.replace(/\/+$/, "").replace(/\/v2(\.\d+)?$/, "");
}

/**
 * @param {string} text
 * @param {string} what
 * @returns {any}
 */
function parseJson(text, what) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Failure(`${what}: the answer is no JSON.`, EXIT.unexpected);
  }
}

/**
 * Throws what an answer of refusal says.
 * @param {Answer} answer
 * @returns {Promise<Answer>}
 */
async function assertAccepted(answer) {
  const status = answer.statusCode ?? 0;
  if (status < 300) return answer;
  const text = await readText(answer).catch(() => "");
  if (status < 400) {
    const { location = "another address" } = answer.headers;
    const hint = "the address in the cloud's settings, or in its catalog, may be an old one";
    throw new Failure(
      `The service leads on to ${location}, where nothing is sent: ${hint}.`,
      EXIT.unexpected,
      status,
    );
  }
  const message = sentenceOf(text) ?? sentenceFor(status);
  if (TRANSIENT.includes(status)) {
    const seconds = Number(answer.headers["retry-after"]);
    throw new TransientFailure(message, { status, retryAfterMs: seconds * 1000 || 0 });
  }
  throw new Failure(message, exitCodeOf(status), status);
}

/**
 * For an answer that says nothing to be read, as those of what stands before the service.
 * @param {number} status
 */
function sentenceFor(status) {
  const hint = status === 413 ? ": the request is too large; a smaller --chunk-size may help" : "";
  return `The service answered with status ${status}${hint}.`;
}

/** @param {number} status */
function exitCodeOf(status) {
  if (status === 401 || status === 403) return EXIT.access;
  if (status === 404 || status === 410) return EXIT.notFound;
  return status < 500 ? EXIT.refused : EXIT.unavailable;
}

/**
 * The sentence in an error of the Image API, or of Keystone.
 * @param {string} text
 */
function sentenceOf(text) {
  try {
    const body = JSON.parse(text);
    const message = body?.message ?? body?.error?.message;
    return typeof message === "string" && message !== "" ? message.replace(/\s+/g, " ") : undefined;
  } catch {
    return undefined;
  }
}
