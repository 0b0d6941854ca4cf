import autocannon from "autocannon";
import type { SmallCase, Target } from "./case.ts";

export interface SmallRound {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly requests: number;
}

/** Requests under way at a time. */
const CONNECTIONS = 10;

/** Counts on, so that no request of a run is made twice. */
const made = new Map<string, number>();

/** The next request of a case to a target. */
export function nextRequest(each: SmallCase, target: Target, isFloor: boolean) {
  const key = `${each.name} ${target.name}`;
  const n = made.get(key) ?? 0;
  made.set(key, n + 1);
  return isFloor ? each.floor(n) : each.request(n);
}

/** Asks for so many seconds as fast as answers come. Throws if one is not a success. */
export async function measureSmall(
  each: SmallCase,
  target: Target,
  isFloor: boolean,
  seconds: number,
): Promise<SmallRound> {
  const above = new URL(target.url).pathname.replace(/\/$/, "");
  const result = await autocannon({
    url: target.url,
    connections: CONNECTIONS,
    duration: seconds,
    requests: [
      {
        setupRequest: (request) => {
          const { method, path, headers, body } = nextRequest(each, target, isFloor);
          const sent = { ...target.headers, ...headers };
          return { ...request, method, path: above + path, headers: sent, body };
        },
      },
    ],
  });
  if (result.non2xx + result.errors + result.timeouts > 0) {
    const statuses = JSON.stringify(result.statusCodeStats);
    throw new Error(`${each.name} on ${target.name}: ${statuses}, ${result.errors} errors`);
  }
  return {
    perSecond: result.requests.total / result.duration,
    p50Ms: result.latency.p50,
    p99Ms: result.latency.p99,
    requests: result.requests.total,
  };
}
