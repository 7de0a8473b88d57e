#!/usr/bin/env bash
# The tests start a PostgreSQL of their own; this installs its programs where they are missing.
# Nothing is started and no cluster is made. Without rights the tests on PostgreSQL are skipped,
# in CI (CI=true) this fails.
set -euo pipefail

found() { command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; }

missing() {
  printf '\n  !! PostgreSQL is not installed%s\n  !! %s\n  !! %s\n\n' \
    "${1:+: $1}" \
    'Tests on PostgreSQL will be SKIPPED; the others run on SQLite.' \
    'Install it (Debian, Ubuntu: apt-get install postgresql; macOS: brew install postgresql) and run again.' >&2
  [ "${CI:-}" ] && exit 1
  exit 0
}

found && exit 0
command -v apt-get >/dev/null || missing 'this script knows apt-get only'

if [ "$(id -u)" = 0 ]; then as_root=()
elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then as_root=(sudo)
else missing 'installing needs root or sudo'; fi

echo 'Installing PostgreSQL for the tests …'
export DEBIAN_FRONTEND=noninteractive
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 "$@" >/dev/null; }
apt update || missing 'apt-get update failed'
apt install -y --no-install-recommends postgresql-common || missing 'apt-get install failed'
# the package would make and start a cluster; the tests make their own
"${as_root[@]}" sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' \
  /etc/postgresql-common/createcluster.conf
apt install -y --no-install-recommends postgresql || missing 'apt-get install failed'
found || missing 'its programs are not in /usr/lib/postgresql'
