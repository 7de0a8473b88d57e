"""P(inside), metres to the rim and containment of pairs: in columns of NumPy, and by kernels.

The first are the plain twins, and what an index answers with until its kernels are there.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from geo.matching.index import FenceIndex
from geo.matching.normal import p_circle, p_edges
from geo.matching.planes import edges_about, is_bent
from geo.matching.polygons import Polygons
from geo.measure import RIM_TOLERANCE_M

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: kernels measure circles to 2 mm within 60 km; what is nearer to the rim, or farther away, anew
_KERNEL_ERROR_M = 0.01
_KERNEL_UP_TO_M = 50_000.0
#: wider polygons have parts that stand in different turns next to a fix
_ONE_TURN_DEG = 170.0
#: edges weighed at once: some 20 columns of so many numbers stay in the cache
_EDGES_AT_ONCE = 1 << 17


def circles_plainly(
    index: FenceIndex,
    lon: Floats,
    lat: Floats,
    ping: Ints,
    fence: Ints,
    sigma: Floats,
    known: Bools | None,
) -> tuple[Floats, Floats, Bools]:
    """P, signed metres to the rim, and whether the circle contains the fix."""
    radius_m = index.circles.radius_m[fence]
    from_centre_m = index.circles.distance_m(lon=lon, lat=lat, ping=ping, fence=fence)
    p = p_circle(radius_m=radius_m, distance_m=from_centre_m, sigma_m=sigma)
    return p, from_centre_m - radius_m, from_centre_m <= radius_m + RIM_TOLERANCE_M


def polygons_plainly(
    index: FenceIndex,
    lon: Floats,
    lat: Floats,
    ping: Ints,
    fence: Ints,
    sigma: Floats,
    known: Bools | None,
) -> tuple[Floats, Floats, Bools]:
    """P, signed metres to the rim, and whether the polygon contains the fix."""
    held = known
    if held is None:
        held = index.polygons.hold(lon=lon, lat=lat, ping=ping, fence=fence)
    p, rim = np.empty(len(ping)), np.empty(len(ping))
    for some in _portions(index.polygons.count[fence]):
        at = ping[some]
        p[some], rim[some] = weigh(
            index.polygons, lon[at], lat[at], sigma[some], fence[some], held[some]
        )
    return p, np.where(held, 0.0 - rim, rim), held


def weigh(
    polygons: Polygons, lon: Floats, lat: Floats, sigma: Floats, fence: Ints, held: Bools
) -> tuple[Floats, Floats]:
    """P and metres to the rim (≥ 0) of pairs, by the edges about each fix."""
    edges = edges_about(polygons, lon=lon, lat=lat, sigma_m=sigma, fence=fence)
    return p_edges(edges, sigma_m=sigma, held=held)


def circles_by_kernel(
    index: FenceIndex,
    lon: Floats,
    lat: Floats,
    ping: Ints,
    fence: Ints,
    sigma: Floats,
    known: Bools | None,
) -> tuple[Floats, Floats, Bools]:
    """`circles_plainly` by kernels; near the rim, and far away, by geodesic all the same."""
    from geo.matching import weigh as kernels  # numba comes with it: only where it is there

    c = index.circles
    p, rim = np.empty(len(ping)), np.empty(len(ping))
    at = (lon[ping], lat[ping], sigma, fence, kernels.node_cosines(), p, rim)
    kernels.weigh_circles(c.x, c.y, c.z, c.radius_m, *at)
    unsure = np.flatnonzero((np.abs(rim) < _KERNEL_ERROR_M) | (rim > _KERNEL_UP_TO_M))
    if len(unsure):
        p[unsure], rim[unsure], _ = circles_plainly(
            index, lon, lat, ping[unsure], fence[unsure], sigma[unsure], None
        )
    return p, rim, rim <= RIM_TOLERANCE_M


def polygons_by_kernel(
    index: FenceIndex,
    lon: Floats,
    lat: Floats,
    ping: Ints,
    fence: Ints,
    sigma: Floats,
    known: Bools | None,
) -> tuple[Floats, Floats, Bools]:
    """`polygons_plainly` by kernels, where the plane about the fix is flat enough for them."""
    from geo.matching import weigh as kernels  # numba comes with it: only where it is there

    polygons = index.polygons
    bent = is_bent(polygons, lat=lat[ping], sigma_m=sigma, fence=fence)
    bent |= polygons.bounds[fence, 2] - polygons.bounds[fence, 0] > _ONE_TURN_DEG
    p, rim, held = np.empty(len(ping)), np.empty(len(ping)), np.empty(len(ping), bool)
    some = np.flatnonzero(bent)
    if len(some):
        p[some], rim[some], held[some] = polygons_plainly(
            index, lon, lat, ping[some], fence[some], sigma[some], None if known is None else known[some]
        )
    some = np.flatnonzero(~bent)
    x, y, of = lon[ping[some]], lat[ping[some]], fence[some]
    found, away = np.empty(len(some)), np.empty(len(some))
    edges = polygons.ends, polygons.stretch_box, polygons.bounds
    numbers = polygons.first, polygons.count, polygons.stretch_first
    side = np.full(len(some), kernels.UNKNOWN, np.int8) if known is None else known[some].astype(np.int8)
    kernels.weigh_polygons(*edges, *numbers, x, y, sigma[some], of, side, found, away)
    if known is None:
        inside = polygons.hold(lon=lon, lat=lat, ping=ping[some], fence=of)
    else:
        inside = known[some]
    p[some], rim[some], held[some] = found, np.where(inside, 0.0 - away, away), inside
    return p, rim, held


def _portions(count: Ints) -> Iterator[slice]:
    """Slices of pairs with at most `_EDGES_AT_ONCE` edges each, or one pair with more."""
    end = np.cumsum(count)
    start = 0
    while start < len(count):
        before = end[start] - count[start]
        stop = int(np.searchsorted(end, before + _EDGES_AT_ONCE, side="right"))
        stop = max(stop, start + 1)
        yield slice(start, stop)
        start = stop
