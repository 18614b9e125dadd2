#!/usr/bin/env bash
# Runs the long form of the tests that draw what they do from a seed: those in
# packages whose tests import internal/longtest. It ends with what they have
# counted and one line of totals, as "make test" does.
# usage: test-long.sh [regexp of test names]; DAGSTORE_SEED=n repeats a run.
set -uo pipefail
cd "$(dirname "$0")/.."

GO=${GO:-go}
GOTESTSUM=gotest.tools/gotestsum@v1.13.0
export GOFLAGS="${GOFLAGS:-} -buildvcs=false"
export DAGSTORE_LONG=1
export DAGSTORE_SEED=${DAGSTORE_SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

packages=$("$GO" list -f '{{$p := .ImportPath}}{{range .TestImports}}{{if eq . "github.com/dagstore/dagstore/internal/longtest"}}{{$p}}{{"\n"}}{{end}}{{end}}{{range .XTestImports}}{{if eq . "github.com/dagstore/dagstore/internal/longtest"}}{{$p}}{{"\n"}}{{end}}{{end}}' ./... | sort -u)

echo "== long tests, DAGSTORE_SEED=$DAGSTORE_SEED"
failed=0
# One package after the other: each keeps all processors busy.
CGO_ENABLED=0 "$GO" run "$GOTESTSUM" --format testname --hide-summary skipped,output \
  --jsonfile "$out/long.json" -- -p 1 -timeout 24h -run "${1:-.}" $packages || failed=1

"$GO" build -o "$out/testtotals" ./internal/testtotals || exit 1
echo "== figures, DAGSTORE_SEED=$DAGSTORE_SEED"
"$out/testtotals" -figures -steps "$failed" "$out/long.json"
