"""Chance that the true place lies in a shape, for a fix with a round normal error.

The true place is spread about the fix as N(0, sigma²) along each axis. Formulas and their measured
errors: notes/certainty.md §2 (circle) and §3 (polygon).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, owens_t

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: a rim this many sigma away settles P to 0 or 1; costs at most 1e-4 (certainty.md §2)
CIRCLE_REACH = 4.3
#: edges farther than this many sigma are left out; each costs at most exp(-k²/2) = 4e-5
EDGE_REACH = 4.5
#: from this radius on (in sigma) three terms of the curvature expansion beat 16 nodes
EXPANSION_FROM = 6.0

#: of the midpoint rule on the rim
NODE_COS = np.cos((np.arange(16) + 0.5) * np.pi / 16)
# A fix exactly on an edge has no side. The sum and the crossing number are both taken at a point
# this many sigma beside the fix; P is continuous, so this moves it by less than 1e-7.
_NUDGE_X, _NUDGE_Y = 1.3e-7, 0.7e-7
_TINY = 1e-300


@dataclass(frozen=True, kw_only=True)
class Edges:
    """The directed edges of many (fix, polygon) pairs, each in the plane of its own fix.

    Attributes:
        pair: the pair that an edge belongs to, ascending; a pair without edges has no rim.
        x1, y1, x2, y2: ends in metres east and north of the fix; shells run counter-clockwise,
            holes clockwise.
    """

    pair: Ints
    x1: Floats
    y1: Floats
    x2: Floats
    y2: Floats

    def take(self, rows: Ints) -> Edges:
        """The chosen edges, in that order."""
        return Edges(
            pair=self.pair[rows],
            x1=self.x1[rows],
            y1=self.y1[rows],
            x2=self.x2[rows],
            y2=self.y2[rows],
        )

    def moved(self, dx: Floats, dy: Floats) -> Edges:
        """The edges shifted by metres, one shift each."""
        return Edges(
            pair=self.pair,
            x1=self.x1 + dx,
            y1=self.y1 + dy,
            x2=self.x2 + dx,
            y2=self.y2 + dy,
        )


def p_circle(*, radius_m: Floats, distance_m: Floats, sigma_m: Floats) -> Floats:
    """P(inside) of circles; all arguments broadcast, in metres, `sigma_m` > 0.

    It is `ncx2.cdf(u², 2, e²)` with u = radius/sigma and e = distance/sigma, to 2e-4 for every u:
    a 16-node boundary integral below 6 sigma, a curvature expansion above, 0 or 1 where the rim is
    more than 4.3 sigma away.
    """
    radius, distance, sigma = np.broadcast_arrays(radius_m, distance_m, sigma_m)
    u = np.asarray(radius / sigma, np.float64)
    e = np.asarray(distance / sigma, np.float64)
    v = u - e
    p = (v > 0).astype(np.float64)
    near = np.abs(v) < CIRCLE_REACH
    large = near & (u >= EXPANSION_FROM)
    small = near & ~large
    p[large] = _expansion(u[large], v[large])
    p[small] = _boundary_integral(u[small], e[small])
    return p


def _expansion(u: Floats, v: Floats) -> Floats:
    """Half-plane and three curvature terms: E over Y of Phi(sqrt(u² - Y²) - e)."""
    density = np.exp(-0.5 * v * v) / np.sqrt(2 * np.pi)
    bend = (0.5 + (0.375 * v + (0.375 + 0.3125 * (v * v - 1)) / u) / u) / u
    return np.clip(ndtr(v) - density * bend, 0.0, 1.0)


def _boundary_integral(u: Floats, e: Floats) -> Floats:
    """Green's theorem on the rim; the midpoint rule is exact to 1e-6 for u < 6."""
    u, e = u[:, None], e[:, None]
    along = u * u + u * e * NODE_COS
    rho2 = u * u + e * e + 2 * u * e * NODE_COS
    # (1 - exp(-rho²/2)) / rho² tends to 1/2 where a node meets the fix
    safe = np.maximum(rho2, _TINY)
    weight = np.where(rho2 > 1e-12, -np.expm1(-0.5 * safe) / safe, 0.5)
    return np.clip((along * weight).mean(axis=1), 0.0, 1.0)


