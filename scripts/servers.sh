#!/usr/bin/env bash
# Installs the real servers that the tests of mounts start, and the browser that
# those of the page do: those of Debian where this is one and we are root, and
# those that the Go command builds, to bin/tools. What cannot be installed is
# said, and its tests are skipped.
set -uo pipefail
cd "$(dirname "$0")/.."
GO=${GO:-go}

# debian PROGRAM=PACKAGE... installs the packages whose program, or file, is
# missing.
debian() {
  local pair missing=()
  for pair in "$@"; do
    [ -e "${pair%%=*}" ] || PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%=*}" >/dev/null ||
      missing+=("${pair#*=}")
  done
  [ ${#missing[@]} = 0 ] && return
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
    { echo "not installed: ${missing[*]} (needs root on a Debian)"; return 1; }
  local log
  log=$(mktemp)
  # A server that is installed must not start by itself.
  { apt-get update && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 ||
    { tail -n 5 "$log"; rm -f "$log"; return 1; }
  rm -f "$log"
  # Nor when the machine starts again.
  command -v systemctl >/dev/null || return 0
  dpkg -L "${missing[@]}" | grep -oE '/systemd/system/[^/@]+\.(service|socket)$' | sed 's|.*/||' | sort -u |
    xargs -r systemctl disable >/dev/null 2>&1 || true
}

# built MODULE@VERSION builds a program of Go, once.
built() {
  local name=${1%@*}
  name=${name##*/}
  local mark=bin/tools/.$name-${1##*@}
  [ -e "$mark" ] && [ -x "bin/tools/$name" ] && return
  mkdir -p bin/tools
  CGO_ENABLED=0 GOBIN=$PWD/bin/tools "$GO" install "$1" && touch "$mark"
}

status=0
built github.com/versity/versitygw/cmd/versitygw@v1.8.0 || status=1
debian systemd-analyze=systemd python3=python3-minimal nginx=nginx-light openssl=openssl sshd=openssh-server ssh-keygen=openssh-client \
  proftpd=proftpd-core /usr/lib/proftpd/mod_tls.so=proftpd-mod-crypto chromium=chromium || status=1
scripts/vendor-page.sh tests || status=1 # what looks for obstacles in the page
exit $status
