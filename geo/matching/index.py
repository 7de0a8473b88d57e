"""The fence index: R-trees of boxes find the candidates, exact geometry settles them (product F8, P2).

Two trees over the same boxes: shapely's STRtree answers columns of pings and may be read by many
threads; `rtree` answers single boxes behind one lock, because libspatialindex is not thread-safe
(quality.md §2). An index is never changed: a new one is built aside and swapped in.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

import numpy as np
import rtree
import shapely
from numpy.typing import NDArray

from geo.antimeridian import normalize_lon
from geo.errors import NearcastError
from geo.fences.fence import CircleShape, FenceVersion
from geo.matching.circles import Circles
from geo.matching.hits import Hits
from geo.matching.polygons import Polygons
from geo.measure import circle_boxes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: P(inside) ≥ 0.5 reaches at most sqrt(2 ln 2) = 1.1774 sigma outside of any shape (certainty.md §4);
#: sigma is at most accuracy / sqrt(2) (iOS), or the floor of 3 m. For Android it is 0.78 × accuracy.
ENTER_REACH = 1.1775 / np.sqrt(2.0)
_LEAST_REACH_M = 1.1775 * 3.0
#: a fix coarser than this enters only fences so large that missing it outside costs nothing
_MOST_REACH_M = 2_000.0
#: boxes moved by a turn are rounded: this is 0.1 mm, and what it lets in is settled exactly
_OUTWARD_DEG = 1e-9
#: for all indexes together: libspatialindex keeps its errors in one place for the whole process
_RTREE_LOCK = threading.Lock()


class BadCoordinates(NearcastError):
    """A coordinate is no finite number in its range."""

    code = "bad_coordinates"


class FenceIndex:
    """Fence versions, indexed. Build with `FenceIndex.build`; reading is thread-safe.

    Attributes:
        versions: as given; a row of the index is a position in it.
        fence_id, live_from_ms, live_until_ms: their columns (int64).
        is_circle: flags by row.
        circles, polygons: the shapes as columns, by row.
    """

    def __init__(self, versions: Sequence[FenceVersion]) -> None:
        self.versions = tuple(versions)
        self.fence_id = np.array([v.fence_id for v in self.versions], np.int64)
        self.live_from_ms = np.array([v.live_from_ms for v in self.versions], np.int64)
        self.live_until_ms = np.array([v.live_until_ms for v in self.versions], np.int64)
        _check_finite(self.versions)
        shapes = [version.fence.shape for version in self.versions]
        self.is_circle = np.array([isinstance(s, CircleShape) for s in shapes], bool)
        self.circles = _circles(self.versions)
        self.polygons = Polygons.build(shapes)
        rows: dict[int, list[int]] = {}
        for row, fence_id in enumerate(self.fence_id.tolist()):
            rows.setdefault(fence_id, []).append(row)
        self._rows = {fence_id: tuple(found) for fence_id, found in rows.items()}
        boxes, box_row = self._boxes()
        self._all = _Boxes(boxes, box_row)
        odd = ~(self.is_circle | self.polygons.is_convex)
        self._odd = _Boxes(boxes[odd[box_row]], box_row[odd[box_row]])
        with _RTREE_LOCK:
            self._rtree = _rtree(boxes)

    @classmethod
    def build(cls, versions: Sequence[FenceVersion]) -> FenceIndex:
        """An index of these versions, ready for many threads.

        Raises:
            BadCoordinates: a shape has a coordinate or radius that is no finite number.
        """
        return cls(versions)

    def __len__(self) -> int:
        return len(self.versions)

    def rows_of(self, fence_id: int) -> tuple[int, ...]:
        """The rows of a fence's versions, in the order given; empty for one that is not indexed."""
        return self._rows.get(fence_id, ())

    def match(self, *, lon: Floats, lat: Floats, at_ms: Ints | None = None) -> Hits:
        """The fence versions that contain each ping and are live at its instant.

        Args:
            lon, lat: WGS84 degrees, finite, |lat| ≤ 90; any longitude, 180 and -180 are one place.
            at_ms: instants of the pings; None matches whatever the time.
        Returns:
            Pairs sorted by (ping, fence). A circle holds what is within its radius + 1e-6 m by
            geodesic; a polygon's edges are straight in longitude and latitude; rims belong to both.
        Raises:
            BadCoordinates: a coordinate is NaN, infinite or out of range.
        """
        lon, lat = _places(lon, lat)
        ping, fence = self._all.holding(lon, lat)
        if at_ms is not None:
            ping, fence = self._live(at_ms, ping, fence)
        held = self.hold(lon=lon, lat=lat, ping=ping, fence=fence)
        return Hits.sorted_from(ping[held], fence[held], fences=len(self), unique=self._all.has_twins)

    def match_one(self, lon: float, lat: float, *, at_ms: int | None = None) -> list[int]:
        """Rows of the fences that contain one place, ascending; as `match`, by the `rtree` index."""
        lons, lats = _places(np.array([lon]), np.array([lat]))
        x, y = float(lons[0]), float(lats[0])
        fence = np.array(self.in_box(x, y, x, y), np.int64)
        ping = np.zeros(len(fence), np.int64)
        if at_ms is not None:
            ping, fence = self._live(np.array([at_ms]), ping, fence)
        found: list[int] = fence[self.hold(lon=lons, lat=lats, ping=ping, fence=fence)].tolist()
        return found

    def candidates(self, *, lon: Floats, lat: Floats, at_ms: Ints | None, accuracy_m: Floats) -> Hits:
        """`match`, and the fences that a fix outside of them may still be in with P ≥ 0.5.

        Only concave, holed and multi-part fences can be (certainty.md §4): those whose box, grown by
        0.83 × accuracy (that much on iOS; less elsewhere), at most 2 km, holds the fix. A fix
        without accuracy (NaN or 0) gets no more than `match`.
        """
        sure = self.match(lon=lon, lat=lat, at_ms=at_ms)
        lon, lat = _places(lon, lat)
        fuzzy = np.flatnonzero(np.asarray(accuracy_m) > 0)
        if not len(self._odd) or not len(fuzzy):
            return sure
        reach_m = np.clip(ENTER_REACH * accuracy_m[fuzzy], _LEAST_REACH_M, _MOST_REACH_M)
        near, fence = self._odd.reached(lon[fuzzy], lat[fuzzy], reach_m)
        ping = fuzzy[near]
        if at_ms is not None:
            ping, fence = self._live(at_ms, ping, fence)
        return Hits.sorted_from(
            np.concatenate([sure.ping, ping]),
            np.concatenate([sure.fence, fence]),
            fences=len(self),
            unique=True,
        )

    def in_box(self, west: float, south: float, east: float, north: float) -> list[int]:
        """Rows whose box meets this one, ascending; edges count. `west > east` is across 180°.

        The box of a circle is a little larger than the circle.

        Raises:
            BadCoordinates: a bound is no finite number, or south lies north of north.
        """
        # before any call: NaN makes libspatialindex crash or match everything (quality.md §2)
        if not np.isfinite([west, south, east, north]).all() or south > north:
            raise BadCoordinates(
                f"The box {west}, {south}, {east}, {north} is no box: give finite degrees as west, "
                "south, east, north, south at most north."
            )
        found: set[int] = set()
        with _RTREE_LOCK:
            for w, e in _spans(west, east):
                found.update(self._rtree.intersection((w, south, e, north)))
        return sorted({int(self._all.row[box]) for box in found})

    def hold(self, *, lon: Floats, lat: Floats, ping: Ints, fence: Ints) -> Bools:
        """Whether each pair's fence contains its ping, exactly, whatever the time.

        Args:
            lon, lat: columns of the pings, longitudes in [-180, 180).
            ping, fence: pairs of a row of those columns and a row of this index.
        """
        of_circle = self.is_circle[fence]
        held = np.zeros(len(ping), bool)
        for shapes, chosen in ((self.circles, of_circle), (self.polygons, ~of_circle)):
            some = np.flatnonzero(chosen)
            held[some] = shapes.hold(lon=lon, lat=lat, ping=ping[some], fence=fence[some])
        return held

    def _live(self, at_ms: Ints, ping: Ints, fence: Ints) -> tuple[Ints, Ints]:
        at = np.asarray(at_ms, np.int64)[ping]
        live = (self.live_from_ms[fence] <= at) & (at < self.live_until_ms[fence])
        return ping[live], fence[live]

    def _boxes(self) -> tuple[Floats, Ints]:
        """Boxes (west, south, east, north) and the rows they stand for, in plain longitudes.

        A fence across 180° has two, a turn apart; a polygon that reaches a pole has its latitude too.
        """
        circles = self.circles
        round_ = np.stack(
            circle_boxes(lon=circles.lon, lat=circles.lat, radius_m=circles.radius_m), axis=1
        )
        boxes = np.where(self.is_circle[:, None], round_, self.polygons.bounds)
        rows = np.arange(len(boxes))
        found, of = [boxes], [rows]
        for turn, chosen in ((-360.0, boxes[:, 2] >= 180), (360.0, boxes[:, 0] < -180)):
            found.append(boxes[chosen] + np.array([turn - _OUTWARD_DEG, 0.0, turn + _OUTWARD_DEG, 0.0]))
            of.append(rows[chosen])
        for pole, reached in ((-90.0, boxes[:, 1] == -90), (90.0, boxes[:, 3] == 90)):
            chosen = reached & ~self.is_circle
            found.append(np.tile([-180.0, pole, 180.0, pole], (int(chosen.sum()), 1)))
            of.append(rows[chosen])
        return np.vstack(found), np.concatenate(of)


