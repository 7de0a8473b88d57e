"""Shared Hypothesis strategies: fences of every kind, and pings drawn from their boundaries.

Uniform random points almost never meet a rim; these are set on rims, edges, vertices, corners of
boxes, the antimeridian, the poles, and the first and last instants at which a fence is live.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from hypothesis import assume
from hypothesis import strategies as st

from geo.antimeridian import normalize_lon, split, unwrap
from geo.fences.fence import CircleShape, Fence, FenceVersion, PolygonShape, Shape
from geo.measure import circle_boxes, destination

METRES_A_DEGREE = 111_195.0
DAY_MS = 86_400_000

#: places whose neighbourhood is awkward, and two that are not
ANCHORS = [
    (127.0276, 37.4979),
    (24.5, 65.0),
    (0.0, 0.0),
    (180.0, 10.0),
    (-180.0, -17.0),
    (179.99, 64.0),
    (-179.999, -45.0),
    (30.0, 84.97),
    (-60.0, -85.2),
    (15.0, 89.93),
    (-150.0, -89.999),
    (70.0, 90.0),
]
#: metres beyond a rim, from far below the micrometre of tolerance to far above
OFF_RIM_M = [0.0, 1e-9, 1e-7, 9e-7, 1e-6, 1.1e-6, 9e-6, 1.1e-5, 1e-4, 1e-3, 0.5, 40.0]
AZIMUTHS_DEG = [0.0, 45.0, 90.0, 135.0, 180.0, 225.0, 270.0, 315.0]


def version_of(
    shape: Shape, *, fence_id: int = 1, live_from_ms: int = 0, live_until_ms: int = 1 << 60
) -> FenceVersion:
    """A live fence version of a shape."""
    return FenceVersion(
        fence_id=fence_id,
        version=1,
        live_from_ms=live_from_ms,
        live_until_ms=live_until_ms,
        time_zone="UTC",
        fence=Fence(name=f"fence {fence_id}", shape=shape),
    )


def polygon_shape(geometry: shapely.Geometry) -> PolygonShape:
    """A shape in normal form from an unwrapped polygon or multipolygon: split at 180°, oriented."""
    parts = [p for part in shapely.get_parts(geometry) for p in shapely.get_parts(split(part))]
    whole = parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
    return PolygonShape(geometry=shapely.orient_polygons(whole, exterior_cw=False))


def sizes_m(smallest: float, largest: float) -> st.SearchStrategy[float]:
    """Both bounds, and anything between, small ones as likely as large ones."""
    between = st.floats(np.log(smallest), np.log(largest)).map(lambda log: float(np.exp(log)))
    return st.one_of(st.sampled_from([smallest, largest]), between)


@st.composite
def places(draw: st.DrawFn) -> tuple[float, float]:
    """(lon, lat) near an awkward place: on it, or up to some 60 km beside."""
    lon, lat = draw(st.sampled_from(ANCHORS))
    if draw(st.booleans()):
        lon += draw(st.floats(-0.5, 0.5))
        lat = min(90.0, max(-90.0, lat + draw(st.floats(-0.5, 0.5))))
    return (lon + 180.0) % 360.0 - 180.0 if abs(lon) > 180 else lon, lat


@st.composite
def circles(draw: st.DrawFn) -> CircleShape:
    """Circles of 50 m to 50 km, over poles and 180° too."""
    lon, lat = draw(places())
    return CircleShape(lon=lon, lat=lat, radius_m=draw(sizes_m(50.0, 50_000.0)))


def _box(x: float, y: float, w: float, h: float) -> shapely.Polygon:
    return shapely.box(x - w, y - h, x + w, y + h)


@st.composite
def _stars(draw: st.DrawFn, x: float, y: float, w: float, h: float) -> shapely.Polygon:
    corners = draw(st.integers(3, 24))
    shares = np.array(draw(st.lists(st.floats(0.2, 1.0), min_size=corners, max_size=corners)))
    angle = 2 * np.pi * np.arange(corners) / corners
    return shapely.Polygon(
        np.column_stack([x + w * shares * np.cos(angle), y + h * shares * np.sin(angle)])
    )


@st.composite
def polygons(draw: st.DrawFn) -> PolygonShape:
    """Polygons of up to 1,000 km²: boxes, stars, with a hole, of two parts, to a pole, around it."""
    lon, lat = draw(places())
    size_m = draw(sizes_m(50.0, 15_000.0))
    h = size_m / METRES_A_DEGREE
    w = min(h / max(np.cos(np.radians(lat)), 1e-9), 60.0)
    kind = draw(st.sampled_from(["box", "star", "hole", "parts", "corner", "wedge", "cap"]))
    if kind in ("wedge", "cap"):
        pole = np.copysign(90.0, lat)
        west, east = (-180.0, 180.0) if kind == "cap" else (lon - 20.0, lon + 20.0)
        return polygon_shape(
            shapely.box(west, min(pole, pole - h * pole / 90), east, max(pole, pole - h * pole / 90))
        )
    lat = float(np.clip(lat, -90 + 3.5 * h, 90 - 3.5 * h))
    if kind == "star":
        shape: shapely.Geometry = draw(_stars(lon, lat, w, h))
    elif kind == "hole":
        shape = _box(lon, lat, w, h) - _box(lon, lat, w * 0.5, h * 0.25)
    elif kind == "parts":
        shape = shapely.MultiPolygon([_box(lon, lat, w, h), _box(lon + 2.5 * w, lat, w, h)])
    elif kind == "corner":  # two parts that share one point
        shape = shapely.MultiPolygon(
            [shapely.box(lon, lat, lon + w, lat + h), shapely.box(lon - w, lat - h, lon, lat)]
        )
    else:
        shape = _box(lon, lat, w, h)
    assume(shape.is_valid and not shape.is_empty)
    return polygon_shape(shape)


@st.composite
def versions(draw: st.DrawFn, most: int = 5) -> list[FenceVersion]:
    """A few fence versions, live always or for a day; ids may repeat as versions of one fence do."""
    shapes = draw(st.lists(st.one_of(circles(), polygons()), min_size=1, max_size=most))
    made = []
    for shape in shapes:
        day = draw(st.integers(0, 2))
        always = draw(st.booleans())
        made.append(
            version_of(
                shape,
                fence_id=draw(st.integers(1, 4)),
                live_from_ms=0 if always else day * DAY_MS,
                live_until_ms=1 << 60 if always else (day + 1) * DAY_MS,
            )
        )
    return made


@dataclass(frozen=True)
class Case:
    """Fence versions and pings drawn from their boundaries."""

    versions: list[FenceVersion]
    lon: np.ndarray[Any, np.dtype[np.float64]]
    lat: np.ndarray[Any, np.dtype[np.float64]]
    at_ms: np.ndarray[Any, np.dtype[np.int64]]


@st.composite
def cases(draw: st.DrawFn, pings: int = 12) -> Case:
    """Fences, and pings on or next to what decides about them, in space and in time."""
    fences = draw(versions())
    found = []
    for _ in range(pings):
        version = draw(st.sampled_from(fences))
        lon, lat = draw(near_shape(version.fence.shape))
        lon += draw(st.sampled_from([0.0, 0.0, 0.0, 360.0, -360.0]))
        edge_ms = draw(st.sampled_from([version.live_from_ms, version.live_until_ms]))
        found.append((lon, lat, edge_ms + draw(st.sampled_from([-1, 0, 1, DAY_MS // 2]))))
    lon, lat, at_ms = zip(*found, strict=True)
    return Case(fences, np.array(lon), np.array(lat), np.array(at_ms, np.int64))


def near_shape(shape: Shape) -> st.SearchStrategy[tuple[float, float]]:
    """Places on or beside a shape's boundary, seldom elsewhere."""
    own = near_circle(shape) if isinstance(shape, CircleShape) else near_polygon(shape)
    anywhere = st.tuples(st.floats(-180, 180), st.sampled_from([-90.0, 90.0, 0.0]))
    return st.one_of(own, own, own, own, anywhere)


