"""Run by bench/.venv: `_foreign.py NAME given.npz answer.npz` matches once to warm up, then five times.

Prints pings_per_s (CPU clock, median), build_s and whether circles are circles to it; knows nothing of
Nearcast, which is not installed there.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Any

import numpy as np
import shapely


class Duckdb:
    """SPATIAL_JOIN of points and 64-gons."""

    exact = False

    def __init__(self, given: dict[str, Any]) -> None:
        import duckdb
        import pandas as pd

        self.db = duckdb.connect()
        self.db.execute("load spatial; set threads = 1")
        fences = pd.DataFrame({"id": np.arange(len(given["wkb"])), "wkb": given["wkb"]})
        self.db.execute("create table fences as select id, ST_GeomFromWKB(wkb) as geom from fences")
        del fences

    def match(self, lon: Any, lat: Any) -> tuple[Any, Any]:
        import pandas as pd

        pings = pd.DataFrame({"id": np.arange(len(lon)), "lon": lon, "lat": lat})
        found = self.db.execute(
            "select p.id as ping, f.id as fence "
            "from (select id, ST_Point(lon, lat) as geom from pings) p "
            "join fences f on ST_Intersects(f.geom, p.geom)"
        ).fetchnumpy()
        del pings
        return found["ping"], found["fence"]


class Sedonadb:
    """Its spatial join of points and 64-gons."""

    exact = False

    def __init__(self, given: dict[str, Any]) -> None:
        import geopandas
        import sedonadb

        self.db = sedonadb.connect()
        shapes = shapely.from_wkb(given["wkb"])
        frame = geopandas.GeoDataFrame({"fence": np.arange(len(shapes))}, geometry=shapes, crs=4326)
        self.db.create_data_frame(frame).to_memtable().to_view("fences", overwrite=True)

    def match(self, lon: Any, lat: Any) -> tuple[Any, Any]:
        import geopandas

        points = geopandas.points_from_xy(lon, lat)
        frame = geopandas.GeoDataFrame({"ping": np.arange(len(lon))}, geometry=points, crs=4326)
        self.db.create_data_frame(frame).to_view("pings", overwrite=True)
        found = self.db.sql(
            "SELECT p.ping, f.fence FROM pings p JOIN fences f ON ST_Intersects(f.geometry, p.geometry)"
        ).to_arrow_table()
        return found["ping"].to_numpy(), found["fence"].to_numpy()


class H3:
    """An inverted index of hexagons that overlap a fence, some five across it; exact afterwards."""

    exact = True
    #: edge of a hexagon in metres by resolution
    EDGES = ((4, 26_000), (5, 9_850), (6, 3_725), (7, 1_406), (8, 531), (9, 201), (10, 76))

    def __init__(self, given: dict[str, Any]) -> None:
        import h3
        from pyproj import Geod

        self.geod = Geod(ellps="WGS84")
        self.is_circle = given["is_circle"]
        self.centre = given["centre_lon"], given["centre_lat"], given["radius_m"]
        self.shape = shapely.from_wkb(given["wkb"])
        shapely.prepare(self.shape)
        self.cells: dict[int, list[int]] = {}
        found = set()
        for row, shape in enumerate(self.shape):
            _, south, _, north = shape.bounds
            wide_m = (north - south) * 111_000
            level = next((level for level, edge in self.EDGES if edge * 5 <= wide_m), 10)
            found.add(level)
            grown = shape.buffer((north - south) * 0.01) if self.is_circle[row] else shape
            outline = h3.geo_to_h3shape(grown)
            for cell in h3.h3shape_to_cells_experimental(outline, level, contain="overlap"):
                self.cells.setdefault(h3.str_to_int(cell), []).append(row)
        self.levels = sorted(found, reverse=True)

    def match(self, lon: Any, lat: Any) -> tuple[Any, Any]:
        import h3.api.basic_int as h3

        ping, fence = [], []
        for number, (x, y) in enumerate(zip(lon.tolist(), lat.tolist(), strict=True)):
            finest = h3.latlng_to_cell(y, x, self.levels[0])
            for level in self.levels:
                rows = self.cells.get(h3.cell_to_parent(finest, level), ())
                ping += [number] * len(rows)
                fence += rows
        return self._refined(lon, lat, np.array(ping, np.int64), np.array(fence, np.int64))

    def _refined(self, lon: Any, lat: Any, ping: Any, fence: Any) -> tuple[Any, Any]:
        held = np.zeros(len(ping), bool)
        circle = self.is_circle[fence]
        of, at = fence[circle], ping[circle]
        metres = self.geod.inv(self.centre[0][of], self.centre[1][of], lon[at], lat[at])[2]
        held[circle] = metres <= self.centre[2][of] + 1e-6
        of, at = fence[~circle], ping[~circle]
        held[~circle] = shapely.intersects_xy(self.shape[of], lon[at], lat[at])
        return ping[held], fence[held]


def main(name: str, given_path: str, answer_path: str) -> None:
    """One rival."""
    given = dict(np.load(given_path, allow_pickle=True))
    begun = time.process_time()
    made = {"duckdb": Duckdb, "sedonadb": Sedonadb, "h3": H3}[name](given)
    build_s = time.process_time() - begun
    lon, lat = given["lon"], given["lat"]
    made.match(lon, lat)
    seconds = []
    for _ in range(5):
        begun = time.process_time()
        ping, fence = made.match(lon, lat)
        seconds.append(time.process_time() - begun)
    np.savez(answer_path, ping=np.asarray(ping, np.int64), fence=np.asarray(fence, np.int64))
    per_s = round(len(lon) / statistics.median(seconds))
    sys.stdout.write(
        json.dumps({"pings_per_s": per_s, "build_s": round(build_s, 3), "exact": made.exact})
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
