"""The edges of polygons in the plane of a fix: metres east and north of it.

Equirectangular at the fix where that moves P by less than 2e-4; azimuthal equidistant near the poles,
for fixes so coarse that the meridians' convergence shows (notes/certainty.md §3, "Plane"), and for
polygons that go all around the earth.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geo.matching.normal import Edges
from geo.matching.polygons import POLAR_DEG, Polygons
from geo.measure import WGS84

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: sigma × tan(latitude) above which the equirectangular plane errs by more than 1.4e-4 in P
_CONVERGENCE_M = 5_000.0
#: a piece of a bent edge is straight enough within this share of sigma or of its distance: the rim
#: moves by so much, hence P by at most 0.4 of it
_FLAT = 2e-4
_FIRST_CUT_DEG = 20.0
_HALVINGS = 30


def edges_about(polygons: Polygons, *, lon: Floats, lat: Floats, sigma_m: Floats, fence: Ints) -> Edges:
    """The edges of pair i's polygon in the plane of pair i's fix.

    Args:
        lon, lat, sigma_m: of the fixes, one per pair; longitudes in [-180, 180).
        fence: rows of polygons, one per pair.
    """
    bent = is_bent(polygons, lat=lat, sigma_m=sigma_m, fence=fence)
    if not bent.any():
        return _equirectangular(polygons, lon, lat, fence, np.arange(len(fence)))
    plain = np.flatnonzero(~bent)
    found = [_equirectangular(polygons, lon[plain], lat[plain], fence[plain], plain)]
    for pair in np.flatnonzero(bent).tolist():
        first = polygons.first[fence[pair]]
        ends = polygons.ends[first : first + polygons.count[fence[pair]]]
        found.append(_azimuthal(ends, lon=lon[pair], lat=lat[pair], sigma_m=sigma_m[pair], pair=pair))
    return _joined(found)


def is_bent(polygons: Polygons, *, lat: Floats, sigma_m: Floats, fence: Ints) -> Bools:
    """Pairs for which the equirectangular plane is not good enough."""
    bent = polygons.goes_round[fence] | (np.abs(lat) > POLAR_DEG)
    bent |= sigma_m * np.tan(np.radians(np.minimum(np.abs(lat), POLAR_DEG))) > _CONVERGENCE_M
    return np.asarray(bent)


def _joined(found: list[Edges]) -> Edges:
    pair = np.concatenate([e.pair for e in found])
    order = np.argsort(pair, kind="stable")
    return Edges(
        pair=pair[order],
        x1=np.concatenate([e.x1 for e in found])[order],
        y1=np.concatenate([e.y1 for e in found])[order],
        x2=np.concatenate([e.x2 for e in found])[order],
        y2=np.concatenate([e.y2 for e in found])[order],
    )


def _equirectangular(polygons: Polygons, lon: Floats, lat: Floats, fence: Ints, names: Ints) -> Edges:
    first, count = polygons.first[fence], polygons.count[fence]
    row = np.arange(count.sum()) + np.repeat(first - (np.cumsum(count) - count), count)
    east_m, north_m = _metres_a_degree(lat)
    lon, lat, east_m, north_m = (np.repeat(c, count) for c in (lon, lat, east_m, north_m))
    x1, y1, x2, y2 = polygons.ends.take(row, axis=0).T
    # whole turns, one for all edges of a part, so that no ring is torn
    lon = lon - 360.0 * np.round((lon - polygons.middle[row]) / 360.0)
    return Edges(
        pair=np.repeat(names, count),
        x1=(x1 - lon) * east_m,
        y1=(y1 - lat) * north_m,
        x2=(x2 - lon) * east_m,
        y2=(y2 - lat) * north_m,
    )


def _metres_a_degree(lat: Floats) -> tuple[Floats, Floats]:
    """Metres along a degree of longitude and of latitude: N cos(lat) and M of WGS84."""
    bend = 1 - WGS84.es * np.sin(np.radians(lat)) ** 2
    across = WGS84.a / np.sqrt(bend)
    east = np.radians(across * np.cos(np.radians(lat)))
    return east, np.radians(across * (1 - WGS84.es) / bend)


def _azimuthal(ends: Floats, *, lon: float, lat: float, sigma_m: float, pair: int) -> Edges:
    """Edges straight in degrees, cut until each piece is straight enough on the ground."""
    steps = np.abs(ends[:, 2:] - ends[:, :2]).max(axis=1)
    ends = _cut(ends, np.maximum(np.ceil(steps / _FIRST_CUT_DEG), 1).astype(np.int64))
    done: list[Floats] = []
    for left in range(_HALVINGS, -1, -1):
        xy1, xy2 = _about(ends[:, :2], lon, lat), _about(ends[:, 2:], lon, lat)
        middle = _about((ends[:, :2] + ends[:, 2:]) / 2, lon, lat)
        off = np.hypot(*(middle - (xy1 + xy2) / 2).T)
        away = np.hypot(*middle.T) - np.hypot(*(xy2 - xy1).T) / 2 - off
        bent = (off > _FLAT * np.maximum(away, sigma_m)) & (left > 0)
        done.append(np.hstack([xy1, xy2])[~bent])
        ends = _cut(ends[bent], np.full(int(bent.sum()), 2))
        if not len(ends):
            break
    x1, y1, x2, y2 = np.vstack(done).T
    return Edges(pair=np.full(len(x1), pair), x1=x1, y1=y1, x2=x2, y2=y2)


def _cut(ends: Floats, pieces: Ints) -> Floats:
    """Each edge (lon1, lat1, lon2, lat2) as so many equal pieces."""
    edge = np.repeat(np.arange(len(ends)), pieces)
    place = np.arange(len(edge)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    from_, to = ends[edge, :2], ends[edge, 2:]
    share = place / pieces[edge]
    share_to = (place + 1) / pieces[edge]
    begin = from_ + (to - from_) * share[:, None]
    # the last piece ends where the edge ends, to the bit
    end = np.where((share_to == 1)[:, None], to, from_ + (to - from_) * share_to[:, None])
    return np.hstack([begin, end])


def _about(places: Floats, lon: float, lat: float) -> Floats:
    """Places in metres east and north of a fix, each in its true direction and distance."""
    size = len(places)
    azimuth, _, metres = WGS84.inv(np.full(size, lon), np.full(size, lat), places[:, 0], places[:, 1])
    return np.column_stack([metres * np.sin(np.radians(azimuth)), metres * np.cos(np.radians(azimuth))])
