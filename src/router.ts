import { type IRequest, Router } from "itty-router";
import { type IdentityRoute, identityRoutes } from "./api/identity.ts";
import { Fault } from "./domain/fault.ts";
import { decodePercent } from "./lib/percent.ts";
import { type Route, routes } from "./routes.ts";

/** A path that is known: its pattern, what it answers to by method, and its parameters, decoded once, here. */
export interface Match<R> {
  readonly pattern: string;
  readonly methods: ReadonlyMap<string, R>;
  readonly params: ReadonlyMap<string, string>;
}

/** What a matcher says of a path: undefined when the table does not know it. */
type Matcher<R> = (path: string) => Promise<Match<R> | undefined>;

const matchImagePath = matcherOf<Route>(routes);

/** The Image API's entry for a path below the mount point; a trailing slash is another path (contract RT-19). */
export const matchImageRoute: Matcher<Route> = async (path) =>
  path.endsWith("/") ? undefined : matchImagePath(path);

/** The identity API's entry for a path; clients write its addresses with and without a trailing slash. */
export const matchIdentityRoute: Matcher<IdentityRoute> = matcherOf<IdentityRoute>(identityRoutes);

function matcherOf<R extends { readonly method: string; readonly path: string }>(
  table: readonly R[],
): Matcher<R> {
  const byPath = new Map<string, Map<string, R>>();
  for (const route of table) {
    const methods = byPath.get(route.path) ?? new Map<string, R>();
    byPath.set(route.path, methods.set(route.method, route));
  }
  // The router finds the path; methods are looked up after, so that a known path answers 405 with Allow.
  const router = Router<IRequest, [], Match<R>>();
  for (const [pattern, methods] of byPath) {
    router.all(pattern, ({ params }) => ({ pattern, methods, params: decodeParams(params) }));
  }
  return (path) => router.fetch({ method: "GET", url: `http://path${path}` });
}

function decodeParams(raw: Readonly<Record<string, string>>): ReadonlyMap<string, string> {
  const params = new Map<string, string>();
  for (const [name, text] of Object.entries(raw)) {
    const value = decodePercent(text);
    if (value === undefined) throw new Fault("invalid_encoding", { part: "path" });
    // An encoded slash is a slash: it makes a path that is not in the table (contract RT-21).
    if (value.includes("/")) throw new Fault("not_found");
    params.set(name, value);
  }
  return params;
}
