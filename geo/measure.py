"""Distances, areas and boxes on the WGS84 ellipsoid; columns in, columns out.

Edges of polygons are straight in longitude/latitude, as RFC 7946 says. Both ways of measuring an
area therefore walk the same *densified* rings: a 500 x 2 km strip at 65 degrees north is 999 km²
between its four corners and 1,003 km² along its edges (quality.md section 2).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pyproj
import shapely
from numpy.typing import ArrayLike, NDArray

#: the ellipsoid of every distance in Nearcast
WGS84 = pyproj.Geod(ellps="WGS84")

#: points set exactly on a rim come back up to 4e-9 m off; both ways of matching add this (P2)
RIM_TOLERANCE_M = 1e-6

#: smallest radius of curvature of WGS84 (meridian, equator): makes a circle's box conservative
SMALLEST_RADIUS_M = 6_335_439.0

#: radius of the sphere with the surface of WGS84
AUTHALIC_RADIUS_M = 6_371_007.1809

#: longest piece of a densified edge: this share of the part's box, at most so many degrees. A piece of
#: L m at latitude p leaves out L³ tan p / 12R m²; measured on triangles of 1,000 km² at most 3e-9 of
#: the area at 37°, 2e-8 at 65°, 4e-8 at 75° (pieces of 0.01° would lose 3e-6 at 65°)
DENSIFY_SHARE = 1 / 1000
MAX_STEP_DEG = 1e-2

#: bound on the points of one densified ring; only a perimeter above 5,000 degrees is cut coarser
MAX_DENSIFIED_POINTS = 500_000

#: parts wider or higher than this are cut into pieces, each measured in a plane of its own
MAX_PLANE_DEG = 30.0

#: outward padding of boxes, about 0.1 mm: far above float64 rounding, far below anything measured
_BOX_PADDING_DEG = 1e-9

Floats = NDArray[np.float64]
_RingArea = Callable[[Floats], float]


def distance_m(*, lon1: ArrayLike, lat1: ArrayLike, lon2: ArrayLike, lat2: ArrayLike) -> Floats:
    """Geodesic distance in metres between two columns of points (degrees, WGS84).

    Scalars and arrays broadcast against each other; the answer has the broadcast shape, so two
    scalars give an array of shape `()`. NaN in gives NaN out. Any longitude is taken modulo 360.
    Source: Karney 2013 by pyproj `Geod`, exact to about 4e-9 m.
    """
    shape, (x1, y1, x2, y2) = _columns(lon1, lat1, lon2, lat2)
    _, _, distance = WGS84.inv(x1, y1, x2, y2)
    return np.asarray(distance, np.float64).reshape(shape)


def destination(
    *, lon: ArrayLike, lat: ArrayLike, azimuth_deg: ArrayLike, distance_m: ArrayLike
) -> tuple[Floats, Floats]:
    """Where one arrives: (lon, lat) columns, `distance_m` along the geodesic at `azimuth_deg`.

    Azimuths are clockwise from north. Inputs broadcast; longitudes come back in [-180, 180].
    """
    shape, (x, y, azimuth, metres) = _columns(lon, lat, azimuth_deg, distance_m)
    to_lon, to_lat, _ = WGS84.fwd(x, y, azimuth, metres)
    return np.asarray(to_lon, np.float64).reshape(shape), np.asarray(to_lat).reshape(shape)


def _columns(*given: ArrayLike) -> tuple[tuple[int, ...], list[Floats]]:
    """The broadcast shape and the columns flat, as pyproj wants them (it writes into some)."""
    columns = np.broadcast_arrays(*(np.asarray(column, np.float64) for column in given))
    return columns[0].shape, [np.array(column, np.float64).ravel() for column in columns]


def projected_area_m2(geometry: shapely.Polygon | shapely.MultiPolygon) -> float:
    """Area of all parts together, holes subtracted, in square metres; 0.0 for an empty shape.

    Each part is projected to a Lambert azimuthal equal-area plane at the centre of its own box,
    its edges densified so that they stay straight in longitude/latitude. A part wider than
    `MAX_PLANE_DEG` is cut first, so that nothing comes near the antipode of a centre. Continuous
    longitudes beyond 180 are welcome; a ring that jumps at 180 must be split or unwrapped before.
    In an invalid ring, lobes of opposite winding cancel.
    Source: product.md F2. Twin: `geodesic_area_m2`, agreeing to 1e-6.
    """
    return sum(_area_of_piece(piece, _plane_of(piece)) for piece in _pieces(geometry))


def geodesic_area_m2(geometry: shapely.Polygon | shapely.MultiPolygon) -> float:
    """The plain twin of `projected_area_m2`: geodesic polygons over the same densified rings."""
    return sum(_area_of_piece(piece, _geodesic_ring_area) for piece in _pieces(geometry))


def circle_area_m2(radius_m: float) -> float:
    """Area of a circle: the cap of the authalic sphere, within 0.7 % of the ellipsoid's."""
    half_angle = radius_m / AUTHALIC_RADIUS_M / 2.0
    return 4.0 * math.pi * AUTHALIC_RADIUS_M**2 * math.sin(half_angle) ** 2