class _Boxes:
    """An STRtree of boxes and the row of the index that each stands for."""

    def __init__(self, boxes: Floats, row: Ints) -> None:
        self.row = row
        self.has_twins = len(np.unique(row)) < len(row)
        # a diagonal has the same envelope as its box and half the size
        diagonals = shapely.linestrings(boxes.reshape(-1, 2, 2))
        self._tree = shapely.STRtree(diagonals)
        # the tree is built by its first query: now, not by the first of several readers
        self._tree.query(shapely.Point(0.0, 0.0))

    def __len__(self) -> int:
        return len(self.row)

    def holding(self, lon: Floats, lat: Floats) -> tuple[Ints, Ints]:
        """Pairs (place, row) whose box holds the place, in any order."""
        place, box = self._tree.query(shapely.points(lon, lat))
        return np.asarray(place, np.int64), self.row[box]

    def reached(self, lon: Floats, lat: Floats, reach_m: Floats) -> tuple[Ints, Ints]:
        """Pairs (place, row) whose box comes within so many metres of the place."""
        west, south, east, north = circle_boxes(lon=lon, lat=lat, radius_m=reach_m)
        everywhere = np.arange(len(lon))
        found = [
            self._meeting(some, west + turn, south, east + turn, north)
            for turn, some in (
                (0.0, everywhere),
                (360.0, np.flatnonzero(west < -180)),
                (-360.0, np.flatnonzero(east > 180)),
            )
        ]
        places, rows = zip(*found, strict=True)
        return np.concatenate(places), np.concatenate(rows)

    def _meeting(
        self, some: Ints, west: Floats, south: Floats, east: Floats, north: Floats
    ) -> tuple[Ints, Ints]:
        boxes = shapely.box(west[some], south[some], east[some], north[some])
        place, box = self._tree.query(boxes)
        return some[place], self.row[box]


