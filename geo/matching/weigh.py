"""P(inside) of one pair after the other, compiled: the twin of `normal` (notes/certainty.md §2, §3).

The true place is spread about the fix as N(0, sigma²) along each axis. A circle takes about 0.1 µs, a
polygon 0.1 to 1 µs; `normal` does the same in columns of NumPy and SciPy.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from geo.matching.compiled import bare_kernel, fetch, inlined
from geo.matching.normal import CIRCLE_REACH, EDGE_REACH, EXPANSION_FROM, NODE_COS
from geo.matching.polygons import STRETCH

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_WGS84_A_M = 6_378_137.0
_WGS84_ES = 0.0066943799901413165
_MEAN_RADIUS_M = 6_371_000.0
_HALF_ROOT = math.sqrt(0.5)
_PER_TURN = 1 / (2 * math.pi)
_ROOT_TURN = 1 / math.sqrt(2 * math.pi)
_NUDGE_X, _NUDGE_Y = 1.3e-7, 0.7e-7
#: the two nodes of Gauss-Legendre on [0, 1]
_LOW, _HIGH = 0.5 - math.sqrt(1 / 12), 0.5 + math.sqrt(1 / 12)
#: edges up to so many sigma are summed at nodes, longer ones by Owen's T
_GAUSS_UP_TO = 3.0
#: kernels over columns ask for what so many pairs further on will need
_AHEAD = 8
#: degrees of latitude that a sigma of a metre reaches
_REACH_DEG = EDGE_REACH / 111_000.0
#: which side a fix lies on is not known beforehand
UNKNOWN = -1
#: squared sigma from an edge, far more than the nudge
_ON_EDGE2 = 1e-10
# Gauss-Legendre on [0, 1]: five nodes and weights, and three
_N0, _N1, _N2, _N3, _N4 = (float(x + 1) / 2 for x in np.polynomial.legendre.leggauss(5)[0])
_T0, _, _T2 = (float(x + 1) / 2 for x in np.polynomial.legendre.leggauss(3)[0])
_V0, _V1, _ = (float(w) / 2 for w in np.polynomial.legendre.leggauss(3)[1])
_W0, _W1, _W2 = (float(w) / 2 for w in np.polynomial.legendre.leggauss(5)[1][:3])


@bare_kernel
def circle_p(radius_m: float, distance_m: float, sigma_m: float, node_cos: Floats) -> float:
    """P(inside) of a circle, to 2e-4; see `normal.p_circle`."""
    u, e = radius_m / sigma_m, distance_m / sigma_m
    v = u - e
    if v >= CIRCLE_REACH:
        return 1.0
    if v <= -CIRCLE_REACH:
        return 0.0
    if u >= EXPANSION_FROM:
        bend = (0.5 + (0.375 * v + (0.375 + 0.3125 * (v * v - 1)) / u) / u) / u
        p = 0.5 * math.erfc(-v * _HALF_ROOT) - math.exp(-0.5 * v * v) * _ROOT_TURN * bend
        return min(max(p, 0.0), 1.0)
    total = 0.0
    for node in range(len(node_cos)):
        along = u * u + u * e * node_cos[node]
        rho2 = u * u + e * e + 2 * u * e * node_cos[node]
        total += along * (-math.expm1(-0.5 * rho2) / rho2 if rho2 > 1e-12 else 0.5)
    return min(max(total / len(node_cos), 0.0), 1.0)


@inlined
def _node(x: float, a: float, half: float) -> float:
    q = 1.0 + (a * x) * (a * x)
    return math.exp(half * q) / q


@bare_kernel
def _owen_flat(h: float, a: float) -> float:
    """Owen's T for 0 ≤ a ≤ 1: five nodes, to 2e-8."""
    half = -0.5 * h * h
    total = _W0 * (_node(_N0, a, half) + _node(_N4, a, half))
    total += _W1 * (_node(_N1, a, half) + _node(_N3, a, half)) + _W2 * _node(_N2, a, half)
    return total * a * _PER_TURN


