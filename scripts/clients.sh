#!/usr/bin/env bash
# Installs the clients of IPFS gateways that the tests run, from npm, to
# bin/clients; and Node, where there is none of version 20 or later. What cannot
# be installed is said, and the tests are skipped.
set -uo pipefail
cd "$(dirname "$0")/.."
from=cmd/dagstore/testdata/clients
to=bin/clients

if ! command -v npm >/dev/null || ! command -v node >/dev/null; then
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || { echo "not installed: node and npm (needs root on a Debian)"; exit 1; }
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends nodejs npm; } >"$log" 2>&1 ||
    { tail -n 5 "$log"; exit 1; }
fi

mark=$to/.installed
[ -e "$mark" ] && cmp -s "$mark" "$from/package-lock.json" && exit 0
rm -rf "$to" && mkdir -p "$to" && cp "$from"/* "$to/" || exit 1
npm() { command npm --no-audit --no-fund --loglevel=error "$@"; }
# Nothing of theirs runs while they are installed, and React, which a client for
# telephones would want, stays away.
(cd "$to" && npm ci --ignore-scripts --legacy-peer-deps) || exit 1
version=$(node --version)
version=${version#v}
if [ "${version%%.*}" -lt 20 ]; then # as on Debian 12
  arch=x64; [ "$(uname -m)" = aarch64 ] && arch=arm64
  npm install --prefix "$to/node" "node-linux-$arch@20" || exit 1
  ln -sf ../node/node_modules/node-linux-$arch/bin/node "$to/node_modules/.bin/node"
fi
cp "$from/package-lock.json" "$mark"
