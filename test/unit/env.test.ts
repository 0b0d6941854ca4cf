import { env } from "cloudflare:workers";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Fault } from "../../src/domain/fault.ts";
import { type Config, loadConfig, parseConfig } from "../../src/env.ts";
import { owner } from "../support/callers.ts";
import { Service } from "../support/service.ts";

/** What other tests set, as it is in a deployment. */
const DEPLOYED = {
  DEVELOPMENT: "",
  IMPORT_ALLOW_PRIVATE_ADDRESSES: "false",
  IMPORT_ALLOWED_PORTS: "80,443",
  SINGLE_PUT_MAX_BYTES: "1073741824",
};

/** The variables of wrangler.toml as they stand there, and the two secrets of the tests. */
const variables: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    Object.entries(env).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
  ),
  ...DEPLOYED,
};
const SECRETS = ["IDENTITY", "TOKEN_SECRET"];
/** Only for the command that serves a developer's own computer. */
const LOCAL = ["DEVELOPMENT"];

const parse = (changes: Readonly<Record<string, unknown>> = {}) =>
  parseConfig({ ...variables, BLOBS: env.BLOBS, ARCHIVE: env.ARCHIVE, ...changes });

/** The sentence with which a configuration is refused. */
function refusalOf(changes: Readonly<Record<string, unknown>>): string {
  try {
    parse(changes);
  } catch (error) {
    if (error instanceof Fault && error.code === "misconfigured") return error.text;
    throw error;
  }
  throw new Error(`accepted: ${JSON.stringify(changes)}`);
}

const NO_INTEGERS = [
  "",
  "many",
  "1.5",
  "1e3",
  "0x10",
  "--1",
  "1 2",
  "١",
  "9007199254740993",
  "NaN",
];
const notOffered = (values: readonly string[]) => [...values, "true!", "no", "maybe", "-1"];