def p_edges(edges: Edges, *, sigma_m: Floats, held: Bools) -> tuple[Floats, Floats]:
    """P(inside) of polygons and the distance to their rim.

    P = W - sum over edges of sgn(h) [T(|h|, t2/|h|) - T(|h|, t1/|h|)] with Owen's T, where h is the
    signed distance of the edge's line and t1, t2 its ends along that line, all in sigma, and W the
    crossing number (certainty.md §3). Exact to 2e-4 for any rings, holes and parts.

    Args:
        edges: of len(sigma_m) pairs, numbered from 0.
        sigma_m: > 0, one per pair.
        held: whether the polygon contains the fix: what P tends to far from the rim.
    Returns:
        P and the metres to the nearest edge (≥ 0; inf without edges), one per pair.
    """
    from_m2 = _distance2(edges)
    first = np.flatnonzero(np.diff(edges.pair, prepend=-1))
    rim_m = np.full(len(sigma_m), np.inf)
    if len(first):
        rim_m[edges.pair[first]] = np.sqrt(np.minimum.reduceat(from_m2, first))
    p = held.astype(np.float64)
    by_rim = rim_m <= EDGE_REACH * sigma_m
    edge = np.flatnonzero(by_rim[edges.pair])
    if len(edge):
        p[by_rim] = _beside_rim(edges.take(edge), from_m2[edge], sigma_m)[by_rim]
    return p, rim_m


def _beside_rim(edges: Edges, from_m2: Floats, sigma_m: Floats) -> Floats:
    """P of the pairs that these edges belong to, the edge sum itself."""
    sigma = sigma_m[edges.pair]
    nudged = edges.moved(-_NUDGE_X * sigma, -_NUDGE_Y * sigma)
    near = np.flatnonzero(from_m2 <= (EDGE_REACH * sigma) ** 2)
    terms = _edge_terms(nudged.take(near), sigma[near])
    lost = np.bincount(edges.pair[near], terms, len(sigma_m))
    return np.clip(_crossings(nudged, len(sigma_m)) - lost, 0.0, 1.0)


def _distance2(edges: Edges) -> Floats:
    """Squared metres from the fix to each edge."""
    ex, ey = edges.x2 - edges.x1, edges.y2 - edges.y1
    length2 = np.maximum(ex * ex + ey * ey, _TINY)
    at = np.clip(-(edges.x1 * ex + edges.y1 * ey) / length2, 0.0, 1.0)
    x, y = edges.x1 + at * ex, edges.y1 + at * ey
    return np.asarray(x * x + y * y)


def _crossings(edges: Edges, pairs: int) -> Floats:
    """1 where the ray towards east crosses an odd number of edges, else 0."""
    rows = np.flatnonzero((edges.y1 > 0) != (edges.y2 > 0))
    e = edges.take(rows)
    crossed = (e.x1 * e.y2 - e.x2 * e.y1 > 0) == (e.y2 > e.y1)
    count = np.bincount(e.pair[crossed], minlength=pairs)
    return np.asarray(count % 2, np.float64)


def _edge_terms(edges: Edges, sigma: Floats) -> Floats:
    """What each edge takes from W; an edge of no length takes nothing."""
    ex, ey = edges.x2 - edges.x1, edges.y2 - edges.y1
    length = np.hypot(ex, ey)
    unit = np.maximum(length, _TINY) * sigma
    cross = edges.x1 * edges.y2 - edges.x2 * edges.y1
    h = np.maximum(np.abs(cross) / unit, _TINY)
    # the side by the very test that the crossing number uses, so that the two cannot disagree
    side = np.where(cross > 0, 1.0, -1.0)
    t1 = (edges.x1 * ex + edges.y1 * ey) / unit
    t2 = t1 + length / sigma
    with np.errstate(over="ignore"):
        terms = side * (owens_t(h, t2 / h) - owens_t(h, t1 / h))
    return np.asarray(np.where(length > 0, terms, 0.0))
