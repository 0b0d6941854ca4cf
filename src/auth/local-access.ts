import { Fault } from "../domain/fault.ts";

/**
 * From where the development users are reached. Their passwords are public, so whoever gets a request through is an
 * administrator; and any page that a browser of this machine shows sends requests here, by a script, or under a name
 * of its own that it has lead to this machine (DNS rebinding). Such a request tells itself by its Host or its Origin.
 */
export class LocalAccess {
  readonly #hosts: ReadonlySet<string>;
  readonly #origins: readonly string[];

  /** `hosts` are served beside loopback, as `hostOf` gives them; `origins` may call beside those on such hosts. */
  constructor(hosts: readonly string[], origins: readonly string[]) {
    this.#hosts = new Set(hosts);
    // Any origin at all is not for users whom everybody knows.
    this.#origins = origins.filter((origin) => origin !== "*");
  }

  /** Throws the Fault `misdirected` for a request to another host, `origin_refused` for one from elsewhere. */
  assert(request: Request): void {
    if (!this.#isOurs(request.url)) throw new Fault("misdirected");
    const origin = request.headers.get("origin");
    if (origin !== null && !this.origins(request).includes(origin)) {
      throw new Fault("origin_refused");
    }
  }

  /** The origins from which a browser may make this request. */
  origins(request: Request): readonly string[] {
    const origin = request.headers.get("origin");
    return origin !== null && this.#isOurs(origin) ? [...this.#origins, origin] : this.#origins;
  }

  #isOurs(address: string): boolean {
    const url = URL.parse(address);
    if (url === null || !/^https?:$/.test(url.protocol)) return false;
    const host = url.hostname.replace(/\.$/, "");
    return isLoopback(host) || this.#hosts.has(host);
  }
}

/** A host's name or address in the one spelling that addresses have; undefined for what is neither. */
export function hostOf(text: string): string | undefined {
  if (!/^[\w.:-]+$/.test(text)) return undefined;
  const url = URL.parse(`http://${text.includes(":") ? `[${text}]` : text}/`);
  return url?.hostname.replace(/\.$/, "");
}

/** Names of loopback lead nowhere else, whatever a resolver says (RFC 6761 §6.3). */
function isLoopback(host: string): boolean {
  return /^(localhost|.+\.localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(host);
}