/** Values with which nobody can mean anything, for every variable of wrangler.toml. */
const BAD: Readonly<Record<string, readonly string[]>> = {
  AUTH: ["none", "Builtin", "keystone"],
  PUBLIC_ENDPOINT: [
    "example.com",
    "/image",
    "ftp://example.com",
    "javascript:alert(1)",
    "https://",
    "https://exa mple.com",
    "https://example.com:99999",
    "https://example.com/?a=b",
    "https://example.com/#top",
    "https://user:password@example.com",
  ],
  STORES: [
    "",
    "[]",
    "{}",
    "[null]",
    '[{"id": "http", "type": "http"}]',
    '[{"id": "a", "type": "file"}]',
    '[{"id": "a", "type": "r2"}]',
    '[{"id": "a", "type": "r2", "binding": "NOTHING"}]',
    '[{"id": "a", "type": "r2", "binding": "DB"}]',
    '[{"id": "a", "type": "disk"}]',
    '[{"id": "a", "type": "disk", "binding": "NOTHING"}]',
    '[{"id": "os_glance_a", "type": "r2", "binding": "BLOBS"}]',
    '[{"id": "a b", "type": "r2", "binding": "BLOBS"}]',
    '[{"id": "a", "type": "r2", "binding": "BLOBS", "colour": "red"}]',
    '[{"id": "a", "type": "r2", "binding": "BLOBS"}, {"id": "b", "type": "r2", "binding": "ARCHIVE"}]',
    '[{"id": "a", "type": "r2", "binding": "BLOBS", "default": true}, {"id": "a", "type": "http"}]',
  ],
  CORS_ALLOWED_ORIGINS: [
    ",",
    "https://a.example,",
    "example.com",
    "https://a.example/",
    "https://a.example/path",
    "https://a.example https://b.example",
    "https://*.example.com",
    "ws:",
    "null",
    "any",
  ],
  DEVELOPMENT_HOSTS: [",", "a b", "http://box.lan", "box.lan:9292", "*", "[::1]"],
  ALLOW_ANONYMOUS_ACCESS: ["yes", "TRUE", "1"],
  POLICY: [
    "",
    "{",
    "[]",
    "null",
    '"get_image"',
    '{"get_image": true}',
    '{"no_such_rule": "@"}',
    '{"__proto__": "@"}',
    '{"get_image": "role:"admin"}',
    '{"get_image": "role:admin or"}',
    '{"get_image": "(role:admin"}',
    '{"get_image": "(service_roles:admin"}',
    '{"get_image": "rule:get_image"}',
    '{"get_image": "rule:no_such_rule"}',
    '{"get_image": "admin"}',
  ],
  PROPERTY_PROTECTIONS: [
    "{",
    "[]",
    "null",
    '"roles"',
    "{}",
    '{"rules": {}}',
    '{"rules": ["x"]}',
    '{"rules": [{"property": "x", "create": "@", "read": "@", "update": "@"}]}',
    '{"rules": [{"property": "(", "create": "@", "read": "@", "update": "@", "delete": "@"}]}',
    '{"rules": [{"property": "x", "create": "@,!", "read": "@", "update": "@", "delete": "@"}]}',
    '{"format": "policies", "rules": [{"property": "x", "create": "get_image,add_image", "read": "@", "update": "@", "delete": "@"}]}',
    '{"format": "policies", "rules": [{"property": "x", "create": "no_such_rule", "read": "@", "update": "@", "delete": "@"}]}',
    '{"format": "ini", "rules": []}',
  ],
  LIMIT_PARAM_DEFAULT: [...NO_INTEGERS, "0", "-1"],
  API_LIMIT_MAX: [...NO_INTEGERS, "0", "-1"],
  IMAGE_PROPERTY_QUOTA: NO_INTEGERS,
  IMAGE_TAG_QUOTA: NO_INTEGERS,
  IMAGE_MEMBER_QUOTA: NO_INTEGERS,
  IMAGE_LOCATION_QUOTA: NO_INTEGERS,
  IMAGE_SIZE_CAP: [...NO_INTEGERS, "-1", "1TB"],
  USER_STORAGE_QUOTA: ["", "-1", "1.5GB", "many", "5PB", "9999999TB"],
  USE_KEYSTONE_LIMITS: ["", "yes", "True"],
  QUOTAS: [
    "",
    "{",
    "[]",
    "null",
    '{"defaults": {}}',
    '{"default": []}',
    '{"default": {"image_size": 1}}',
    '{"default": {"image_size_total": "1"}}',
    '{"default": {"image_size_total": 1.5}}',
    '{"projects": []}',
    '{"projects": {"a": {"__proto__2": 1}}}',
    '{"projects": {"a": 5}}',
  ],
  MAX_REQUEST_ID_LENGTH: [...NO_INTEGERS, "-1"],
  DISK_FORMATS: ["", ",", "raw,", "raw,,iso"],
  CONTAINER_FORMATS: ["", ",", ",bare"],
  IMAGE_SCHEMA: [
    "{",
    "[]",
    "null",
    '"team"',
    '{"name": {"type": "string"}}',
    '{"id": {"type": "integer"}}',
    '{"team": {"type": "integer"}}',
    '{"team": {"type": []}}',
    '{"team": {}}',
    '{"team": "string"}',
    '{"team": {"type": "string", "pattern": "("}}',
    '{"team": {"type": "string", "enum": []}}',
    '{"team": {"type": "string", "minLength": -1}}',
    '{"team": {"type": "string", "multipleOf": 2}}',
    '{"properties": []}',
    '{"properties": {}, "required": "team"}',
  ],
  IMPORT_METHODS: [
    "off",
    "glance_direct",
    "Web-Download",
    "web-download copy-image",
    "copy-image,",
    "copy-image,copy-image",
    "web-download,glance-direct, web-download",
  ],
  IMAGE_IMPORT_PLUGINS: ["image_conversion", "no_op,", "no_op,no_op", "No_Op", "[]"],
  INJECT_IMAGE_METADATA: [
    "",
    "{",
    "[]",
    "null",
    '"a"',
    '{"a": "b"}',
    '{"inject": {"a": 1}}',
    '{"inject": ["a"]}',
    '{"ignore_user_roles": "admin"}',
    '{"ignore_user_roles": [1]}',
  ],
  IMPORT_DEADLINE_SECONDS: [...NO_INTEGERS, "0", "-1", "1728001"],
  IMPORT_IDLE_SECONDS: [...NO_INTEGERS, "0", "-1", "601"],
  IMPORT_ALLOWED_SCHEMES: ["https://", "http,", "HTTP"],
  IMPORT_DISALLOWED_SCHEMES: ["https://", ","],
  IMPORT_ALLOWED_HOSTS: ["*.example.com", "example.com:80", "a.example,"],
  IMPORT_DISALLOWED_HOSTS: ["*.example.com", "http://example.com", ","],
  IMPORT_ALLOWED_PORTS: ["x", "80-90", "0", "65536", "80,"],
  IMPORT_DISALLOWED_PORTS: ["x", "-1", "65536", ","],
  IMPORT_ALLOW_PRIVATE_ADDRESSES: ["true", "yes", "TRUE", "1"],
  RESOLVER_URL: [
    "resolver.example",
    "ftp://resolver.example",
    "http://resolver.example/dns-query",
    "https://user:password@resolver.example",
    "https://resolver.example/#top",
  ],
  GLANCE_REGIONS: [
    "",
    "{",
    "[]",
    "null",
    '{"": "https://image.example"}',
    '{"a": "image.example"}',
    '{"a": "ftp://image.example"}',
    '{"a": {}}',
    '{"a": {"private": "https://image.example"}}',
    '{"a": ["https://image.example"]}',
    '{"a": "https://image.example", "A": "https://image.example"}',
  ],
  GLANCE_DOWNLOAD_PROPERTIES: [",", "hw_,", ",os_type"],
  TASK_TIME_TO_LIVE_HOURS: [...NO_INTEGERS, "0", "-1", "100001"],
  SIGNATURE_CERTIFICATES: [
    "[]",
    "{",
    '{"certificate": {}}',
    '{"certificates": []}',
    '{"certificates": {"a": 1}}',
    '{"certificates": {"a": "MIIB"}}',
    '{"roots": {}}',
    '{"roots": [""]}',
    '{"roots": ["-----BEGIN PRIVATE KEY-----\\nMAA=\\n-----END PRIVATE KEY-----"]}',
    '{"roots": ["-----BEGIN CERTIFICATE-----\\nMIIB\\n-----END CERTIFICATE-----"]}',
  ],
  REQUIRE_IMAGE_FORMAT_MATCH: ["", "yes", "True", "1"],
  INSPECT_FORMATS: [",", "qcow2,", "raw", "QCOW2", "qcow2,qcow2", "qcow2 vmdk"],
  GPT_SAFETY_CHECKS_NONFATAL: [",", "gpt", "MBR", "mbr,mbr"],
  HASHING_ALGORITHM: ["", "SHA512", "sha-512", "sha3", "crc32"],
  SHOW_IMAGE_DIRECT_URL: ["", "yes", "True", "1"],
  SHOW_MULTIPLE_LOCATIONS: ["", "yes", "True", "1"],
  DO_SECURE_HASH: ["", "yes", "True", "1"],
  DELAYED_DELETE: notOffered(["true", ""]),
  MAX_BODY_BYTES: [...NO_INTEGERS, "-1"],
  SINGLE_PUT_MAX_BYTES: [...NO_INTEGERS, "-1"],
  STAGING_EXPIRY_SECONDS: [...NO_INTEGERS, "59", "-1", "31536001"],
  IMPORT_MIN_BYTES_PER_SECOND: [...NO_INTEGERS, "-1"],
  IMPORT_MIN_RATE_SECONDS: [...NO_INTEGERS, "0", "-1", "86401"],
  PROJECT_UPLOAD_QUOTA: NO_INTEGERS,
  PROJECT_IMPORT_QUOTA: NO_INTEGERS,
  IMAGE_CACHE: ["", "yes", "true", "ON", "1"],
  IMAGE_CACHE_MAX_SIZE: [...NO_INTEGERS, "-1", "10GB"],
  IMAGE_CACHE_STALL_TIME: [...NO_INTEGERS, "0", "-1", "2592001"],
  SERVER_TIMING: ["", "yes", "true", "ON", "1"],
  LOG_REQUESTS: ["", "ALL", "errors", "off", "true"],
  UPLOAD_EXPIRY_SECONDS: [...NO_INTEGERS, "59", "-1", "2592001"],
  UPLOAD_LEASE_SECONDS: [...NO_INTEGERS, "0", "-1", "86401"],
  REGION: [" RegionOne", "a\u0000b", "r".repeat(256)],
  TOKEN_TTL_SECONDS: ["0", "-1", "1.5", "soon", "99999999999"],
};

