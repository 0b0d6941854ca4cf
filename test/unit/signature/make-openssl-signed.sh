#!/usr/bin/env bash
# Writes openssl-signed.ts anew: certificates and signatures as signers make them with OpenSSL 3. No key is kept.
set -euo pipefail
out=$(cd "$(dirname "$0")" && pwd)/openssl-signed.ts
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
days=36500

# A root of RSA, an intermediate of P-256, and one certificate a kind of key, each by the one before.
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out root.key
openssl req -new -x509 -key root.key -days $days -subj "/O=Glimpse tests/CN=Root" -out root.pem \
  -addext "keyUsage=critical,keyCertSign,cRLSign"

issue() { # name, issuer, extensions
  openssl req -new -key "$1.key" -subj "/O=Glimpse tests/CN=$1" -out "$1.csr"
  printf '%s\n' "$3" > "$1.ext"
  openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -days $days -sha256 -extfile "$1.ext" -out "$1.pem"
}
ca=$'basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign'
leaf=$'basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid'
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out intermediate.key
issue intermediate root "$ca"
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out rsa.key
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2049 -out rsaOdd.key
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out rsaShort.key
openssl genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out rsaPss.key
openssl genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_pss_keygen_md:sha384 \
  -pkeyopt rsa_pss_keygen_mgf1_md:sha384 -pkeyopt rsa_pss_keygen_saltlen:48 -out rsaPssBound.key
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out p256.key
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out p384.key
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out p521.key
openssl genpkey -algorithm ED25519 -out ed25519.key
openssl dsaparam -genkey -out dsa.key 2048
names="rsa rsaOdd rsaShort rsaPss rsaPssBound p256 p384 p521 ed25519 dsa"
for name in $names; do issue "$name" intermediate "$leaf"; done

printf 'The bytes of an image.\n' > data

sign() { # name, hash, further options
  openssl dgst "-$2" -sign "$1.key" "${@:3}" data | base64 -w 0
}
pss() { sign "$1" "$2" -sigopt rsa_padding_mode:pss -sigopt "rsa_pss_saltlen:$3" -sigopt "rsa_mgf1_md:$4"; }

{
  echo "// Written by make-openssl-signed.sh."
  echo
  echo 'export const DATA = "The bytes of an image.\n";'
  echo
  for name in root intermediate; do
    echo "export const ${name^^} = \`$(cat $name.pem)\`;"
    echo
  done
  echo "export const LEAVES = {"
  for name in $names; do echo "  $name: \`$(cat "$name.pem")\`,"; done
  echo "} as const;"
  echo
  echo "/** By the name of the leaf and the hash. RSA: PSS with the longest salt. */"
  echo "export const SIGNATURES = {"
  for name in rsa rsaOdd rsaPss; do
    for hash in sha256 sha384 sha512; do echo "  \"$name $hash\": \"$(pss $name $hash max $hash)\","; done
  done
  echo "  \"rsaPssBound sha384\": \"$(pss rsaPssBound sha384 max sha384)\","
  for name in p384 p521; do
    for hash in sha256 sha384 sha512; do echo "  \"$name $hash\": \"$(sign $name $hash)\","; done
  done
  echo "} as const;"
  echo
  echo "/** Of the leaf rsa and sha256, as image signatures are not made. */"
  echo "export const OTHERWISE = {"
  echo "  \"salt as long as the hash\": \"$(pss rsa sha256 digest sha256)\","
  echo "  \"no salt\": \"$(pss rsa sha256 0 sha256)\","
  echo "  \"salt one short\": \"$(pss rsa sha256 349 sha256)\","
  echo "  \"MGF1 with another hash\": \"$(pss rsa sha256 max sha1)\","
  echo "  \"PKCS #1 v1.5\": \"$(sign rsa sha256)\","
  echo "} as const;"
} > "$out"
