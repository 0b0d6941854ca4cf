import ipaddr from "ipaddr.js";

// What IANA has given out for use across the internet (RFC 4291 §2.4). ipaddr.js calls what no other
// rule names "unicast", `::127.0.0.1` for one.
const GLOBAL_IPV6 = ipaddr.IPv6.parseCIDR("2000::/3");

/**
 * The one spelling of an IP address, undefined for what is none: plain dotted IPv4, any standard IPv6
 * form; an IPv4 address in IPv6 clothes (`::ffff:…`) is that IPv4 address (contract 10 §11).
 */
export function canonicalAddress(text: string): string | undefined {
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return text;
  if (!/^[0-9a-f.]*:[0-9a-f:.]*$/i.test(text)) return undefined;
  // The URL class knows the standard forms; ipaddr.js takes `::8.8.8.8` for `::ffff:8.8.8.8`.
  const address = URL.parse(`http://[${text}]`)?.hostname.slice(1, -1);
  return address === undefined ? undefined : ipaddr.process(address).toString();
}

/**
 * True for addresses of the public internet: not loopback, private, link-local, shared, multicast,
 * reserved or a way round by translation, NAT64, 6to4 and Teredo (contract 10 §11).
 */
export function isPublicAddress(text: string): boolean {
  const canonical = canonicalAddress(text);
  if (canonical === undefined) return false;
  const address = ipaddr.parse(canonical);
  if (address.kind() === "ipv6" && !address.match(GLOBAL_IPV6)) return false;
  return address.range() === "unicast";
}
