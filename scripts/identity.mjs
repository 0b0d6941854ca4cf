// @ts-check
// Makes what the IDENTITY document is written with: `npm run identity -- help`.

import { createHash, pbkdf2Sync, randomBytes, randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import { Writable } from "node:stream";

const USAGE = `usage: npm run --silent identity -- <command>

  hash     read a password and print the hash that stands for it in a user's "password"
  secret   make a secret for an application credential and print its "secret_hash"
  new      print a starter document with one project and one administrator; the
           administrator's password goes to standard error and is kept nowhere

Store a document with: npx wrangler secret put IDENTITY < identity.json
`;

// As many as Workers compute; src/auth/secret-hash.ts refuses more.
const ITERATIONS = 100_000;
const SALT_BYTES = 16;
const HASH_BYTES = 32;
const SECRET_BYTES = 32;

/** @param {string} password */
function hashPassword(password) {
  const salt = randomBytes(SALT_BYTES);
  const hash = pbkdf2Sync(password, salt, ITERATIONS, HASH_BYTES, "sha256");
  return `pbkdf2-sha256$${ITERATIONS}$${salt.toString("base64url")}$${hash.toString("base64url")}`;
}

/**
 * @param {string} secret must be random and long: one round of SHA-256 protects no guessable one
 */
function hashSecret(secret) {
  return `sha256$${createHash("sha256").update(secret).digest("base64url")}`;
}

const newSecret = () => randomBytes(SECRET_BYTES).toString("base64url");
const newId = () => randomUUID().replaceAll("-", "");

/** @param {string} password */
function starterDocument(password) {
  const projectId = newId();
  return {
    projects: [{ id: projectId, name: "main" }],
    users: [
      {
        id: newId(),
        name: "admin",
        default_project_id: projectId,
        password: hashPassword(password),
        roles: { [projectId]: ["admin"] },
      },
    ],
  };
}

/** The first line of standard input; what is typed at a terminal does not show. */
async function readPassword() {
  const { stdin, stderr } = process;
  const silence = new Writable({ write: (_chunk, _encoding, done) => done() });
  if (stdin.isTTY) stderr.write("Password: ");
  const lines = createInterface({ input: stdin, output: silence, terminal: stdin.isTTY });
  try {
    for await (const line of lines) return line;
    return "";
  } finally {
    lines.close();
    if (stdin.isTTY) stderr.write("\n");
  }
}

const [command, ...rest] = process.argv.slice(2);
if (rest.length > 0) {
  // A password on the command line would end up in the shell's history and in the list of
  // processes.
  console.error("No arguments are taken; the password is read from standard input.");
  process.exit(2);
}
switch (command) {
  case "hash": {
    const password = await readPassword();
    if (password === "") {
      console.error("The password is empty.");
      process.exit(1);
    }
    console.log(hashPassword(password));
    break;
  }
  case "secret": {
    const secret = newSecret();
    console.error(`Secret: ${secret}`);
    console.log(hashSecret(secret));
    break;
  }
  case "new": {
    const password = newSecret();
    console.log(JSON.stringify(starterDocument(password), null, 2));
    console.error(`Password of the user "admin": ${password}`);
    break;
  }
  case "help":
    process.stdout.write(USAGE);
    break;
  default:
    process.stderr.write(USAGE);
    process.exit(2);
}
