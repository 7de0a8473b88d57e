"""Shapes drawn in metres, P(inside) by Green's theorem, and one-line judging, for several tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from scipy.special import ndtr

from geo.antimeridian import unwrap
from geo.fences.fence import CircleShape, PolygonShape
from geo.matching.certainty import CertaintyPolicy, Judgement, judge
from geo.matching.index import FenceIndex
from geo.matching.pings import Platform
from geo.measure import WGS84
from tests.strategies import version_of

POLICY = CertaintyPolicy()
#: what P may be off (product P3 by notes/certainty.md)
P_ERROR = 2e-4


def by_green(geometry: shapely.Geometry, *, lon: float, lat: float, sigma: float, cut_deg: float):
    """P = - integral of phi(x) Phi(y) dx along the rings, in the azimuthal plane of the fix.

    No crossing number, no Owen's T, no equirectangular plane; edges are cut fine before they are
    projected, so they follow straight longitude/latitude.
    """
    fine = shapely.orient_polygons(shapely.segmentize(unwrap(geometry), cut_deg), exterior_cw=False)
    rings = shapely.get_rings(shapely.get_parts(fine))
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    size = len(xy)
    azimuth, _, metres = WGS84.inv(np.full(size, lon), np.full(size, lat), xy[:, 0], xy[:, 1])
    turn = np.radians(azimuth)
    flat = np.column_stack([metres * np.sin(turn), metres * np.cos(turn)]) / sigma
    joined = ring[:-1] == ring[1:]
    return green(flat[:-1][joined], flat[1:][joined])


def green(begin: np.ndarray[Any, Any], end: np.ndarray[Any, Any], reach: float = 8.5) -> float:
    low, high = np.minimum(begin[:, 0], end[:, 0]), np.maximum(begin[:, 0], end[:, 0])
    near = (low < reach) & (high > -reach) & (low < high)
    begin, end = begin[near], end[near]
    step = end - begin
    cuts = np.sort(np.clip((np.array([[-reach, reach]]) - begin[:, :1]) / step[:, :1], 0, 1), axis=1)
    long = np.hypot(*step.T) * (cuts[:, 1] - cuts[:, 0])
    pieces = np.clip(np.ceil(long / 0.25), 1, 4_000).astype(int)
    edge = np.repeat(np.arange(len(pieces)), pieces)
    place = np.arange(len(edge)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    width = (cuts[:, 1] - cuts[:, 0]) / pieces
    node, weight = np.polynomial.legendre.leggauss(6)
    t = cuts[edge, :1] + width[edge, None] * (place[:, None] + (node + 1) / 2)
    x = begin[edge, :1] + step[edge, :1] * t
    y = begin[edge, 1:] + step[edge, 1:] * t
    density = np.exp(-x * x / 2) / np.sqrt(2 * np.pi) * ndtr(y)
    return float(-(density * weight / 2 * (width * step[:, 0])[edge, None]).sum())


def metres_shape(lon: float, lat: float, shape: shapely.Geometry) -> shapely.Geometry:
    """A shape drawn in metres around a place, in degrees there; unwrapped."""
    north = 111_195.0
    scale = np.array([north * np.cos(np.radians(lat)), north])
    return shapely.transform(shape, lambda xy: xy / scale + [lon, lat])


def star(corners: int, radius: float, dent: float) -> shapely.Polygon:
    angle = 2 * np.pi * np.arange(corners) / corners
    reach = radius * np.where(np.arange(corners) % 2, dent, 1.0)
    return shapely.Polygon(np.column_stack([reach * np.cos(angle), reach * np.sin(angle)]))


def shapes_of(radius: float) -> dict[str, shapely.Geometry]:
    """Unit-like shapes of a size in metres."""
    big = shapely.box(-1, -1, 1, 1)
    unit = {
        "triangle": shapely.Polygon([(-1, -0.7), (1, -0.5), (0.1, 1)]),
        "L": big - shapely.box(0, 0, 1, 1),
        "hole": big - shapely.box(-0.4, -0.3, 0.5, 0.3),
        "parts": shapely.MultiPolygon(
            [shapely.box(-1, -1, -0.1, 1), shapely.box(0.1, -1, 1, 1), shapely.box(2, 2, 3, 3)]
        ),
        "spiky": star(60, 1.0, 0.3),
        "round": shapely.Point(0, 0).buffer(1.0, quad_segs=64),
    }
    return {name: shapely.transform(shape, lambda xy: xy * radius) for name, shape in unit.items()}


def hard_places(geometry: shapely.Geometry, sigma: float, count: int) -> np.ndarray[Any, Any]:
    """Vertices, places on edges and a hair off them up to 3 sigma, and the middle."""
    rng = np.random.default_rng(5)
    xy = shapely.get_coordinates(geometry)
    row = rng.integers(0, len(xy) - 1, count)
    share = rng.choice([0.0, 0.0, 0.5, 1e-6, 0.3, 1.0], count)[:, None]
    on_edge = xy[row] + (xy[row + 1] - xy[row]) * share
    off = sigma * np.exp(rng.uniform(np.log(1e-9), np.log(3.0), count)) * rng.choice([0, 1], count)
    turn = rng.uniform(0, 2 * np.pi, count)
    degree = 111_195.0
    off_lon = off * np.cos(turn) / (degree * np.cos(np.radians(on_edge[:, 1])))
    off_lat = off * np.sin(turn) / degree
    places = on_edge + np.column_stack([off_lon, off_lat])
    return np.vstack([places, xy.mean(axis=0)])


def judge_at(
    shape: CircleShape | PolygonShape,
    lon: Any,
    lat: Any,
    *,
    accuracy_m: float,
    platform: Platform = Platform.ANDROID,
    policy: CertaintyPolicy = POLICY,
) -> Judgement:
    lon, lat = np.atleast_1d(np.asarray(lon, float)), np.atleast_1d(np.asarray(lat, float))
    return judge(
        FenceIndex.build([version_of(shape)]),
        lon=lon,
        lat=lat,
        accuracy_m=np.full(len(lon), accuracy_m),
        platform=np.full(len(lon), platform, np.int8),
        ping=np.arange(len(lon)),
        fence=np.zeros(len(lon), np.int64),
        policy=policy,
    )
