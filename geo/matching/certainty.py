"""How certain it is that a phone is inside a fence, and the verdict (product P3, notes/certainty.md)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from geo.antimeridian import normalize_lon
from geo.fences.fence import PolygonShape
from geo.matching.index import BadCoordinates, FenceIndex
from geo.matching.normal import p_circle, p_edges
from geo.matching.planes import edges_about
from geo.matching.polygons import Polygons
from geo.measure import RIM_TOLERANCE_M

__all__ = [
    "ACCURACY_PER_SIGMA",
    "CertaintyPolicy",
    "Judgement",
    "Verdict",
    "judge",
    "p_circle",
    "p_polygon",
    "sigma_m",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: accuracy radius ÷ sigma by `Platform` code: Android and unknown 68 %, iOS the root of both
#: variances' sum, browsers 95 % (certainty.md §1)
ACCURACY_PER_SIGMA = np.array([np.sqrt(-2 * np.log(0.32)), np.sqrt(2.0), np.sqrt(-2 * np.log(0.05))])
#: no phone is better than this, whatever it says (product P3)
SIGMA_FLOOR_M = 3.0
#: edges weighed at once: some 20 columns of so many numbers stay in the cache
_EDGES_AT_ONCE = 1 << 17


class Verdict(IntEnum):
    """What one fix says about one fence."""

    OUT = -1
    UNDECIDED = 0
    IN = 1


@dataclass(frozen=True, kw_only=True)
class CertaintyPolicy:
    """When a fix counts as in or out; settings of a workspace and fence (product P3).

    Attributes:
        enter_p: P(inside) from which a fix is in; below 0.5 the index's candidates fall short.
        exit_p: P(inside) up to which a fix may be out …
        out_z: … if it lies outside the rim by so many sigma …
        poor_out_z: … or by so many, if no fix this coarse could reach `enter_p`.
        missing_sigma_m: sigma of a fix without accuracy, for out only.
        sigma_floor_m: no sigma is smaller.
    """

    enter_p: float = 0.5
    exit_p: float = 0.10
    out_z: float = 0.674
    poor_out_z: float = 2.0
    missing_sigma_m: float = 20.0
    sigma_floor_m: float = SIGMA_FLOOR_M


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Columns, one row per pair of a fix and a fence.

    Attributes:
        verdict: `Verdict` codes (int8).
        p: P(inside) in [0, 1], to 2e-4; 1 where a fix without accuracy is contained.
        rim_m: metres to the rim, negative inside; up to 1e-6 on it. The cut at 180° is no rim.
        sigma_m: of the fix; the policy's `missing_sigma_m` where it gave no accuracy.
    """

    verdict: NDArray[np.int8]
    p: Floats
    rim_m: Floats
    sigma_m: Floats


def sigma_m(accuracy_m: ArrayLike, platform: ArrayLike, *, floor_m: float = SIGMA_FLOOR_M) -> Floats:
    """Sigma of each fix in metres, NaN where it has no accuracy (NaN, 0 or less).

    Args:
        accuracy_m: the platform's accuracy radius.
        platform: `Platform` codes; any other counts as Android.
    """
    accuracy = np.asarray(accuracy_m, np.float64)
    code = np.asarray(platform, np.int64)
    known = (code >= 0) & (code < len(ACCURACY_PER_SIGMA))
    sigma = accuracy / ACCURACY_PER_SIGMA[np.where(known, code, 0)]
    return np.where(accuracy > 0, np.maximum(sigma, floor_m), np.nan)


def p_polygon(
    geometry: shapely.Polygon | shapely.MultiPolygon,
    *,
    lon: Floats,
    lat: Floats,
    sigma_m: Floats,
) -> Floats:
    """P(inside) of one polygon for many fixes, to 2e-4.

    Args:
        geometry: normal form, as in `PolygonShape`.
        lon, lat, sigma_m: of the fixes; degrees, and metres > 0.
    """
    polygons = Polygons.build([PolygonShape(geometry=geometry)])
    row = np.zeros(len(lon), np.int64)
    lon, lat = normalize_lon(lon), np.asarray(lat, np.float64)
    held = polygons.hold(lon=lon, lat=lat, ping=np.arange(len(lon)), fence=row)
    p, _ = _weigh(polygons, lon, lat, sigma_m, row, held)
    return p


