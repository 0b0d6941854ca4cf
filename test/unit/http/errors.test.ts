import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FAULTS, Fault, type FaultCode, type FaultDetail } from "../../../src/domain/fault.ts";
import { reasonPhrase, renderFault } from "../../../src/http/errors.ts";

const BASE_URL = "http://image.test";

interface Asked {
  readonly accept?: string;
  readonly method?: string;
}

function render(code: FaultCode, detail: FaultDetail = {}, { accept, method }: Asked = {}) {
  const headers: Record<string, string> = accept === undefined ? {} : { accept };
  const request = new Request(`${BASE_URL}/v2/images`, { method: method ?? "GET", headers });
  return renderFault(new Fault(code, detail), request, BASE_URL);
}

const typeFor = (accept?: string) =>
  render("not_found", {}, accept === undefined ? {} : { accept }).headers.get("content-type");

const codes = Object.keys(FAULTS).filter((code): code is FaultCode => code in FAULTS);

describe("renderFault", () => {
  it.each(codes)("ERR-1: %s has its status, a reason phrase and its sentence", async (code) => {
    const { status, text } = FAULTS[code];
    const names = [...text.matchAll(/\{(\w+)\}/g)].map(([, name = ""]) => name);
    const detail = Object.fromEntries(names.map((name) => [name, `<${name}>`]));
    const response = render(code, detail);
    expect(response.status).toBe(status);
    const title = reasonPhrase(status);
    expect(title).not.toBe("Error");
    expect(await response.json()).toEqual({
      message: text.replaceAll("{", "<").replaceAll("}", ">"),
      code: `${status} ${title}`,
      title,
    });
  });

  it("ERR-1: code is number and reason", async () => {
    expect(await render("image_exists", { imageId: "i" }).json()).toEqual({
      message: "Image ID i already exists!",
      code: "409 Conflict",
      title: "Conflict",
    });
  });

  it.each([
    [undefined, "application/json"],
    ["", "application/json"],
    [" ", "application/json"],
    ["*/*", "text/html; charset=UTF-8"],
    ["*/*;q=0", "application/json"],
    ["application/json, text/plain, */*", "application/json"],
    ["application/*", "application/json"],
    ["application/json", "application/json"],
    ["application/json;charset=utf-8", "application/json"],
    ["text/html", "text/html; charset=UTF-8"],
    ["TEXT/HTML", "text/html; charset=UTF-8"],
    ["text/*", "text/html; charset=UTF-8"],
    ["text/plain", "text/plain; charset=UTF-8"],
    ["text/plain;q=0.5,text/html;q=0.4", "text/plain; charset=UTF-8"],
    ["text/html,application/json", "application/json"],
    ["text/html,application/json;q=0.9", "text/html; charset=UTF-8"],
    ["text/html;q=0.9,*/*;q=0.8", "text/html; charset=UTF-8"],
    ["text/html;q=0.5,*/*;q=0.8", "text/html; charset=UTF-8"],
    ["*/*;q=0.8,application/json;q=0,text/html;q=0.1", "text/html; charset=UTF-8"],
    ["text/html;q=0", "application/json"],
    ["text/html;q=2", "application/json"],
    ["text/html;q=x", "application/json"],
    ["text/html ; q=0.5 , text/plain ; Q=0.6", "text/plain; charset=UTF-8"],
    ["image/png", "application/json"],
    ["application/vnd.openstack.images-v2", "application/json"],
  ])("ERR-1, ERR-2, ERR-3, ERR-8: Accept %j gives %s", (accept, type) => {
    expect(typeFor(accept)).toBe(type);
  });

  it("ERR-2: HTML has the status line as title and heading, and the message escaped", async () => {
    const accept = "text/html";
    const response = render("bad_request", { reason: `<a href="x">&'` }, { accept });
    const html = await response.text();
    expect(html).toContain("<title>400 Bad Request</title>");
    expect(html).toContain("<h1>400 Bad Request</h1>");
    expect(html).toContain(`&lt;a href="x"&gt;&amp;'`);
  });

  it("ERR-3: plain text is the status line, a blank line and the message", async () => {
    const response = render("bad_request", { reason: "so" }, { accept: "text/plain" });
    expect(await response.text()).toBe("400 Bad Request\n\nso\n");
  });

  it("CTX-2: 401 says where tokens are to be had", () => {
    expect(render("unauthorized", { reason: "no" }).headers.get("www-authenticate")).toBe(
      'Keystone uri="http://image.test/identity"',
    );
    expect(render("forbidden", { rule: "r" }).headers.has("www-authenticate")).toBe(false);
  });

  it("RT-17: 405 says what is allowed", () => {
    const { headers } = render("method_not_allowed", { method: "PUT", allow: "GET, POST" });
    expect(headers.get("allow")).toBe("GET, POST");
  });

  it("HDR-6: 415 says which patches are accepted, to a PATCH only", () => {
    const detail = { given: "none", accepted: "a, b" };
    const patch = render("unsupported_media_type", detail, { method: "PATCH" });
    expect(patch.headers.get("accept-patch")).toBe("a, b");
    const put = render("unsupported_media_type", detail, { method: "PUT" });
    expect(put.headers.has("accept-patch")).toBe(false);
  });

  it("416 says how long the data is", () => {
    const { headers } = render("range_not_satisfiable", { size: 7 });
    expect(headers.get("content-range")).toBe("bytes */7");
  });

  const headerText = fc.string({ unit: fc.constantFrom(...'/*;,=.q0195 texhmlapicjson-+"') });

  it("ERR-1: answers whatever Accept says, in one of the three shapes", async () => {
    await fc.assert(
      fc.asyncProperty(headerText, async (accept) => {
        const response = render("image_not_found", { imageId: "i" }, { accept });
        expect(response.status).toBe(404);
        expect(await response.text()).toContain("No image found with ID i");
        expect(response.headers.get("content-type")).toMatch(
          /^(application\/json|text\/(html|plain); charset=UTF-8)$/,
        );
      }),
    );
  });

  it("ERR-2: lets no text through as markup, whatever a caller sent", async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: "binary" }), async (reason) => {
        const html = await render("bad_request", { reason }, { accept: "text/html" }).text();
        const message = html.split("</h1>\n")[1]?.split("\n</body>")[0] ?? "<";
        expect(message).not.toMatch(/[<>"']|&(?!#\d+;)/);
      }),
    );
  });

  it("ERR-1: gives back in JSON what the fault says, whatever a caller sent", async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: "grapheme" }), async (reason) => {
        const body = await render("bad_request", { reason }).json<{ message: string }>();
        expect(body.message).toBe(reason);
      }),
    );
  });
});
