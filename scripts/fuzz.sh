#!/usr/bin/env bash
# Runs each fuzz target for the time given, one after the other.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-20s}
go list -f '{{.Dir}}' ./... | while read -r dir; do
  { grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$dir"/*_test.go 2>/dev/null || true; } | sed 's/^func //' | sort -u | while read -r target; do
    echo "== ${dir#"$PWD/"} $target"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$dir" </dev/null
  done
done