@bare_kernel
def owen_at(h: float, t: float) -> float:
    """Owen's T(h, t / h) for h ≥ 0: the edge's end at t along its line, h beside it."""
    sign = 1.0
    if t < 0:
        sign, t = -1.0, -t
    if t <= h:
        return sign * _owen_flat(h, t / h) if h > 0 else 0.0
    beside = 0.5 * math.erf(h * _HALF_ROOT)
    along = 0.5 * math.erf(t * _HALF_ROOT)
    return sign * (0.25 - beside * along - _owen_flat(t, h / t))


@inlined
def _seen(q: float) -> float:
    """(1 - exp(-q/2)) / q, smooth where the fix is: q is a squared distance in sigma."""
    return (1.0 - math.exp(-0.5 * q)) / q if q > 1e-9 else 0.5


@inlined
def _far(q: float) -> float:
    return math.exp(-0.5 * q) / q


@bare_kernel
def _term(x1: float, y1: float, x2: float, y2: float, away2: float) -> float:
    """`edge_term` of an edge at that squared distance.

    The term is the integral of exp(-q/2) over the angle at the fix, that is of cross × exp(-q/2) / q
    along the edge, q the squared distance. Far from the fix a few nodes of Gauss-Legendre are enough;
    near to it they are for cross × (1 - exp(-q/2)) / q, which has no pole, and the angle is added.
    """
    ex, ey = x2 - x1, y2 - y1
    length2 = ex * ex + ey * ey
    if away2 > EDGE_REACH * EDGE_REACH or length2 == 0.0:
        return 0.0
    cross = x1 * y2 - x2 * y1
    # squared distances along the edge, without the ends' own rounding
    q1, slope = x1 * x1 + y1 * y1, 2 * (x1 * ex + y1 * ey)
    if length2 <= 0.25 and q1 >= 16.0 * length2:  # to 4e-4 of 1/3 rad
        low, high = q1 + _LOW * (slope + _LOW * length2), q1 + _HIGH * (slope + _HIGH * length2)
        return cross * 0.5 * _PER_TURN * (_far(low) + _far(high))
    if away2 >= 2.25 * length2:  # to 3e-6
        low, high = q1 + _T0 * (slope + _T0 * length2), q1 + _T2 * (slope + _T2 * length2)
        middle = q1 + 0.5 * (slope + 0.5 * length2)
        return cross * _PER_TURN * (_V0 * (_far(low) + _far(high)) + _V1 * _far(middle))
    if length2 > _GAUSS_UP_TO * _GAUSS_UP_TO:
        return _long_term(x1, y1, ex, ey, cross, math.sqrt(length2))
    angle = math.atan2(abs(cross), q1 + 0.5 * slope)
    # no node can hit the fix by more than rounding: q is a sum of squares
    if length2 <= 2.25:  # to 2e-6
        total = _V0 * (_seen(_at(x1, y1, ex, ey, _T0)) + _seen(_at(x1, y1, ex, ey, _T2)))
        total += _V1 * _seen(_at(x1, y1, ex, ey, 0.5))
    else:  # to 4e-7
        total = _W0 * (_seen(_at(x1, y1, ex, ey, _N0)) + _seen(_at(x1, y1, ex, ey, _N4)))
        total += _W1 * (_seen(_at(x1, y1, ex, ey, _N1)) + _seen(_at(x1, y1, ex, ey, _N3)))
        total += _W2 * _seen(_at(x1, y1, ex, ey, _N2))
    # the side by the very test that the crossing number uses
    return ((angle if cross > 0 else -angle) - cross * total) * _PER_TURN


@inlined
def _at(x1: float, y1: float, ex: float, ey: float, share: float) -> float:
    """The squared distance of a place on an edge."""
    x, y = x1 + share * ex, y1 + share * ey
    return x * x + y * y


@bare_kernel
def _long_term(x1: float, y1: float, ex: float, ey: float, cross: float, length: float) -> float:
    """`edge_term` by Owen's T, for edges of any length."""
    h = abs(cross) / length
    t1 = (x1 * ex + y1 * ey) / length
    t2 = t1 + length
    sign = 1.0 if cross > 0 else -1.0
    if t1 < -EDGE_REACH and t2 > EDGE_REACH:  # the whole line, as far as it matters
        return sign * 0.5 * math.erfc(h * _HALF_ROOT)
    return sign * (owen_at(h, t2) - owen_at(h, t1))


