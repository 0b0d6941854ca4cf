#!/usr/bin/env bash
# `npm run check`: everything that must hold before a change is merged, cheapest first.
set -euo pipefail
cd "$(dirname "$0")/.."

maxBundleKiB=300

step() { printf '\n== %s\n' "$1"; }

step "format and lint"
biome ci --config-path .ci --error-on-warnings .

step "layers"
node .ci/layers.mjs

step "migrations"
node .ci/migrations.mjs

step "contract rows"
node .ci/contract-rows.mjs

step "types"
export WRANGLER_HIDE_BANNER=true WRANGLER_SEND_METRICS=false WRANGLER_WRITE_LOGS=false
npm run --silent types -- --check
tsc -p tsconfig.json
tsc -p test/tsconfig.json
tsc -p test/clients/tsconfig.json
tsc -p bench/tsconfig.json

step "bundle"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
wrangler deploy --dry-run --outdir "$out" > "$out/log" || { cat "$out/log"; exit 1; }
bytes=$(gzip -9 -c "$out/index.js" | wc -c)
kib=$(((bytes + 1023) / 1024))
echo "$kib KiB gzipped of $maxBundleKiB KiB allowed"
if ((kib > maxBundleKiB)); then
  echo "The bundle is too large." >&2
  exit 1
fi

step "tests"
npm test -- "$@"
