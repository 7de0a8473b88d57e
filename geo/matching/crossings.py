"""Inferred crossings: a move between two fixes that went through a fence unseen (product P7).

Of fast drivers and small fences the fixes may stand on both sides and none within. A crossing is told
of and is no evidence. Only fences whose campaigns ask for it are looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely

from geo.antimeridian import normalize_lon
from geo.matching.certainty import CertaintyPolicy, Verdict, judge
from geo.matching.index import FenceIndex
from geo.matching.move_lines import Moves, Plane, around, cells, first_on, lines_of, lowest_near, short
from geo.matching.pings import Bools, Floats, Ints, Pings
from geo.matching.recent import Looked
from geo.measure import RIM_TOLERANCE_M, distance_m

#: product P7; both closed
MAX_SECONDS = 120
MAX_MOVE_M = 3_000.0
#: a line is tried at so many places, and between them as parabolas
_SAMPLES = 17
_HALVINGS = 24


@dataclass(frozen=True, kw_only=True)
class Crossed:
    """Moves that went through a fence, sorted by (ping, fence).

    Attributes:
        ping: rows of the batch: the fix at which the move ended.
        fence: rows of the index.
        at_ms: when the straight move first met the fence, at even speed.
        lon, lat: where.
    """

    ping: Ints
    fence: Ints
    at_ms: Ints
    lon: Floats
    lat: Floats

    def __len__(self) -> int:
        return len(self.ping)


class Crossings:
    """The fences of an index that campaigns ask crossings of. Reading is thread-safe."""

    def __init__(self, index: FenceIndex, rows: Ints) -> None:
        self._index = index
        self._rows = rows
        if len(rows):
            boxes, of = index.columns.boxes()
            chosen = np.isin(of, rows)
            boxes, self._of = boxes[chosen], of[chosen]
            self._around = around(boxes)
            self._tree = shapely.STRtree(shapely.linestrings(boxes.reshape(-1, 2, 2)))
            self._tree.query(shapely.Point(0.0, 0.0))  # built now, not by the first of several readers
            # copies of their own: asked for lines, a prepared one builds what threads must not share
            self._shapes: dict[int, Any] = {
                row: shapely.from_wkb(shapely.to_wkb(index.polygons.geometry[row]))
                for row in rows.tolist()
                if not index.is_circle[row]
            }

    @classmethod
    def build(cls, index: FenceIndex, rows: Ints) -> Crossings:
        """Of these rows of an index; other rows are never crossed.

        Args:
            rows: as many as campaigns opted in, in any order; none costs nothing.
        """
        return cls(index, np.unique(np.asarray(rows, np.int64)))

    def __len__(self) -> int:
        return len(self._rows)

    def find(
        self, pings: Pings, before: Looked, *, policy: CertaintyPolicy, counts: Bools | None = None
    ) -> Crossed:
        """Which moves of this batch went through a fence.

        A move lasts more than 0 and at most 120 s and spans at most 3 km. Both of its fixes are out for
        the fence by their verdict (in or undecided: then an enter tells, or nothing can be said), and
        its line, straight in longitude and latitude as edges of polygons are, meets the shape while the
        version is live. A circle is met where the geodesic distance to its centre is at most the radius
        + 1e-6 m; the nearest place of the line is found to 1 mm. A rim that is only touched is met.

        Args:
            before: the fix before each ping; its platform is taken to be the same.
            counts: pings that are fixes; None: all of them.
        """
        if not len(self):
            return _none()
        moves = self._moves(pings, before, counts)
        if not len(moves.row):
            return _none()
        move, fence = self._near(moves)
        moves = moves.take(move)
        share = self._meet(moves, fence)
        met = np.flatnonzero(np.isfinite(share))
        moves, fence, share = moves.take(met), fence[met], share[met]
        then = before.before_at_ms[moves.row]
        at_ms = then + np.round((pings.at_ms[moves.row] - then) * share).astype(np.int64)
        index = self._index
        live = (index.live_from_ms[fence] <= at_ms) & (at_ms < index.live_until_ms[fence])
        found = np.flatnonzero(live & self._both_out(pings, before, moves.row, fence, policy))
        found = found[np.lexsort((fence[found], moves.row[found]))]
        lon, lat = moves.at(share)
        return Crossed(
            ping=moves.row[found],
            fence=fence[found],
            at_ms=at_ms[found],
            lon=normalize_lon(lon[found]),
            lat=lat[found],
        )

    def _moves(self, pings: Pings, before: Looked, counts: Bools | None) -> Moves:
        """Moves that are short enough in time and place, and end near some fence."""
        lasted_ms = pings.at_ms - before.before_at_ms
        some = (before.before_at_ms >= 0) & (lasted_ms > 0) & (lasted_ms <= MAX_SECONDS * 1000)
        some &= ~before.cached & (np.abs(pings.lon) <= 180) & (np.abs(pings.lat) <= 90)
        row = np.flatnonzero(some if counts is None else some & counts)
        row = row[self._around[cells(pings.lon[row], pings.lat[row])]]
        lon, lat = before.before_lon[row], before.before_lat[row]
        east, north = pings.lon[row] - lon, pings.lat[row] - lat
        east -= 360.0 * np.round(east / 360.0)
        near = short(lon, lat, east, north, within_m=MAX_MOVE_M)
        return Moves(row=row[near], lon=lon[near], lat=lat[near], east=east[near], north=north[near])

    def _near(self, moves: Moves) -> tuple[Ints, Ints]:
        """Pairs of a move and a fence whose box its line meets, each once."""
        found = []
        for turn in (0.0, 360.0, -360.0):
            start, end = moves.lon + turn, moves.lon + moves.east + turn
            there = (np.minimum(start, end) <= 180.0) & (np.maximum(start, end) >= -180.0)
            some = np.flatnonzero(there)
            line, box = self._tree.query(lines_of(moves.take(some), turn))
            found.append(some[line] * len(self._index) + self._of[box])
        pair = np.unique(np.concatenate(found))
        return pair // len(self._index), pair % len(self._index)

    def _meet(self, moves: Moves, fence: Ints) -> Floats:
        """How far each move has gone when it first meets its fence, 0 to 1; NaN where it does not."""
        share = np.full(len(fence), np.nan)
        of_circle = self._index.is_circle[fence]
        for chosen, meet in ((of_circle, self._meet_circles), (~of_circle, self._meet_polygons)):
            some = np.flatnonzero(chosen)
            if len(some):
                share[some] = meet(moves.take(some), fence[some])
        return share

    def _meet_circles(self, moves: Moves, fence: Ints) -> Floats:
        """In the plane about the centre where it is sure of the answer, else by geodesics."""
        circles = self._index.circles
        lon, lat, radius_m = circles.lon[fence], circles.lat[fence], circles.radius_m[fence]
        plane = Plane.about(moves, lon, lat)
        nearest_m = plane.away_m(plane.nearest)
        sure = plane.is_flat & (np.abs(nearest_m - radius_m) > plane.error_m)
        share = np.full(len(fence), np.nan)
        anew = np.flatnonzero(~sure)
        if len(anew):
            share[anew] = self._meet_circles_anew(moves.take(anew), fence[anew])
        # who stands within at an end is in or undecided
        ends_m = np.minimum(plane.away_m(np.zeros(1)), plane.away_m(np.ones(1)))
        met = sure & (nearest_m < radius_m) & (ends_m > radius_m - plane.error_m)
        some = np.flatnonzero(met)
        entry = plane.entry(radius_m)[some]
        line, slope = moves.take(some), plane.slope(entry, some)
        for _ in range(3):  # each step leaves about a hundredth of the error
            x, y = line.at(entry)
            away = distance_m(lon1=lon[some], lat1=lat[some], lon2=x, lat2=y)
            entry = np.clip(entry - (away**2 - radius_m[some] ** 2) / slope, 0.0, 1.0)
        share[some] = entry
        return share

    def _meet_circles_anew(self, moves: Moves, fence: Ints) -> Floats:
        """Whatever the place: near poles too, where a line straight in degrees is bent."""
        circles = self._index.circles

        def away_m(share: Floats, some: Ints | slice = slice(None)) -> Floats:
            x, y = (c[some] for c in (moves.lon, moves.lat))
            x, y = x + share * moves.east[some], y + share * moves.north[some]
            of = fence[some]
            return distance_m(lon1=circles.lon[of], lat1=circles.lat[of], lon2=x, lat2=y)

        reach_m = circles.radius_m[fence] + RIM_TOLERANCE_M
        tried = np.linspace(0.0, 1.0, _SAMPLES)
        metres = np.stack([away_m(np.full(len(fence), share)) for share in tried])
        first_in = np.argmax(metres <= reach_m, axis=0)
        nearest = tried[np.argmin(metres, axis=0)]
        for step in (1 / (_SAMPLES - 1), 1 / (_SAMPLES - 1) / 16):
            nearest = lowest_near(away_m, nearest, step)
        # the first place tried that is inside, else the nearest
        inside = np.where(metres[first_in, np.arange(len(fence))] <= reach_m, tried[first_in], nearest)
        share = np.full(len(fence), np.nan)
        some = np.flatnonzero(away_m(inside) <= reach_m)
        low, high = np.maximum(inside[some] - 1 / (_SAMPLES - 1), 0.0), inside[some]
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            within = away_m(middle, some) <= reach_m[some]
            low, high = np.where(within, low, middle), np.where(within, middle, high)
        share[some] = high
        return share

    def _meet_polygons(self, moves: Moves, fence: Ints) -> Floats:
        share = np.full(len(fence), np.nan)
        west, east = self._index.polygons.bounds[fence, 0], self._index.polygons.bounds[fence, 2]
        first, last = (
            np.minimum(moves.lon, moves.lon + moves.east),
            np.maximum(moves.lon, moves.lon + moves.east),
        )
        for turn in (0.0, 360.0, -360.0):
            some = np.flatnonzero((first + turn <= east) & (last + turn >= west))
            shapes = np.array([self._shapes[row] for row in fence[some].tolist()], object)
            found = first_on(moves.take(some), shapes, turn)
            share[some] = np.fmin(share[some], found)
        return share

    def _both_out(
        self, pings: Pings, before: Looked, row: Ints, fence: Ints, policy: CertaintyPolicy
    ) -> Bools:
        pairs = len(row)
        judged = judge(
            self._index,
            lon=np.concatenate([before.before_lon[row], pings.lon[row]]),
            lat=np.concatenate([before.before_lat[row], pings.lat[row]]),
            accuracy_m=np.concatenate([before.before_accuracy_m[row], pings.accuracy_m[row]]),
            platform=np.tile(pings.platform[row], 2),
            ping=np.arange(2 * pairs),
            fence=np.tile(fence, 2),
            policy=policy,
        )
        out = judged.verdict == Verdict.OUT
        return np.asarray(out[:pairs] & out[pairs:])


def _none() -> Crossed:
    nothing = np.zeros(0, np.int64)
    return Crossed(ping=nothing, fence=nothing, at_ms=nothing, lon=np.zeros(0), lat=np.zeros(0))
