"""The other ways to match, each one class: `exact` says whether circles are circles to it.

Those that Nearcast does not depend on run in bench/.venv (`scripts/make_bench_venv.sh`): see `_foreign`.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rtree
import shapely

from bench import _world
from geo.fences.fence import CircleShape, FenceVersion
from geo.measure import WGS84, circle_boxes, circle_ring

Pairs = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
HERE = Path(__file__).parent
FOREIGN_PYTHON = HERE / ".venv/bin/python"
FOREIGN = ("duckdb", "sedonadb", "h3")
#: where PostGIS is, if anywhere: a libpq connection string
POSTGIS = os.environ.get("NEARCAST_BENCH_POSTGIS", "")


class StrtreeBoxes:
    """Boxes in a shapely STRtree, then geodesic and prepared polygons in columns: the best exact."""

    exact = True

    def __init__(self, versions: Sequence[FenceVersion]) -> None:
        shapes = [version.fence.shape for version in versions]
        self.is_circle = np.array([isinstance(s, CircleShape) for s in shapes])
        self.lon, self.lat, self.radius_m = np.array(
            [(s.lon, s.lat, s.radius_m) if isinstance(s, CircleShape) else (np.nan,) * 3 for s in shapes]
        ).T
        self.polygon = np.array(
            [None if isinstance(s, CircleShape) else s.geometry for s in shapes], object
        )
        round_ = np.array(circle_boxes(lon=self.lon, lat=self.lat, radius_m=self.radius_m))
        bounds = np.where(self.is_circle, round_, shapely.bounds(self.polygon).T)
        shapely.prepare(self.polygon)
        self.bounds = bounds
        self.tree = shapely.STRtree(shapely.box(*bounds))

    def match(self, pings: _world.PingColumns) -> Pairs:
        return self.refined(pings, *self.tree.query(shapely.points(pings.lon, pings.lat)))

    def refined(self, pings: _world.PingColumns, ping: Any, fence: Any) -> Pairs:
        """The pairs that hold, of those whose boxes do."""
        held = np.zeros(len(ping), bool)
        circle, polygon = self.is_circle[fence], ~self.is_circle[fence]
        at, of = ping[circle], fence[circle]
        _, _, metres = WGS84.inv(pings.lon[at], pings.lat[at], self.lon[of], self.lat[of])
        held[circle] = metres <= self.radius_m[of] + 1e-6
        at = ping[polygon]
        shape = self.polygon[fence[polygon]]
        held[polygon] = shapely.intersects_xy(shape, pings.lon[at], pings.lat[at])
        return ping[held], fence[held]


class RtreeBulk(StrtreeBoxes):
    """`rtree.Index.intersection_v`, then the same refinement."""

    def __init__(self, versions: Sequence[FenceVersion]) -> None:
        super().__init__(versions)
        west, south, east, north = self.bounds
        low, high = np.column_stack([west, south]), np.column_stack([east, north])
        self.index = rtree.index.Index((np.arange(len(low)), low, high))

    def match(self, pings: _world.PingColumns) -> Pairs:
        at = np.column_stack([pings.lon, pings.lat])
        fence, count = self.index.intersection_v(at, at)
        ping = np.repeat(np.arange(len(at)), count.astype(np.int64))
        return self.refined(pings, ping, fence.astype(np.int64))


class RtreeEach(RtreeBulk):
    """`rtree` point by point, then each fence by itself: what most programs do."""

    def match(self, pings: _world.PingColumns) -> Pairs:
        found = [
            (ping, fence)
            for ping, (x, y) in enumerate(zip(pings.lon.tolist(), pings.lat.tolist(), strict=True))
            for fence in self.index.intersection((x, y, x, y))
            if self._holds(fence, x, y)
        ]
        ping, fence = np.array(found, np.int64).reshape(-1, 2).T
        return ping, fence

    def _holds(self, fence: int, x: float, y: float) -> bool:
        if self.is_circle[fence]:
            return WGS84.inv(self.lon[fence], self.lat[fence], x, y)[2] <= self.radius_m[fence] + 1e-6
        return bool(self.polygon[fence].covers(shapely.Point(x, y)))


class GeopandasJoin:
    """`geopandas.sjoin` with circles drawn as 64-gons, as many do: wrong next to rims."""

    exact = False

    def __init__(self, versions: Sequence[FenceVersion]) -> None:
        shapes = [_drawn(version) for version in versions]
        self.frame = geopandas.GeoDataFrame(geometry=shapes, crs=4326)
        self.frame.sindex.query(shapely.Point(0, 0))

    def match(self, pings: _world.PingColumns) -> Pairs:
        points = geopandas.points_from_xy(pings.lon, pings.lat)
        left = geopandas.GeoDataFrame(geometry=points, crs=4326)
        joined = geopandas.sjoin(left, self.frame, predicate="intersects")
        return joined.index.to_numpy(), joined["index_right"].to_numpy()


class Postgis:
    """PostGIS: GiST over boxes, circles by `geography`."""

    exact = True

    def __init__(self, versions: Sequence[FenceVersion]) -> None:
        import psycopg

        shapes = StrtreeBoxes(versions)
        self.conn = psycopg.connect(POSTGIS, autocommit=True)
        for line in ("create extension if not exists postgis", "drop table if exists pg_temp.fences"):
            self.conn.execute(line)
        self.conn.execute(
            "create temp table fences "
            "(id int, circle bool, geom geometry, centre geography, radius_m float8)"
        )
        outline = shapes.polygon.copy()
        outline[shapes.is_circle] = shapely.box(*shapes.bounds[:, shapes.is_circle])
        centre = shapely.points(np.nan_to_num(shapes.lon), np.nan_to_num(shapes.lat))
        columns = (
            shapely.to_wkb(shapely.set_srid(g, 4326), hex=True, include_srid=True)
            for g in (outline, centre)
        )
        with self.conn.cursor().copy("copy fences from stdin") as rows:
            for row in zip(
                range(len(outline)),
                shapes.is_circle.tolist(),
                *columns,
                shapes.radius_m.tolist(),
                strict=True,
            ):
                rows.write_row(row)
        self.conn.execute("create index on fences using gist (geom)")
        self.conn.execute("analyze fences")
        self.conn.execute("create temp table pings (id int, geom geometry)")

    def match(self, pings: _world.PingColumns) -> Pairs:
        self.conn.execute("truncate pings")
        with self.conn.cursor().copy("copy pings from stdin") as rows:
            for row in enumerate(zip(pings.lon.tolist(), pings.lat.tolist(), strict=True)):
                rows.write_row((row[0], f"SRID=4326;POINT({row[1][0]!r} {row[1][1]!r})"))
        found = self.conn.execute(
            "select p.id, f.id from pings p join fences f on f.geom && p.geom and case when f.circle "
            "then ST_DWithin(f.centre, p.geom::geography, f.radius_m) else ST_Covers(f.geom, p.geom) end"
        ).fetchall()
        ping, fence = np.array(found, np.int64).reshape(-1, 2).T
        return ping, fence


#: in this process; PostGIS's own process is not on its clock, so its wall time is told
RIVALS = {
    "rtree": RtreeEach,
    "rtree_bulk": RtreeBulk,
    "strtree": StrtreeBoxes,
    "geopandas": GeopandasJoin,
    "postgis": Postgis,
}
ON_WALL_CLOCK = {"postgis"}


def _drawn(version: FenceVersion) -> shapely.Polygon:
    shape = version.fence.shape
    if isinstance(shape, CircleShape):
        ring = circle_ring(lon=shape.lon, lat=shape.lat, radius_m=shape.radius_m, points=64)
        return shapely.Polygon(ring)
    return shape.geometry


def foreign(name: str, versions: Sequence[FenceVersion], pings: _world.PingColumns) -> dict[str, Any]:
    """Figures and pairs of a rival in bench/.venv: pings_per_s, build_s, ping, fence, exact."""
    shapes = StrtreeBoxes(versions)
    is_circle = shapes.is_circle
    outline = np.array([_drawn(version) for version in versions], object)
    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder) / "given.npz", Path(folder) / "answer.npz"
        np.savez(
            given,
            lon=pings.lon,
            lat=pings.lat,
            is_circle=is_circle,
            centre_lon=shapes.lon,
            centre_lat=shapes.lat,
            radius_m=shapes.radius_m,
            wkb=np.array(shapely.to_wkb(outline).tolist(), object),
        )
        done = subprocess.run(
            [FOREIGN_PYTHON, HERE / "_foreign.py", name, given, answer], capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"{name}: {done.stderr.strip().splitlines()[-1:]}")
        pairs = np.load(answer)
        return json.loads(done.stdout) | {"ping": pairs["ping"], "fence": pairs["fence"]}
