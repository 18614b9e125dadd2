#!/usr/bin/env bash
# Fetches from npm what the page takes from others, holds each package against
# the hash that stands here, and puts the files in their place: uPlot into the
# page, where it is committed with its licence, and axe-core, which the tests of
# the page use, into bin/tools, where it is not. Nothing of theirs runs.
#
#   scripts/vendor-page.sh          both
#   scripts/vendor-page.sh tests    what the tests need, once
set -euo pipefail
cd "$(dirname "$0")/.."
page=internal/admin/page/assets/vendor
tools=bin/tools

# fetch PACKAGE VERSION HASH unpacks a package of npm into $tmp/package.
fetch() {
  rm -rf "$tmp"/*
  npm pack --silent --ignore-scripts --pack-destination "$tmp" "$1@$2" >/dev/null
  local file=$tmp/$1-$2.tgz is
  is=sha512-$(openssl dgst -sha512 -binary "$file" | base64 -w0)
  [ "$is" = "$3" ] || { echo "$1@$2 is $is, not $3" >&2; return 1; }
  tar -xzf "$file" -C "$tmp"
}

command -v npm >/dev/null || { echo "not fetched: npm is not installed"; exit 1; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

if [ "${1:-}" != tests ]; then
  fetch uplot 1.6.32 sha512-KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw==
  mkdir -p "$page"
  cp "$tmp/package/dist/uPlot.iife.min.js" "$tmp/package/dist/uPlot.min.css" "$page/"
  cp "$tmp/package/LICENSE" "$page/uPlot.LICENSE"
fi
mark=$tools/.axe-core-4.14.1
[ -e "$mark" ] && exit 0
fetch axe-core 4.14.1 sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==
mkdir -p "$tools"
cp "$tmp/package/axe.min.js" "$tools/"
touch "$mark"
