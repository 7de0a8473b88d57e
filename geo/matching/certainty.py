"""How certain it is that a phone is inside a fence, and the verdict (product P3; notes/certainty.md)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geo.matching.index import FenceIndex
from geo.matching.normal import Edges, p_circle, p_edges
from geo.measure import WGS84, distance_m

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: accuracy radius ÷ sigma by `Platform`: Android 68 %, iOS sqrt(2), browsers 95 % (certainty.md §1)
ACCURACY_PER_SIGMA = np.array([np.sqrt(-2 * np.log(0.32)), np.sqrt(2.0), np.sqrt(-2 * np.log(0.05))])
_POLE_DEG = 85.0


class Verdict(IntEnum):
    """What one fix says about one fence."""

    OUT = -1
    UNDECIDED = 0
    IN = 1


@dataclass(frozen=True, kw_only=True)
class CertaintyPolicy:
    """When a fix counts as in or out; settings of a workspace (product P3).

    Attributes:
        enter_p: P(inside) from which a fix is in.
        exit_p: P(inside) up to which it may be out …
        out_sigma: … if it lies outside the rim by so many sigma …
        poor_out_sigma: … or by so many if no fix this coarse could reach `enter_p`.
        missing_sigma_m: sigma of a fix without accuracy, for out only.
        least_sigma_m: no phone is better than this, whatever it says.
    """

    enter_p: float = 0.5
    exit_p: float = 0.10
    out_sigma: float = 0.674
    poor_out_sigma: float = 2.0
    missing_sigma_m: float = 20.0
    least_sigma_m: float = 3.0


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Columns, one row per pair of a fix and a fence.

    Attributes:
        verdict: `Verdict` codes (int8).
        p: P(inside), 0 to 1.
        rim_m: metres to the rim, negative inside.
        sigma_m: of the fix; for one without accuracy the policy's `missing_sigma_m`.
    """

    verdict: NDArray[np.int8]
    p: Floats
    rim_m: Floats
    sigma_m: Floats


def sigma_m(
    accuracy_m: Floats, platform: NDArray[np.int8], *, policy: CertaintyPolicy
) -> tuple[Floats, NDArray[np.bool_]]:
    """Sigma of each fix, and which fixes gave no accuracy (NaN or 0: old Androids say 0 for none)."""
    missing = ~(accuracy_m > 0)
    sigma = np.maximum(accuracy_m / ACCURACY_PER_SIGMA[platform], policy.least_sigma_m)
    return np.where(missing, policy.missing_sigma_m, sigma), missing


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
    """Judge pairs of fixes and fences.

    Args:
        lon, lat, accuracy_m, platform: columns of the fixes; accuracy NaN or 0 where missing.
        ping, fence: rows of the fixes and of the index, one pair each.
    A fix without accuracy is in with P 1 where the fence contains it; it is out by the rules of a fix
    with `missing_sigma_m`, and nothing else. Source: product P3.
    """
    sigma, missing = sigma_m(accuracy_m, platform, policy=policy)
    sigma, missing = sigma[ping], missing[ping]
    p, rim = np.empty(len(ping)), np.empty(len(ping))
    circle, polygon = index.is_circle[fence], ~index.is_circle[fence]
    p[circle], rim[circle], area_c = _circles(
        index, lon[ping[circle]], lat[ping[circle]], fence[circle], sigma[circle]
    )
    p[polygon], rim[polygon], area_p = _polygons(
        index, lon[ping[polygon]], lat[ping[polygon]], fence[polygon], sigma[polygon]
    )
    area_m2 = np.empty(len(ping))
    area_m2[circle], area_m2[polygon] = area_c, area_p
    verdict = _verdicts(p, rim, sigma, area_m2, policy)
    contained = missing & (rim <= 0)
    verdict[contained], p[contained] = Verdict.IN, 1.0
    unsure = missing & ~contained
    verdict[unsure & (verdict == Verdict.IN)] = Verdict.UNDECIDED
    p[unsure & (verdict != Verdict.OUT)] = 0.0
    return Judgement(verdict=verdict, p=p, rim_m=rim, sigma_m=sigma)