// The test runner adds some of its own, which begin with an underscore.
const names = Object.keys(variables).filter(
  (name) => !/^_/.test(name) && ![...SECRETS, ...LOCAL].includes(name),
);

it("never tells what stands in a variable that is no JSON, for it may be a secret", () => {
  for (const name of ["SIGNATURE_CERTIFICATES", "POLICY", "STORES", "GLANCE_REGIONS", "QUOTAS"]) {
    expect(() => parseConfig({ ...variables, [name]: "MIIEvSECRET" })).toThrow(
      expect.objectContaining({
        detail: { reason: expect.not.stringContaining("SECRET") },
      }),
    );
  }
});

describe("the variables of wrangler.toml", () => {
  it("are all in the table of bad values", () => {
    expect(Object.keys(BAD).sort()).toEqual([...names].sort());
  });

  it.each(names)("%s may be left out: what stands there is its default", (name) => {
    // Secrets and policies are compared by what they say.
    const comparable = ({ policy: _, ...config }: Config) => JSON.stringify(config);
    expect(comparable(parse({ [name]: undefined }))).toBe(comparable(parse()));
  });

  it("are the limits of contract 01 §1.8", () => {
    expect(parse()).toMatchObject({
      publicEndpoint: undefined,
      corsAllowedOrigins: ["*"],
      hashAlgorithm: "sha512",
      maxRequestIdLength: 64,
      uploadLeaseMs: 400_000,
      auth: { mode: "builtin", tokenTtlSeconds: 14_400, allowAnonymous: false },
      limits: {
        pageDefault: 25,
        pageMax: 1000,
        imageProperties: 128,
        imageTags: 128,
        imageMembers: 128,
        imageLocations: 10,
        imageBytes: 1_099_511_627_776,
        diskFormats: "ami,ari,aki,vhd,vhdx,vmdk,raw,qcow2,vdi,iso,ploop".split(","),
        containerFormats: "ami,ari,aki,bare,ovf,ova,docker,compressed".split(","),
      },
    });
  });
});