def circle_area_km2(radius_m: float) -> float:
    """`circle_area_m2` in square kilometres."""
    return circle_area_m2(radius_m) / 1e6


def circle_box(*, lon: float, lat: float, radius_m: float) -> tuple[float, float, float, float]:
    """(west, south, east, north) of one circle; see `circle_boxes`."""
    west, south, east, north = circle_boxes(lon=lon, lat=lat, radius_m=radius_m)
    return float(west), float(south), float(east), float(north)


def circle_boxes(
    *, lon: ArrayLike, lat: ArrayLike, radius_m: ArrayLike
) -> tuple[Floats, Floats, Floats, Floats]:
    """Boxes (west, south, east, north) that hold every point of each circle, rim and 1e-6 m more.

    Conservative and rounded outward. Longitudes are *unwrapped* around the centre: west may lie
    below -180 and east above 180 where a circle crosses the antimeridian. A circle that reaches a
    pole gives west -180, east 180 and that pole as its latitude. Radii up to a quarter of the
    Earth (9,900 km).
    Source: quality.md section 2: dlat = r/R, dlon = asin(sin(r/R) / cos lat), R the smallest
    radius of curvature (walking r to north, east, south, west is up to 4.8 km too narrow).
    """
    given = (np.asarray(column, np.float64) for column in (lon, lat, radius_m))
    lon_deg, lat_deg, radius = np.broadcast_arrays(*given)
    angle = (radius + RIM_TOLERANCE_M) / SMALLEST_RADIUS_M
    dlat = np.degrees(angle) + _BOX_PADDING_DEG
    south, north = lat_deg - dlat, lat_deg + dlat
    polar = (south <= -90.0) | (north >= 90.0)
    # the sine of a polar circle may pass 1; its dlon is thrown away below
    sine = np.sin(angle) / np.where(polar, 1.0, np.cos(np.radians(lat_deg)))
    dlon = np.degrees(np.arcsin(np.minimum(sine, 1.0))) + _BOX_PADDING_DEG
    west = np.where(polar, -180.0, lon_deg - dlon)
    east = np.where(polar, 180.0, lon_deg + dlon)
    return west, np.maximum(south, -90.0), east, np.minimum(north, 90.0)


def circle_ring(*, lon: float, lat: float, radius_m: float, points: int = 64) -> Floats:
    """A closed ring of `points` places on the rim, for maps and GeoJSON only; shape (n, 2), lon/lat.

    Counter-clockwise, longitudes continuous (they may pass 180). A circle over a pole becomes a
    ring over 360 degrees of longitude that closes along the pole (three points more). The edges
    cut corners: at 50 km a 64-gon misses up to 60 m, so nothing is ever matched against it.
    Raises ValueError unless `points` is a multiple of 4 and at least 8.
    """
    if points < 8 or points % 4:
        raise ValueError(f"points is {points}; give a multiple of 4, at least 8.")
    azimuths = -360.0 * np.arange(points + 1) / points
    lons, lats = destination(lon=lon, lat=lat, azimuth_deg=azimuths, distance_m=radius_m)
    turns = np.cumsum(np.round(np.diff(lons, prepend=lons[0]) / 360.0))
    ring = np.column_stack([lons - 360.0 * turns, lats])
    if abs(ring[-1, 0] - ring[0, 0]) < 180.0:
        ring[-1] = ring[0]
        return ring
    return _close_over_pole(ring, pole=math.copysign(90.0, lat))