@bare_kernel
def edge_term(x1: float, y1: float, x2: float, y2: float) -> float:
    """What an edge takes from the crossing number; ends in sigma about the fix."""
    return _term(x1, y1, x2, y2, _away2(x1, y1, x2, y2))


@bare_kernel
def polygon_p(
    ends: Floats,
    boxes: Floats,
    first: int,
    count: int,
    first_box: int,
    lon: float,
    lat: float,
    sigma_m: float,
    held: int,
) -> tuple[float, float]:
    """P(inside) of a polygon, to 2e-4, and metres to its nearest edge; in the plane of the fix.

    A stretch of sixteen edges is looked at if its box comes within 4.5 sigma or nearer than what was
    found, or if a ray from the fix to the east may cross it. Where the side is known, only those within
    4.5 sigma are; if none is, or an edge is too near for that knowledge, it is done in full.

    Args:
        ends, boxes, first, count, first_box: edges, see `Polygons`.
        lon: in the polygon's longitudes.
        held: 1 if the polygon holds the fix, 0 if not, `UNKNOWN`.
    """
    sine = math.sin(math.radians(lat))
    bend = 1 - _WGS84_ES * sine * sine
    across = _WGS84_A_M / math.sqrt(bend)
    # in sigma a degree
    east = math.radians(across * math.sqrt(1 - sine * sine)) / sigma_m
    north = math.radians(across * (1 - _WGS84_ES) / bend) / sigma_m
    unknown = held == UNKNOWN
    if not unknown:
        p, nearest = _crossing_sum(
            ends, boxes, first, count, first_box, lon, lat, east, north, held, EDGE_REACH * EDGE_REACH
        )
        unknown = nearest < _ON_EDGE2 or nearest == EDGE_REACH * EDGE_REACH
    if unknown:
        p, nearest = _crossing_sum(
            ends, boxes, first, count, first_box, lon, lat, east, north, UNKNOWN, np.inf
        )
    return min(max(p, 0.0), 1.0), math.sqrt(nearest) * sigma_m


