"""rtree in bulk: `intersection_v` gives all candidates at once, refined in columns."""

from __future__ import annotations

import numpy as np

from bench._workload import Ints, Pings
from bench.rivals import rtree_points
from bench.rivals._shapes import refined


class Matcher(rtree_points.Matcher):
    """The same tree, asked for a column of places."""

    def match(self, pings: Pings) -> tuple[Ints, Ints]:
        places = np.column_stack([pings.lon, pings.lat])
        found, counts = self.tree.intersection_v(places, places)
        ping = np.repeat(np.arange(len(pings)), counts.astype(np.int64))
        return refined(self.fences, self.polygon, pings, ping, found.astype(np.int64))
