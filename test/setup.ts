import { applyD1Migrations } from "cloudflare:test";
import { env } from "cloudflare:workers";

// Set-up files run in front of every test file; a migration that is already there is skipped.
await applyD1Migrations(env.DB, env.TEST_MIGRATIONS);
