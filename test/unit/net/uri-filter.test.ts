import fc from "fast-check";
import ipaddr from "ipaddr.js";
import { describe, expect, it } from "vitest";
import { Fault } from "../../../src/domain/fault.ts";
import {
  checkUri,
  checkUriFilter,
  DEFAULT_URI_FILTER,
  redactUri,
  type UriFilter,
} from "../../../src/net/uri-filter.ts";

const filterOf = (settings: Partial<UriFilter> = {}): UriFilter => ({
  ...DEFAULT_URI_FILTER,
  ...settings,
});

/** What the filter makes of an address: the URL to fetch, or the reason of its refusal. */
function outcome(text: string, settings: Partial<UriFilter> = {}): string {
  try {
    return checkUri(text, filterOf(settings)).url.href;
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    expect(error.code).toBe("uri_refused");
    return `refused: ${error.detail.reason}`;
  }
}

const SPELLING = "refused: its IP address is not written as four plain decimal numbers";
const PRIVATE = "refused: its IP address is not a public one";
const MALFORMED = "refused: its host is not well-formed";
const INCOMPLETE = "refused: it is not a complete address, such as https://example.com/image.qcow2";
const UNREADABLE = "refused: its host or port cannot be read";
const CHARACTER = "refused: it has a blank, a control character or a backslash";
const USER = "refused: it has a user name or a password, which is not supported";
const NO_HOST = "refused: it has no host";
const SCHEME = "refused: its scheme is not allowed";
const HOST = "refused: its host is not allowed";
const NO_PORT = "refused: it has no such port";
const FOR_PRIVATE_USE = "refused: its host name is for private use";

it("10 §11: a refused address is a 400 that says why", () => {
  const check = () => checkUri("ftp://h/x", DEFAULT_URI_FILTER);
  expect(check).toThrow(Fault);
  expect(check).toThrow(expect.objectContaining({ status: 400 }));
  expect(check).toThrow(
    expect.objectContaining({ text: "The address is refused: its scheme is not allowed" }),
  );
});