def judge(
    index: FenceIndex,
    *,
    lon: Floats,
    lat: Floats,
    accuracy_m: Floats,
    platform: NDArray[np.int8],
    ping: Ints,
    fence: Ints,
    policy: CertaintyPolicy,
) -> Judgement:
    """Judge pairs of fixes and fences, in any order; near or far, contained or not.

    Args:
        lon, lat, accuracy_m, platform: columns of the fixes; accuracy NaN or 0 where missing.
        ping, fence: one pair each: a row of those columns and a row of the index.
    Returns:
        A row per pair. In: P ≥ `enter_p`. Out: P ≤ `exit_p` and outside the rim by `out_z` sigma
        (`poor_out_z` if P could nowhere reach `enter_p`). Without accuracy: in where contained,
        out by `missing_sigma_m`, never in from outside.
    Raises:
        BadCoordinates: a judged fix has a coordinate that is not finite, or an infinite accuracy.
    Source: product P3.
    """
    _check_fixes(lon[ping], lat[ping], accuracy_m[ping])
    with np.errstate(invalid="ignore"):  # a rejected fix may be infinite; no pair names it
        lon = normalize_lon(lon)
    sigma = sigma_m(accuracy_m, platform, floor_m=policy.sigma_floor_m)[ping]
    missing = np.isnan(sigma)
    sigma[missing] = policy.missing_sigma_m
    p, rim, held = np.empty(len(ping)), np.empty(len(ping)), np.empty(len(ping), bool)
    area_m2 = np.where(index.is_circle, np.pi * index.circles.radius_m**2, index.polygons.area_m2)
    for measure, chosen in ((_circles, index.is_circle[fence]), (_polygons, ~index.is_circle[fence])):
        some = np.flatnonzero(chosen)
        p[some], rim[some], held[some] = measure(index, lon, lat, ping[some], fence[some], sigma[some])
    verdict = _verdicts(p, rim, sigma, area_m2[fence], policy)
    verdict[missing & (verdict == Verdict.IN)] = Verdict.UNDECIDED
    verdict[missing & held] = Verdict.IN
    p[missing & held] = 1.0
    return Judgement(verdict=verdict, p=p, rim_m=rim, sigma_m=sigma)


def _check_fixes(lon: Floats, lat: Floats, accuracy_m: Floats) -> None:
    good = np.isfinite(lon) & (np.abs(lat) <= 90) & ~np.isinf(accuracy_m)
    if not good.all():
        pair = int(np.flatnonzero(~good)[0])
        raise BadCoordinates(
            f"Pair {pair} has a fix at lon {lon[pair]}, lat {lat[pair]} with accuracy "
            f"{accuracy_m[pair]} m; admit only finite degrees and metres."
        )


def _verdicts(
    p: Floats, rim_m: Floats, sigma: Floats, area_m2: Floats, policy: CertaintyPolicy
) -> NDArray[np.int8]:
    """The three-way rule. No shape of that area has a larger P than the disc around the fix."""
    best_p = -np.expm1(-area_m2 / (2 * np.pi * sigma * sigma))
    z = np.where(best_p >= policy.enter_p, policy.out_z, policy.poor_out_z)
    verdict = np.full(len(p), Verdict.UNDECIDED, np.int8)
    verdict[(p <= policy.exit_p) & (rim_m >= z * sigma)] = Verdict.OUT
    verdict[p >= policy.enter_p] = Verdict.IN
    return verdict


def _circles(
    index: FenceIndex, lon: Floats, lat: Floats, ping: Ints, fence: Ints, sigma: Floats
) -> tuple[Floats, Floats, Bools]:
    """P, signed metres to the rim, and whether the circle contains the fix."""
    radius_m = index.circles.radius_m[fence]
    from_centre_m = index.circles.distance_m(lon=lon, lat=lat, ping=ping, fence=fence)
    p = p_circle(radius_m=radius_m, distance_m=from_centre_m, sigma_m=sigma)
    return p, from_centre_m - radius_m, from_centre_m <= radius_m + RIM_TOLERANCE_M


def _polygons(
    index: FenceIndex, lon: Floats, lat: Floats, ping: Ints, fence: Ints, sigma: Floats
) -> tuple[Floats, Floats, Bools]:
    """P, signed metres to the rim, and whether the polygon contains the fix."""
    held = index.polygons.hold(lon=lon, lat=lat, ping=ping, fence=fence)
    p, rim = np.empty(len(ping)), np.empty(len(ping))
    for some in _portions(index.polygons.count[fence]):
        at = ping[some]
        p[some], rim[some] = _weigh(
            index.polygons, lon[at], lat[at], sigma[some], fence[some], held[some]
        )
    return p, np.where(held, 0.0 - rim, rim), held


def _weigh(
    polygons: Polygons, lon: Floats, lat: Floats, sigma: Floats, fence: Ints, held: Bools
) -> tuple[Floats, Floats]:
    edges = edges_about(polygons, lon=lon, lat=lat, sigma_m=sigma, fence=fence)
    return p_edges(edges, sigma_m=sigma, held=held)


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
