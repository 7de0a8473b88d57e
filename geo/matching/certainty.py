"""How certain it is that a phone is inside a fence, and the verdict (product P3, notes/certainty.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from geo.antimeridian import normalize_lon
from geo.fences.fence import PolygonShape, PresenceRules
from geo.matching.hits import Pairs
from geo.matching.index import BadCoordinates, FenceIndex
from geo.matching.measures import (
    circles_by_kernel,
    circles_plainly,
    polygons_by_kernel,
    polygons_plainly,
    weigh,
)
from geo.matching.normal import p_circle
from geo.matching.polygons import Polygons

__all__ = [
    "ACCURACY_PER_SIGMA",
    "CertaintyPolicy",
    "CertaintyRules",
    "Decision",
    "Judgement",
    "Verdict",
    "decide",
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
#: by engine: how circles and polygons are measured
_WAYS = {
    "rtree": (circles_plainly, polygons_plainly),
    "cells": (circles_by_kernel, polygons_by_kernel),
}
#: pings decided together: few calls a ping, and not too much memory
_TOGETHER = 32_768


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
class CertaintyRules:
    """The thresholds that fences may have of their own, one row a fence version of the index.

    Attributes: as in `CertaintyPolicy`; `enter_p` at least 0.5.
    """

    enter_p: Floats
    exit_p: Floats
    out_z: Floats
    poor_out_z: Floats

    @classmethod
    def of(cls, policy: CertaintyPolicy, rows: int, own: Mapping[int, PresenceRules]) -> CertaintyRules:
        """The policy's for so many rows, but for what some have of their own."""
        columns = {name: np.full(rows, getattr(policy, name)) for name in _OWN}
        for row, rules in own.items():
            for name, column in columns.items():
                value = getattr(rules, name)
                if value is not None:
                    column[row] = value
        return cls(**columns)


