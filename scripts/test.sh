#!/usr/bin/env bash
# Runs every check and every test, and ends with one line of totals. It goes on
# after a failure, so that one run shows all that is wrong.
set -uo pipefail
cd "$(dirname "$0")/.."
shopt -s nullglob

GO=${GO:-go}
GOTESTSUM=gotest.tools/gotestsum@v1.13.0
TARGETS="linux/amd64 linux/arm64 darwin/arm64 windows/amd64"
export GOFLAGS="${GOFLAGS:-} -buildvcs=false"

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
failed=()

# step NAME COMMAND... runs one check that is no Go test.
step() {
  local name=$1
  shift
  echo "== $name"
  "$@" || failed+=("$name")
}

# tests NAME PACKAGES ARGUMENTS... runs Go tests and keeps their results for the
# totals. Up to three tests that fail are run once more, since the machine is
# shared: what passes then is named before the totals. It does not help a test
# that races, panics, or leaks.
tests() {
  local name=$1 packages=$2
  shift 2
  echo "== $name"
  "$GO" run "$GOTESTSUM" --format pkgname --hide-summary skipped \
    --rerun-fails=1 --rerun-fails-max-failures=3 --rerun-fails-run-root-test \
    --jsonfile "$out/${name//[ \/]/-}.json" --packages "$packages" -- -timeout 15m "$@" || failed+=("$name")
}

formatted() {
  local files
  files=$(gofmt -l .) || return 1
  [ -z "$files" ] || { echo "gofmt would change: $files"; return 1; }
}

# builds compiles everything for one platform and vets it, tests included.
builds() (
  export CGO_ENABLED=0 GOOS=${1%/*} GOARCH=${1#*/}
  "$GO" build ./... && "$GO" vet ./...
)

# compiler makes sure that there is a C compiler, which the race detector needs.
compiler() {
  command -v "$("$GO" env CC)" >/dev/null && return
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
  { apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev; } >"$out/apt.log" 2>&1 ||
    { tail -n 5 "$out/apt.log"; return 1; }
}

# checker makes sure that there is spin, which checks the model of the lifecycle.
checker() {
  command -v spin >/dev/null && command -v gcc >/dev/null && return
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
  { apt-get update && apt-get install -y --no-install-recommends spin gcc libc6-dev; } >"$out/apt.log" 2>&1 ||
    { tail -n 5 "$out/apt.log"; return 1; }
}

# apart tests a module of its own, with this one in the place of the release that
# it requires.
apart() {
  cat >"$out/go.work" <<END
go $("$GO" list -m -f '{{.GoVersion}}')

use (
	$PWD
	$PWD/$1
)

replace github.com/dagstore/dagstore v0.0.0 => $PWD
END
  export GOWORK=$out/go.work
  CGO_ENABLED=0 tests "module $1" "./$1/..."
  unset GOWORK
}

# concurrent lists the packages in which more than one goroutine is at work.
concurrent() {
  "$GO" list -f '{{$p := .}}{{range .Imports}}{{if or (eq . "sync") (eq . "sync/atomic")}}{{$p.ImportPath}}{{"\n"}}{{end}}{{end}}' ./... | sort -u
}

step "modules" "$GO" mod verify
step "gofmt" formatted
for target in $TARGETS; do
  step "build and vet $target" builds "$target"
done

scripts/servers.sh ||
  echo "== servers: SOME LEFT OUT; the tests that start them are skipped"
scripts/clients.sh ||
  echo "== clients of gateways: LEFT OUT; what they get from ours is not tested"
checker ||
  echo "== model of the lifecycle: LEFT OUT, since there is no spin; install spin and gcc to have it checked"
CGO_ENABLED=0 tests "tests without cgo" ./...
apart mount/rclone
if compiler; then
  CGO_ENABLED=1 tests "race detector" "$(concurrent | tr '\n' ' ')" -race
else
  echo "== race detector: LEFT OUT, since there is no C compiler; install gcc to have it"
fi

for name in "${failed[@]+"${failed[@]}"}"; do
  echo "FAILED: $name"
done
# The last line: totals. Each test counts once, however many runs it was in.
"$GO" build -o "$out/testtotals" ./internal/testtotals && "$out/testtotals" -steps "${#failed[@]}" "$out"/*.json
