import type { OpenContext } from "./api/context.ts";
import { renderIdentityFault } from "./api/identity.ts";
import { showMetrics } from "./api/metrics.ts";
import { isApiVersion, versionDocument } from "./api/versions.ts";
import { assertServable, authenticate } from "./auth/authenticate.ts";
import { networkOf, SignInGuard } from "./auth/sign-in-guard.ts";
import { MAX_RESUMABLE_BYTES, resumablePartBytes } from "./blob/part-size.ts";
import { openDatabase } from "./db/database.ts";
import { isTransient, withoutValues } from "./db/errors.ts";
import { assertSchema } from "./db/health.ts";
import { Fault } from "./domain/fault.ts";
import type { Identity } from "./domain/identity.ts";
import { type Config, loadConfig } from "./env.ts";
import { discard, hasBody } from "./http/body.ts";
import { addCorsHeaders, answerOptions } from "./http/cors.ts";
import { renderFault } from "./http/errors.ts";
import { requestIdOf } from "./http/request-id.ts";
import { describeTus, readCount, speaksTus, TUS_VERSION, withMeantMethod } from "./http/tus.ts";
import { log } from "./lib/log.ts";
import { decodePercent } from "./lib/percent.ts";
import { Timings, timed, withTimings } from "./lib/timings.ts";
import { matchIdentityRoute, matchImageRoute } from "./router.ts";
import type { Route } from "./routes.ts";

/** What a request turned out to be, gathered on its way for the answer's headers and the log line. */
class Exchange {
  readonly url: URL;
  requestId = `req-${crypto.randomUUID()}`;
  readonly startedAtMs = Date.now();
  /** The route's pattern, never the path itself. */
  route = "";
  projectId: string | null = null;
  /** Whether the answer depends on who asks. */
  isForCaller = false;
  /** Whether the caller may know what is in the cache. */
  mayKnowCache = false;
  /** Whether the caller's token held. */
  isKnown = false;
  fault: string | undefined;
  /** What the cache had of an image's data that was asked for. */
  cache: "hit" | "miss" | undefined;
  readonly timings = new Timings();
  baseUrl: string;
  /** Whether it is for the identity service, whose errors have a shape of their own. */
  isForIdentity: boolean;

  constructor(
    /** As it is meant: the method may be another than that which came. */
    public request: Request,
    readonly env: Env,
    readonly execution: ExecutionContext,
    readonly wait: (ms: number) => Promise<void>,
  ) {
    this.url = new URL(request.url);
    // Clients put addresses together with a slash too many (contract RT-20); one that is encoded is none of these.
    this.url.pathname = this.url.pathname.replace(/\/{2,}/g, "/");
    this.baseUrl = this.url.origin;
    this.isForIdentity = /^\/identity(\/|$)/.test(this.url.pathname);
  }
}

/** Answers one request: the way of every request, from its id to its log line. */
export async function handle(
  request: Request,
  env: Env,
  execution: ExecutionContext,
  wait: (ms: number) => Promise<void> = (ms) => scheduler.wait(ms),
): Promise<Response> {
  // The runtime makes an address of any Host, two of them included.
  if (!URL.canParse(request.url)) return new Response("The Host is none.\n", { status: 400 });
  const exchange = new Exchange(request, env, execution, wait);
  const isTus = speaksTus(exchange.url.pathname);
  // Undefined while the settings are wrong, which the answer then says.
  let config: Config | undefined;
  let response: Response;
  try {
    const settings = loadConfig(env);
    config = settings;
    exchange.requestId = requestIdOf(request, config.maxRequestIdLength, exchange.requestId);
    assertServable(request, config.auth);
    config.localAccess?.assert(request);
    if (isTus) exchange.request = withMeantMethod(request);
    response = await withTimings(exchange.timings, () => dispatch(exchange, settings));
  } catch (error) {
    response = refuse(exchange, error);
  }
  await discardRest(exchange);
  const meant = exchange.request;
  const reply = meant.method === "HEAD" ? new Response(null, response) : response;
  reply.headers.set("x-openstack-request-id", exchange.requestId);
  if (config?.tellsTimings && reply.status < 400) tellTimings(exchange, reply.headers);
  guardAnswer(exchange, reply);
  if (isTus) reply.headers.set("tus-resumable", TUS_VERSION);
  const origins = config?.localAccess?.origins(request) ?? config?.corsAllowedOrigins ?? [];
  addCorsHeaders(meant, reply.headers, origins);
  if (config === undefined || isLogged(config, reply.status)) logExchange(exchange, reply.status);
  return reply;
}

