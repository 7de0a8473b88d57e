"""P(inside) of one pair after the other, compiled: the twin of `normal` (notes/certainty.md §2, §3).

The true place is spread about the fix as N(0, sigma²) along each axis. A circle takes about 0.1 µs, a
polygon 0.1 to 1 µs; `normal` does the same in columns of NumPy and SciPy.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from geo.matching.compiled import bare_kernel, inlined
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
# Gauss-Legendre on [0, 1]: five nodes and weights
_N0, _N1, _N2, _N3, _N4 = (float(x + 1) / 2 for x in np.polynomial.legendre.leggauss(5)[0])
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


@bare_kernel
def edge_term(x1: float, y1: float, x2: float, y2: float) -> float:
    """What an edge takes from the crossing number; ends in sigma about the fix."""
    ex, ey = x2 - x1, y2 - y1
    length2 = ex * ex + ey * ey
    if length2 == 0.0:
        return 0.0
    cross = x1 * y2 - x2 * y1
    if length2 <= 0.25 and x1 * x1 + y1 * y1 >= 16.0 * length2:
        # short, and at least three lengths away: two nodes along the edge err by 4e-4 of 1/3 rad
        ax, ay, bx, by = x1 + _LOW * ex, y1 + _LOW * ey, x1 + _HIGH * ex, y1 + _HIGH * ey
        a2, b2 = ax * ax + ay * ay, bx * bx + by * by
        return cross * 0.5 * _PER_TURN * (math.exp(-0.5 * a2) / a2 + math.exp(-0.5 * b2) / b2)
    length = math.sqrt(length2)
    h = abs(cross) / length
    if h > EDGE_REACH:
        return 0.0
    t1 = (x1 * ex + y1 * ey) / length
    t2 = t1 + length
    if t1 > EDGE_REACH or t2 < -EDGE_REACH:
        return 0.0
    sign = 1.0 if cross > 0 else -1.0
    if t1 < -EDGE_REACH and t2 > EDGE_REACH:  # the whole line, as far as it matters
        return sign * 0.5 * math.erfc(h * _HALF_ROOT)
    return sign * (owen_at(h, t2) - owen_at(h, t1))


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
) -> tuple[float, float]:
    """P(inside) of a polygon, to 2e-4, and metres to its nearest edge; in the plane of the fix.

    A stretch of sixteen edges is looked at if its box comes within 4.5 sigma or nearer than what was
    found, or if a ray from the fix to the east may cross it.

    Args:
        ends, boxes, first, count, first_box: edges, see `Polygons`.
        lon: in the polygon's longitudes.
    """
    sine = math.sin(math.radians(lat))
    bend = 1 - _WGS84_ES * sine * sine
    across = _WGS84_A_M / math.sqrt(bend)
    # in sigma a degree
    east = math.radians(across * math.sqrt(1 - sine * sine)) / sigma_m
    north = math.radians(across * (1 - _WGS84_ES) / bend) / sigma_m
    inside = 0.0
    lost = 0.0
    nearest = np.inf
    for step in range((count + STRETCH - 1) // STRETCH):
        box = first_box + step
        w, s = (boxes[box, 0] - lon) * east, (boxes[box, 1] - lat) * north
        e, n = (boxes[box, 2] - lon) * east, (boxes[box, 3] - lat) * north
        dx = w if w > 0 else -e if e < 0 else 0.0
        dy = s if s > 0 else -n if n < 0 else 0.0
        away = dx * dx + dy * dy
        matters = away <= EDGE_REACH * EDGE_REACH
        crossed = s <= _NUDGE_Y <= n and e >= _NUDGE_X
        if not (matters or crossed or away < nearest):
            continue
        begin = first + step * STRETCH
        for edge in range(begin, min(begin + STRETCH, first + count)):
            x1, y1 = (ends[edge, 0] - lon) * east, (ends[edge, 1] - lat) * north
            x2, y2 = (ends[edge, 2] - lon) * east, (ends[edge, 3] - lat) * north
            if (y1 > _NUDGE_Y) != (y2 > _NUDGE_Y):
                ax, ay, bx, by = x1 - _NUDGE_X, y1 - _NUDGE_Y, x2 - _NUDGE_X, y2 - _NUDGE_Y
                if (ax * by - bx * ay > 0) == (by > ay):
                    inside = 1.0 - inside
            if away < nearest:
                here = _away2(x1, y1, x2, y2)
                nearest = min(nearest, here)
            if (
                (x1 > EDGE_REACH and x2 > EDGE_REACH)
                or (x1 < -EDGE_REACH and x2 < -EDGE_REACH)
                or (y1 > EDGE_REACH and y2 > EDGE_REACH)
                or (y1 < -EDGE_REACH and y2 < -EDGE_REACH)
            ):
                continue
            if matters:
                lost += edge_term(x1 - _NUDGE_X, y1 - _NUDGE_Y, x2 - _NUDGE_X, y2 - _NUDGE_Y)
    p = inside - lost
    return 1.0 if p > 1.0 else max(p, 0.0), math.sqrt(nearest) * sigma_m


@inlined
def _away2(x1: float, y1: float, x2: float, y2: float) -> float:
    """Squared distance from the origin to an edge."""
    ex, ey = x2 - x1, y2 - y1
    length2 = ex * ex + ey * ey
    along = -(x1 * ex + y1 * ey)
    if along <= 0.0:
        return x1 * x1 + y1 * y1
    if along >= length2:
        return x2 * x2 + y2 * y2
    cross = x1 * ey - y1 * ex
    return cross * cross / length2


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
    p: Floats,
    rim_m: Floats,
) -> None:
    """P and metres to the rim (≥ 0) of pairs, one a row."""
    for pair in range(len(fence)):
        row = fence[pair]
        middle = (bounds[row, 0] + bounds[row, 2]) / 2
        x = lon[pair] - 360.0 * round((lon[pair] - middle) / 360.0)
        p[pair], rim_m[pair] = polygon_p(
            ends, boxes, first[row], count[row], first_box[row], x, lat[pair], sigma_m[pair]
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
