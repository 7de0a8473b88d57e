"""PostGIS: a GiST index, polygons by ST_Covers, circles by ST_DWithin on geography; exact.

It starts a server of its own in a temporary folder. The pings are in a table before the clock runs;
the backend's CPU time counts.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import psycopg
import shapely

from bench._workload import Fences, Ints, Pings
from bench.rivals import Unavailable
from bench.rivals._shapes import RIM_M, polygons
from tests.postgres import NoPostgres, Postgres

HOLDS = (
    "f.box && p.place AND CASE WHEN f.shape IS NOT NULL THEN ST_Covers(f.shape, p.place) "
    f"ELSE ST_DWithin(f.centre, p.place::geography, f.radius_m + {RIM_M}) END"
)
TABLES = """
CREATE TABLE fences (id int PRIMARY KEY, box geometry(Polygon, 4326), shape geometry(Polygon, 4326),
    centre geography(Point, 4326), radius_m float8);
CREATE UNLOGGED TABLE pings (id int, place geometry(Point, 4326));
SET max_parallel_workers_per_gather = 0;
SET jit = off;
"""
PLACE = "SELECT ST_SetSRID(ST_MakePoint(%s, %s), 4326) AS place"
ONE = f"SELECT f.id FROM fences f, ({PLACE}) p WHERE {HOLDS}"


class Matcher:
    """One connection to a server of its own."""

    def __init__(self, fences: Fences) -> None:
        try:
            self.server = Postgres()
        except NoPostgres as missing:
            raise Unavailable(str(missing)) from None
        target = f"host={self.server.folder} user=nearcast dbname={self.server.create()}"
        self.db = psycopg.connect(target, autocommit=True)
        try:
            self.db.execute("CREATE EXTENSION postgis")
        except psycopg.Error as error:
            self.close()
            raise Unavailable(f"PostGIS is not installed for this server: {error}") from None
        self.db.execute(TABLES)
        self.loaded = 0
        self.count = len(fences)
        self.rows = list(
            zip(
                range(len(fences)),
                _hex(shapely.box(*fences.boxes().T)),
                _hex(polygons(fences)),
                _hex(shapely.points(fences.lon, fences.lat)),
                np.where(fences.is_circle, fences.radius_m, 0.0).tolist(),
                strict=True,
            )
        )

    def close(self) -> None:
        """End the connection and the server."""
        self.db.close()
        self.server.stop()

    def build(self) -> None:
        with self.db.cursor().copy("COPY fences FROM STDIN") as copy:
            for row in self.rows:
                copy.write_row(row)
        self.db.execute("CREATE INDEX ON fences USING gist (box)")
        self.db.execute("VACUUM ANALYZE fences")

    def prepare(self, pings: Pings) -> None:
        """Put the pings into their table; not timed."""
        self.db.execute("TRUNCATE pings")
        with self.db.cursor().copy("COPY pings FROM STDIN") as copy:
            for row in enumerate(_hex(shapely.points(pings.lon, pings.lat))):
                copy.write_row(row)
        self.db.execute("ANALYZE pings")

    def match(self, pings: Pings) -> tuple[Ints, Ints]:
        cursor = self.db.cursor(binary=True)
        cursor.execute(f"SELECT p.id, f.id FROM pings p JOIN fences f ON {HOLDS}")
        ping, fence = np.array(cursor.fetchall(), np.int64).reshape(-1, 2).T
        return ping, fence

    def one(self, lon: float, lat: float) -> list[int]:
        return [row[0] for row in self.db.execute(ONE, (lon, lat), prepare=True)]

    def insert(self, row: int) -> None:
        _, *rest = self.rows[row]
        twin = (self.count + row, *rest)
        self.db.execute("INSERT INTO fences VALUES (%s, %s, %s, %s, %s)", twin, prepare=True)

    def remove(self, row: int) -> None:
        self.db.execute("DELETE FROM fences WHERE id = %s", (self.count + row,), prepare=True)

    def also_cpu_s(self) -> float:
        """CPU seconds of the backend."""
        told = Path(f"/proc/{self.db.info.backend_pid}/stat").read_text(encoding="utf-8")
        user, system = told.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float:
        """The table with its indexes."""
        row = self.db.execute("SELECT pg_total_relation_size('fences')").fetchone()
        assert row is not None
        return row[0] / 1e6


def _hex(shapes: np.ndarray) -> list[str]:
    found: list[str] = shapely.to_wkb(
        shapely.set_srid(shapes, 4326), hex=True, include_srid=True
    ).tolist()
    return found
