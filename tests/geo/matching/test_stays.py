"""However pings are cut into batches and ordered, stays hold `visits_of` of all their evidence."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo.matching import stay_amend, stay_late, stay_rounds, stays
from geo.matching.presence import ExitRules, Kind, PresencePolicy
from geo.matching.stay_columns import Stays
from geo.matching.stays import advance, backfilled
from tests.kept_stays import (
    START_MS,
    KeptStays,
    day,
    evidence_of,
    fix_rows,
    oracle,
    posted,
    said,
    told_plainly,
)

POLICY = PresencePolicy(gap_s=600, exit_span_s=300, staleness_s=600)
GAP_MS = 600_000
MIN = 60_000
#: by fence row: another version of a fence may ask for something else
RULES = ExitRules(
    fixes=np.array([2, 3, 2, 2, 1, 2]),
    span_ms=np.array([300, 300, 60, 600, 0, 300]) * 1000,
    far_sigma=np.array([4.0, 4.0, 2.0, 8.0, 4.0, 4.0]),
    far_m=np.array([100.0, 100.0, 50.0, 100.0, 100.0, 1000.0]),
)
ORDERS = ["time", "reverse", "shuffle", "local", "repeat", "twice"]


def dwells_s(fence):
    return [[], [300], [600, 60], [300, 300], [1200], []][fence]


def ordered(chance, order, fixes):
    """The rows of a day as a post office may bring them."""
    rows = list(range(len(fixes)))
    if order == "reverse":
        rows.reverse()
    elif order == "shuffle":
        chance.shuffle(rows)
    elif order == "local":
        rows.sort(key=lambda row: int(fixes.at_ms[row]) + chance.randrange(3 * GAP_MS))
    elif order == "repeat":
        rows += chance.choices(rows, k=len(rows) // 2)
        chance.shuffle(rows)
    elif order == "twice":
        rows += rows
    return rows


def check_day(seed):
    """One drawn day in one order, cut anyhow, with sweeps at random moments; returns its visits."""
    chance = random.Random(seed)
    with pytest.MonkeyPatch.context() as patch:
        tail = chance.choice([64, 6, 2])  # small ones force spills and amendments over chunks
        patch.setattr(stays, "TAIL", tail)
        patch.setattr(stay_amend, "TAIL", tail)
        patch.setattr(stay_rounds, "WORTH_A_ROUND", chance.choice([1, 3, 32]))
        fixes = day(
            chance,
            policy=POLICY,
            devices=chance.choice([1, 3, 8]),
            fences=3,
            fixes=chance.choice([20, 90]),
        )
        kept = KeptStays(POLICY, rules=RULES, dwells_s=dwells_s, talkative=chance.random() < 0.3)
        rows, clock_ms, sweeps = ordered(chance, chance.choice(ORDERS), fixes), 0, chance.random() < 0.7
        while rows:
            size = chance.choice([1, 3, 20, 100])
            some, rows = rows[:size], rows[size:]
            kept.take(posted(fixes, some))
            clock_ms = max([clock_ms, *fixes.at_ms[some].tolist()])
            if sweeps and chance.random() < 0.3:
                kept.sweep(clock_ms + chance.choice([0, 0, GAP_MS, 20 * GAP_MS]))
            elif chance.random() < 0.1:
                kept.silence(clock_ms + chance.choice([0, GAP_MS + 1]))
        wanted = oracle(fixes, GAP_MS)
        assert kept.read() == wanted, seed
        assert kept.evidence() == evidence_of(fixes), seed
        assert max(map(len, kept.chunks.values()), default=0) <= tail * 8, seed
        return sum(map(len, wanted.values()))


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_shuffled_split_repeated_and_swept_days_give_the_visits_of_the_oracle(first, proof):
    count = sum(check_day(seed) for seed in range(first, first + 50))
    assert count > 500
    proof("P5: days shuffled, split, repeated and swept: visits and evidence of the oracle", 50)


@pytest.mark.parametrize("worth", [1, 4, 10**9])
@given(seed=st.integers(0, 10**9))
def test_in_time_order_the_events_are_those_of_the_plain_twin(worth, seed):
    chance = random.Random(seed)
    fixes = day(chance, policy=POLICY, devices=3, fences=3, fixes=60)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stay_rounds, "WORTH_A_ROUND", worth)
        whole, parts = (KeptStays(POLICY, rules=RULES, dwells_s=dwells_s) for _ in range(2))
        whole.take(fixes)
        # fixes of one instant may not be parted: only together is it known which is the surest
        cuts = [at for at in np.flatnonzero(np.diff(fixes.at_ms)) + 1 if chance.random() < 0.3]
        for some in np.split(np.arange(len(fixes)), cuts):
            parts.take(fixes.take(some))
    wanted = told_plainly(fixes, POLICY, rules=RULES, dwells_s=dwells_s)
    assert said(whole.events) == wanted
    assert said(parts.events) == wanted
    assert whole.stays == parts.stays
    assert [event.seen_ms for event in whole.events] == sorted(e.seen_ms for e in whole.events)


def late_day(chance):
    """Fixes in the order in which they arrive, with the instant of arrival; fresh as the clock says."""
    fixes = day(chance, policy=POLICY, devices=2, fences=2, fixes=60)
    delays = [0, 0, 0, 1, 5 * MIN, 10 * MIN, 11 * MIN, 3 * GAP_MS, 6 * GAP_MS]
    waits = {device: chance.choice(delays) for device in range(2)}
    arrives = []
    for row in range(len(fixes)):  # a phone is offline for a while, then brings all it has, in order
        device = int(fixes.device[row])
        if chance.random() < 0.2:
            waits[device] = chance.choice(delays)
        arrives.append(int(fixes.at_ms[row]) + waits[device])
    order = np.argsort(arrives, kind="stable")
    arrived = np.array(arrives)[order]
    rows = [
        (*row[:-1], now_ms - row[4] <= POLICY.staleness_s * 1000)
        for row, now_ms in zip(fixes.take(order).rows(), arrived.tolist(), strict=True)
    ]
    return fix_rows(rows), arrived


@given(seed=st.integers(0, 10**9))
def test_sweeping_changes_no_enter_and_no_dwell(seed):
    chance = random.Random(seed)
    fixes, arrived = late_day(chance)
    swept, unswept = (KeptStays(POLICY, rules=RULES, dwells_s=dwells_s) for _ in range(2))
    cuts = [at for at in range(1, len(fixes)) if chance.random() < 0.5]
    for some in np.split(np.arange(len(fixes)), cuts):
        for kept in (swept, unswept):
            kept.take(fixes.take(some))
        swept.sweep(int(arrived[some[-1]]))
    assert swept.read() == unswept.read() == oracle(fixes, GAP_MS)
    told = [
        said([event for event in kept.events if event.kind is not Kind.EXIT])
        for kept in (swept, unswept)
    ]
    assert told[0] == told[1]


@given(seed=st.integers(0, 10**9))
def test_each_visit_enters_once_and_every_trigger_lies_in_one_visit(seed):
    chance = random.Random(seed)
    fixes, arrived = late_day(chance)
    kept = KeptStays(POLICY, rules=RULES, dwells_s=dwells_s)
    for row in range(len(fixes)):
        kept.take(posted(fixes, [row]))
        if chance.random() < 0.2:
            kept.sweep(int(arrived[row]))
    entered, visits = set(), kept.read()
    for event in kept.events:
        if event.kind is Kind.EXIT:
            continue
        near = visits[event.device, event.fence_id]
        holding = [v for v in near if v.arrived_ms <= event.at_ms <= v.left_ms]
        assert len(holding) == 1
        # visits that a late fix joined afterwards had entered on their own
        if event.kind is Kind.ENTER:
            key = (event.device, event.fence_id, event.arrived_ms)
            assert key not in entered
            entered.add(key)


@pytest.mark.parametrize("tail", [64, 4])
@given(seed=st.integers(0, 10**9), size=st.integers(1, 40))
def test_the_same_pings_again_are_known_and_write_nothing(tail, seed, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stays, "TAIL", tail)
        patch.setattr(stay_amend, "TAIL", tail)
        check_again(seed, size)


def check_again(seed, size):
    fixes = day(random.Random(seed), policy=POLICY, devices=3, fences=3, fixes=60)
    kept = KeptStays(POLICY, rules=RULES, dwells_s=dwells_s)
    kept.take(fixes)
    before = (dict(kept.stays), dict(kept.visits), dict(kept.chunks), list(kept.events))
    for first in range(0, len(fixes), size):
        some = fixes.take(np.arange(first, min(first + size, len(fixes))))
        changes = kept.take(some)
        assert changes.known.tolist() == np.unique(some.ping[some.verdict > 0]).tolist()
        for table in (changes.moved, changes.visits_new, changes.visits_over, changes.chunks):
            assert len(table) == 0
    assert before == (kept.stays, kept.visits, kept.chunks, kept.events)


def one(minute, verdict=1, *, p=1.0, fresh=True, ping=0, device=1, fence_id=1):
    at_ms = START_MS + round(minute * MIN)
    rim_m = -20.0 if verdict > 0 else 50.0
    return (ping, device, fence_id, 0, at_ms, verdict, p, rim_m, 10.0, minute, 0.0, fresh)


def test_visits_closed_and_amended_are_told_apart():
    kept = KeptStays(POLICY)
    kept.take(fix_rows([one(0), one(1), one(20)]))
    assert [row[2:5] for row in kept.closed] == [(START_MS, START_MS + MIN, 2)]
    kept.take(fix_rows([one(2, fresh=False)]))
    assert [row[2:5] for row in kept.amended] == [(START_MS, START_MS + 2 * MIN, 3)]
    kept.take(fix_rows([one(11, fresh=False)]))
    assert [row[2:5] for row in kept.amended[1:]] == [(START_MS, START_MS + 20 * MIN, 5)]
    assert len(kept.closed) == 1, "what it joined is open again"
    kept.sweep(START_MS + 60 * MIN)
    assert [row[2:5] for row in kept.closed[1:]] == [(START_MS, START_MS + 20 * MIN, 5)]
    kept.take(fix_rows([one(-30, fresh=False)]))
    assert [row[2:5] for row in kept.closed[2:]] == [(START_MS - 30 * MIN, START_MS - 30 * MIN, 1)]
    assert len(kept.amended) == 2


def test_a_late_fix_reads_what_is_near_it_only():
    kept = KeptStays(POLICY)
    for hour in range(200):
        kept.take(fix_rows([one(60 * hour + n) for n in range(8)]))
        kept.sweep(START_MS + (60 * hour + 59) * MIN)
    assert kept.loads == 0, "in time order nothing is read"
    assert len(kept.chunks) == 200
    kept.take(fix_rows([one(60 * 3 + 0.5, fresh=False), one(60 * 150 + 0.5, fresh=False)]))
    assert kept.loads == 1
    assert kept.loaded_chunks == 2
    assert kept.read()[1, 1][3].fixes == kept.read()[1, 1][150].fixes == 9


def test_late_evidence_within_the_tail_of_the_newest_visit_reads_nothing():
    kept = KeptStays(POLICY)
    kept.take(fix_rows([one(0), one(8), one(16)]))
    kept.take(fix_rows([one(3), one(12, p=0.75), one(8, p=0.5)]))
    assert kept.loads == 0
    assert kept.read()[1, 1][0].fixes == 5


def test_evidence_dropped_with_its_chunks_is_not_counted_again():
    kept = KeptStays(POLICY)
    rows = fix_rows([one(n, fresh=False, ping=n) for n in range(5)])
    kept.take(rows)
    kept.sweep(START_MS + 100 * MIN)
    kept.chunks.clear()
    forgotten_ms = START_MS + 50 * MIN
    again = advance(
        Stays.empty(),
        fix_rows([*rows.rows(), one(9, fresh=False, ping=5)]),
        policy=POLICY,
        swept_ms=kept.swept_ms,
        load=kept.load,
        forgotten_ms=forgotten_ms,
    )
    assert again.known.tolist() == [0, 1, 2, 3, 4]
    assert [row[2:5] for row in again.visits_over.rows()] == [(START_MS, START_MS + 9 * MIN, 6)]


def test_pings_of_one_instant_are_all_known_when_it_is():
    kept = KeptStays(POLICY)
    both = fix_rows([one(0, p=0.5, ping=3), one(0, p=1.0, ping=5), one(0, 0, p=0.2, ping=6)])
    assert kept.take(both).known.tolist() == []
    assert kept.take(both).known.tolist() == [3, 5]
    assert kept.read()[1, 1][0].p_sum == 255


def test_instants_centuries_apart_are_amended_too():
    """Their codes do not fit a number: the quick look-up steps back."""
    kept = KeptStays(POLICY)
    kept.swept_ms = -(1 << 60)
    far_ms = 1 << 61 >> 8
    rows = [(0, 1, n, 0, at, 1, 1.0, -1.0, 3.0, 0.0, 0.0, False) for n in range(9) for at in (0, far_ms)]
    kept.take(fix_rows(rows))
    assert kept.take(fix_rows(rows)).known.tolist() == [0]
    assert [v.fixes for v in kept.read()[1, 4]] == [1, 1]


@given(seed=st.integers(0, 10**9))
def test_backfill_grows_visits_and_leaves_the_live_state(seed):
    chance = random.Random(seed)
    fixes = day(chance, policy=POLICY, devices=2, fences=2, fixes=60)
    kept = KeptStays(POLICY, rules=RULES, dwells_s=dwells_s)
    is_live = np.array([chance.random() < 0.5 for _ in range(len(fixes))], bool)
    kept.take(fixes.take(is_live))
    before, events = dict(kept.stays), len(kept.events)
    history = fixes.take(~is_live)
    kept.take(fix_rows([(*row[:-1], False) for row in history.rows()]), backfill=True)
    assert kept.read() == oracle(fixes, GAP_MS)
    assert len(kept.events) == events
    live = [Stays.names().index(n) for n in ("inside", "told_ms", "out_fixes", "out_first_ms")]
    for key, row in kept.stays.items():
        was = before.get(key)
        if was is not None and row[5] <= was[6]:
            assert [row[at] for at in live] == [was[at] for at in live]
        else:
            assert [row[at] for at in live] == [False, -1, 0, 0]


def test_backfilled_says_nothing_to_webhooks():
    kept = KeptStays(POLICY)
    history = fix_rows([one(0, fresh=False), one(30, fresh=False)])
    changes = advance(Stays.empty(), history, policy=POLICY, swept_ms=0, load=kept.load)
    assert len(changes.closed) == 1
    assert len(backfilled(changes, Stays.empty()).closed) == 0


def test_no_fix_is_no_change():
    changes = advance(
        Stays.empty(), fix_rows([]), policy=POLICY, swept_ms=0, load=KeptStays(POLICY).load
    )
    assert len(changes.opened) == len(changes.events) == len(changes.known) == 0


def city(people, minute):
    """One fix of everybody: most are in, some are out, each at a fence of their own."""
    return fix_rows(
        [
            one(minute, -1 if n % 7 == 0 and minute else 1, ping=n, device=n, fence_id=n % 50)
            for n in range(people)
        ]
    )


def test_a_citys_batches_take_no_plain_step(monkeypatch):
    def never(*_, **__):
        pytest.fail("a pair was taken alone")

    kept = KeptStays(POLICY)
    monkeypatch.setattr(stay_rounds, "step", never)
    monkeypatch.setattr(stay_late, "amend", never)
    for minute in (0, 1, 6, 20):
        kept.take(city(500, minute))
        again = kept.take(city(500, minute))
        assert len(again.known) > 400
        assert len(again.moved) == 0
    kinds = [event.kind for event in kept.events]
    assert kinds.count(Kind.ENTER) == 500 + 428, "everybody, and after the gap who was in again"
    assert kinds.count(Kind.EXIT) == 500
