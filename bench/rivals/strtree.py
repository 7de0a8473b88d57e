"""shapely's STRtree over boxes, refined in columns: the best exact rival that pip installs."""

from __future__ import annotations

import numpy as np
import shapely

from bench._workload import Fences, Ints, Pings
from bench.rivals._shapes import polygons, refined

#: pings asked together; a million at once, or 10,000, took a tenth longer (1,000 and 10,000 fences)
TOGETHER = 100_000


class Matcher:
    """Candidates by box; then prepared polygons and geodesics on what is left."""

    def __init__(self, fences: Fences) -> None:
        self.fences = fences
        self.polygon = polygons(fences)
        self.boxes = shapely.box(*fences.boxes().T)

    def build(self) -> None:
        shapely.prepare(self.polygon)
        self.tree = shapely.STRtree(self.boxes)
        self.tree.query(shapely.Point(0, 0))  # the tree is made by the first query

    def match(self, pings: Pings) -> tuple[Ints, Ints]:
        parts = [self._part(pings, first) for first in range(0, len(pings), TOGETHER)]
        ping, fence = zip(*parts, strict=True)
        return np.concatenate(ping), np.concatenate(fence)

    def _part(self, pings: Pings, first: int) -> tuple[Ints, Ints]:
        some = slice(first, first + TOGETHER)
        pings = Pings(pings.lon[some], pings.lat[some], pings.accuracy_m[some])
        ping, fence = self.tree.query(shapely.points(pings.lon, pings.lat))
        ping, fence = refined(self.fences, self.polygon, pings, ping, fence)
        return ping + first, fence

    def one(self, lon: float, lat: float) -> list[int]:
        fence = self.tree.query(shapely.Point(lon, lat))
        one = Pings(np.array([lon]), np.array([lat]), np.zeros(1))
        found: list[int] = refined(self.fences, self.polygon, one, np.zeros_like(fence), fence)[
            1
        ].tolist()
        return found