describe("the variables of imports", () => {
  it("are the options of contract 10 §11, §12, §14, §15 and 12 §1", () => {
    expect(parse()).toMatchObject({
      importMethods: ["glance-direct", "web-download", "copy-image"],
      importPlugins: { plugins: [], inject: { ignoreUserRoles: ["admin"], properties: new Map() } },
      importDeadlineMs: 86_400_000,
      importIdleMs: 60_000,
      door: { filter: { allowedPorts: [80, 443], allowPrivateAddresses: false } },
      regions: [],
      remoteProperties: ["hw_", "trait:", "os_distro", "os_secure_boot", "os_type"],
      taskTtlMs: 172_800_000,
    });
  });

  it.each<[string, string, string]>([
    ["IMPORT_METHODS", "copy-image,web-download,copy-image", "it names one twice"],
    [
      "IMPORT_METHODS",
      "copy-image,ftp",
      '"ftp" is none of glance-direct, web-download, copy-image, glance-download',
    ],
    ["IMAGE_IMPORT_PLUGINS", "no_op,no_op", "it names one twice"],
    [
      "IMAGE_IMPORT_PLUGINS",
      "image_conversion",
      '"image_conversion" is none of no_op, inject_image_metadata, image_decompression',
    ],
    ["INJECT_IMAGE_METADATA", '{"inject": {"a": 1}}', 'the property "a" is not a text'],
  ])("say what is wrong with them: %s=%j", (name, value, reason) => {
    expect(refusalOf({ [name]: value })).toBe(`The variable ${name} is not usable: ${reason}.`);
  });
});