@st.composite
def near_circle(draw: st.DrawFn, circle: CircleShape) -> tuple[float, float]:
    """On the rim, off it by 1e-9 m to 40 m, at its widest, at a corner of its box, at the centre."""
    kind = draw(st.sampled_from(["rim", "rim", "widest", "corner", "centre"]))
    if kind == "centre":
        return circle.lon, circle.lat
    if kind == "corner":
        box = [float(b) for b in circle_boxes(lon=circle.lon, lat=circle.lat, radius_m=circle.radius_m)]
        return draw(st.sampled_from([box[0], box[2]])), draw(st.sampled_from([box[1], box[3]]))
    off_m = draw(st.sampled_from(OFF_RIM_M)) * draw(st.sampled_from([-1.0, 1.0]))
    azimuth = draw(st.one_of(st.sampled_from(AZIMUTHS_DEG), st.floats(0, 360)))
    if kind == "widest":
        azimuth = draw(st.sampled_from([1.0, -1.0])) * widest_azimuth_deg(circle)
        off_m = -abs(off_m) if off_m < -1e-3 else 0.0
    lon, lat = destination(
        lon=circle.lon,
        lat=circle.lat,
        azimuth_deg=azimuth,
        distance_m=max(circle.radius_m + off_m, 0.0),
    )
    return float(lon), float(lat)


def widest_azimuth_deg(circle: CircleShape) -> float:
    """Towards the rim's easternmost place, to a few hundredths of a degree."""
    azimuth = np.linspace(0.0, 180.0, 3601)
    lon, _ = destination(lon=circle.lon, lat=circle.lat, azimuth_deg=azimuth, distance_m=circle.radius_m)
    return float(azimuth[np.argmax((lon - circle.lon + 180.0) % 360.0)])


@st.composite
def near_polygon(draw: st.DrawFn, polygon: PolygonShape) -> tuple[float, float]:
    """A vertex, a point along an edge, either a hair off; a corner of the box; the middle."""
    geometry = unwrap(polygon.geometry) if draw(st.booleans()) else polygon.geometry
    xy = shapely.get_coordinates(geometry)
    row = draw(st.integers(0, len(xy) - 2))
    kind = draw(st.sampled_from(["vertex", "edge", "edge", "corner", "middle"]))
    if kind == "corner":
        west, south, east, north = geometry.bounds
        lon, lat = draw(st.sampled_from([west, east])), draw(st.sampled_from([south, north]))
    elif kind == "middle":
        lon, lat = (float(c) for c in xy.mean(axis=0))
    else:
        share = 0.0 if kind == "vertex" else draw(st.sampled_from([0.5, 0.25, 1 / 3, 0.999]))
        lon, lat = (float(c) for c in xy[row] + (xy[row + 1] - xy[row]) * share)
    step = draw(st.sampled_from([0.0, 0.0, 1e-14, -1e-14, 1e-9, -1e-9, 1e-6, -1e-6]))
    lon, lat = lon + step, lat + draw(st.sampled_from([0.0, step]))
    return lon, min(90.0, max(-90.0, lat))


def normalized(lon: float) -> float:
    """One longitude in [-180, 180)."""
    return float(normalize_lon(lon))
