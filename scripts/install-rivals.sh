#!/usr/bin/env bash
# What `python -m bench match` measures Nearcast against and Nearcast itself does not depend on:
# DuckDB, SedonaDB and H3 in bench/.venv, PostGIS for the server that the benchmark starts.
# What cannot be installed is skipped by the benchmark, loudly.
set -euo pipefail
cd "$(dirname "$0")/.."

env=bench/.venv
python=${PYTHON:-python3}
[ -x "$env/bin/python" ] || "$python" -m venv "$env"
# duckdb: the newest for which PyPI has the spatial extension, so that nothing is fetched by DuckDB
"$env/bin/python" -m pip install --quiet --disable-pip-version-check \
  'duckdb==1.5.5' 'duckdb-extension-spatial==1.5.5' 'sedonadb==0.5.0' 'h3>=4.5,<5' \
  'geopandas>=1.2,<2' 'numpy>=2.4,<3' 'pyarrow>=26,<27' 'pyproj>=3.7.2,<4' 'shapely>=2.2,<3'
echo "$env is ready."

missing() {
  printf '\n  !! PostGIS is not installed: %s\n  !! It will be SKIPPED; %s\n\n' "$1" \
    'install it (Debian: apt-get install postgresql-NN-postgis-3) and run again.' >&2
  exit 0
}

scripts/install-postgres.sh
server=$(compgen -G '/usr/lib/postgresql/*/bin/initdb' | sort -V | tail -1 | cut -d/ -f5) || true
[ -n "$server" ] || missing 'there is no PostgreSQL of Debian here'
[ -e "/usr/share/postgresql/$server/extension/postgis.control" ] && exit 0
command -v apt-get >/dev/null || missing 'this script knows apt-get only'
if [ "$(id -u)" = 0 ]; then as_root=()
elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then as_root=(sudo)
else missing 'installing needs root or sudo'; fi
echo "Installing PostGIS for PostgreSQL $server …"
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 \
  install -y --no-install-recommends "postgresql-$server-postgis-3" >/dev/null || missing 'apt-get install failed'