describe("a bad value", () => {
  const lines = Object.entries(BAD).flatMap(([name, values]) =>
    values.map((value) => [name, value] as const),
  );
  it.each(lines)("is refused with a sentence that names the variable: %s=%j", (name, value) => {
    expect(refusalOf({ [name]: value })).toMatch(new RegExp(`\\b${name}\\b.*\\.$`));
  });

  const untrue = [7, true, {}, [], () => "x"];
  it.each([...names, ...SECRETS])("of %s is whatever is no text", (name) => {
    for (const value of untrue) expect(refusalOf({ [name]: value })).toContain(name);
  });

  it.each([
    ["IDENTITY", ""],
    ["IDENTITY", "{"],
    ["IDENTITY", "{}"],
    ["TOKEN_SECRET", ""],
    ["TOKEN_SECRET", "too short"],
  ])("of a secret is refused by its name too: %s=%j", (name, value) => {
    expect(refusalOf({ [name]: value })).toContain(name);
  });

  it("is not quoted when it is a secret", () => {
    expect(refusalOf({ TOKEN_SECRET: "hunter2" })).not.toContain("hunter2");
    expect(refusalOf({ IDENTITY: '{"hunter2": ' })).not.toContain("hunter2");
  });

  const oneEach = lines.filter(([name], index) => lines[index - 1]?.[0] !== name);
  it.each(oneEach)(
    "stops the Worker: 503 with that sentence on every path: %s=%j",
    async (name, value) => {
      const service = new Service({ settings: { ...DEPLOYED, [name]: value } });
      const calls = [
        [null, "/"],
        [null, "/healthcheck"],
        [owner, "/v2/images"],
        [null, "/identity/v3"],
      ] as const;
      for (const [caller, path] of calls) {
        const response = await service.call(caller, "GET", path);
        expect(response.status).toBe(503);
        expect(await response.text()).toContain(name);
        expect(response.headers.get("x-openstack-request-id")).toMatch(/^req-/);
      }
    },
  );
});

