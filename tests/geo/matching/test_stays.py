"""However pings are cut into batches and ordered, a stay holds `visits_of` of all its evidence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import geo.matching.stays as stays_module
from geo.matching.presence import Fix, Kind, PresencePolicy
from geo.matching.stays import Changes, History, advance, unpack
from geo.matching.visits import instants, join, visits_plain

POLICY = PresencePolicy(gap_s=60)
GAP_MS = 60_000
KEY = (1, 1)

fixes = st.lists(
    st.tuples(
        st.integers(0, 40).map(lambda n: 1_000_000 + n * GAP_MS // 2),
        st.sampled_from([0, -1, 1]),
        st.sampled_from([1, 1, 1, -1, 0]),
        st.sampled_from([0.5, 0.7, 1.0]),
    ).map(lambda drawn: (drawn[0] + drawn[1], drawn[2], drawn[3])),
    min_size=1,
    max_size=40,
)


class Kept:
    """What a store keeps of one pair, as plain values."""

    def __init__(self):
        self.stay = None
        self.visits = {}
        self.chunks = {}
        self.events = []

    def take(self, batch):
        groups = [(KEY, batch, [60])]
        stays = {KEY: self.stay} if self.stay else {}
        changes = advance(stays, groups, policy=POLICY, load=self.load)
        self.write(changes)

    def load(self, keys):
        assert keys == [KEY]
        parts = [unpack(packed) for packed in self.chunks.values()]
        history = History(
            chunk_firsts_ms=list(self.chunks),
            evidence=join(np.empty(0, np.int64), *parts),
            visits=list(self.visits.values()),
        )
        return {KEY: history}

    def write(self, changes: Changes):
        for _, first_ms in changes.chunks_gone:
            del self.chunks[first_ms]
        for _, packed in changes.chunks:
            first_ms = int(instants(unpack(packed))[0])
            assert first_ms not in self.chunks
            self.chunks[first_ms] = packed
        for _, arrived_ms in changes.visits_gone:
            del self.visits[arrived_ms]
        for visit in changes.visits.get(KEY, []):
            self.visits[visit.arrived_ms] = visit
        self.stay = changes.stays.get(KEY, self.stay)
        self.events += [event for _, event in changes.events]

    def read(self):
        """The visits as a reader sees them: the newest one's end stands in the stay."""
        if self.stay is None:
            return []
        found = dict(self.visits)
        assert self.stay.visit.arrived_ms in found, "an open visit has its row"
        found[self.stay.visit.arrived_ms] = self.stay.visit
        return [found[arrived] for arrived in sorted(found)]


def judged(drawn, ping=0, fresh=True):
    """One fix an instant, the surest last, as the service gives them."""
    best = {}
    for at_ms, verdict, p in sorted(drawn, key=lambda d: (d[0], d[1], d[2])):
        best[at_ms] = Fix(
            ping=ping,
            at_ms=at_ms,
            verdict=verdict,
            p=p if verdict > 0 else 0.0,
            rim_m=50.0,
            sigma_m=3.0,
            lon=float(at_ms),
            lat=0.0,
            fresh=fresh,
        )
    return list(best.values())


def expected(drawn):
    return visits_plain([(t, round(p * 255)) for t, v, p in drawn if v > 0], gap_ms=GAP_MS)


@pytest.mark.parametrize("tail", [64, 4])
@given(drawn=fixes, random=st.randoms(use_true_random=False), size=st.integers(1, 9))
@settings(max_examples=150)
def test_any_order_split_and_repetition_gives_the_oracles_visits(tail, drawn, random, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stays_module, "TAIL", tail)  # 4 forces spills and amendments over chunks
        order = drawn + drawn[: len(drawn) // 3]
        random.shuffle(order)
        kept = Kept()
        for start in range(0, len(order), size):
            kept.take(judged(order[start : start + size]))
        assert kept.read() == expected(drawn)


@given(drawn=fixes, size=st.integers(1, 9))
def test_in_time_order_the_cut_into_batches_changes_no_event(drawn, size):
    ordered = judged(drawn)
    whole, parts = Kept(), Kept()
    whole.take(ordered)
    for start in range(0, len(ordered), size):
        parts.take(ordered[start : start + size])
    assert [(e.kind, e.at_ms) for e in parts.events] == [(e.kind, e.at_ms) for e in whole.events]
    assert parts.read() == whole.read() == expected(drawn)


@given(drawn=fixes)
def test_the_same_pings_again_write_nothing(drawn):
    kept = Kept()
    kept.take(judged(drawn))
    before = (kept.stay, dict(kept.visits), dict(kept.chunks), list(kept.events))
    again = advance(
        {KEY: kept.stay} if kept.stay else {},
        [(KEY, judged(drawn), [60])],
        policy=POLICY,
        load=kept.load,
    )
    assert not again.visits
    assert not again.chunks
    assert not again.events
    assert again.stays in ({}, {KEY: before[0]})


@given(drawn=fixes)
def test_every_enter_and_dwell_lies_in_exactly_one_visit(drawn):
    kept = Kept()
    kept.take(judged(drawn))
    for event in kept.events:
        if event.kind is not Kind.EXIT:
            holding = [v for v in kept.read() if v.arrived_ms <= event.at_ms <= v.left_ms]
            assert len(holding) == 1


def test_a_late_fix_joins_two_visits_without_speaking():
    kept = Kept()
    kept.take(judged([(0, 1, 1.0), (100_000, 1, 1.0)]))
    assert len(kept.read()) == 2
    spoken = len(kept.events)
    kept.take(judged([(50_000, 1, 1.0)]))
    assert [(v.arrived_ms, v.left_ms, v.fixes) for v in kept.read()] == [(0, 100_000, 3)]
    assert len(kept.events) == spoken


def test_a_surer_fix_of_a_known_instant_raises_its_evidence_only():
    kept = Kept()
    kept.take(judged([(0, 1, 0.5)]))
    kept.take(judged([(0, 1, 1.0)]))
    kept.take(judged([(0, 1, 0.7)]))
    assert [(v.fixes, v.p_sum) for v in kept.read()] == [(1, 255)]
