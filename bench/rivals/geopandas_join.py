"""`geopandas.sjoin` with circles drawn as 64-gons: wrong next to rims."""

from __future__ import annotations

import geopandas
import shapely

from bench._workload import Fences, Ints, Pings
from bench.rivals._shapes import drawn


class Matcher:
    """A GeoDataFrame of fences, joined with one of pings."""

    def __init__(self, fences: Fences) -> None:
        self.shapes = drawn(fences)

    def build(self) -> None:
        self.frame = geopandas.GeoDataFrame(geometry=self.shapes, crs=4326)
        self.frame.sindex.query(shapely.Point(0, 0))

    def match(self, pings: Pings) -> tuple[Ints, Ints]:
        points = geopandas.points_from_xy(pings.lon, pings.lat)
        left = geopandas.GeoDataFrame(geometry=points, crs=4326)
        joined = geopandas.sjoin(left, self.frame, predicate="intersects")
        return joined.index.to_numpy(), joined["index_right"].to_numpy()
