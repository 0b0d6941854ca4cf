import { describe, expect, it } from "vitest";
import development from "../../../dev/identity.json";
import { authenticate, parseAuthSettings } from "../../../src/auth/authenticate.ts";
import { NOW_MS, TOKEN_SECRET, tokenFor, withPassword } from "./a-cloud.ts";

const variables = { TOKEN_SECRET, IDENTITY: JSON.stringify(development) };

describe("the development identity that ships with the repository", () => {
  it.each([
    ["admin", "demo", ["admin", "member", "reader"]],
    ["demo", "demo", ["member", "reader"]],
    ["demo-reader", "demo", ["reader"]],
    ["other", "other", ["member", "reader"]],
    ["other-reader", "other", ["reader"]],
  ])("lets %s in with the documented password", async (name, project, roles) => {
    const projectId = development.projects.find((one) => one.name === project)?.id;
    const settings = parseAuthSettings({ ...variables, DEVELOPMENT: "true" });
    const token = await tokenFor(withPassword(name, `${name}-password`), { settings });
    const request = new Request("http://localhost/", { headers: { "x-auth-token": token } });
    expect(await authenticate(request, settings, NOW_MS)).toMatchObject({ projectId, roles });
  });

  it("has ids as Keystone makes them, which Horizon's addresses take", () => {
    const { projects, users } = development;
    const ids = [...projects, ...users].map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{32}$/);
  });

  it("says of itself that it is for development", () => {
    expect(() => parseAuthSettings(variables)).toThrow("misconfigured");
  });
});