describe("10 §11: by default", () => {
  it.each([
    ["https://h/x"],
    ["http://h:443/x"],
    ["http://h:80/x", "http://h/x"],
    ["https://h:443/x", "https://h/x"],
    ["http://h:0080/x", "http://h/x"],
    ["http://h:/x", "http://h/x"],
    ["https://example.com", "https://example.com/"],
    ["https://example.com?a=b@c:d", "https://example.com/?a=b@c:d"],
    ["https://example.com/a%2Fb?sig=%2B%20", "https://example.com/a%2Fb?sig=%2B%20"],
    ["https://example.com/a@1.0/b:c", "https://example.com/a@1.0/b:c"],
    ["https://example.com/x#part", "https://example.com/x"],
    ["http://example.com#@127.0.0.1/", "http://example.com/"],
    ["HTTPS://Example.COM/X", "https://example.com/X"],
    ["https://example.com./x", "https://example.com/x"],
    ["https://some_bucket.example.com/x"],
    ["https://r3---sn-4g5.example.com/x"],
    ["https://bücher.example/x", "https://xn--bcher-kva.example/x"],
    ["https://xn--bcher-kva.example/x"],
    ["https://ｅｘａｍｐｌｅ.com/x", "https://example.com/x"],
    ["http://8.8.8.8/x"],
    ["http://[2606:4700:4700::1111]/x"],
    ["http://[2606:4700:4700:0:0:0:0:1111]/x", "http://[2606:4700:4700::1111]/x"],
    ["http://[::ffff:8.8.8.8]/x", "http://[::ffff:808:808]/x"],
    ["http://127.0.0.1.example.com/x"],
  ])("10 §11: accepts %s", (text, href = text) => {
    expect(outcome(text)).toBe(href);
  });

  it.each([
    ["a scheme that is not allowed", "ftp://h/x", SCHEME],
    ["a file", "file:///x", SCHEME],
    ["a file on a host", "file://h/x", SCHEME],
    ["a scheme in other letters", "FiLe://h/x", SCHEME],
    ["a scheme of objects", "swift+https://h/x", SCHEME],
    ["no scheme", "h/x", INCOMPLETE],
    ["no scheme but slashes", "//h/x", INCOMPLETE],
    ["no scheme but a colon", "://h/x", INCOMPLETE],
    ["nothing", "", INCOMPLETE],
    ["a script", "javascript:alert(1)", INCOMPLETE],
    ["data", "data:,x", INCOMPLETE],
    ["one slash, which the URL class would read as two", "http:/h/x", INCOMPLETE],
    ["no slash, which the URL class would read as two", "http:h/x", INCOMPLETE],
    ["no host, where the URL class would take the path", "http:///x", NO_HOST],
    ["no host but a port", "http://:80/x", NO_HOST],
    ["no host but a query", "http://?x", NO_HOST],
    ["only a dot for a host", "http://./x", MALFORMED],
    ["a port that is not allowed", "http://h:8080/x", "refused: port 8080 is not allowed"],
    ["port 22", "http://h:22/x", "refused: port 22 is not allowed"],
    ["a port out of range", "http://h:65536/x", NO_PORT],
    ["a port far out of range", `http://h:${"9".repeat(400)}/x`, NO_PORT],
    ["port 0", "http://h:0/x", NO_PORT],
    ["a negative port", "http://h:-80/x", UNREADABLE],
    ["a port in hexadecimal", "http://h:0x50/x", UNREADABLE],
    ["a port in other digits", "http://h:８０/x", UNREADABLE],
    ["two ports", "http://h:80:80/x", UNREADABLE],
    ["a user", "http://user@h/x", USER],
    ["a user and a password", "http://user:secret@h/x", USER],
    ["an empty user", "http://@h/x", USER],
    ["a user that looks like a host", "http://example.com:80@127.0.0.1/x", USER],
    ["a backslash, which the URL class reads as a slash", "http://h\\@127.0.0.1/x", CHARACTER],
    ["backslashes for slashes", "http:\\\\h\\x", CHARACTER],
    ["a blank before", " http://h/x", CHARACTER],
    ["a blank within", "http://h /x", CHARACTER],
    ["a line's end, which the URL class drops", "http://127.0\n.0.1/x", CHARACTER],
    ["a tab in the scheme", "ht\ttp://h/x", CHARACTER],
    ["a null", "http://h\u0000/x", CHARACTER],
    ["a delete", "http://h/\u007f", CHARACTER],
    ["a no-break space", "http://h\u00a0/x", CHARACTER],
    ["a byte order mark", "\ufeffhttp://h/x", CHARACTER],
    ["a header after a line's end", "http://h/x\r\nHost: i", CHARACTER],
  ])("10 §11: refuses %s", (_, text, reason) => {
    expect(outcome(text)).toBe(reason);
  });

  it.each([
    ["loopback", "http://127.0.0.1/", PRIVATE],
    ["loopback with its port", "http://127.0.0.1:80/", PRIVATE],
    ["another loopback", "http://127.127.127.127/", PRIVATE],
    ["metadata", "http://169.254.169.254/", PRIVATE],
    ["another cloud's metadata", "http://100.100.100.200/", PRIVATE],
    ["metadata over IPv6", "http://[fd00:ec2::254]/", PRIVATE],
    ["private addresses", "http://10.0.0.1/", PRIVATE],
    ["shared addresses", "http://100.64.0.1/", PRIVATE],
    ["the unspecified address", "http://0.0.0.0/", PRIVATE],
    ["IPv6 loopback", "http://[::1]/", PRIVATE],
    ["IPv6 loopback in full", "http://[0:0:0:0:0:0:0:1]/", PRIVATE],
    ["the unspecified IPv6 address", "http://[::]/", PRIVATE],
    ["unique local addresses", "http://[fd00::1]/", PRIVATE],
    ["link-local addresses", "http://[fe80::1]/", PRIVATE],
    ["IPv4-mapped loopback", "http://[::ffff:7f00:1]/", PRIVATE],
    ["IPv4-mapped loopback in dots", "http://[::ffff:127.0.0.1]/", PRIVATE],
    ["IPv4-mapped loopback in capitals", "http://[::FFFF:7F00:1]/", PRIVATE],
    ["IPv4-compatible loopback", "http://[::127.0.0.1]/", PRIVATE],
    ["NAT64 of loopback", "http://[64:ff9b::7f00:1]/", PRIVATE],
    ["NAT64 of metadata", "http://[64:ff9b::169.254.169.254]/", PRIVATE],
    ["6to4 of loopback", "http://[2002:7f00:1::]/", PRIVATE],
    ["Teredo", "http://[2001:0:7f00:1::]/", PRIVATE],
  ])("10 §11: refuses %s", (_, text, reason) => {
    expect(outcome(text)).toBe(reason);
  });

  it.each([
    ["digits only", "http://2130706433/", SPELLING],
    ["digits only, octal", "http://017700000001/", SPELLING],
    ["digits only, of a public address", "http://134744072/", SPELLING],
    ["one digit", "http://0/", SPELLING],
    ["two numbers", "http://127.1/", SPELLING],
    ["three numbers", "http://127.0.1/", SPELLING],
    ["octal numbers", "http://0177.0.0.01/", SPELLING],
    ["zeros before", "http://127.000.000.001/", SPELLING],
    ["hexadecimal", "http://0x7f000001/", SPELLING],
    ["hexadecimal numbers", "http://0x7f.0.0.0x1/", SPELLING],
    ["hexadecimal in capitals", "http://0X7F.1/", SPELLING],
    ["an empty hexadecimal number", "http://0x/", SPELLING],
    ["hexadecimal of a public address", "http://0x08080808/", SPELLING],
    ["a dot at the end", "http://127.0.0.1./", SPELLING],
    ["a dot at the end of a public address", "http://8.8.8.8./", SPELLING],
    ["circled digits", "http://①②⑦.⓪.⓪.①/", SPELLING],
    ["fullwidth digits", "http://１２７.０.０.１/", SPELLING],
    ["fullwidth digits and dots", "http://１２７．０．０．１/", SPELLING],
    ["ideographic dots", "http://127。0。0。1/", SPELLING],
    ["a soft hyphen", "http://127.0.0\u00ad.1/", SPELLING],
    ["a zero-width space", "http://127.0.0.\u200b1/", SPELLING],
    ["escapes", "http://%31%32%37.0.0.1/", SPELLING],
    ["one escape", "http://127.0.0.%31/", SPELLING],
    ["an escaped dot", "http://127%2e0.0.1/", SPELLING],
    ["too large a number", "http://256.0.0.1/", MALFORMED],
    ["too large a number alone", "http://4294967296/", MALFORMED],
    ["five numbers", "http://1.2.3.4.5/", MALFORMED],
    ["a name that ends in a number", "http://example.1/", MALFORMED],
    ["two dots at the end", "http://127.0.0.1../", MALFORMED],
    ["an escape in a name", "http://ex%61mple.com/", MALFORMED],
    ["an escaped slash in a name", "http://example.com%2f.h/", MALFORMED],
    ["an escaped zero", "http://example.com%00/", MALFORMED],
    ["an empty label", "http://example..com/", MALFORMED],
    ["signs that are for no name", "http://example.com;127.0.0.1/", MALFORMED],
    ["a comma", "http://example.com,127.0.0.1/", MALFORMED],
    ["a label that is too long", `http://${"a".repeat(64)}.com/`, MALFORMED],
    ["a name that is too long", `http://${"a.".repeat(127)}com/`, MALFORMED],
    ["half a character", "http://h\ud800/", MALFORMED],
    ["a zone", "http://[fe80::1%25eth0]/", MALFORMED],
    ["a zone that is not escaped", "http://[fe80::1%eth0]/", MALFORMED],
    ["a zone on a public address", "http://[2606:4700:4700::1111%250]/", MALFORMED],
    ["IPv4 in brackets", "http://[127.0.0.1]/", MALFORMED],
    ["nothing in brackets", "http://[]/", MALFORMED],
    ["a bracket too few", "http://[::1/", UNREADABLE],
    ["something after a bracket", "http://[::1]x/", UNREADABLE],
    ["IPv6 without brackets", "http://::1/", UNREADABLE],
    ["a future kind of address", "http://[v1.x]/", MALFORMED],
  ])("10 §11: refuses a host of %s", (_, text, reason) => {
    expect(outcome(text)).toBe(reason);
  });

  it.each([
    ["localhost"],
    ["LOCALHOST"],
    ["localhost."],
    ["ｌｏｃａｌｈｏｓｔ"],
    ["a.localhost"],
    ["printer.local"],
    ["metadata.google.internal"],
    ["router.home.arpa"],
    ["a.test"],
    ["a.invalid"],
    ["a.onion"],
  ])("10 §11: refuses the name %s, which is for private use", (host) => {
    expect(outcome(`http://${host}/`)).toBe(FOR_PRIVATE_USE);
  });

  it("10 §11: wants names looked up, in lower case and without the dot at the end", () => {
    const nameIn = (text: string) => checkUri(text, DEFAULT_URI_FILTER).unresolvedName;
    expect(nameIn("https://Example.COM./x")).toBe("example.com");
    expect(nameIn("https://8.8.8.8/x")).toBeUndefined();
  });
});

