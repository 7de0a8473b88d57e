"""rtree, ping by ping: candidates by box, then prepared polygons and geodesics, in a Python loop."""

from __future__ import annotations

import numpy as np
import rtree
import shapely

from bench._workload import Fences, Ints, Pings
from bench.rivals._shapes import OneByOne, asked_one_by_one, polygons


class Matcher:
    """`rtree.index.Index.intersection` for each ping."""

    def __init__(self, fences: Fences) -> None:
        self.fences = fences
        self.boxes = fences.boxes()
        self.polygon = polygons(fences)
        self.one_by_one = OneByOne(fences, self.polygon)

    def build(self) -> None:
        shapely.prepare(self.polygon)
        low, high = self.boxes[:, :2].copy(), self.boxes[:, 2:].copy()
        self.tree = rtree.index.Index((np.arange(len(self.fences)), low, high))

    def match(self, pings: Pings) -> tuple[Ints, Ints]:
        return asked_one_by_one(self.one, pings)

    def one(self, lon: float, lat: float) -> list[int]:
        return self.one_by_one.held(lon, lat, self.tree.intersection((lon, lat, lon, lat)))

    def insert(self, row: int) -> None:
        self.tree.insert(len(self.fences) + row, tuple(self.boxes[row]))

    def remove(self, row: int) -> None:
        self.tree.delete(len(self.fences) + row, tuple(self.boxes[row]))
