#!/bin/sh
# The rivals that Nearcast does not depend on, in an environment of their own: bench/.venv
set -eu
cd "$(dirname "$0")/.."
[ -x bench/.venv/bin/python ] || "${PYTHON:-python3}" -m venv bench/.venv
bench/.venv/bin/python -m pip install --quiet --disable-pip-version-check \
  "duckdb>=1.5,<2" "h3>=4.3,<5" "numpy>=2.4,<3" "pandas>=2.3" "pyarrow>=26,<27" "pyproj>=3.7.2,<4" \
  "sedonadb[geopandas]>=0.3" "shapely>=2.2,<3"
# DuckDB keeps its spatial part elsewhere; without it that rival is left out
bench/.venv/bin/python -c 'import duckdb; duckdb.connect().execute("install spatial")' ||
  echo "DuckDB's spatial extension could not be fetched; the rival duckdb will be left out." >&2
