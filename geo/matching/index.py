"""The fence index: R-trees of boxes find the candidates, exact geometry settles them (product F8, P2).

Two trees over the same boxes: shapely's STRtree answers columns of pings and may be read by many
threads; `rtree` answers single boxes behind one lock, because libspatialindex is not thread-safe
(quality.md §2). Boxes stand in unwrapped longitudes: a fence across 180° reaches beyond 180, and a
ping is asked for at its longitude and, where some fence reaches that far, 360° further east.
An index is never changed: a new one is built aside and swapped in.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np
import rtree
import shapely
from numpy.typing import NDArray

from geo.antimeridian import normalize_lon, unwrap
from geo.fences.fence import CircleShape, FenceVersion
from geo.matching.hits import Hits
from geo.matching.plain import RIM_M
from geo.measure import circle_boxes, distance_m

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: outside any shape P(inside) >= 0.5 is possible up to 1.177 sigma = 0.78 a (notes/certainty.md §4)
ENTER_REACH = 0.78
#: from this accuracy on only huge fences could be entered from outside
MAX_INFLATED_ACCURACY_M = 2_000.0
_DEGREE_M = 110_000.0  # a little short of the shortest degree of latitude (110,574 m)
#: sphere of radius R_MIN gives at most, R_MAX at least the geodesic distance (both curvatures)
_R_MIN_M, _R_MAX_M = 6_335_439.0, 6_399_594.0


class FenceIndex:
    """Fence versions, indexed. Build with `FenceIndex.build`; reading is thread-safe.

    Attributes:
        versions: as given; a row of the index is a position in it.
        fence_id, live_from_ms, live_until_ms: their columns (int64).
        is_circle: flags; lon, lat, radius_m: of the circles, NaN elsewhere.
        west, south, east, north: boxes in unwrapped degrees.
        geometry: unwrapped polygons (prepared), None for circles.
        edge_first, edge_count, edge_ends: where a polygon's directed edges stand in `edge_ends`, a
            column of (lon1, lat1, lon2, lat2); shells counter-clockwise, holes clockwise.
        is_convex: circles and convex polygons: nowhere outside is P(inside) >= 0.5.
    """

    def __init__(self, versions: Sequence[FenceVersion]) -> None:
        self.versions = tuple(versions)
        self.fence_id = np.array([v.fence_id for v in versions], np.int64)
        self.live_from_ms = np.array([v.live_from_ms for v in versions], np.int64)
        self.live_until_ms = np.array([v.live_until_ms for v in versions], np.int64)
        self._read_shapes()
        self._rows: dict[int, list[int]] = {}
        for row, fence_id in enumerate(self.fence_id.tolist()):
            self._rows.setdefault(fence_id, []).append(row)
        self._tree = shapely.STRtree(shapely.box(self.west, self.south, self.east, self.north))
        self._wraps = bool((self.east >= 180).any())
        self._boxes = self._rtree()
        self._lock = threading.Lock()
        self._odd = np.flatnonzero(~self.is_convex)
        self._odd_tree = shapely.STRtree(
            shapely.box(*(edge[self._odd] for edge in (self.west, self.south, self.east, self.north)))
        )
        for tree in (self._tree, self._odd_tree):
            tree.query(shapely.points([0.0], [0.0]))  # built now, not by the first reader

    @classmethod
    def build(cls, versions: Sequence[FenceVersion]) -> FenceIndex:
        """An index of these versions, ready for many threads."""
        return cls(versions)

    def __len__(self) -> int:
        return len(self.versions)

    def rows_of(self, fence_id: int) -> tuple[int, ...]:
        """The rows of a fence's versions, in the order given; empty for one that is not indexed."""
        return tuple(self._rows.get(fence_id, ()))

    def match(self, *, lon: Floats, lat: Floats, at_ms: Ints | None = None) -> Hits:
        """The fence versions that contain each ping and are live at its instant.

        Args:
            lon, lat: WGS84 degrees, finite, |lat| <= 90.
            at_ms: instants of the pings; None matches whatever the time.
        Returns:
            Pairs sorted by (ping, fence). A circle holds what is within its radius + 1e-6 m by
            geodesic; a polygon's edges are straight in longitude and latitude; rims belong to both.
        """
        ping, fence = self._near(self._tree, normalize_lon(lon), np.asarray(lat, np.float64))
        return self._settled(lon, lat, at_ms, ping, fence)

    def match_one(self, *, lon: float, lat: float) -> list[int]:
        """Rows of the fences that contain one place, whatever the time."""
        rows = np.array(self.in_box(west=lon, south=lat, east=lon, north=lat), np.int64)
        ping = np.zeros(len(rows), np.int64)
        hits = self._settled(np.array([lon]), np.array([lat]), None, ping, rows)
        return hits.fence.tolist()

    def candidates(self, *, lon: Floats, lat: Floats, at_ms: Ints | None, accuracy_m: Floats) -> Hits:
        """`match`, and the fences that a fix outside may still be in with P >= 0.5.

        Only concave, holed and multi-part fences can be (notes/certainty.md §4): those whose box,
        grown by 0.78 × accuracy, holds the fix.
        """
        sure = self.match(lon=lon, lat=lat, at_ms=at_ms)
        if not len(self._odd) or not len(lon):
            return sure
        reach_m = ENTER_REACH * np.minimum(np.nan_to_num(accuracy_m), MAX_INFLATED_ACCURACY_M)
        ping, fence = self._reached(lon, lat, reach_m)
        live = self._live(at_ms, ping, fence)
        return Hits.sorted_from(
            np.concatenate([sure.ping, ping[live]]),
            np.concatenate([sure.fence, fence[live]]),
            fences=len(self),
            unique=True,
        )

    def in_box(self, *, west: float, south: float, east: float, north: float) -> list[int]:
        """Rows whose box meets this one; `west > east` means across 180°.

        Raises:
            ValueError: a bound is no finite number – the tree behind would crash or match everything.
        """
        if not np.isfinite([west, south, east, north]).all():
            raise ValueError("a box needs finite bounds")
        east += 360.0 if west > east else 0.0
        found: set[int] = set()
        with self._lock:
            for turn in (-360.0, 0.0, 360.0):
                found.update(self._boxes.intersection((west + turn, south, east + turn, north)))
        return sorted(found)

    def _read_shapes(self) -> None:
        shapes = [version.fence.shape for version in self.versions]
        circles = [s if isinstance(s, CircleShape) else None for s in shapes]
        self.is_circle = np.array([c is not None for c in circles], bool)
        self.lon = np.array([c.lon if c else np.nan for c in circles], np.float64)
        self.lat = np.array([c.lat if c else np.nan for c in circles], np.float64)
        self.radius_m = np.array([c.radius_m if c else np.nan for c in circles], np.float64)
        self.geometry = np.array(
            [None if isinstance(s, CircleShape) else unwrap(s.geometry) for s in shapes], object
        )
        shapely.prepare(self.geometry)  # here, on one thread: a first use by several crashes
        boxes = np.stack(circle_boxes(lon=self.lon, lat=self.lat, radius_m=self.radius_m + RIM_M))
        boxes = np.where(self.is_circle, boxes, shapely.bounds(self.geometry).T)
        # a box that begins west of -180 is meant one turn further east, where queries look for it
        shift = np.where(boxes[0] < -180, 360.0, 0.0)
        self.west, self.south, self.east, self.north = (
            boxes[0] + shift,
            boxes[1],
            boxes[2] + shift,
            boxes[3],
        )
        edges = [np.zeros((0, 4)) if g is None else _directed_edges(g) for g in self.geometry]
        self.edge_count = np.array([len(e) for e in edges], np.int64)
        self.edge_first = np.cumsum(self.edge_count) - self.edge_count
        self.edge_ends = np.vstack([np.zeros((0, 4)), *edges])
        self.is_convex = self.is_circle | np.array(
            [g is None or shapely.equals(g, shapely.convex_hull(g)) for g in self.geometry], bool
        )

    def _rtree(self) -> rtree.index.Index:
        bounds = np.column_stack([self.west, self.south, self.east, self.north])
        if not np.isfinite(bounds).all():
            raise ValueError("a fence has no finite box")
        if not len(bounds):
            return rtree.index.Index()

        def stream() -> Iterator[tuple[int, list[float], None]]:
            for row, box in enumerate(bounds.tolist()):
                yield row, box, None

        return rtree.index.Index(stream())

    def _near(self, tree: shapely.STRtree, lon: Floats, lat: Floats) -> tuple[Ints, Ints]:
        """Pairs (ping, position in the tree) whose box holds the ping, each once."""
        ping, box = tree.query(shapely.points(lon, lat))
        if not self._wraps:
            return ping, box
        far_ping, far_box = tree.query(shapely.points(lon + 360.0, lat))
        key = np.union1d(ping * len(self) + box, far_ping * len(self) + far_box)
        return key // max(len(self), 1), key % max(len(self), 1)

    def _settled(self, lon: Floats, lat: Floats, at_ms: Ints | None, ping: Ints, fence: Ints) -> Hits:
        live = self._live(at_ms, ping, fence)
        ping, fence = ping[live], fence[live]
        held = np.zeros(len(ping), bool)
        circle = np.flatnonzero(self.is_circle[fence])
        polygon = np.flatnonzero(~self.is_circle[fence])
        held[circle] = self._in_circle(lon[ping[circle]], lat[ping[circle]], fence[circle])
        held[polygon] = self.holds_polygon(lon[ping[polygon]], lat[ping[polygon]], fence[polygon])
        return Hits.sorted_from(ping[held], fence[held], fences=len(self))

    def _live(self, at_ms: Ints | None, ping: Ints, fence: Ints) -> NDArray[np.bool_]:
        if at_ms is None:
            return np.ones(len(ping), bool)
        at = at_ms[ping]
        return (self.live_from_ms[fence] <= at) & (at < self.live_until_ms[fence])

    def _in_circle(self, lon: Floats, lat: Floats, fence: Ints) -> NDArray[np.bool_]:
        """Exact by geodesic; two spheres settle what is clearly inside or outside.

        On any spheroid the geodesic distance lies between those of spheres with its least and
        greatest radius of curvature, for the same difference of geodetic coordinates, to second
        order; half a per cent of slack covers the rest at geofence size.
        """
        radius = self.radius_m[fence]
        arc = _great_arc(lon, lat, self.lon[fence], self.lat[fence])
        inside = arc * _R_MAX_M * 1.005 < radius
        unsure = ~inside & (arc * _R_MIN_M * 0.995 <= radius)
        exact = distance_m(
            lon1=self.lon[fence[unsure]],
            lat1=self.lat[fence[unsure]],
            lon2=lon[unsure],
            lat2=lat[unsure],
        )
        inside[unsure] = exact <= radius[unsure] + RIM_M
        return inside

    def holds_polygon(self, lon: Floats, lat: Floats, fence: Ints) -> NDArray[np.bool_]:
        """Whether each place lies in the polygon of each row, the boundary included."""
        x = normalize_lon(lon)
        geometry = self.geometry[fence]
        held = shapely.intersects_xy(geometry, x, lat)
        far = np.flatnonzero(~held & (self.east[fence] >= 180))
        held[far] = shapely.intersects_xy(geometry[far], x[far] + 360.0, lat[far])
        return held

    def _reached(self, lon: Floats, lat: Floats, reach_m: Floats) -> tuple[Ints, Ints]:
        """Pairs of a fix and an odd fence whose box, grown by the fix's reach, holds it."""
        reach_deg = reach_m / _DEGREE_M
        wide = reach_deg / np.maximum(
            np.cos(np.radians(np.minimum(np.abs(lat) + reach_deg, 89.9))), 1e-3
        )
        x = normalize_lon(lon)
        found = []
        for turn in (-360.0, 0.0, 360.0):
            boxes = shapely.box(x + turn - wide, lat - reach_deg, x + turn + wide, lat + reach_deg)
            found.append(self._odd_tree.query(boxes))
        ping, place = np.concatenate(found, axis=1)
        return ping, self._odd[place]


def _great_arc(lon1: Floats, lat1: Floats, lon2: Floats, lat2: Floats) -> Floats:
    """Angle between places on a unit sphere, by the haversine; good to the last bits near 0."""
    phi1, phi2 = np.radians(lat1), np.radians(lat2)
    half = np.sin((phi2 - phi1) / 2) ** 2
    half += np.cos(phi1) * np.cos(phi2) * np.sin(np.radians(lon2 - lon1) / 2) ** 2
    return 2 * np.arcsin(np.sqrt(np.minimum(half, 1.0)))


def _directed_edges(geometry: shapely.Geometry) -> Floats:
    """The directed edges of a polygon: (n, 4) of lon1, lat1, lon2, lat2; shells ccw, holes cw."""
    parts = shapely.orient_polygons(shapely.get_parts(geometry), exterior_cw=False)
    rings = shapely.get_rings(parts)
    ends = [np.hstack([ring[:-1], ring[1:]]) for ring in map(shapely.get_coordinates, rings)]
    return np.vstack(ends)
