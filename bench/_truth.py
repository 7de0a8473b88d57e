"""That the truth is true: brute force about a sample of pings, and about hard places."""

from __future__ import annotations

import numpy as np
import shapely
from pyproj import Geod

from bench._nearcast import version, versions_of
from bench._workload import M_A_DEGREE, Fences, Ints, Pings
from geo.fences.fence import CircleShape, FenceVersion, PolygonShape
from geo.matching.index import FenceIndex
from geo.matching.plain import PlainIndex, holds

WGS84 = Geod(ellps="WGS84")


def sample_wrong(fences: Fences, pings: Pings, truth: Ints, *, sample: int) -> int:
    """Pairs of the first pings in which the truth differs from `plain.holds`.

    Fences are asked that have their centre within twice their reach: no index is in it.
    """
    reach_deg = 2 * _reach_m(fences) / 110_500.0
    slim = np.cos(np.radians(np.minimum(np.abs(fences.lat) + reach_deg, 89)))
    found = []
    for ping in range(min(sample, len(pings))):
        lon, lat = float(pings.lon[ping]), float(pings.lat[ping])
        near = np.abs(fences.lat - lat) <= reach_deg
        near &= np.abs(fences.lon - lon) * slim <= reach_deg
        rows = np.flatnonzero(near)
        asked = zip(rows.tolist(), versions_of(_taken(fences, rows)), strict=True)
        found += [ping * len(fences) + row for row, one in asked if holds(one, lon=lon, lat=lat)]
    wanted = truth[truth < min(sample, len(pings)) * len(fences)]
    return len(np.setxor1d(np.array(found, np.int64), wanted))


def _reach_m(fences: Fences) -> np.ndarray:
    """From the centre to the farthest place of each fence, about."""
    reach_m = np.where(fences.is_circle, fences.radius_m, 0.0)
    of = np.repeat(np.arange(len(fences)), np.diff(fences.first))
    east = (fences.vertex[:, 0] - fences.lon[of]) * np.cos(np.radians(fences.lat[of]))
    far_m = np.hypot(east, fences.vertex[:, 1] - fences.lat[of]) * M_A_DEGREE
    np.maximum.at(reach_m, of, far_m)
    return reach_m


def _taken(fences: Fences, rows: Ints) -> Fences:
    corners = np.diff(fences.first)[rows]
    first = np.concatenate([[0], np.cumsum(corners)])
    of = np.repeat(np.arange(len(rows)), corners)
    vertex = fences.vertex[fences.first[rows][of] + np.arange(len(of)) - first[of]]
    return Fences(fences.lon[rows], fences.lat[rows], fences.radius_m[rows], first, vertex)


def hard_places() -> dict[str, int]:
    """Pairs that the compiled index gives wrong where indexes go wrong, by brute force.

    Holes, two parts, 180°, both poles, half the globe, touching boxes; pings on rims, edges, vertices
    and as far beside them as floats can tell.
    """
    versions = _hard_fences()
    lon, lat = _hard_pings(versions)
    found = FenceIndex.build(versions).compile().match(lon=lon, lat=lat)
    right = PlainIndex.build(versions).match(lon=lon, lat=lat)
    keys = [hits.ping * len(versions) + hits.fence for hits in (found, right)]
    wrong = len(np.setxor1d(*keys)) + len(keys[0]) - len(np.unique(keys[0]))
    return {
        "fences": len(versions),
        "pings": len(lon),
        "pairs": len(right),
        "wrong_pairs": wrong,
    }


def _hard_fences() -> list[FenceVersion]:
    box = shapely.box
    outlines = [
        box(126, 37, 127, 38).difference(box(126.4, 37.4, 126.6, 37.6)),
        shapely.MultiPolygon([box(127, 37, 127.5, 37.5), box(127.5, 37.5, 128, 38)]),
        shapely.MultiPolygon([box(179, -20, 180, -10), box(-180, -20, -178, -10)]),
        box(-180, 80, 180, 90),
        box(-180, -90, 180, -85).difference(box(-10, -88, 10, -87)),
        box(-170, -60, 100, 60),
        shapely.Polygon([(10, 50), (14, 50.5), (12, 50.7), (14, 51), (10, 51), (11, 50.5)]),
        box(10, 50, 10.25, 50.25),
    ]
    circles = [
        (126.5, 37.5, 50.0),
        (126.5, 37.5, 50_000.0),
        (180.0, 0.0, 20_000.0),
        (-179.95, 65.0, 9_000.0),
        (20.0, 85.0, 40_000.0),
        (0.0, 90.0, 30_000.0),
        (77.0, -89.9, 30_000.0),
    ]
    shapes = [PolygonShape(geometry=shapely.orient_polygons(outline)) for outline in outlines]
    rounds = [CircleShape(lon=lon, lat=lat, radius_m=metres) for lon, lat, metres in circles]
    return [version(number, shape) for number, shape in enumerate([*shapes, *rounds])]


def _hard_pings(versions: list[FenceVersion]) -> tuple[np.ndarray, np.ndarray]:
    places = [np.array([(180.0, 0.0), (-180.0, 66.0), (12.0, 90.0), (-50.0, -90.0), (180.0, 85.0)])]
    for each in versions:
        shape = each.fence.shape
        if isinstance(shape, CircleShape):
            azimuth = np.linspace(0, 360, 24, endpoint=False)
            for beside_m in (-1e-3, -1e-8, 0.0, 1e-3):
                full = (np.full(24, value) for value in (shape.lon, shape.lat))
                x, y, _ = WGS84.fwd(*full, azimuth, np.full(24, shape.radius_m + beside_m))
                places.append(np.column_stack([x, y]))
        else:
            corner = shapely.get_coordinates(shape.geometry)
            places += [corner, (corner[1:] + corner[:-1]) / 2, corner[:-1] * 0.75 + corner[1:] * 0.25]
    lon, lat = np.vstack(places).T
    beside = [(x, y) for x in (-np.inf, 0, np.inf) for y in (-np.inf, 0, np.inf)]
    lons = [lon if not x else np.nextafter(lon, x) for x, _ in beside]
    lats = [lat if not y else np.clip(np.nextafter(lat, y), -90, 90) for _, y in beside]
    return np.concatenate(lons), np.concatenate(lats)
