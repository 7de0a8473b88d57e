"""Silence, presumed dwells and the sweep, where the cases of `presence.json` do not reach."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo.matching import stay_rounds
from geo.matching.presence import Cause, Kind, PresencePolicy
from geo.matching.stay_columns import Stays
from geo.matching.stay_timers import presumed, silent, sweep_cut_ms, swept
from tests.kept_stays import START_MS, KeptStays, day, fix_rows

POLICY = PresencePolicy(gap_s=600, exit_span_s=300, staleness_s=600)
MIN = 60_000
PRESUMED_S = {0: [300, 600], 1: [], 2: [60]}


@pytest.fixture(autouse=True, params=[1, 1_000], ids=["in rounds", "plainly"])
def either_way(request, monkeypatch):
    monkeypatch.setattr(stay_rounds, "WORTH_A_ROUND", request.param)


def one(minute, verdict=1, *, fence_id=0, device=1, fresh=True):
    at_ms = START_MS + round(minute * MIN)
    rim_m = -20.0 if verdict > 0 else 50.0
    return (0, device, fence_id, 0, at_ms, verdict, 1.0, rim_m, 10.0, minute, 0.0, fresh)


def kept_of(*rows):
    kept = KeptStays(POLICY)
    kept.take(fix_rows(rows))
    return kept


def test_the_cut_leaves_room_for_every_fresh_fix():
    assert sweep_cut_ms(START_MS, POLICY) == START_MS - 20 * MIN
    slow = PresencePolicy(gap_s=600, staleness_s=3600)
    assert sweep_cut_ms(START_MS, slow) == START_MS - 70 * MIN


@pytest.mark.parametrize(("minute", "goes"), [(20.0, 0), (20.001, 1)])
def test_evidence_exactly_at_the_cut_stays(minute, goes):
    kept = kept_of(one(0))
    changes = swept(kept.all(), START_MS + round(minute * MIN), POLICY)
    assert len(changes.gone) == len(changes.chunks) == len(changes.visits_over) == goes


@pytest.mark.parametrize(("minute", "told"), [(10.0, 0), (10.001, 1)])
def test_silence_is_longer_than_the_gap(minute, told):
    kept = kept_of(one(0))
    changes = silent(kept.all(), START_MS + round(minute * MIN), POLICY)
    assert len(changes.moved) == len(changes.events) == told
    assert not changes.moved.inside.any()


def test_an_undecided_fix_bridges_no_silence_and_an_out_one_does():
    for verdict, told in ((0, 1), (-1, 0)):
        kept = kept_of(one(0), one(5, verdict))
        assert len(silent(kept.all(), START_MS + 11 * MIN, POLICY).events) == told


def test_who_was_never_told_goes_in_silence_without_a_word():
    kept = kept_of(one(0, fresh=False))
    changes = silent(kept.all(), START_MS + 11 * MIN, POLICY)
    assert len(changes.moved) == 1
    assert len(changes.events) == 0


def test_an_event_of_a_timer_has_no_fix():
    kept = kept_of(one(0), one(1))
    now_ms = START_MS + 30 * MIN
    (event,) = swept(kept.all(), now_ms, POLICY).events.listed()
    assert (event.kind, event.cause, event.at_ms) == (Kind.EXIT, Cause.SILENCE, START_MS + MIN)
    assert (event.ping, event.fence, event.seen_ms, event.arrived_ms) == (-1, -1, now_ms, START_MS)
    assert np.isnan([event.p, event.rim_m]).all()


def test_several_thresholds_are_presumed_together_and_never_twice():
    kept = kept_of(one(0), one(6))
    now_ms = START_MS + 11 * MIN
    for _ in range(2):
        kept.write(presumed(kept.all(), now_ms, PRESUMED_S.__getitem__))
    found = [(e.kind, e.cause, e.dwell_s, e.at_ms) for e in kept.events[1:]]
    assert found == [(Kind.DWELL, Cause.PRESUMED, 600, START_MS + 10 * MIN)], "300 s were proven"


def test_a_presumed_dwell_changes_nothing_that_was_proven():
    kept = kept_of(one(0), one(4.5))
    before = kept.all()
    changes = presumed(before, START_MS + 5 * MIN, PRESUMED_S.__getitem__)
    assert changes.moved.presumed_ms.tolist() == [300_000]
    for name in set(Stays.names()) - {"presumed_ms", "evidence"}:
        assert getattr(changes.moved, name).tolist() == getattr(before, name).tolist(), name


def test_a_new_visit_has_presumed_nothing():
    kept = kept_of(one(0), one(4.5))
    kept.write(presumed(kept.all(), START_MS + 5 * MIN, PRESUMED_S.__getitem__))
    kept.take(fix_rows([one(20), one(24.5)]))
    kept.write(presumed(kept.all(), START_MS + 25 * MIN, PRESUMED_S.__getitem__))
    dwells = [event.at_ms for event in kept.events if event.kind is Kind.DWELL]
    assert dwells == [START_MS + 5 * MIN, START_MS + 25 * MIN]


@given(seed=st.integers(0, 10**9))
def test_no_stay_is_swept_that_a_fresh_fix_could_still_continue(seed):
    """At any moment: what goes has a visit that is over, and nobody inside whom the gap still holds."""
    chance = random.Random(seed)
    fixes = day(chance, policy=POLICY, devices=6, fences=2, fixes=60)
    kept = KeptStays(POLICY)
    kept.take(fixes)
    instants_ms = kept.all().left_ms.tolist() or [START_MS]
    now_ms = chance.choice(instants_ms) + chance.choice([0, 20 * MIN, 20 * MIN + 1])
    every = kept.all()
    changes = swept(every, now_ms, POLICY)
    oldest_fresh_ms = now_ms - POLICY.staleness_s * 1000
    assert (oldest_fresh_ms - changes.gone.left_ms > POLICY.gap_s * 1000).all()
    exits = {(event.device, event.fence_id) for event in changes.events.listed()}
    loud = changes.gone.take(changes.gone.inside & (changes.gone.told_ms >= 0))
    assert exits == {row[:2] for row in loud.rows()}
    evidence = kept.evidence()
    kept.sweep(now_ms)
    assert kept.evidence() == evidence
    assert len(kept.sweep(now_ms).gone) == 0, "a sweep at the same moment finds nothing more"
