import { expect, it } from "vitest";
import { canonicalAddress, isPublicAddress } from "../../../src/net/ip.ts";

it.each([
  ["192.0.2.1", "192.0.2.1"],
  ["2001:DB8:0:0::1", "2001:db8::1"],
  ["::ffff:7f00:1", "127.0.0.1"],
  ["::FFFF:127.0.0.1", "127.0.0.1"],
  ["127.1", undefined],
  ["2130706433", undefined],
  ["0x7f.0.0.1", undefined],
  ["0177.0.0.01", undefined],
  ["::127.0.0.1", "::7f00:1"],
  ["1::2::3", undefined],
  ["::12345", undefined],
  ["::ffff:0177.0.0.1", undefined],
  ["::1/", undefined],
  ["fe80::1%eth0", undefined],
  ["[::1]", undefined],
  ["example.com", undefined],
  ["", undefined],
])("10 §11: %s has the canonical form %s", (text, canonical) => {
  expect(canonicalAddress(text)).toBe(canonical);
});

it.each([
  ["8.8.8.8", "an address of the internet"],
  ["2606:4700:4700::1111", "an IPv6 address of the internet"],
  ["::ffff:8.8.8.8", "an IPv4 address of the internet in IPv6 clothes"],
])("10 §11: %s is public: %s", (text) => {
  expect(isPublicAddress(text)).toBe(true);
});

it.each([
  ["0.0.0.0", "unspecified"],
  ["0.1.2.3", "this network"],
  ["10.0.0.1", "private"],
  ["100.64.0.1", "shared by a carrier's customers"],
  ["100.100.100.200", "a cloud's metadata"],
  ["127.0.0.1", "loopback"],
  ["127.255.255.254", "loopback"],
  ["169.254.169.254", "link-local, a cloud's metadata"],
  ["172.16.0.1", "private"],
  ["172.31.255.255", "private"],
  ["192.0.0.192", "protocol assignments, a cloud's metadata"],
  ["192.0.2.1", "documentation"],
  ["192.168.1.1", "private"],
  ["198.18.0.1", "benchmarking"],
  ["224.0.0.1", "multicast"],
  ["240.0.0.1", "reserved"],
  ["255.255.255.255", "broadcast"],
  ["::", "unspecified"],
  ["::1", "loopback"],
  ["::127.0.0.1", "IPv4-compatible"],
  ["::8.8.8.8", "IPv4-compatible"],
  ["::ffff:127.0.0.1", "IPv4-mapped loopback"],
  ["::ffff:a9fe:a9fe", "IPv4-mapped metadata"],
  ["::ffff:0:7f00:1", "IPv4-translated"],
  ["64:ff9b::7f00:1", "NAT64"],
  ["64:ff9b::808:808", "NAT64"],
  ["64:ff9b:1::1", "NAT64 for private use"],
  ["100::1", "discard"],
  ["2001::1", "Teredo"],
  ["2001:db8::1", "documentation"],
  ["2002:7f00:1::1", "6to4 of loopback"],
  ["2002:808:808::1", "6to4"],
  ["3fff::1", "documentation"],
  ["4000::1", "not given out"],
  ["5f00::1", "segment routing"],
  ["fc00::1", "unique local"],
  ["fd00:ec2::254", "unique local, a cloud's metadata"],
  ["fe80::1", "link-local"],
  ["fe80::1%eth0", "link-local with a zone"],
  ["fec0::1", "site-local"],
  ["ff02::1", "multicast"],
  ["example.com", "no address"],
  ["127.1", "no address"],
  ["", "no address"],
])("10 §11: %s is not public: %s", (text) => {
  expect(isPublicAddress(text)).toBe(false);
});