@inlined
def _crossing_sum(
    ends: Floats,
    boxes: Floats,
    first: int,
    count: int,
    first_box: int,
    lon: float,
    lat: float,
    east: float,
    north: float,
    held: int,
    nearest: float,
) -> tuple[float, float]:
    """The crossing number, counted if `UNKNOWN`, less the edge sum; and the least squared distance."""
    count_crossings = held == UNKNOWN
    inside = 0.0 if count_crossings else float(held)
    lost = 0.0
    for step in range((count + STRETCH - 1) // STRETCH):
        box = first_box + step
        w, s = (boxes[box, 0] - lon) * east, (boxes[box, 1] - lat) * north
        e, n = (boxes[box, 2] - lon) * east, (boxes[box, 3] - lat) * north
        dx = w if w > 0 else -e if e < 0 else 0.0
        dy = s if s > 0 else -n if n < 0 else 0.0
        away = dx * dx + dy * dy
        crossed = count_crossings and s <= _NUDGE_Y <= n and e >= _NUDGE_X
        if not (away <= EDGE_REACH * EDGE_REACH or crossed or away < nearest):
            continue
        begin = first + step * STRETCH
        for edge in range(begin, min(begin + STRETCH, first + count)):
            x1, y1 = (ends[edge, 0] - lon) * east, (ends[edge, 1] - lat) * north
            x2, y2 = (ends[edge, 2] - lon) * east, (ends[edge, 3] - lat) * north
            if count_crossings and (y1 > _NUDGE_Y) != (y2 > _NUDGE_Y):
                ax, ay, bx, by = x1 - _NUDGE_X, y1 - _NUDGE_Y, x2 - _NUDGE_X, y2 - _NUDGE_Y
                if (ax * by - bx * ay > 0) == (by > ay):
                    inside = 1.0 - inside
            here = _away2(x1, y1, x2, y2)
            nearest = min(nearest, here)
            if here <= EDGE_REACH * EDGE_REACH:
                lost += _term(x1 - _NUDGE_X, y1 - _NUDGE_Y, x2 - _NUDGE_X, y2 - _NUDGE_Y, here)
    return inside - lost, nearest


@inlined
def _away2(x1: float, y1: float, x2: float, y2: float) -> float:
    """Squared distance from the origin to an edge. Without branches: none can be foretold."""
    ex, ey = x2 - x1, y2 - y1
    share = -(x1 * ex + y1 * ey) / (ex * ex + ey * ey + 1e-300)
    share = max(0.0, share)
    share = min(1.0, share)
    x, y = x1 + share * ex, y1 + share * ey
    return x * x + y * y


@bare_kernel
def weigh_polygons(
    ends: Floats,
    boxes: Floats,
    bounds: Floats,
    first: Ints,
    count: Ints,
    first_box: Ints,
    lon: Floats,
    lat: Floats,
    sigma_m: Floats,
    fence: Ints,
    held: NDArray[np.int8],
    p: Floats,
    rim_m: Floats,
) -> None:
    """P and metres to the rim (≥ 0) of pairs, one a row; `held` as in `polygon_p`."""
    for pair in range(len(fence)):
        ahead = fence[min(pair + 2 * _AHEAD, len(fence) - 1)]
        fetch(first, ahead)
        fetch(count, ahead)
        fetch(first_box, ahead)
        fetch(bounds, 4 * ahead)
        ahead = fence[min(pair + _AHEAD, len(fence) - 1)]
        for line in range(0, min(count[ahead] // STRETCH + 1, 16), 2):
            fetch(boxes, 4 * (first_box[ahead] + line))
        other = min(pair + _AHEAD // 2, len(fence) - 1)
        ahead = fence[other]
        reach = sigma_m[other] * _REACH_DEG
        for line in range(min((count[ahead] + STRETCH - 1) // STRETCH, 16)):
            box = first_box[ahead] + line
            if boxes[box, 1] - reach <= lat[other] <= boxes[box, 3] + reach:
                at = 4 * (first[ahead] + line * STRETCH)
                for edge in range(0, 4 * STRETCH, 8):
                    fetch(ends, at + edge)
        row = fence[pair]
        middle = (bounds[row, 0] + bounds[row, 2]) / 2
        x = lon[pair] - 360.0 * round((lon[pair] - middle) / 360.0)
        p[pair], rim_m[pair] = polygon_p(
            ends,
            boxes,
            first[row],
            count[row],
            first_box[row],
            x,
            lat[pair],
            sigma_m[pair],
            held[pair],
        )


@bare_kernel
def weigh_circles(
    x: Floats,
    y: Floats,
    z: Floats,
    radius_m: Floats,
    lon: Floats,
    lat: Floats,
    sigma_m: Floats,
    fence: Ints,
    node_cos: Floats,
    p: Floats,
    rim_m: Floats,
) -> None:
    """P and metres to the rim, negative inside, of pairs; the distance to 1 mm within 60 km.

    The chord through the earth is bent to the mean radius: wrong by its third power / 24 × 1 % of 1/R².
    """
    for pair in range(len(fence)):
        ahead = fence[min(pair + _AHEAD, len(fence) - 1)]
        fetch(x, ahead)
        fetch(y, ahead)
        fetch(z, ahead)
        fetch(radius_m, ahead)
        row = fence[pair]
        north, east = math.radians(lat[pair]), math.radians(lon[pair])
        up = math.sin(north)
        across = _WGS84_A_M / math.sqrt(1 - _WGS84_ES * up * up)
        out = across * math.cos(north)
        dx, dy = out * math.cos(east) - x[row], out * math.sin(east) - y[row]
        dz = across * (1 - _WGS84_ES) * up - z[row]
        chord = math.sqrt(dx * dx + dy * dy + dz * dz)
        far_m = 2 * _MEAN_RADIUS_M * math.asin(min(chord / (2 * _MEAN_RADIUS_M), 1.0))
        p[pair] = circle_p(radius_m[row], far_m, sigma_m[pair], node_cos)
        rim_m[pair] = far_m - radius_m[row]


def node_cosines() -> Floats:
    """The nodes of `circle_p`, to be handed to it: numba keeps no global arrays in its cache."""
    return NODE_COS.copy()