_OWN = ("enter_p", "exit_p", "out_z", "poor_out_z")


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


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Pairs of a fix and a fence with what the fix says.

    Attributes:
        pairs: by fix.
        verdict: `Verdict` codes (int8), one a pair.
    """

    pairs: Pairs
    verdict: NDArray[np.int8]


def decide(
    index: FenceIndex,
    *,
    lon: Floats,
    lat: Floats,
    accuracy_m: Floats,
    platform: NDArray[np.int8],
    at_ms: Ints | None = None,
    policy: CertaintyPolicy,
    rules: CertaintyRules | None = None,
) -> Decision:
    """The verdicts of `judge` about all fences that a fix is in or may be in, at less cost.

    By cells, a pair whose rim does not come near the fix needs no P to be in; see `cell_near`.

    Args:
        lon, lat, accuracy_m, platform: columns of the fixes; accuracy NaN or 0 where missing.
        at_ms: their instants; None decides whatever the time.
        rules: thresholds by fence row; None: the policy's everywhere.
    Returns:
        Every fence version that contains a fix, and further ones near it, among them all whose verdict
        is in.
    Raises:
        BadCoordinates: a coordinate is NaN, infinite or out of range, or an accuracy infinite.
    """
    parts = []
    for first in range(0, max(len(lon), 1), _TOGETHER):
        some = slice(first, first + _TOGETHER)
        at = None if at_ms is None else at_ms[some]
        parts.append(
            _decided(index, lon[some], lat[some], accuracy_m[some], platform[some], at, policy, rules)
        )
    return Decision(
        pairs=Pairs.joined([part.pairs for part in parts]),
        verdict=np.concatenate([part.verdict for part in parts]),
    )


def _decided(
    index: FenceIndex,
    lon: Floats,
    lat: Floats,
    accuracy_m: Floats,
    platform: NDArray[np.int8],
    at_ms: Ints | None,
    policy: CertaintyPolicy,
    rules: CertaintyRules | None,
) -> Decision:
    if np.isinf(accuracy_m).any():
        _check_fixes(lon, lat, accuracy_m)
    found = index.pairs(lon=lon, lat=lat, at_ms=at_ms)
    sigma = sigma_m(accuracy_m, platform, floor_m=policy.sigma_floor_m)
    close, ping, fence = index.near(found, lon=lon, lat=lat, reach_m=_reach(policy, rules) * sigma)
    verdict = np.full(len(found), Verdict.IN, np.int8)
    some = np.flatnonzero(close)
    if at_ms is not None and len(ping):
        live = (index.live_from_ms[fence] <= at_ms[ping]) & (at_ms[ping] < index.live_until_ms[fence])
        ping, fence = ping[live], fence[live]
    held_by = np.searchsorted(found.offsets, some, side="right") - 1
    held = found.fence[some]
    found, beside, ping, fence = found.with_others(ping, fence)
    ask, of = np.concatenate([held_by, ping]), np.concatenate([held, fence])
    known = np.arange(len(ask)) < len(some)
    judged = _judged(
        index,
        normalize_lon(lon[ask]),
        lat[ask],
        sigma[ask],
        np.arange(len(ask)),
        of,
        policy,
        rules,
        known,
    )
    verdict[some] = judged.verdict[: len(some)]
    if len(ping):
        verdict = np.insert(verdict, beside, judged.verdict[len(some) :])
    return Decision(pairs=found, verdict=verdict)


def _reach(policy: CertaintyPolicy, rules: CertaintyRules | None) -> float:
    """So many sigma from the rim, a fix inside is in and a fix outside is not, whatever the shape."""
    every = np.array([policy.enter_p]) if rules is None or not len(rules.enter_p) else rules.enter_p
    inside = np.sqrt(-2 * np.log1p(-every.max()))
    outside = np.sqrt(-2 * np.log(every.min()))
    return float(max(inside, outside)) * 1.001


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
    p, _ = weigh(polygons, lon, lat, sigma_m, row, held)
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
    rules: CertaintyRules | None = None,
) -> Judgement:
    """Judge pairs of fixes and fences, in any order; near or far, contained or not.

    Args:
        lon, lat, accuracy_m, platform: columns of the fixes; accuracy NaN or 0 where missing.
        ping, fence: one pair each: a row of those columns and a row of the index.
        rules: thresholds by fence row; None: the policy's everywhere.
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
    sigma = sigma_m(accuracy_m, platform, floor_m=policy.sigma_floor_m)
    return _judged(index, lon, lat, sigma[ping], ping, fence, policy, rules, None)


def _judged(
    index: FenceIndex,
    lon: Floats,
    lat: Floats,
    sigma: Floats,
    ping: Ints,
    fence: Ints,
    policy: CertaintyPolicy,
    rules: CertaintyRules | None,
    known: Bools | None,
) -> Judgement:
    """`judge` with sigma by pair; `known` says which pairs are held, None where that is to be found."""
    missing = np.isnan(sigma)
    sigma[missing] = policy.missing_sigma_m
    p, rim, held = np.empty(len(ping)), np.empty(len(ping)), np.empty(len(ping), bool)
    of_circle = index.is_circle[fence]
    for measure, chosen in zip(_WAYS[index.engine], (of_circle, ~of_circle), strict=True):
        some = np.flatnonzero(chosen)
        if len(some):
            p[some], rim[some], held[some] = measure(
                index,
                lon,
                lat,
                ping[some],
                fence[some],
                sigma[some],
                None if known is None else known[some],
            )
    radius_m, area_m2 = index.circles.radius_m[fence], index.polygons.area_m2[fence]
    area_m2 = np.where(index.is_circle[fence], np.pi * radius_m**2, area_m2)
    enter_p, exit_p, out_z, poor_out_z = (
        getattr(policy, name) if rules is None else getattr(rules, name)[fence] for name in _OWN
    )
    # no shape of that area has a larger P than the disc around the fix
    best_p = -np.expm1(-area_m2 / (2 * np.pi * sigma * sigma))
    z = np.where(best_p >= enter_p, out_z, poor_out_z)
    verdict = np.full(len(p), Verdict.UNDECIDED, np.int8)
    verdict[(p <= exit_p) & (rim >= z * sigma)] = Verdict.OUT
    verdict[p >= enter_p] = Verdict.IN
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