describe("10 §11: lists", () => {
  it.each<[string, Partial<UriFilter>, string, string]>([
    [
      "an empty list of schemes lets http through",
      { allowedSchemes: [] },
      "http://h/",
      "http://h/",
    ],
    [
      "an empty list of schemes lets nothing through that cannot be fetched",
      { allowedSchemes: [] },
      "ftp://h/",
      "refused: only http and https are supported",
    ],
    [
      "an allowed scheme that cannot be fetched is refused",
      { allowedSchemes: ["file"] },
      "file://h/",
      "refused: only http and https are supported",
    ],
    [
      "a disallowed scheme is refused",
      { allowedSchemes: [], disallowedSchemes: ["http"] },
      "HTTP://h/",
      SCHEME,
    ],
    [
      "allowed schemes make disallowed ones moot",
      { disallowedSchemes: ["http"] },
      "http://h/",
      "http://h/",
    ],
    ["a host that is not listed is refused", { allowedHosts: ["a.example"] }, "http://b/", HOST],
    [
      "a listed host is accepted however it is written",
      { allowedHosts: ["A.example."] },
      "http://a.Example./",
      "http://a.example/",
    ],
    [
      "a listed host does not stand for the names below it",
      { allowedHosts: ["a.example"] },
      "http://b.a.example/",
      HOST,
    ],
    [
      "a disallowed host is refused however it is written",
      { disallowedHosts: ["a.example"] },
      "http://A.EXAMPLE./",
      HOST,
    ],
    [
      "a disallowed international name is refused",
      { disallowedHosts: ["bücher.example"] },
      "http://xn--bcher-kva.example/",
      HOST,
    ],
    ["a disallowed address is refused", { disallowedHosts: ["8.8.8.8"] }, "http://8.8.8.8/", HOST],
    [
      "a disallowed address is refused in IPv6 clothes",
      { disallowedHosts: ["8.8.8.8"] },
      "http://[::ffff:808:808]/",
      HOST,
    ],
    [
      "a disallowed IPv6 address is refused in another form",
      { disallowedHosts: ["2606:4700:4700:0::1111"] },
      "http://[2606:4700:4700::1111]/",
      HOST,
    ],
    [
      "allowed hosts make disallowed ones moot",
      { allowedHosts: ["a.example"], disallowedHosts: ["a.example"] },
      "http://a.example/",
      "http://a.example/",
    ],
    [
      "a listed private address is meant",
      { allowedHosts: ["192.168.1.1"] },
      "http://192.168.1.1/",
      "http://192.168.1.1/",
    ],
    [
      "a listed private IPv6 address is meant",
      { allowedHosts: ["[fd00::1]"] },
      "http://[fd00:0::1]/",
      "http://[fd00::1]/",
    ],
    [
      "a listed private name is meant",
      { allowedHosts: ["images.internal"] },
      "http://images.internal/",
      "http://images.internal/",
    ],
    [
      "a listed private address is refused in another spelling",
      { allowedHosts: ["127.0.0.1"] },
      "http://2130706433/",
      SPELLING,
    ],
    [
      "another private address than the listed one is refused",
      { allowedHosts: ["127.0.0.1"] },
      "http://127.0.0.2/",
      HOST,
    ],
    [
      "a port that is not written is not checked",
      { allowedPorts: [8443] },
      "https://h/",
      "https://h/",
    ],
    [
      "a port that is written is checked, though it is the scheme's own",
      { allowedPorts: [8443] },
      "https://h:443/",
      "refused: port 443 is not allowed",
    ],
    ["a listed port is accepted", { allowedPorts: [8443] }, "https://h:8443/", "https://h:8443/"],
    ["an empty list of ports lets all through", { allowedPorts: [] }, "http://h:1/", "http://h:1/"],
    [
      "a disallowed port is refused",
      { allowedPorts: [], disallowedPorts: [25] },
      "http://h:25/",
      "refused: port 25 is not allowed",
    ],
    [
      "allowed ports make disallowed ones moot",
      { disallowedPorts: [80] },
      "http://h:80/",
      "http://h/",
    ],
    [
      "private addresses may be let in for local development",
      { allowPrivateAddresses: true, allowedPorts: [] },
      "http://127.0.0.1:8080/",
      "http://127.0.0.1:8080/",
    ],
    [
      "local names may be let in for local development",
      { allowPrivateAddresses: true },
      "http://localhost/",
      "http://localhost/",
    ],
    [
      "encoded spellings stay refused in local development",
      { allowPrivateAddresses: true },
      "http://0x7f.1/",
      SPELLING,
    ],
  ])("10 §11: %s", (_, settings, text, expected) => {
    expect(outcome(text, settings)).toBe(expected);
  });

  it("10 §11: wants no name looked up that the operator lists or lets in", () => {
    const listed = checkUri("http://a.example/", filterOf({ allowedHosts: ["a.example"] }));
    expect(listed.unresolvedName).toBeUndefined();
    const local = checkUri("http://a.example/", filterOf({ allowPrivateAddresses: true }));
    expect(local.unresolvedName).toBeUndefined();
  });
});

