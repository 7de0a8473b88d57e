"""Campaigns: drafts, versions, moves by hand and by the clock."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from campaigns.campaign.life import IllegalMove, State
from geo.fences.shapes import ReadShape, read_form
from nearcast.services import run_campaigns
from nearcast.services.check_campaigns import length
from nearcast.services.errors import Invalid, NotAllowedNow, NotFound
from nearcast.store import campaigns, fences, workspaces
from nearcast.store.engine import in_transaction, reading
from nearcast.store.tables import audit, campaign_move
from tests.world import GANGNAM, OUTSIDE, World, told

DAY_MS = 86_400_000
BODY: dict[str, Any] = {
    "targeting": {"tags": ["t"]},
    "period": {"start": "2026-11-24T00:00:00+00:00", "end": "2026-11-25T00:00:00+00:00"},
    "message": {"channel": "none"},
}
START_OF_PERIOD_MS = round(datetime(2026, 11, 24, tzinfo=UTC).timestamp() * 1000)


def _create(world: World, body: dict[str, Any] | None = None, in_place: ReadShape | None = None) -> int:
    return in_transaction(
        world.engine,
        lambda conn: run_campaigns.create(
            conn,
            BODY if body is None else body,
            app_id=world.app_id,
            name="C",
            in_place=in_place,
            author=world.author(),
        ),
    )


def _row(world: World, campaign_id: int) -> sa.RowMapping:
    return reading(
        world.engine,
        lambda c: run_campaigns.load(c, app_ids=[world.app_id], campaign_id=campaign_id),
    )


def _go(world: World, campaign_id: int, *states: State) -> list[str]:
    warnings: list[str] = []
    for state in states:
        warnings = in_transaction(
            world.engine,
            lambda conn, state=state: run_campaigns.go(
                conn,
                run_campaigns.load(conn, app_ids=[world.app_id], campaign_id=campaign_id),
                state,
                author=world.author(),
            ),
        )
    return warnings


def _edit(world: World, campaign_id: int, in_place: ReadShape | None = None, **changes: Any) -> None:
    in_transaction(
        world.engine,
        lambda conn: run_campaigns.edit(
            conn,
            run_campaigns.load(conn, app_ids=[world.app_id], campaign_id=campaign_id),
            changes,
            name=None,
            in_place=in_place,
            author=world.author(),
        ),
    )


def _tick(world: World, now_ms: int) -> list[tuple[int, State]]:
    return in_transaction(world.engine, lambda conn: run_campaigns.tick(conn, now_ms))


def test_what_is_not_said_is_the_default(engine: sa.Engine) -> None:
    world = World(engine)
    row = _row(world, _create(world, {"hours": None}))

    assert row["body"]["trigger"] == {"kind": "enter", "after_s": None, "presumed": False}
    assert row["body"]["time_zone"] == "Asia/Seoul"
    assert "hours" not in row["body"]
    assert row["period_start_ms"] == row["period_end_ms"] == fences.MAX_MS
    assert _tick(world, fences.MAX_MS - 1) == []


def test_missing_parts_are_all_named_at_once(sqlite_engine: sa.Engine) -> None:
    world = World(sqlite_engine)
    campaign_id = _create(world, {"message": {"channel": "inbox", "title": "x"}})
    with pytest.raises(Invalid) as refused:
        _go(world, campaign_id, State.STANDBY)

    assert {fault.pointer for fault in refused.value.errors} == {
        "/targeting",
        "/period/start",
        "/period/end",
        "/message/body",
    }
    assert {fault.code for fault in refused.value.errors} == {"required"}


def test_the_clock_starts_and_ends_a_campaign_once(engine: sa.Engine) -> None:
    world = World(engine)
    campaign_id = _create(world)
    _go(world, campaign_id, State.STANDBY)

    assert _tick(world, START_OF_PERIOD_MS - 1) == []
    assert _tick(world, START_OF_PERIOD_MS) == [(campaign_id, State.RUNNING)]
    assert _tick(world, START_OF_PERIOD_MS) == []
    assert _tick(world, START_OF_PERIOD_MS + DAY_MS) == [(campaign_id, State.ENDED)]
    moves = reading(engine, lambda conn: campaigns.moves(conn, campaign_id))
    assert [(m["to_state"], m["actor"]) for m in moves] == [
        ("standby", "test"),
        ("running", "clock"),
        ("ended", "clock"),
    ]


def test_a_clock_that_jumps_over_the_period_ends_it(sqlite_engine: sa.Engine) -> None:
    world = World(sqlite_engine)
    campaign_id = _create(world)
    _go(world, campaign_id, State.STANDBY)

    assert _tick(world, START_OF_PERIOD_MS + 9 * DAY_MS) == [(campaign_id, State.ENDED)]


def test_many_processes_that_tick_at_once_move_it_once(engine: sa.Engine) -> None:
    world = World(engine)
    campaign_id = _create(world)
    _go(world, campaign_id, State.STANDBY)
    moved: list[tuple[int, State]] = []
    threads = [
        threading.Thread(target=lambda: moved.extend(_tick(world, START_OF_PERIOD_MS))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert moved == [(campaign_id, State.RUNNING)]
    count = sa.select(sa.func.count()).select_from(campaign_move)
    assert reading(engine, lambda conn: conn.execute(count).scalar_one()) == 2


def test_a_move_made_twice_at_once_is_made_once(engine: sa.Engine) -> None:
    world = World(engine)
    campaign_id = _create(world)
    results: list[str] = []

    def go() -> None:
        try:
            _go(world, campaign_id, State.TEST)
            results.append("moved")
        except IllegalMove:
            results.append("illegal")

    threads = [threading.Thread(target=go) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(results) == ["illegal"] * 5 + ["moved"]


def test_edits_and_moves_of_what_listens_are_told_to_snapshots(sqlite_engine: sa.Engine) -> None:
    world = World(sqlite_engine)

    def version() -> int:
        return reading(sqlite_engine, lambda conn: workspaces.version(conn, world.workspace_id))

    start = version()
    campaign_id = _create(world)
    assert version() == start
    _edit(world, campaign_id, priority=1)
    assert version() == start + 1, "an edit is always told: a start may be committed meanwhile"
    _go(world, campaign_id, State.STANDBY)
    assert version() == start + 1
    _go(world, campaign_id, State.RUNNING)
    assert version() == start + 2
    _edit(world, campaign_id, priority=2)
    assert version() == start + 3
    _go(world, campaign_id, State.PAUSED)
    assert version() == start + 4


def test_a_pause_stops_the_very_next_ping(engine: sa.Engine) -> None:
    world = World(engine)
    world.fence("a", GANGNAM, tags=("t",))
    campaign_id = world.campaign(targeting={"tags": ["t"]})
    world.post([{"who": "x", "at": OUTSIDE, "min": -40}, {"who": "x", "at": GANGNAM, "min": 0}])
    _go(world, campaign_id, State.PAUSED)
    receipt = world.post([{"who": "y", "at": GANGNAM, "min": 1}])

    assert told(receipt.transitions) == [("enter", 1.0)]
    assert receipt.decisions == []
    _go(world, campaign_id, State.RUNNING)
    again = world.post([{"who": "z", "at": GANGNAM, "min": 2}])
    assert [d.reason.value for d in again.decisions] == ["sent"]


def test_a_shape_in_place_is_matched_as_any_fence(engine: sa.Engine) -> None:
    world = World(engine)
    read = read_form(lat=GANGNAM[1], lng=GANGNAM[0], radius_m=100)
    body = {
        "targeting": {},
        "period": {"start": "2026-11-22T00:00:00+00:00", "end": "2026-12-22T00:00:00+00:00"},
        "message": {"channel": "inbox", "title": "t", "body": "b"},
    }
    campaign_id = _create(world, body, read)
    _go(world, campaign_id, State.TEST, State.RUNNING)
    receipt = world.post([{"who": "x", "at": GANGNAM, "min": 0}])

    assert [d.reason.value for d in receipt.decisions] == ["sent"]


def test_editing_the_place_moves_makes_and_removes_the_own_fence(engine: sa.Engine) -> None:
    world = World(engine)
    here = read_form(lat=GANGNAM[1], lng=GANGNAM[0], radius_m=100)
    there = read_form(lat=OUTSIDE[1], lng=OUTSIDE[0], radius_m=100)
    campaign_id = _create(world, {**BODY, "targeting": {"tags": ["t"]}}, here)

    def where() -> dict[str, Any]:
        return _row(world, campaign_id)["body"]["targeting"]

    own = where()["shape_fence_id"]
    assert where()["fence_ids"] == [own]
    _edit(world, campaign_id, there, targeting={"tags": ["t"]})
    assert where() == {"tags": ["t"], "fence_ids": [own], "shape_fence_id": own}
    _edit(world, campaign_id, priority=9)
    assert where()["shape_fence_id"] == own
    _edit(world, campaign_id, targeting={"tags": ["u"]})
    assert where() == {"tags": ["u"]}
    living = reading(engine, lambda c: fences.get(c, workspace_id=world.workspace_id, fence_ids=[own]))
    assert living == {}


def test_a_draft_with_results_is_not_deleted(engine: sa.Engine) -> None:
    world = World(engine)
    world.fence("a", GANGNAM, tags=("t",))
    world.test_device("ad-1")
    campaign_id = world.campaign(targeting={"tags": ["t"]}, state=State.TEST)
    world.post([{"who": "x", "ad_id": "ad-1", "at": GANGNAM, "min": 0}])
    _go(world, campaign_id, State.DRAFT)

    def delete() -> None:
        in_transaction(
            engine,
            lambda c: run_campaigns.delete(c, _row(world, campaign_id), author=world.author()),
        )

    with pytest.raises(NotAllowedNow):
        delete()
    assert _row(world, campaign_id)["state"] == "draft"


def test_a_campaign_of_another_app_is_not_found(sqlite_engine: sa.Engine) -> None:
    world = World(sqlite_engine)
    campaign_id = _create(world)

    with pytest.raises(NotFound):
        reading(
            sqlite_engine,
            lambda c: run_campaigns.load(c, app_ids=[99], campaign_id=campaign_id),
        )


def test_every_change_is_in_the_audit_log(sqlite_engine: sa.Engine) -> None:
    world = World(sqlite_engine)
    campaign_id = _create(world)
    _edit(world, campaign_id, priority=1)
    _edit(world, campaign_id, priority=1)  # says nothing new
    _go(world, campaign_id, State.TEST)
    query = sa.select(audit.c.action).where(audit.c.object == f"cmp_{campaign_id}").order_by(audit.c.id)
    actions = reading(sqlite_engine, lambda conn: list(conn.execute(query).scalars()))

    assert actions == ["campaign.created", "campaign.edited", "campaign.test"]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("abc", 3),
        ("가나다", 3),
        ("☕", 2),
        ("☕️", 2),
        ("🎉a", 3),
        ("👨‍👩‍👧", 2),
        ("👍🏽", 2),
        ("🇰🇷", 2),
        ("🇰🇷🇯🇵", 4),
        ("🇰", 2),
        ("1,000원", 6),
    ],
)
def test_a_title_is_as_long_as_a_reader_sees_it(text: str, count: int) -> None:
    assert length(text) == count