def _verdicts(
    p: Floats, rim_m: Floats, sigma: Floats, area_m2: Floats, policy: CertaintyPolicy
) -> NDArray[np.int8]:
    """The three-way rule; `area_m2` bounds what a fix can reach: P <= 1 - exp(-area / 2 pi sigma²)."""
    best_p = -np.expm1(-area_m2 / (2 * np.pi * sigma * sigma))
    far = np.where(best_p >= policy.enter_p, policy.out_sigma, policy.poor_out_sigma)
    verdict = np.full(len(p), Verdict.UNDECIDED, np.int8)
    verdict[(p <= policy.exit_p) & (rim_m >= far * sigma)] = Verdict.OUT
    verdict[p >= policy.enter_p] = Verdict.IN
    return verdict


def _circles(
    index: FenceIndex, lon: Floats, lat: Floats, fence: Ints, sigma: Floats
) -> tuple[Floats, Floats, Floats]:
    radius = index.radius_m[fence]
    centre = distance_m(lon1=index.lon[fence], lat1=index.lat[fence], lon2=lon, lat2=lat)
    # within a micrometre of the rim is on it, as in matching
    rim = np.where(np.abs(centre - radius) <= 1e-6, 0.0, centre - radius)
    p = p_circle(radius_m=radius, distance_m=centre, sigma_m=sigma)
    return p, rim, np.pi * radius * radius


def _polygons(
    index: FenceIndex, lon: Floats, lat: Floats, fence: Ints, sigma: Floats
) -> tuple[Floats, Floats, Floats]:
    if not len(fence):
        return np.zeros(0), np.zeros(0), np.zeros(0)
    edges, area_m2 = _edges(index, lon, lat, fence)
    p, rim = p_edges(edges, sigma_m=sigma)
    inside = index.holds_polygon(lon, lat, fence)
    return p, np.where(inside, -rim, rim), area_m2


def _edges(index: FenceIndex, lon: Floats, lat: Floats, fence: Ints) -> tuple[Edges, Floats]:
    """All edges of every pair's polygon, in the plane of its fix, and the polygons' areas there."""
    first, count = index.edge_first[fence], index.edge_count[fence]
    pair = np.repeat(np.arange(len(fence)), count)
    row = np.arange(len(pair)) - np.repeat(np.cumsum(count) - count, count) + first[pair]
    x1, y1 = _plane(lon[pair], lat[pair], index.edge_ends[row, 0], index.edge_ends[row, 1])
    x2, y2 = _plane(lon[pair], lat[pair], index.edge_ends[row, 2], index.edge_ends[row, 3])
    area = np.bincount(pair, x1 * y2 - x2 * y1, len(fence)) / 2
    return Edges(pair=pair, x1=x1, y1=y1, x2=x2, y2=y2), np.abs(area)


def _plane(lon0: Floats, lat0: Floats, lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
    """Metres east and north of a fix: equirectangular, azimuthal equidistant near the poles.

    Good to 1.6e-4 of P up to 2 km of accuracy (certainty.md §3).
    """
    phi = np.radians(lat0)
    bend = 1 - WGS84.es * np.sin(phi) ** 2
    north = WGS84.a * (1 - WGS84.es) / bend**1.5
    east = WGS84.a / np.sqrt(bend) * np.cos(phi)
    turn = (lon - lon0 + 180.0) % 360.0 - 180.0
    x, y = np.radians(turn) * east, np.radians(lat - lat0) * north
    polar = np.flatnonzero(np.abs(lat0) > _POLE_DEG)
    if len(polar):
        columns: Any = (lon0[polar], lat0[polar], lon[polar], lat[polar])
        azimuth, _, metres = WGS84.inv(*columns)
        x[polar], y[polar] = (
            metres * np.sin(np.radians(azimuth)),
            metres * np.cos(np.radians(azimuth)),
        )
    return x, y
