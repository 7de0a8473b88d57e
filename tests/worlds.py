"""Worlds drawn in bulk: a few fences of every kind at awkward places, and many pings at their borders.

What `strategies` draws one by one with Hypothesis is drawn here as arrays, so that tens of thousands of
pings cost a second. A world is named by its seed, and a failure says which.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely

from geo.antimeridian import unwrap
from geo.fences.fence import CircleShape, FenceVersion, PolygonShape, Shape
from geo.matching.hits import Hits
from geo.measure import circle_boxes, destination
from tests.strategies import ANCHORS, METRES_A_DEGREE, OFF_RIM_M, polygon_shape, version_of

Column = np.ndarray[Any, Any]
CELL_SIDES_DEG = [0.25, 1 / 64, 1 / 128, 1 / 1024, 1 / 4096]
HAIRS_DEG = [0.0, 0.0, 0.0, 1e-15, 1e-14, 1e-12, 1e-9, 1e-6, 1e-4]
DAY_MS = 86_400_000


@dataclass(frozen=True)
class World:
    """Fence versions and pings."""

    versions: list[FenceVersion]
    lon: Column
    lat: Column
    at_ms: Column


def world(seed: int, *, fences: int = 8, pings: int = 80) -> World:
    """One world; all its fences lie within a degree of one place, so that they share cells."""
    rng = np.random.default_rng([seed, 41])
    lon, lat = ANCHORS[rng.integers(len(ANCHORS))]
    shapes = [shape_near(rng, lon, lat) for _ in range(fences)]
    versions = []
    for number, shape in enumerate(shapes):
        day = int(rng.integers(0, 3))
        always = rng.random() < 0.5
        versions.append(
            version_of(
                shape,
                fence_id=number // 2,
                live_from_ms=0 if always else day * DAY_MS,
                live_until_ms=1 << 60 if always else (day + 1) * DAY_MS,
            )
        )
    x, y = np.concatenate([at_border(rng, shape, pings // fences) for shape in shapes]).T
    return World(versions, x, y, instants(rng, versions, len(x)))


def instants(rng: np.random.Generator, versions: list[FenceVersion], count: int) -> Column:
    """First and last instants of being live, and one beside."""
    edges = [edge for v in versions for edge in (v.live_from_ms, v.live_until_ms)]
    return rng.choice(edges, count) + rng.integers(-1, 2, count)


def shape_near(rng: np.random.Generator, lon: float, lat: float) -> Shape:
    """A circle of 50 m to 50 km or a polygon of 50 m to 30 km, often with corners on cell borders."""
    spread = 10.0 ** rng.uniform(-3, -0.2)
    lat = float(np.clip(lat + rng.uniform(-spread, spread), -90, 90))
    lon = float(
        (lon + rng.uniform(-spread, spread) / max(np.cos(np.radians(lat)), 0.01) + 180) % 360 - 180
    )
    if rng.random() < 0.4:
        if rng.random() < 0.3:
            lon, lat = (float(v) for v in on_grid(rng, np.array([lon, lat])))
        radius_m = float(np.exp(rng.uniform(np.log(50), np.log(50_000))))
        return CircleShape(lon=min(lon, 179.999999), lat=float(np.clip(lat, -90, 90)), radius_m=radius_m)
    return polygon_near(rng, lon, lat)


def on_grid(rng: np.random.Generator, at: Column) -> Column:
    """The nearest corner of blocks or cells of some size."""
    side = rng.choice(CELL_SIDES_DEG)
    return np.round(at / side) * side


def polygon_near(rng: np.random.Generator, lon: float, lat: float) -> PolygonShape:
    """Star, box, ring with a hole, two parts, parts that share a corner, a cap or wedge at a pole."""
    high = float(np.exp(rng.uniform(np.log(50), np.log(30_000)))) / METRES_A_DEGREE
    kind = rng.choice(["star", "star", "box", "hole", "parts", "corner", "pole", "wide"])
    if kind == "pole" and abs(lat) > 80:
        pole = np.copysign(90.0, lat)
        west, east = [(-180.0, 180.0), (lon - 20, lon + 20)][rng.integers(2)]
        inner = pole - np.copysign(high, pole)
        return polygon_shape(shapely.box(west, min(pole, inner), east, max(pole, inner)))
    lat = float(np.clip(lat, -90 + 4 * high, 90 - 4 * high))
    wide = min(high / np.cos(np.radians(abs(lat) + 2 * high)), 50.0) * (8 if kind == "wide" else 1)
    wide = min(wide, 80.0)
    while True:
        shape = _drawn(rng, kind, np.array([lon, lat]), np.array([wide, high]))
        if shape.is_valid and not shape.is_empty and shape.area > 0:
            return polygon_shape(shape)
        kind = "box"


def _drawn(rng: np.random.Generator, kind: str, at: Column, size: Column) -> Any:
    if kind == "star":
        corners = int(np.exp(rng.uniform(np.log(3), np.log(120))))
        angle = 2 * np.pi * (np.arange(corners) + rng.uniform(-0.3, 0.3, corners)) / corners
        reach = rng.uniform(0.3, 1.0, corners)[:, None]
        ring = at + size * reach * np.column_stack([np.cos(angle), np.sin(angle)])
        return shapely.Polygon(on_grid(rng, ring) if rng.random() < 0.3 else ring)
    low, high = at - size, at + size
    if rng.random() < 0.5:
        low, high = on_grid(rng, low), on_grid(rng, high)
    whole = shapely.box(*low, *high)
    if kind == "hole":
        return whole - shapely.box(*(low * 0.75 + high * 0.25), *(low * 0.25 + high * 0.75))
    if kind == "parts":
        return shapely.MultiPolygon(
            [whole, shapely.box(high[0] + size[0], low[1], high[0] + 2 * size[0], high[1])]
        )
    if kind == "corner":
        return shapely.MultiPolygon([whole, shapely.box(*high, *(high + size))])
    return whole


def at_border(rng: np.random.Generator, shape: Shape, count: int) -> Column:
    """(count, 2) places on or a hair beside what decides: rims, corners, edges, cell borders, poles."""
    if isinstance(shape, CircleShape):
        found = _at_rim(rng, shape, count)
    else:
        found = _at_edges(rng, shape, count)
    gridded = rng.random(count) < 0.15
    found[gridded] = on_grid(rng, found[gridded])
    found += rng.choice([-1.0, 1.0], found.shape) * rng.choice(HAIRS_DEG, found.shape)
    found[rng.random(count) < 0.01] = [rng.choice([-180.0, 180.0, 0.0]), rng.choice([-90.0, 90.0])]
    found[:, 0] += rng.choice([0.0, 0.0, 0.0, 360.0, -360.0], count)
    found[:, 1] = np.clip(found[:, 1], -90, 90)
    return found


def _at_rim(rng: np.random.Generator, circle: CircleShape, count: int) -> Column:
    off_m = rng.choice(OFF_RIM_M, count) * rng.choice([-1.0, 1.0], count)
    azimuth = np.where(
        rng.random(count) < 0.5, rng.integers(0, 8, count) * 45.0, rng.uniform(0, 360, count)
    )
    lon, lat = destination(
        lon=circle.lon,
        lat=circle.lat,
        azimuth_deg=azimuth,
        distance_m=np.maximum(circle.radius_m + off_m, 0),
    )
    found = np.column_stack([lon, lat])
    west, south, east, north = (
        float(b) for b in circle_boxes(lon=circle.lon, lat=circle.lat, radius_m=circle.radius_m)
    )
    boxed = rng.random(count) < 0.1
    found[boxed] = np.column_stack(
        [rng.choice([west, east, circle.lon], count), rng.choice([south, north, circle.lat], count)]
    )[boxed]
    return found


def _at_edges(rng: np.random.Generator, polygon: PolygonShape, count: int) -> Column:
    geometry = unwrap(polygon.geometry) if rng.random() < 0.5 else polygon.geometry
    xy = shapely.get_coordinates(geometry)
    row = rng.integers(0, len(xy) - 1, count)
    share = rng.choice([0.0, 0.0, 0.5, 0.25, 1 / 3, 0.999], count)[:, None]
    found = xy[row] + (xy[row + 1] - xy[row]) * share
    level = rng.random(count) < 0.15  # beside the polygon on the level of a corner
    found[level, 0] = rng.choice(xy[:, 0], int(level.sum()))
    return found


def pairs_of(hits: Hits) -> set[tuple[int, int]]:
    """As a set."""
    return set(zip(hits.ping.tolist(), hits.fence.tolist(), strict=True))
