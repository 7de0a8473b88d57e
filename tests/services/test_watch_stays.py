"""Timers: silence, presumed dwells and the sweep, on stays as the intake leaves them."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
import sqlalchemy as sa

from geo.matching.presence import PresencePolicy
from geo.matching.stay_columns import Stays, VisitKeys, Visits, unpack
from nearcast.services import watch_stays
from nearcast.services.tell_webhooks import told_visits
from nearcast.services.watch_stays import SILENCE_EVERY_MS, SWEEP_EVERY_MS, TICK_EVERY_MS, Watch
from nearcast.store import stays, sweeping, workspaces
from nearcast.store.engine import in_transaction, reading
from nearcast.store.tables import (
    app,
    decision,
    delivery,
    evidence_chunk,
    meta,
    notice,
    presence,
    visit,
)
from tests.standing import EVENTS, GAP_MIN, SWEEP_MIN, Standing
from tests.world import MIN, START_MS


@pytest.fixture
def standing(engine: sa.Engine) -> Standing:
    return Standing(engine)


# --- silence ----------------------------------------------------------------------------------------


def test_a_device_that_falls_silent_has_left_at_its_last_fix_inside(standing: Standing) -> None:
    standing.listen(*EVENTS)
    standing.stay("a", 0, 5)
    assert standing.at(5 + GAP_MIN) == 0  # exactly the gap: a fix now would go on with it
    assert standing.told() == []
    assert standing.at(5 + GAP_MIN + 0.5) == 1
    assert standing.told() == [("fence.exited", "a", "silence")]
    [body] = reading(standing.engine, lambda c: list(c.execute(sa.select(notice.c.body)).scalars()))
    data = json.loads(body)["data"]
    assert (data["at"], data["arrived"]) == ("2026-11-23T00:05:00.000Z", "2026-11-23T00:00:00.000Z")
    assert (data["dwell_s"], data["probability"], data["user_id"]) == (300.0, None, "u-a")
    assert data["fence"]["name"] == "강남점"
    assert standing.rows(presence, "inside", "left_ms") == [(False, START_MS + 5 * MIN)]
    assert standing.at(5 + GAP_MIN + 1) == 0  # told once
    assert standing.rows(decision, "reason") == []


def test_whoever_is_heard_of_outside_is_not_silent(standing: Standing) -> None:
    standing.listen(*EVENTS)
    standing.stay("a", 0, out=20)
    assert standing.at(GAP_MIN + 5) == 0
    assert standing.at(20 + GAP_MIN + 0.1) == 2  # silent, and swept as well
    assert standing.told() == [("fence.exited", "a", "silence"), ("visit.closed", "a", None)]


def test_nobody_exits_who_was_never_told_to_have_entered(standing: Standing) -> None:
    standing.listen(*EVENTS)
    standing.stay("a", 0, 5, told=-1 / MIN)
    assert standing.at(5 + GAP_MIN + 1) == 1
    assert standing.told() == []
    assert standing.rows(presence, "inside") == [(False,)]


def test_each_workspace_has_its_own_gap(standing: Standing) -> None:
    def other(conn: sa.Connection) -> int:
        serial = workspaces.add(conn, name="B", plan="premium", time_zone="UTC", now_ms=0)
        workspaces.set_settings(conn, serial, {"gap_s": 600})
        return workspaces.add_app(
            conn, workspace_id=serial, name="b", bundle_id="b", time_zone="UTC", now_ms=0
        )

    app_id = in_transaction(standing.engine, other)
    ours = standing.stay("a", 0)
    theirs = standing.stay("b", 0, fence=1, app_id=app_id)
    assert standing.at(10.1) == 1
    assert standing.rows(presence, "device_id", "inside") == [(ours, True), (theirs, False)]
    assert standing.at(25) == 1  # theirs is swept
    assert standing.rows(presence, "device_id") == [(ours,)]
    [(workspace_id,)] = standing.rows(app, "workspace_id")[1:]
    cut_ms = START_MS + (25 - 20) * MIN
    assert reading(standing.engine, lambda c: stays.swept_ms(c, workspace_id)) == cut_ms
    assert standing.swept_ms() == 0


# --- the sweep --------------------------------------------------------------------------------------


def test_a_sweep_ends_the_visit_and_keeps_its_evidence(standing: Standing) -> None:
    standing.listen(*EVENTS)
    serial = standing.stay("a", 0, 5, 12)
    standing.at(12 + SWEEP_MIN)
    assert len(standing.rows(presence, "device_id")) == 1  # exactly the cut: not yet
    standing.at(12 + SWEEP_MIN + 1)
    assert standing.rows(presence, "device_id") == []
    ended = standing.rows(visit, "device_id", "arrived_ms", "left_ms", "fixes", "p_sum", "told_ms")
    assert ended == [(serial, START_MS, START_MS + 12 * MIN, 3, 765, 12 * MIN)]
    [(first_ms, last_ms, packed)] = standing.rows(evidence_chunk, "first_ms", "last_ms", "evidence")
    assert (first_ms, last_ms) == (START_MS, START_MS + 12 * MIN)
    assert (unpack(packed) >> 8).tolist() == [START_MS + m * MIN for m in (0, 5, 12)]
    assert standing.told() == [("fence.exited", "a", "silence"), ("visit.closed", "a", None)]
    cut_ms = START_MS + (12 + SWEEP_MIN + 1 - SWEEP_MIN) * MIN
    assert standing.swept_ms() == cut_ms


def test_whoever_has_left_is_swept_and_whoever_is_heard_of_stays(standing: Standing) -> None:
    standing.listen(*EVENTS)
    standing.stay("gone", 0, 5, inside=False)
    heard = standing.stay("heard", 0, 5, fence=1, out=40)
    standing.at(5 + SWEEP_MIN + 1)
    assert standing.rows(presence, "device_id") == [(heard,)]
    assert standing.told() == [("visit.closed", "gone", None)]


def test_an_older_cut_never_replaces_a_newer_one(standing: Standing) -> None:
    def cut(at_ms: int) -> None:
        world = standing.world
        in_transaction(standing.engine, lambda c: sweeping.was_swept(c, world.workspace_id, at_ms))

    for at_ms, stands in ((10**12, 10**12), (9 * 10**11, 10**12), (10**13, 10**13)):
        cut(at_ms)
        assert standing.swept_ms() == stands


def test_much_is_taken_some_at_a_time(sqlite_engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    standing = Standing(sqlite_engine)
    for n in range(7):
        standing.stay(f"d{n}", 0)
    monkeypatch.setattr(watch_stays.sweep, "__kwdefaults__", {"limit": 3})
    assert standing.at(SWEEP_MIN + 1) == 14  # seven fall silent, seven go
    assert standing.rows(presence, "device_id") == []
    assert len(standing.rows(evidence_chunk, "device_id")) == 7


# --- what other processes are told ---------------------------------------------------------------


def test_every_write_is_announced_to_those_who_remember_presence(standing: Standing) -> None:
    assert standing.writer() is None
    standing.stay("a", 0)
    standing.at(10)
    assert standing.writer() is None  # nothing was written
    standing.at(GAP_MIN + 1)
    first = standing.writer()
    assert first is not None
    standing.at(SWEEP_MIN + 2)
    assert standing.writer() not in (None, first)
    keys = {key for (key,) in standing.rows(meta, "key")}
    assert f"swept_ms:{standing.world.workspace_id}" in keys


def test_a_look_that_finds_nothing_writes_nothing(standing: Standing) -> None:
    standing.stay("a", 0)
    written: list[str] = []

    def note(*event: Any) -> None:
        if event[2].lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE")):
            written.append(event[2])

    sa.event.listen(standing.engine, "before_cursor_execute", note)
    assert standing.at(1) == 0
    assert written == []


def test_looks_are_apart_by_the_clock(standing: Standing) -> None:
    standing.stay("a", 0)
    standing.at(GAP_MIN)
    assert (TICK_EVERY_MS, SILENCE_EVERY_MS, SWEEP_EVERY_MS) == (5_000, 30_000, 60_000)
    assert standing.at(GAP_MIN + 29.9 / 60) == 0
    assert standing.at(GAP_MIN + 30 / 60) == 1


def test_those_that_somebody_else_holds_are_left_for_the_next_look(
    postgres_url: str, request: pytest.FixtureRequest
) -> None:
    from nearcast.store.engine import make_engine

    engine = make_engine(postgres_url)
    request.addfinalizer(engine.dispose)
    standing = Standing(engine)
    held = standing.stay("held", 0)
    standing.stay("free", 0, fence=1)
    with engine.begin() as conn:
        row = sa.select(presence).where(presence.c.device_id == held).with_for_update()
        conn.execute(row).all()
        assert standing.at(GAP_MIN + 1) == 1
    assert standing.at(GAP_MIN + 2) == 1


def test_two_processes_look_at_once_and_each_stay_is_told_once(standing: Standing) -> None:
    standing.listen(*EVENTS)
    for n in range(60):
        standing.stay(f"d{n}", 0)
    standing.clock.saw(START_MS + (SWEEP_MIN + 1) * MIN)
    changed: list[int] = []

    def look() -> None:
        watch = Watch(standing.engine, standing.world.snapshots, standing.clock)
        changed.append(watch.look())

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    standing.at(SWEEP_MIN + 3)
    told = standing.told()
    assert len(told) == len(set(told)) == 120
    assert standing.rows(presence, "device_id") == []
    assert len(standing.rows(evidence_chunk, "device_id")) == 60


# --- presumed dwells --------------------------------------------------------------------------------


def test_a_dwell_is_presumed_at_arrival_and_n_where_the_campaign_opts_in(standing: Standing) -> None:
    standing.listen(*EVENTS)
    opted = standing.campaign()
    standing.campaign(presumed=False)
    serial = standing.stay("a", 0, 6, p=0.8)
    assert standing.at(9.9) == 0
    assert standing.at(10) == 1
    names = ("campaign_id", "device_id", "kind", "trigger_ms", "reason", "cause", "person")
    assert standing.rows(decision, *names) == [
        (opted, serial, "dwell", START_MS + 10 * MIN, "sent", "presumed", "u:u-a")
    ]
    [(p,)] = standing.rows(decision, "p")
    assert p == pytest.approx(0.8, abs=1 / 255)
    assert standing.rows(delivery, "campaign_id", "trigger_ms") == [(opted, START_MS + 10 * MIN)]
    assert standing.rows(presence, "presumed_ms", "told_ms") == [(10 * MIN, 6 * MIN)]
    assert standing.told() == []  # endpoints are told what fixes have shown
    assert standing.at(10.5) == 0  # presumed once


@pytest.mark.parametrize(
    ("stay", "why"),
    [
        ({"minutes": (0, 4)}, "its newest fix is older than 5 min"),
        ({"minutes": (0, 6), "out": 7}, "its newest fix is outside"),
        ({"minutes": (0, 6), "inside": False}, "it has left"),
        ({"minutes": (0, 6), "told": -1 / MIN}, "its enter was never told"),
        ({"minutes": (0, 6), "fence": 1}, "nobody listens there"),
    ],
)
def test_no_dwell_is_presumed_when(standing: Standing, stay: dict[str, Any], why: str) -> None:
    standing.campaign()
    rest = {name: value for name, value in stay.items() if name != "minutes"}
    standing.stay("a", *stay["minutes"], **rest)
    assert standing.at(10) == 0, why
    assert standing.rows(decision, "reason") == []


def test_a_proven_threshold_is_not_presumed(standing: Standing) -> None:
    standing.campaign(300)
    standing.campaign(480)
    standing.stay("a", 0, 6)  # 300 s are proven by the fix at minute 6
    assert standing.at(7.9) == 0
    assert standing.at(8) == 1
    assert standing.rows(decision, "trigger_ms") == [(START_MS + 8 * MIN,)]


def test_gates_hold_for_what_is_presumed_and_a_person_gets_it_once(standing: Standing) -> None:
    closed = standing.campaign(hours={"sun": ["00:00-24:00"]})
    once = standing.campaign(600)
    later = standing.campaign(900, message={"channel": "none"})
    standing.stay("a", 0, 9, told=9)
    standing.at(10)
    assert sorted(standing.rows(decision, "campaign_id", "reason")) == [
        (closed, "outside_hours"),
        (once, "sent"),
    ]
    standing.at(13.9)
    assert len(standing.rows(decision, "reason")) == 2
    with standing.engine.begin() as conn:  # the next fix inside, at minute 12
        left = sa.update(presence).values(left_ms=START_MS + 12 * MIN, told_ms=12 * MIN)
        conn.execute(left)
    standing.at(15)
    assert (later, "counted_only") in standing.rows(decision, "campaign_id", "reason")


def test_a_fence_that_was_taken_away_presumes_nothing(standing: Standing) -> None:
    standing.campaign()
    standing.stay("a", 0, 9)
    standing.clock.saw(START_MS + round(9.5 * MIN))
    world = standing.world
    snapshot = world.snapshots.current(world.workspace_id, now_ms=standing.clock.now_ms())
    version = snapshot.index.versions[0]
    world.save(
        type(version.fence)(name="강남점", shape=version.fence.shape, enabled=False),
        0.03,
        standing.fences[0],
    )
    standing.at(10)
    assert standing.rows(decision, "reason") == []


def test_what_a_stay_holds_is_what_is_read(standing: Standing) -> None:
    """The columns of a stay stand in the table's in the same order and come back unchanged."""
    serial = standing.stay("a", 0, 6, out=7)
    key = (serial, standing.fences[0])
    found = in_transaction(standing.engine, lambda conn: sweeping.held(conn, [key]))
    assert isinstance(found, Stays)
    names = ["device_id", *Stays.names()[1:]]
    assert list(found.rows()) == standing.rows(presence, *names)
    assert found.heard_ms.tolist() == [START_MS + 7 * MIN]
    assert PresencePolicy().gap_s == GAP_MIN * 60


def test_an_amended_visit_names_the_rows_that_it_replaces_and_no_others() -> None:
    amended = Visits.from_rows([(1, 7, 100, 500, 4, 1020, -1), (2, 7, 100, 500, 4, 1020, -1)])
    gone = VisitKeys.from_rows([(1, 7, 300), (1, 7, 120), (1, 7, 501), (1, 8, 300), (3, 7, 300)])
    told = told_visits(amended, fence_of=lambda fence_id: fence_id * 10, gone=gone)
    assert [(v.device, v.fence, v.replaces_ms) for v in told] == [(1, 70, (120, 300)), (2, 70, ())]
    assert (told[0].visit.left_ms, told[0].visit.fixes) == (500, 4)
