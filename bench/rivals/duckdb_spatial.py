"""DuckDB's spatial extension: its SPATIAL_JOIN operator, circles drawn as 64-gons.

The extension comes from PyPI (`duckdb-extension-spatial`) and is loaded from there: DuckDB's own
INSTALL would fetch it from the net.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import shapely

from bench._workload import Fences, Ints, Pings
from bench.rivals import Unavailable
from bench.rivals._shapes import drawn

JOIN = (
    "SELECT p.id, f.fid FROM (SELECT id, ST_Point(lon, lat) AS geom FROM pings) p "
    "JOIN f ON ST_Intersects(f.geom, p.geom)"
)


class Matcher:
    """The fences as a table in memory; the pings as an Arrow table."""

    def __init__(self, fences: Fences) -> None:
        wkb = shapely.to_wkb(drawn(fences))
        self.rows = pa.table({"fid": np.arange(len(fences)), "wkb": pa.array(wkb)})
        self.db = duckdb.connect()
        self.db.execute(f"LOAD '{_extension()}'")
        self.db.execute("SET threads = 1")

    def build(self) -> None:
        self.db.register("given", self.rows)
        self.db.execute("CREATE TABLE f AS SELECT fid, ST_GeomFromWKB(wkb) AS geom FROM given")

    def match(self, pings: Pings) -> tuple[Ints, Ints]:
        rows = {"id": np.arange(len(pings)), "lon": pings.lon, "lat": pings.lat}
        self.db.register("pings", pa.table(rows))
        found = self.db.sql(JOIN).fetchnumpy()
        return found["id"], found["fid"]

    def memory_mb(self) -> float:
        """What DuckDB says it holds; its memory is partly what freed Arrow columns had before."""
        row = self.db.execute("SELECT sum(memory_usage_bytes) FROM duckdb_memory()").fetchone()
        return float(row[0]) / 1e6


def _extension() -> Path:
    try:
        folder = Path(str(files("duckdb_extension_spatial")))
    except ModuleNotFoundError:
        raise Unavailable("duckdb-extension-spatial is not installed.") from None
    found = folder / "extensions" / f"v{duckdb.__version__}" / "spatial.duckdb_extension"
    if not found.exists():
        raise Unavailable(f"duckdb-extension-spatial has no build for DuckDB {duckdb.__version__}.")
    return found