describe("checkUriFilter", () => {
  it("10 §11: takes entries that can match", () => {
    const filter = filterOf({
      allowedSchemes: ["https"],
      allowedHosts: ["Example.com.", "10.0.0.1", "fd00::1", "[fd00::2]", "bücher.example", "h"],
      disallowedPorts: [1, 65_535],
    });
    expect(() => checkUriFilter(filter)).not.toThrow();
    expect(() => checkUriFilter(DEFAULT_URI_FILTER)).not.toThrow();
  });

  it.each<[Partial<UriFilter>, string]>([
    [{ allowedSchemes: ["HTTPS"] }, '"HTTPS" is no scheme'],
    [{ disallowedSchemes: ["https://"] }, '"https://" is no scheme'],
    [{ allowedHosts: ["*.example.com"] }, '"*.example.com" is no host name or IP address'],
    [{ disallowedHosts: ["h:80"] }, '"h:80" is no host name or IP address'],
    [{ disallowedHosts: ["http://h"] }, '"http://h" is no host name or IP address'],
    [{ disallowedHosts: ["h/x"] }, '"h/x" is no host name or IP address'],
    [{ disallowedHosts: ["10.0.0.0/8"] }, '"10.0.0.0/8" is no host name or IP address'],
    [{ disallowedHosts: ["fe80::1%eth0"] }, '"fe80::1%eth0" is no host name or IP address'],
    [{ disallowedHosts: [""] }, '"" is no host name or IP address'],
    [{ allowedPorts: [0] }, "0 is no port"],
    [{ disallowedPorts: [65_536] }, "65536 is no port"],
    [{ allowedPorts: [Number.NaN] }, "NaN is no port"],
  ])("10 §11: refuses entries that would never match: %j", (settings, sentence) => {
    expect(() => checkUriFilter(filterOf(settings))).toThrow(sentence);
  });
});

