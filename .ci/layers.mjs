// @ts-check
// Fails when a file in src/ imports from a layer that its own may not know. The table is the one in
// docs/architecture.md; a layer always may import itself.

import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";

const src = join(import.meta.dirname, "../src");

/**
 * What each layer may import. `:types` allows only what leaves no trace at run time; a path names one
 * file of a layer.
 * @type {Record<string, readonly string[]>}
 */
const allowed = {
  lib: [],
  domain: ["lib"],
  net: ["domain", "lib"],
  http: ["domain", "lib"],
  blob: ["domain", "lib"],
  cache: ["blob", "domain", "lib"],
  db: ["domain", "lib"],
  auth: ["domain", "lib", "net"],
  policy: ["domain", "lib"],
  inspect: ["domain", "lib"],
  signature: ["domain", "lib"],
  env: ["domain", "lib", "policy", "auth", "blob", "net", "inspect", "signature"],
  "image-object": [
    "inspect",
    "signature",
    "blob",
    "cache",
    "db",
    "net",
    "policy",
    "domain",
    "env",
    "lib",
  ],
  api: [
    ...[
      "http",
      "net",
      "inspect",
      "signature",
      "blob",
      "cache",
      "db",
      "policy",
      "auth",
      "domain",
      "env",
      "lib",
    ],
    "image-object:types",
    "image-object/rpc.ts",
  ],
  routes: ["api", "policy"],
  router: ["routes", "api", "domain", "lib"],
  app: [
    ...["router", "routes", "api", "http", "auth", "policy", "blob", "db", "env", "domain", "lib"],
    "image-object:types",
  ],
  index: ["app", "auth", "image-object"],
};

/** @param {string} path */
const layerOf = (path) => (path.split("/")[0] ?? "").replace(/\.ts$/, "");

/**
 * @param {string} from a path below src/
 * @param {string} to a path below src/
 * @param {boolean} isTypeOnly
 */
function mayImport(from, to, isTypeOnly) {
  const [own, other] = [layerOf(from), layerOf(to)];
  return (
    own === other ||
    allowed[own]?.some((rule) => {
      const [target, only] = rule.split(":");
      return (target === other || target === to) && (only === undefined || isTypeOnly);
    })
  );
}

const files = readdirSync(src, { recursive: true, encoding: "utf8" })
  .map((path) => path.split(sep).join("/"))
  .filter((path) => path.endsWith(".ts"))
  .sort();
const complaints = files.flatMap((file) => {
  if (!(layerOf(file) in allowed))
    return [`src/${file}:1: the layer '${layerOf(file)}' is not in .ci/layers.mjs.`];
  const text = readFileSync(join(src, file), "utf8");
  const imports = text.matchAll(
    /^(?:import|export)(\s+type)?\b(?:[^;"']*\bfrom)?\s*["'](\.[^"']+)["']|import\(["'](\.[^"']+)["']\)/gm,
  );
  return [...imports].flatMap((match) => {
    const to = relative(src, join(src, dirname(file), match[2] ?? match[3] ?? ""))
      .split(sep)
      .join("/");
    if (mayImport(file, to, match[1] !== undefined)) return [];
    const line = text.slice(0, match.index).split("\n").length;
    return [`src/${file}:${line}: '${layerOf(file)}' may not import src/${to}.`];
  });
});
for (const complaint of complaints) console.error(complaint);
if (complaints.length > 0) process.exit(1);
console.log(`Layers hold in ${files.length} files.`);