def _circles(versions: Sequence[FenceVersion]) -> Circles:
    columns = np.full((len(versions), 3), np.nan)
    for row, version in enumerate(versions):
        shape = version.fence.shape
        if isinstance(shape, CircleShape):
            columns[row] = shape.lon, shape.lat, shape.radius_m
    lon, lat, radius_m = columns.T.copy()
    return Circles.build(lon=lon, lat=lat, radius_m=radius_m)


def _check_finite(versions: Sequence[FenceVersion]) -> None:
    """Refuse a shape with NaN or infinity, or with no coordinates, before any tree sees it."""
    for version in versions:
        shape = version.fence.shape
        if isinstance(shape, CircleShape):
            good = math.isfinite(shape.lon + shape.lat + shape.radius_m)
        else:
            numbers = shapely.get_coordinates(shape.geometry)
            good = len(numbers) > 0 and bool(np.isfinite(numbers).all())
        if not good:
            raise BadCoordinates(
                f"Fence {version.fence_id} has a coordinate or radius that is no finite number; "
                "give degrees and metres."
            )


def _places(lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
    """Columns of float64, longitudes in [-180, 180)."""
    lon, lat = np.asarray(lon, np.float64), np.asarray(lat, np.float64)
    good = np.isfinite(lon) & (np.abs(lat) <= 90)
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        raise BadCoordinates(
            f"Ping {row} lies at lon {lon[row]}, lat {lat[row]}; admit only finite degrees, "
            "latitudes from -90 to 90."
        )
    return normalize_lon(lon), lat


def _spans(west: float, east: float) -> list[tuple[float, float]]:
    """The spans of [-180, 180] that a box covers; its bounds may be any longitudes."""
    width = east - west if west <= east else east - west + 360.0
    if width >= 360:
        return [(-180.0, 180.0)]
    if -180 <= west <= east <= 180:
        spans = [(west, east)]
    else:
        west = float(normalize_lon(west))
        east = float(normalize_lon(east))
        spans = [(west, 180.0), (-180.0, east)] if west > east else [(west, east)]
    # 180 and -180 are one meridian, and a fence that ends there stands at one of them
    spans += [(-180.0, -180.0)] if any(e == 180 for _, e in spans) else []
    spans += [(180.0, 180.0)] if any(w == -180 for w, _ in spans) else []
    return spans


def _rtree(boxes: Floats) -> rtree.index.Index:
    """A bulk-loaded `rtree` index; ids are positions of the boxes, which are finite."""
    if not len(boxes):
        return rtree.index.Index()
    low, high = boxes[:, :2].copy(), boxes[:, 2:].copy()
    return rtree.index.Index((np.arange(len(boxes)), low, high))
