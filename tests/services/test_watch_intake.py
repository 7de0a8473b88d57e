"""The timers beside an intake that remembers stays: neither undoes what the other has done."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from campaigns.messages.events import WebhookEvent
from geo.matching.visits import visits_plain
from nearcast.services import manage_workspace
from nearcast.services.watch_stays import Watch
from nearcast.store.engine import in_transaction, reading
from nearcast.store.tables import decision, notice, presence
from tests.world import GANGNAM, MIN, OUTSIDE, START_MS, World, north, told

FIX = {"who": "p", "user_id": "u"}
GAP_MS = 30 * MIN


class Town:
    """A world with one fence, whose timers look whenever the clock is moved."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.world = World(engine)
        self.fence = self.world.fence("강남점", GANGNAM)
        self.watch = Watch(engine, self.world.snapshots, self.world.clock)

    def listen(self) -> None:
        in_transaction(
            self.engine,
            lambda conn: manage_workspace.add_webhook(
                conn,
                app_id=self.world.app_id,
                workspace_id=self.world.workspace_id,
                name="crm",
                url="http://127.0.0.1/",
                events=list(WebhookEvent),
                allow_http=True,
                now_ms=0,
                actor="test",
            ),
        )

    def ping(self, *minutes: float, at: tuple[float, float] = GANGNAM) -> list[tuple[str, float]]:
        receipt = self.world.post([FIX | {"at": at, "min": m} for m in minutes])
        return told(receipt.transitions)

    def clock(self, minute: float) -> int:
        """Somebody else's ping moves the clock, far from every fence; then the timers look."""
        self.world.post([{"who": "clock", "at": OUTSIDE, "min": minute}])
        return self.watch.look()

    def told(self) -> list[tuple[str, str | None]]:
        query = sa.select(notice.c.body).order_by(notice.c.id)
        bodies = reading(self.engine, lambda c: list(c.execute(query).scalars()))
        said = [json.loads(body) for body in bodies]
        return [(s["type"], s["data"].get("by")) for s in said]

    def visits(self) -> list[tuple[float, float, int]]:
        return [(arrived, left, fixes) for _, _, arrived, left, fixes, _ in self.world.visits()]

    def count(self, table: sa.Table) -> int:
        query = sa.select(sa.func.count()).select_from(table)
        return reading(self.engine, lambda conn: conn.execute(query).scalar_one())


@pytest.fixture
def town(engine: sa.Engine) -> Town:
    return Town(engine)


def test_an_exit_by_silence_is_told_once_whoever_sees_it_first(town: Town) -> None:
    town.listen()
    assert town.ping(0, 5) == [("enter", 0.0)]
    assert town.clock(36) == 1
    assert town.ping(37) == [("enter", 37.0)]  # the timer has told the exit
    assert town.ping(70) == [("exit", 37.0), ("enter", 70.0)]  # here the ping was faster
    town.clock(70.6)
    assert town.told() == [
        ("fence.entered", "fix"),
        ("fence.exited", "silence"),
        ("visit.closed", None),
        ("fence.entered", "fix"),
        ("fence.exited", "silence"),
        ("visit.closed", None),
        ("fence.entered", "fix"),
    ]


def test_a_ping_that_continues_a_swept_visit_amends_it(town: Town) -> None:
    town.listen()
    town.ping(0, 5)
    town.clock(50)
    assert town.count(presence) == 0
    assert town.visits() == [(0, 5, 2)]
    assert town.ping(41, 43) == [("enter", 41.0)]  # a visit of its own: 36 min after
    assert town.ping(20) == []  # late: it joins both to one
    town.clock(100)
    assert town.visits() == [(0, 43, 5)]
    assert town.count(presence) == 0
    kinds = [kind for kind, _ in town.told()]
    assert kinds.count("fence.entered") == 2
    assert "visit.amended" in kinds
    assert kinds[-1] == "visit.closed"


@pytest.mark.parametrize("seed", range(4))
def test_visits_are_those_of_the_evidence_whenever_the_timers_look(engine: sa.Engine, seed: int) -> None:
    """Pings of two days in any order with repeats, looks in between: V(all evidence), no more."""
    town, chance = Town(engine), np.random.default_rng(seed)
    steps = chance.choice([1, 7, 29.9, 30, 30.1, 45, 90, 300], 40).cumsum()
    late = chance.permutation(40)
    for n, order in enumerate(late.tolist()):
        town.ping(float(steps[order]), *([float(steps[late[n // 2]])] if n % 3 == 0 else []))
        if n % 4 == 0:
            town.watch = Watch(engine, town.world.snapshots, town.world.clock)
            town.watch.look()
    evidence = [(START_MS + round(m * MIN), 255) for m in steps.tolist()]
    wanted = [
        ((v.arrived_ms - START_MS) / MIN, (v.left_ms - START_MS) / MIN, v.fixes)
        for v in visits_plain(evidence, gap_ms=GAP_MS)
    ]
    assert sorted(town.visits()) == wanted
    town.clock(float(steps[-1]) + 60)
    assert sorted(town.visits()) == wanted
    assert town.count(presence) == 0


def test_a_dwell_that_was_presumed_is_proven_to_the_others_only(town: Town) -> None:
    town.listen()
    where = {"fence_ids": [town.fence]}

    def dwells(**more: Any) -> int:
        trigger = {"kind": "dwell", "after_s": 600, **more}
        frequency = "unlimited"  # else the person had it already, whatever is proven
        return town.world.campaign(targeting=where, trigger=trigger, frequency=frequency)

    opted, plain = dwells(presumed=True), dwells()
    town.ping(0, 7)
    assert town.clock(10) == 1
    query = sa.select(decision.c.campaign_id, decision.c.cause, decision.c.trigger_ms)
    rows = reading(town.engine, lambda conn: [tuple(r) for r in conn.execute(query)])
    assert rows == [(opted, "presumed", START_MS + 10 * MIN)]
    assert town.ping(12) == [("dwell", 12.0)]
    rows = reading(town.engine, lambda conn: sorted(tuple(r) for r in conn.execute(query)))
    assert rows == [
        (opted, "presumed", START_MS + 10 * MIN),
        (plain, "fix", START_MS + 12 * MIN),
    ]
    assert town.told() == [("fence.entered", "fix"), ("fence.dwelled", "fix")]


def test_an_exit_by_fixes_is_not_told_again_by_silence(town: Town) -> None:
    town.listen()
    town.ping(0)
    town.ping(1, at=OUTSIDE)
    assert town.ping(7, at=north(OUTSIDE, 50)) == [("exit", 1.0)]
    town.clock(100)
    assert town.told() == [
        ("fence.entered", "fix"),
        ("fence.exited", "fix"),
        ("visit.closed", None),
    ]


def test_two_intakes_of_one_database_and_their_timers(town: Town) -> None:
    """Another process's intake remembers the stays that this one's timers take away."""
    other = World(town.engine, town.world.clock)
    town.ping(0)
    part = [FIX | {"at": GANGNAM, "min": 5}]
    assert told(other.post(part).transitions) == []
    town.clock(50)
    assert town.count(presence) == 0
    assert told(other.post([FIX | {"at": GANGNAM, "min": 51}]).transitions) == [("enter", 51.0)]
    assert town.ping(52) == []
    assert town.visits() == [(0, 5, 2), (51, 52, 2)]
