"""Thresholds of a fence's own: the same verdicts as if the workspace had them for that fence."""

from __future__ import annotations

import numpy as np
import pytest

from geo.fences.fence import CircleShape, PresenceRules
from geo.matching.certainty import CertaintyPolicy, CertaintyRules, Verdict, decide, judge
from geo.matching.index import FenceIndex
from tests.strategies import version_of

LON, LAT, METRE = 127.0276, 37.4979, 1 / 110_970.0
RULES = [
    None,
    PresenceRules(enter_p=0.9),
    PresenceRules(enter_p=0.5, exit_p=0.4, out_z=0.1),
    PresenceRules(enter_p=0.99, exit_p=0.001, out_z=3.0, poor_out_z=4.0),
    PresenceRules(exit_fixes=5),
]
POLICY = CertaintyPolicy(enter_p=0.6)


def _policy(own: PresenceRules | None) -> CertaintyPolicy:
    names = ("enter_p", "exit_p", "out_z", "poor_out_z")
    said = {n: getattr(own, n) for n in names if own and getattr(own, n) is not None}
    return CertaintyPolicy(**({"enter_p": POLICY.enter_p} | said))


def _fixes(radius_m: float) -> dict[str, np.ndarray]:
    """Fixes from the middle out over the rim, fine and coarse, with and without accuracy."""
    off_m = np.concatenate([radius_m + np.linspace(-radius_m, 300, 121), [radius_m - 1e-7]])
    accuracy = np.array([0.0, 5, 20, 60, 200, 900])
    off_m, accuracy_m = (grid.ravel() for grid in np.meshgrid(off_m, accuracy))
    size = len(off_m)
    return {
        "lon": np.full(size, LON),
        "lat": LAT + off_m * METRE,
        "accuracy_m": accuracy_m,
        "platform": np.zeros(size, np.int8),
    }


def _by_pair(ping: np.ndarray, fence: np.ndarray, verdict: np.ndarray) -> dict[tuple[int, int], int]:
    rows = zip(ping.tolist(), fence.tolist(), verdict.tolist(), strict=True)
    return {(at, of): said for at, of, said in rows}


@pytest.mark.parametrize("engine", ["rtree", "cells"])
@pytest.mark.parametrize("radius_m", [50.0, 150.0])
def test_each_fence_is_judged_by_its_own_thresholds(engine: str, radius_m: float) -> None:
    shape = CircleShape(lon=LON, lat=LAT, radius_m=radius_m)
    index = FenceIndex.build([version_of(shape, fence_id=n) for n in range(len(RULES))])
    if engine == "cells":
        index.compile()
    own = {row: rules for row, rules in enumerate(RULES) if rules is not None}
    rules = CertaintyRules.of(POLICY, len(RULES), own)
    fixes = _fixes(radius_m)
    size = len(fixes["lon"])
    ping, fence = np.repeat(np.arange(size), len(RULES)), np.tile(np.arange(len(RULES)), size)
    judged = judge(index, **fixes, ping=ping, fence=fence, policy=POLICY, rules=rules)
    seen = set()
    for row, said in enumerate(RULES):
        alone = judge(
            index,
            **fixes,
            ping=np.arange(size),
            fence=np.full(size, row),
            policy=_policy(said),
        )
        assert (judged.verdict[fence == row] == alone.verdict).all()
        seen.add(alone.verdict.tobytes())
    assert len(seen) == 4  # the rules that differ tell apart; a rule of exits changes no verdict

    decision = decide(index, **fixes, policy=POLICY, rules=rules)
    pairs = decision.pairs.hits()
    found = _by_pair(pairs.ping, pairs.fence, decision.verdict)
    wanted = _by_pair(ping, fence, judged.verdict)
    assert all(wanted[pair] == verdict for pair, verdict in found.items())
    assert {pair for pair, verdict in wanted.items() if verdict == Verdict.IN} <= set(found)


def test_without_rules_the_policy_holds_everywhere() -> None:
    rules = CertaintyRules.of(POLICY, 3, {})
    assert [column.tolist() for column in (rules.enter_p, rules.exit_p)] == [[0.6] * 3, [0.1] * 3]