function isLogged({ logsRequests }: Config, status: number): boolean {
  return logsRequests === "all" || (logsRequests === "failed" && status >= 400);
}

function logExchange(exchange: Exchange, status: number): void {
  log({
    request_id: exchange.requestId,
    method: exchange.request.method,
    route: exchange.route,
    status,
    ms: Date.now() - exchange.startedAtMs,
    project_id: exchange.projectId,
    ...exchange.timings.fields(),
    cache: exchange.cache,
    fault: exchange.fault,
  });
}

/** Keeps answers out of the hands of caches and of browsers that guess types. */
function guardAnswer({ isForCaller }: Exchange, { status, headers }: Response): void {
  headers.set("x-content-type-options", "nosniff");
  // What has a tag may be kept by its reader, who then asks each time whether it still holds, and is still theirs to read.
  const mayKeep = headers.has("etag") && status < 400;
  headers.set("cache-control", mayKeep ? "private, no-cache" : "no-store");
  if (isForCaller) headers.append("vary", "X-Auth-Token");
}

/**
 * What the request waited for until its answer began and, to those who may list the cache, whether that had what was asked
 * for. Others do not learn either that the store was not asked.
 */
function tellTimings({ timings, cache, mayKnowCache }: Exchange, headers: Headers): void {
  const isSecret = cache !== undefined && !mayKnowCache;
  const metrics = timings.metrics(isSecret ? ["r2"] : []);
  if (cache !== undefined && !isSecret) metrics.push(`cache;desc=${cache}`);
  if (metrics.length > 0) headers.set("server-timing", metrics.join(", "));
}

/**
 * Reads a body that nobody wants. python-requests, under every OpenStack client, reads the answer only after
 * it has sent the body: were that cut off, its user would learn of a broken pipe and not of the reason. For
 * callers whom we do not know that goes for small bodies only; a body that would be cut off in any case is at once.
 */
async function discardRest({ request, isKnown, fault }: Exchange): Promise<void> {
  const { body } = request;
  if (fault === undefined || body === null || body.locked) return;
  // A client that asked first has sent nothing, and takes the answer for a no.
  if (request.headers.has("expect")) return;
  const bounds = isKnown
    ? { maxBytes: 2 ** 32, maxMs: 30_000, maxIdleMs: 2_000 }
    : { maxBytes: 2 ** 16, maxMs: 1_000, maxIdleMs: 1_000 };
  if (Number(request.headers.get("content-length")) > bounds.maxBytes) return;
  await discard(body, bounds);
}

/** The first path segment decides: discovery, health, identity, or the Image API in an accepted version. */
async function dispatch(exchange: Exchange, config: Config): Promise<Response> {
  const { request, url } = exchange;
  if (request.method === "OPTIONS") return answerOptions(describeUploads(exchange, config));
  exchange.baseUrl = config.publicEndpoint ?? url.origin;
  const path = pathBelowMount(config, url);
  const [, first = "", ...rest] = path.split("/");
  exchange.isForIdentity = first === "identity";
  exchange.isForCaller = exchange.isForIdentity;
  if (exchange.isForIdentity) return serveIdentity(exchange, config, path);
  if (first === "healthcheck" && rest.length === 0) return serveHealth(exchange);
  if (first === "metrics" && rest.length === 0) return serveMetrics(exchange, config);
  const isVersion = isApiVersion(first, config);
  if (isVersion && rest.join("/") !== "") {
    return serveImages(exchange, config, `/v2/${rest.join("/")}`);
  }
  exchange.route = "/versions";
  assertMethod(exchange, ["GET", "HEAD"]);
  const status = first === "versions" || isVersion ? 200 : 300;
  return versionDocument(exchange.baseUrl, status, config);
}

