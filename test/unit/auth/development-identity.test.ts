import { describe, expect, it } from "vitest";
import development from "../../../dev/identity.json";
import { authenticate, parseAuthSettings } from "../../../src/auth/authenticate.ts";
import { NOW_MS, TOKEN_SECRET, tokenFor, withPassword } from "./a-cloud.ts";

const variables = { TOKEN_SECRET, IDENTITY: JSON.stringify(development) };

describe("the development identity that ships with the repository", () => {
  it.each([
    ["admin", "project-demo", ["admin", "member", "reader"]],
    ["demo", "project-demo", ["member", "reader"]],
    ["demo-reader", "project-demo", ["reader"]],
    ["other", "project-other", ["member", "reader"]],
    ["other-reader", "project-other", ["reader"]],
  ])("lets %s in with the documented password", async (name, projectId, roles) => {
    const settings = parseAuthSettings({ ...variables, DEVELOPMENT: "true" });
    const token = await tokenFor(withPassword(name, `${name}-password`), { settings });
    const request = new Request("http://localhost/", { headers: { "x-auth-token": token } });
    expect(await authenticate(request, settings, NOW_MS)).toMatchObject({ projectId, roles });
  });

  it("says of itself that it is for development", () => {
    expect(() => parseAuthSettings(variables)).toThrow("misconfigured");
  });
});