describe("a good value", () => {
  it.each<[string, string, (config: Config) => unknown, unknown]>([
    ["PUBLIC_ENDPOINT", "", (config) => config.publicEndpoint, undefined],
    [
      "PUBLIC_ENDPOINT",
      " https://a.example/ ",
      (config) => config.publicEndpoint,
      "https://a.example",
    ],
    [
      "PUBLIC_ENDPOINT",
      "HTTPS://A.example:443",
      (config) => config.publicEndpoint,
      "https://a.example",
    ],
    [
      "PUBLIC_ENDPOINT",
      "http://a.example/b/c//",
      (config) => config.publicEndpoint,
      "http://a.example/b/c",
    ],
    ["PUBLIC_ENDPOINT", "http:a.example", (config) => config.publicEndpoint, "http://a.example"],
    ["CORS_ALLOWED_ORIGINS", "*", (config) => config.corsAllowedOrigins, ["*"]],
    ["CORS_ALLOWED_ORIGINS", "", (config) => config.corsAllowedOrigins, []],
    [
      "CORS_ALLOWED_ORIGINS",
      "https://a.example, http://localhost:8080",
      (config) => config.corsAllowedOrigins,
      ["https://a.example", "http://localhost:8080"],
    ],
    ["IMAGE_TAG_QUOTA", "-1", (config) => config.limits.imageTags, -1],
    ["IMAGE_TAG_QUOTA", "0", (config) => config.limits.imageTags, 0],
    ["IMAGE_SIZE_CAP", "0", (config) => config.limits.imageBytes, 0],
    ["IMAGE_SIZE_CAP", "9007199254740991", (config) => config.limits.imageBytes, 2 ** 53 - 1],
    ["API_LIMIT_MAX", " 10 ", (config) => config.limits.pageMax, 10],
    ["MAX_REQUEST_ID_LENGTH", "0", (config) => config.maxRequestIdLength, 0],
    ["DISK_FORMATS", " raw , iso ", (config) => config.limits.diskFormats, ["raw", "iso"]],
    [
      "IMAGE_SCHEMA",
      '{"team": {"type": "string"}}',
      (config) => config.imageSchema.document.properties.team,
      { type: "string", is_base: false },
    ],
    ["UPLOAD_LEASE_SECONDS", "86400", (config) => config.uploadLeaseMs, 115_200_000],
    ["REGION", "RegionTwo", (config) => config.auth.region, "RegionTwo"],
    ["TOKEN_TTL_SECONDS", "60", (config) => config.auth.tokenTtlSeconds, 60],
    ["ALLOW_ANONYMOUS_ACCESS", "true", (config) => config.auth.allowAnonymous, true],
    ["USER_STORAGE_QUOTA", "0", (config) => config.limits.imageBytes, 1024 ** 4],
    ["IMPORT_METHODS", "", (config) => config.importMethods, []],
    [
      "IMPORT_METHODS",
      "glance-download, copy-image ,web-download,glance-direct",
      (config) => config.importMethods,
      ["glance-download", "copy-image", "web-download", "glance-direct"],
    ],
    [
      "IMAGE_IMPORT_PLUGINS",
      "image_decompression, inject_image_metadata,no_op",
      (config) => config.importPlugins.plugins,
      ["image_decompression", "inject_image_metadata", "no_op"],
    ],
    [
      "INJECT_IMAGE_METADATA",
      '{"ignore_user_roles": ["Member"], "inject": {"team": "a"}}',
      (config) => config.importPlugins.inject,
      { ignoreUserRoles: ["member"], properties: new Map([["team", "a"]]) },
    ],
    ["IMPORT_DEADLINE_SECONDS", "1728000", (config) => config.importDeadlineMs, 1_728_000_000],
    ["IMPORT_DEADLINE_SECONDS", "1", (config) => config.importDeadlineMs, 1000],
    ["IMPORT_IDLE_SECONDS", "600", (config) => config.importIdleMs, 600_000],
    ["IMPORT_IDLE_SECONDS", "1", (config) => config.importIdleMs, 1000],
    ["IMPORT_ALLOWED_PORTS", "", (config) => config.door.filter.allowedPorts, []],
    ["RESOLVER_URL", "", (config) => config.door.resolve, undefined],
    [
      "GLANCE_REGIONS",
      '{"North": "https://image.example/v2/", "b": {"public": "https://b.example/image"}}',
      (config) => config.regions,
      [
        {
          name: "North",
          endpoints: {
            public: "https://image.example",
            internal: "https://image.example",
            admin: "https://image.example",
          },
        },
        { name: "b", endpoints: { public: "https://b.example/image" } },
      ],
    ],
    ["GLANCE_DOWNLOAD_PROPERTIES", "", (config) => config.remoteProperties, []],
    [
      "GLANCE_DOWNLOAD_PROPERTIES",
      "hw_, team",
      (config) => config.remoteProperties,
      ["hw_", "team"],
    ],
    ["IMAGE_CACHE", "off", (config) => config.imageCache, undefined],
    [
      "IMAGE_CACHE",
      "on",
      (config) => config.imageCache,
      { maxBytes: 10_737_418_240, stallMs: 86_400_000 },
    ],
    ["TASK_TIME_TO_LIVE_HOURS", "100000", (config) => config.taskTtlMs, 360_000_000_000],
    ["TASK_TIME_TO_LIVE_HOURS", "1", (config) => config.taskTtlMs, 3_600_000],
  ])("is taken: %s=%j", (name, value, read, expected) => {
    expect(read(parse({ [name]: value }))).toEqual(expected);
  });

  it.each(["", "@", "!", "(service_roles:nova or role:admin)", "not (role:a)", "rule:get_images"])(
    "is an expression of the policy language: %j",
    (expression) => {
      expect(() => parse({ POLICY: JSON.stringify({ get_image: expression }) })).not.toThrow();
    },
  );

  it("lets imports reach private addresses, and a resolver without TLS, in development only", () => {
    const open = {
      IMPORT_ALLOW_PRIVATE_ADDRESSES: "true",
      RESOLVER_URL: "http://127.0.0.1:8053/dns-query",
    };
    const { filter } = parse({ ...open, DEVELOPMENT: "true" }).door;
    expect(filter.allowPrivateAddresses).toBe(true);
    for (const DEVELOPMENT of [undefined, "", "false", "1"]) {
      for (const [name, value] of Object.entries(open)) {
        expect(refusalOf({ [name]: value, DEVELOPMENT })).toContain(name);
      }
    }
  });

  it("is read once an isolate", () => {
    const own = { ...env };
    expect(loadConfig(own)).toBe(loadConfig(own));
    expect(Object.isFrozen(loadConfig(own))).toBe(true);
  });
});