/** What a path of uploads tells of them; asked with a length, also the size of the parts (ours). */
function describeUploads({ request, url }: Exchange, config: Config): Record<string, string> {
  if (!speaksTus(url.pathname)) return {};
  const maxBytes = Math.min(config.limits.imageBytes, MAX_RESUMABLE_BYTES);
  const length = readCount(request.headers, "Upload-Length");
  return { ...describeTus(maxBytes), "glimpse-part-size": String(resumablePartBytes(length)) };
}

/** The mount prefix is the path of PUBLIC_ENDPOINT; a proxy in front may have taken it off already. */
function pathBelowMount({ publicEndpoint }: Config, { pathname }: URL): string {
  if (publicEndpoint === undefined) return pathname;
  const prefix = new URL(publicEndpoint).pathname.replace(/\/+$/, "");
  const isBelow = prefix !== "" && `${pathname}/`.startsWith(`${prefix}/`);
  return isBelow ? pathname.slice(prefix.length) || "/" : pathname;
}

async function serveIdentity(exchange: Exchange, config: Config, path: string): Promise<Response> {
  const match = await matchIdentityRoute(path);
  if (match === undefined) throw new Fault("not_found");
  exchange.route = match.pattern;
  assertMethod(exchange, [...match.methods.keys()]);
  const { request, url, startedAtMs } = exchange;
  const route = match.methods.get(request.method);
  if (route === undefined) throw new Fault("not_found");
  const { SIGN_IN_TALLIES: tallies } = exchange.env;
  return route.handle({
    request,
    url,
    guard: new SignInGuard(
      (name) => timedObject(tallies.get(tallies.idFromName(name))),
      networkOf(request, config.auth.isBehindEdge),
    ),
    params: Object.fromEntries(match.params),
    baseUrl: exchange.baseUrl,
    settings: config.auth,
    nowMs: startedAtMs,
    newId: () => crypto.randomUUID(),
  });
}

/** Healthy means that the database answers and has its whole schema (contract VER-12). */
async function serveHealth(exchange: Exchange): Promise<Response> {
  exchange.route = "/healthcheck";
  assertMethod(exchange, ["GET", "HEAD"]);
  await assertSchema(openDatabase(exchange.env.DB));
  return new Response("OK", { headers: { "content-type": "text/plain; charset=UTF-8" } });
}

async function serveMetrics(exchange: Exchange, config: Config): Promise<Response> {
  exchange.route = "/metrics";
  exchange.isForCaller = true;
  const identity = await authenticate(withTokenOfBearer(exchange.request), config.auth);
  exchange.projectId = identity.projectId;
  exchange.isKnown = !identity.isAnonymous;
  assertMethod(exchange, ["GET", "HEAD"]);
  return showMetrics({ config, identity, db: openDatabase(exchange.env.DB) });
}

/** Prometheus can send a token in `Authorization: Bearer` only (RFC 6750 §2.1). */
function withTokenOfBearer(request: Request): Request {
  const [, token] = /^bearer +(\S+)$/i.exec(request.headers.get("authorization") ?? "") ?? [];
  if (token === undefined || request.headers.has("x-auth-token")) return request;
  const headers = new Headers(request.headers);
  headers.set("x-auth-token", token);
  return new Request(request.url, { headers });
}