describe("redactUri", () => {
  it.each([
    ["http://user:secret@h/x?q=1", "http://***@h/x?q=1"],
    ["http://user@h/x", "http://***@h/x"],
    ["http://:secret@h/x", "http://***@h/x"],
    ["http:user:secret@h/x", "http://***@h/x"],
    ["http://a:b\\@h/x", "***"],
    ["https://h/x?sig=a#f", "https://h/x?sig=a#f"],
    ["HTTPS://H/a@b:c", "HTTPS://H/a@b:c"],
    ["http://user:secret@h:99999/x", "***"],
    ["not an address", "***"],
  ])("10 §11: makes of %s %s", (text, redacted) => {
    expect(redactUri(text)).toBe(redacted);
  });

  it("10 §11: never lets a password through", () => {
    const name = fc.stringMatching(/^[a-z]{1,8}$/);
    const property = fc.property(fc.webUrl(), name, (url, user) => {
      const withPassword = url.replace("://", `://${user}:pass-word-0@`);
      expect(redactUri(withPassword)).not.toContain("pass-word-0");
    });
    fc.assert(property);
  });
});

describe("checkUri on any text", () => {
  const pieces = fc.constantFrom(
    ...["http://", "https://", "HTTP:", "//", "/", "\\", "@", ":", ".", "[", "]", "%", "#", "?"],
    ...["0x7f", "0177", "127", "1", "0", "2130706433", "127.0.0.1", "①", "⓪", "．", "。", "%2e"],
    ...[
      "::",
      "ffff",
      "7f00",
      "fe80",
      "64:ff9b",
      "2002",
      "%25eth0",
      "localhost",
      "xn--",
      "example.com",
    ],
    ...[" ", "\t", "\n", "\u0000", "\u00ad", "\u200d", "\u202e", "user:pw@", ":80", ":443"],
  );
  const stitched = fc
    .array(fc.oneof({ weight: 4, arbitrary: pieces }, fc.string({ unit: "binary", maxLength: 3 })))
    .map((parts) => parts.join(""));
  const bare = fc.oneof(
    fc.ipV4(),
    fc.ipV4Extended(),
    fc.ipV6().map((address) => `[${address}]`),
    fc.nat({ max: 2 ** 32 - 1 }).map(String),
    stitched,
  );
  const hosts = fc
    .tuple(bare, fc.constantFrom("", "/", ":80/x"))
    .map(([h, t]) => `http://${h}${t}`);
  const texts = fc.oneof(stitched, hosts, fc.webUrl(), fc.string({ unit: "binary" }));

  it("10 §11: throws nothing but the Fault uri_refused", () => {
    const property = fc.property(texts, (text) => {
      try {
        checkUri(text, DEFAULT_URI_FILTER);
      } catch (error) {
        expect(error).toBeInstanceOf(Fault);
        expect(error).toHaveProperty("code", "uri_refused");
      }
    });
    fc.assert(property, { numRuns: 2000 });
  });

  it("10 §11: accepts no host that the URL class takes for a private address", () => {
    const property = fc.property(texts, (text) => {
      if (outcome(text).startsWith("refused")) return;
      // What fetch would make of the text itself, whatever the filter has read in it.
      const { hostname, username, password } = new URL(text);
      expect(username + password).toBe("");
      const bareHost = hostname.replace(/^\[(.*)\]$/, "$1");
      if (ipaddr.isValid(bareHost)) expect(ipaddr.process(bareHost).range()).toBe("unicast");
      expect(hostname).not.toBe("localhost");
      expect(checkUri(text, DEFAULT_URI_FILTER).url.host.replace(/\.$/, "")).toBe(
        new URL(text).host.replace(/\.(?=:|$)/, ""),
      );
    });
    fc.assert(property, { numRuns: 2000 });
  });
});
