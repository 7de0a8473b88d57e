"""Nearcast as it stands behind the runner: the index of fence versions, compiled to cells."""

from __future__ import annotations

import time

import shapely

from bench._child import median_s, resident_mb
from bench._workload import Fences, Ints, Pings
from bench.rivals._shapes import polygons
from geo.fences.fence import CircleShape, Fence, FenceVersion, PolygonShape, Shape
from geo.matching.hits import Pairs
from geo.matching.index import FenceIndex
from geo.matching.kernels import warm

ALWAYS_MS = 1 << 60


def versions_of(fences: Fences, *, first_id: int = 0) -> list[FenceVersion]:
    """The fences as Nearcast knows them, always live."""
    outline = shapely.orient_polygons(polygons(fences))
    columns = (fences.lon, fences.lat, fences.radius_m, outline)
    found = []
    for number, (lon, lat, radius_m, polygon) in enumerate(
        zip(*(column.tolist() for column in columns), strict=True), first_id
    ):
        shape: Shape = (
            PolygonShape(geometry=polygon)
            if polygon is not None
            else CircleShape(lon=lon, lat=lat, radius_m=radius_m)
        )
        found.append(version(number, shape))
    return found


def version(number: int, shape: Shape) -> FenceVersion:
    """One version of a fence, always live."""
    return FenceVersion(
        fence_id=number,
        version=1,
        live_from_ms=0,
        live_until_ms=ALWAYS_MS,
        time_zone="UTC",
        fence=Fence(name=f"fence {number}", shape=shape),
    )


class Matcher:
    """`FenceIndex.pairs`, by cells. Kernels are loaded before anything is measured: see `_starts`."""

    single_pings = 20_000

    def __init__(self, fences: Fences) -> None:
        warm()
        self.versions = versions_of(fences)
        # the R-tree path answers first; what is measured as the build is the compiled index
        before_mb, begun = resident_mb(), time.process_time()
        self.index = FenceIndex.build(self.versions)
        self.rtree_s = time.process_time() - begun
        self.rtree_mb = resident_mb() - before_mb

    def build(self) -> None:
        self.index.compile()

    def match(self, pings: Pings) -> Pairs:
        return self.index.pairs(lon=pings.lon, lat=pings.lat)

    def columns(self, found: Pairs) -> tuple[Ints, Ints]:
        """Two columns from the leanest form."""
        hits = found.hits()
        return hits.ping, hits.fence

    def one(self, lon: float, lat: float) -> list[int]:
        return self.index.match_one(lon, lat)

    def more(self, fences: Fences, pings: Pings, runs: int) -> dict[str, float]:
        """The figures that only Nearcast has."""
        from bench import _live  # it makes versions by this file

        hits_s, _ = median_s(
            lambda: self.index.match(lon=pings.lon, lat=pings.lat), runs, time.process_time
        )
        told: dict[str, float] = {
            "rtree_build_s": round(self.rtree_s, 3),
            "rtree_memory_mb": round(self.rtree_mb, 1),
            "as_columns_pings_per_s": round(len(pings) / hits_s),
            **_live.verdicts(self.index, pings, runs),
        }
        index, changed = _live.changes(self.index, fences)
        return told | changed | _live.under_load(index, pings, runs) | _live.bulk(index, fences)