/** The Image API. The order of refusals is contract 01 §1.5: token, route, method, body, then the handler. */
async function serveImages(exchange: Exchange, config: Config, path: string): Promise<Response> {
  const { request, env, execution, url } = exchange;
  exchange.isForCaller = true;
  const identity = await authenticate(request, config.auth);
  exchange.mayKnowCache = config.policy.allows("cache_list", identity, {});
  exchange.projectId = identity.projectId;
  exchange.isKnown = !identity.isAnonymous;
  assertUtf8(url);
  const match = await matchImageRoute(path);
  if (match === undefined) {
    if (!COMMON_METHODS.has(request.method)) {
      throw new Fault("unknown_method", { method: request.method });
    }
    throw new Fault("not_found");
  }
  exchange.route = match.pattern;
  assertMethod(exchange, [...match.methods.keys()]);
  const route = match.methods.get(request.method);
  if (route === undefined) throw new Fault("not_found");
  assertMayWrite(route, identity);
  if (route.body === "none" && hasBody(request)) throw new Fault("body_not_allowed");
  const context: OpenContext = {
    request,
    url,
    requestId: exchange.requestId,
    baseUrl: exchange.baseUrl,
    config,
    identity,
    params: match.params,
    maxBodyBytes: typeof route.body === "object" ? route.body.jsonBytes : 0,
    db: openDatabase(env.DB),
    openStore: config.openStore,
    nowMs: exchange.startedAtMs,
    newId: () => crypto.randomUUID(),
    wait: exchange.wait,
    imageObject: (imageId) =>
      timedObject(env.IMAGE_OBJECT.get(env.IMAGE_OBJECT.idFromName(imageId))),
    noteCache: (found) => {
      exchange.cache = found;
    },
    waitUntil: (work) => execution.waitUntil(work),
  };
  if (route.rule === "authenticated") return route.handle(context);
  return route.handle({ ...context, rule: route.rule });
}

/** An object whose calls are noted. */
function timedObject<T extends object>(stub: T): T {
  return new Proxy(stub, {
    get(_, name) {
      const method: unknown = Reflect.get(stub, name);
      if (typeof method !== "function") return method;
      // A method of a remote object takes any name for one of the remote object's, `apply` too.
      return (...args: unknown[]) => timed("object", async () => Reflect.apply(method, stub, args));
    },
  });
}

/** Refuses bytes that are not UTF-8 even where nobody reads them (contract REQ-9). */
function assertUtf8({ pathname, search }: URL): void {
  for (const [part, text] of [
    ["path", pathname],
    ["query string", search],
  ] as const) {
    if (decodePercent(text) === undefined) throw new Fault("invalid_encoding", { part });
  }
}

const COMMON_METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]);

function assertMethod({ request }: Exchange, allowed: readonly string[]): void {
  if (allowed.includes(request.method)) return;
  throw new Fault("method_not_allowed", { method: request.method, allow: allowed.join(", ") });
}

/** An anonymous caller only reads (contract CTX-5). */
function assertMayWrite(route: Route, identity: Identity): void {
  if (!identity.isAnonymous || route.method === "GET" || route.method === "HEAD") return;
  throw new Fault("forbidden_reason", { reason: "Read-only access: this call needs a token." });
}

/** The one error boundary: a Fault is the caller's to read, anything else is ours to mend. */
function refuse(exchange: Exchange, error: unknown): Response {
  const { request, requestId } = exchange;
  const fault = faultOf(error, requestId);
  exchange.fault = fault.code;
  if (!(error instanceof Fault)) {
    const bare = withoutValues(error);
    const stack = bare instanceof Error ? bare.stack : String(bare);
    log({ event: "unexpected_error", request_id: requestId, route: exchange.route, stack });
  }
  return exchange.isForIdentity
    ? renderIdentityFault(fault, exchange.baseUrl)
    : renderFault(fault, request, exchange.baseUrl);
}

function faultOf(error: unknown, requestId: string): Fault {
  if (error instanceof Fault) return error;
  if (isTransient(error)) return new Fault("try_again", {}, error);
  return new Fault("internal", { requestId }, error);
}
