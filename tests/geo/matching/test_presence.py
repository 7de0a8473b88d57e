"""Live transitions, step by step (product P3, P4)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from geo.fences.fence import PresenceRules
from geo.matching.presence import Cause, ExitRules, Fix, Kind, PresencePolicy, step

POLICY = PresencePolicy()
MIN = 60_000


def fix(minute, verdict, *, rim_m=0.0, sigma_m=10.0, fresh=True, lon=None):
    return Fix(
        ping=0,
        at_ms=round(minute * MIN),
        verdict=verdict,
        p=1.0 if verdict > 0 else 0.0,
        rim_m=rim_m,
        sigma_m=sigma_m,
        lon=minute if lon is None else lon,
        lat=0.0,
        fresh=fresh,
    )


def inside(minute, **more):
    return fix(minute, 1, rim_m=-20.0, **more)


def out(minute, rim_m=30.0, **more):
    return fix(minute, -1, rim_m=rim_m, **more)


def unsure(minute):
    return fix(minute, 0)


def told(fixes, live=None, dwells_s=()):
    state, events = step(live, fixes, policy=POLICY, dwells_s=lambda fence: dwells_s)
    return state, [(e.kind, e.at_ms / MIN) for e in events]


def test_one_in_enters_and_more_say_nothing():
    assert told([inside(0), inside(1), inside(2)])[1] == [(Kind.ENTER, 0)]


def test_outside_alone_leaves_no_state():
    assert told([out(0), out(10), unsure(20)]) == (None, [])


def test_exit_needs_two_outs_over_five_minutes_and_is_dated_at_the_first():
    assert told([inside(0), out(1), out(5.99)])[1] == [(Kind.ENTER, 0)]
    assert told([inside(0), out(1), out(6)])[1] == [(Kind.ENTER, 0), (Kind.EXIT, 1)]


@pytest.mark.parametrize("between", [unsure(3), inside(3)])
def test_any_other_verdict_breaks_the_run(between):
    assert told([inside(0), out(1), between, out(6.5)])[1] == [(Kind.ENTER, 0)]


def test_two_far_outs_in_a_row_leave_at_once():
    assert told([inside(0), out(1, 100.0), out(1.1, 100.0)])[1][-1] == (Kind.EXIT, 1)
    assert told([inside(0), out(1, 99.9), out(1.1, 100.0)])[1] == [(Kind.ENTER, 0)]
    wide = [inside(0), out(1, 119.0, sigma_m=30.0), out(1.1, 119.0, sigma_m=30.0)]
    assert told(wide)[1] == [(Kind.ENTER, 0)], "far is 4 sigma where that is more than 100 m"


def test_a_cached_fix_counts_once():
    same = [inside(0), out(1, lon=7.0), out(7, lon=7.0), out(13, lon=7.0)]
    assert told(same)[1] == [(Kind.ENTER, 0)]
    assert told([*same, out(13.5, lon=8.0)])[1][-1] == (Kind.EXIT, 1)


def test_a_return_within_the_gap_is_silent_and_a_later_one_enters_again():
    gone = [inside(0), out(1), out(6)]
    assert told([*gone, inside(30)])[1] == [(Kind.ENTER, 0), (Kind.EXIT, 1)]
    assert told([*gone, inside(30.1)])[1][-1] == (Kind.ENTER, 30.1)


def test_silence_ends_the_visit_at_its_last_fix():
    state, events = step(None, [inside(0), inside(5), inside(40)], policy=POLICY)
    assert [(e.kind, e.at_ms / MIN, e.cause) for e in events] == [
        (Kind.ENTER, 0, Cause.FIX),
        (Kind.EXIT, 5, Cause.SILENCE),
        (Kind.ENTER, 40, Cause.FIX),
    ]
    assert state.arrived_ms == 40 * MIN


def test_an_exit_after_silence_is_dated_at_the_last_in_fix():
    for fixes in ([inside(0), out(31), out(32)], [inside(0), unsure(20), out(31), out(40)]):
        _, events = step(None, fixes, policy=POLICY)
        assert [(e.kind, e.at_ms, e.cause) for e in events[1:]] == [(Kind.EXIT, 0, Cause.SILENCE)]
    _, events = step(None, [inside(0), out(20), out(45)], policy=POLICY)
    assert [(e.kind, e.at_ms / MIN, e.cause) for e in events[1:]] == [(Kind.EXIT, 20, Cause.FIX)]


def test_dwell_is_proven_by_the_first_fix_at_or_after_it():
    _, events = told([inside(0), inside(9.99), inside(10), inside(12)], dwells_s=[600])
    assert events == [(Kind.ENTER, 0), (Kind.DWELL, 10)]


def test_several_thresholds_passed_at_once_all_speak_once():
    _, events = step(
        None, [inside(0), inside(20), inside(21)], policy=POLICY, dwells_s=lambda fence: [1200, 300]
    )
    assert [(e.kind, e.dwell_s) for e in events] == [
        (Kind.ENTER, None),
        (Kind.DWELL, 300),
        (Kind.DWELL, 1200),
    ]


def test_a_stale_fix_changes_the_state_and_says_nothing():
    state, events = told([inside(0, fresh=False)], dwells_s=[300])
    assert events == []
    assert state.inside
    _, events = told([inside(8)], live=state, dwells_s=[300])
    assert events == [(Kind.ENTER, 8), (Kind.DWELL, 8)], "the first fresh fix tells what was not told"


def test_nobody_exits_who_was_never_told_to_have_entered():
    state, _ = told([inside(0, fresh=False)])
    assert told([out(1), out(7)], live=state)[1] == []


def test_a_fast_walk_out_and_in_again_gives_one_enter():
    walk = [inside(0), out(0.5, 150.0), inside(1), out(1.5, 150.0), inside(2)]
    assert told(walk)[1] == [(Kind.ENTER, 0)]


def test_one_over_confident_glitch_trace_gives_one_enter_and_no_exit():
    # seven fixes of somebody standing inside; three lie 200 m off and claim 1.7 m
    # (the field trace of notes/certainty.md, "Order-independence")
    trace = [
        inside(0),
        out(0.5, 150.0, sigma_m=3.0),
        inside(1),
        out(1.5, 150.0, sigma_m=3.0),
        inside(2),
        out(2.5, 150.0, sigma_m=3.0),
        inside(3),
    ]
    assert told(trace)[1] == [(Kind.ENTER, 0)]


def test_a_fence_has_its_own_exit_rules_and_dwells():
    rules = ExitRules(
        fixes=np.array([2, 3]),
        span_ms=np.array([300_000, 60_000]),
        far_sigma=np.array([4.0, 4.0]),
        far_m=np.array([100.0, 500.0]),
    )
    walk = [inside(0), inside(5), out(6, 150.0), out(6.5, 150.0), out(7, 150.0)]
    for fence, wanted in ((0, [(Kind.DWELL, 5), (Kind.EXIT, 6)]), (1, [(Kind.EXIT, 6)])):
        fixes = [each._replace(fence=fence) for each in walk]
        _, events = step(
            None, fixes, policy=POLICY, rules=rules, dwells_s=lambda row: [300] if row == 0 else []
        )
        assert [(e.kind, e.at_ms / MIN) for e in events] == [(Kind.ENTER, 0), *wanted]
        assert events[-1].fix.at_ms / MIN == (6.5 if fence == 0 else 7)


def test_the_rules_are_those_of_the_fence_version_at_each_fix():
    rules = ExitRules(
        fixes=np.array([2, 5]),
        span_ms=np.array([300_000, 300_000]),
        far_sigma=np.array([4.0, 4.0]),
        far_m=np.array([100.0, 100.0]),
    )
    walk = [inside(0), out(1), out(6)]
    after_edit = [*walk[:2], walk[2]._replace(fence=1)]
    assert len(step(None, walk, policy=POLICY, rules=rules)[1]) == 2
    assert len(step(None, after_edit, policy=POLICY, rules=rules)[1]) == 1


def test_what_a_fence_does_not_decide_its_workspace_does():
    own = {
        1: PresenceRules(exit_fixes=3, far_m=0.0),
        2: PresenceRules(exit_span_s=0, far_sigma=0.0, enter_p=0.7),
    }
    rules = ExitRules.of(POLICY, 4, own)
    found = [rules.policy_at(row, POLICY) for row in range(4)]
    assert found == [
        POLICY,
        replace(POLICY, exit_fixes=3, far_m=0.0),
        replace(POLICY, exit_span_s=0, far_sigma=0.0),
        POLICY,
    ]
    assert rules.take(np.array([2, 1])).span_ms.tolist() == [0, 300_000]