describe("any value", () => {
  /** A configuration that serves, or a sentence that names the variable: nothing else ever happens. */
  async function servesOrNames(name: string, value: unknown): Promise<void> {
    try {
      parse({ [name]: value });
    } catch (error) {
      expect(error).toBeInstanceOf(Fault);
      expect((error as Fault).code).toBe("misconfigured");
      expect((error as Fault).text).toContain(name);
      return;
    }
    if (typeof value !== "string") return;
    const service = new Service({ settings: { ...DEPLOYED, [name]: value } });
    for (const path of ["/", "/v2/images"]) {
      const response = await service.fetch(new Request(`http://image.test${path}`));
      expect(response.status).toBeLessThan(500);
      await response.arrayBuffer();
    }
  }

  /** Text, and text that comes near to what is wanted. */
  const near: fc.Arbitrary<string> = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.integer().map(String),
    fc.bigInt().map(String),
    fc.double().map(String),
    fc.json(),
    fc.webUrl({ withFragments: true, withQueryParameters: true }),
    fc.array(fc.string({ maxLength: 5 })).map((items) => items.join(",")),
    fc
      .array(
        fc.constantFrom("http:", "//", "/", "\\", "a", "@", ":", "?", "#", " ", "\n", "%", ".."),
      )
      .map((parts) => parts.join("")),
    fc
      .array(
        fc.constantFrom("(", ")", "and", "or", "not", "role:a", "rule:get_image", "%(owner)s", " "),
      )
      .map((words) => JSON.stringify({ get_image: words.join(" ") })),
    fc
      .dictionary(
        fc.string(),
        fc.record({ type: fc.constantFrom("string", "null", "x"), x: fc.json() }),
      )
      .map((value) => JSON.stringify(value)),
  );

  it.each([...names, ...SECRETS, "DEVELOPMENT"])(
    "of %s gives a configuration that serves, or a sentence with that name",
    async (name) => {
      await fc.assert(
        fc.asyncProperty(fc.oneof({ arbitrary: near, weight: 5 }, fc.anything()), (value) =>
          servesOrNames(name, value),
        ),
        { numRuns: 60 },
      );
    },
  );
});