def _close_over_pole(ring: Floats, *, pole: float) -> Floats:
    """The rim from -180 to 180, then back along the pole."""
    rim = ring[:-1][np.argsort((ring[:-1, 0] + 180.0) % 360.0)]
    lons = (rim[:, 0] + 180.0) % 360.0 - 180.0
    seam = float(np.interp(180.0, [lons[-1], lons[0] + 360.0], [rim[-1, 1], rim[0, 1]]))
    inner = np.column_stack([lons, rim[:, 1]])[lons > -180.0]
    start = np.array([[-180.0, seam]])
    back = np.array([[180.0, seam], [180.0, pole], [-180.0, pole]])
    closed = np.vstack([start, inner, back, start])
    return closed if pole > 0 else closed[::-1].copy()


def _pieces(geometry: shapely.Geometry) -> Iterator[shapely.Polygon]:
    """The polygons of a geometry, those too large for one plane cut into pieces."""
    for part in shapely.get_parts(geometry):
        if part.is_empty or part.geom_type != "Polygon":
            continue
        west, south, east, north = part.bounds
        if max(east - west, north - south) <= MAX_PLANE_DEG:
            yield part
        else:
            yield from _pieces(_halves(part))


def _halves(part: shapely.Polygon) -> shapely.Geometry:
    """Cut a part across its longer side; the cut runs along a meridian or a parallel."""
    west, south, east, north = part.bounds
    middle_lon, middle_lat = (west + east) / 2.0, (south + north) / 2.0
    if east - west >= north - south:
        boxes = [(west, south, middle_lon, north), (middle_lon, south, east, north)]
    else:
        boxes = [(west, south, east, middle_lat), (west, middle_lat, east, north)]
    whole = part if part.is_valid else shapely.make_valid(part, method="structure")
    halves = [shapely.intersection(whole, shapely.box(*box)) for box in boxes]
    return shapely.GeometryCollection([p for half in halves for p in shapely.get_parts(half)])


def _area_of_piece(piece: shapely.Polygon, ring_area: _RingArea) -> float:
    """Shell less holes, by one way of measuring a ring."""
    rings = [np.asarray(ring.coords)[:, :2] for ring in (piece.exterior, *piece.interiors)]
    west, south, east, north = piece.bounds
    step_deg = min(DENSIFY_SHARE * max(east - west, north - south), MAX_STEP_DEG)
    shell, *holes = (ring_area(_densified(ring, step_deg)) for ring in rings)
    return max(0.0, shell - sum(holes))


def _densified(ring: Floats, step_deg: float) -> Floats:
    """The closed ring with extra points, evenly spaced on each straight edge."""
    edges = np.diff(ring, axis=0)
    lengths = np.abs(edges).max(axis=1)
    step = max(step_deg, float(lengths.sum()) / MAX_DENSIFIED_POINTS)
    counts = np.maximum(1, np.ceil(lengths / step)).astype(np.int64)
    edge_of = np.repeat(np.arange(len(edges)), counts)
    first = np.cumsum(counts) - counts
    share = (np.arange(len(edge_of)) - first[edge_of]) / counts[edge_of]
    return np.vstack([ring[edge_of] + edges[edge_of] * share[:, None], ring[-1:]])


def _plane_of(piece: shapely.Polygon) -> _RingArea:
    """Measures rings in the equal-area plane at the centre of the piece's box."""
    west, south, east, north = piece.bounds
    centre = {"lon_0": (west + east) / 2.0, "lat_0": (south + north) / 2.0}
    plane = pyproj.Proj(proj="laea", ellps="WGS84", **centre)

    def ring_area(ring: Floats) -> float:
        x, y = plane(ring[:, 0], ring[:, 1])
        return abs(float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]))) / 2.0

    return ring_area


def _geodesic_ring_area(ring: Floats) -> float:
    area, _ = WGS84.polygon_area_perimeter(ring[:-1, 0], ring[:-1, 1])
    return abs(float(area))
