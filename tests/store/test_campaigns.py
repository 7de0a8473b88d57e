"""Campaigns, their versions and moves: over both databases."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from campaigns.campaign.campaign import Channel, Frequency, HoursZone, Targeting
from campaigns.campaign.life import State
from geo.fences.hours import WeeklyHours
from geo.matching.presence import Kind
from nearcast.store import campaigns, workspaces
from nearcast.store.engine import in_transaction, reading

FULL: dict[str, Any] = {
    "targeting": {"fence_ids": [3, 4], "groups": ["g"], "tags": ["t"], "shape_fence_id": 4},
    "period": {"start": "2026-11-23T00:00:00+00:00", "end": "2026-12-01T00:00:00+09:00"},
    "time_zone": "Asia/Seoul",
    "hours": {"mon": ["09:00-18:00"]},
    "hours_zone": "fence",
    "trigger": {"kind": "dwell", "after_s": 300},
    "ad_ids": ["a", "b"],
    "frequency": "unlimited",
    "least_p": 0.9,
    "priority": 5,
    "additional_days": 3,
    "message": {
        "channel": "webhook",
        "title": "T",
        "body": "B",
        "image": None,
        "link": "https://a.example",
        "webhook_id": 8,
    },
}
LEAST: dict[str, Any] = {
    "targeting": {"tags": ["t"]},
    "period": FULL["period"],
    "time_zone": "UTC",
    "trigger": {"kind": "enter", "after_s": None},
    "message": {"channel": "none"},
}


@pytest.fixture
def app_ids(engine: sa.Engine) -> list[int]:
    def verb(conn: sa.Connection) -> list[int]:
        made = []
        for name in "ab":
            workspace_id = workspaces.add(
                conn, name=name, plan="premium", time_zone="Asia/Seoul", now_ms=0
            )
            made.append(
                workspaces.add_app(
                    conn,
                    workspace_id=workspace_id,
                    name=name,
                    bundle_id=name,
                    time_zone="Asia/Seoul",
                    now_ms=0,
                )
            )
        return made

    return in_transaction(engine, verb)


def _add(
    engine: sa.Engine,
    app_id: int,
    body: dict[str, Any] | None = None,
    *,
    state: State = State.DRAFT,
    start_ms: int = 100,
    end_ms: int = 200,
) -> int:
    def verb(conn: sa.Connection) -> int:
        campaign_id = campaigns.insert(
            conn,
            app_id=app_id,
            name="C",
            state=state.value,
            version=1,
            created_ms=0,
            updated_ms=0,
            period_start_ms=start_ms,
            period_end_ms=end_ms,
        )
        campaigns.add_version(
            conn, campaign_id=campaign_id, version=1, from_ms=0, body=body or LEAST, actor="t"
        )
        return campaign_id

    return in_transaction(engine, verb)


def test_a_body_becomes_the_campaign_that_it_says(engine: sa.Engine, app_ids: list[int]) -> None:
    full = _add(engine, app_ids[0], FULL, state=State.RUNNING)
    least = _add(engine, app_ids[0], LEAST, state=State.TEST)
    found = reading(engine, lambda conn: campaigns.listening(conn, 1))

    assert [c.id for c in found] == [full, least]
    one, other = found
    assert one.targeting == Targeting(fence_ids=(3, 4), groups=("g",), tags=("t",))
    assert one.period_start == datetime(2026, 11, 23, tzinfo=UTC)
    assert one.hours == WeeklyHours.parse({"mon": ["09:00-18:00"]})
    assert (one.hours_zone, one.trigger, one.dwell_s) == (HoursZone.FENCE, Kind.DWELL, 300)
    assert (one.ad_ids, one.frequency) == (frozenset("ab"), Frequency.UNLIMITED)
    assert (one.least_p, one.priority, one.additional_days) == (0.9, 5, 3)
    assert (one.message.channel, one.message.webhook_id) == (Channel.WEBHOOK, 8)
    assert (other.hours, other.ad_ids, other.dwell_s) == (None, None, None)
    assert (other.frequency, other.hours_zone) == (Frequency.ONCE_IN_PERIOD, HoursZone.CAMPAIGN)
    assert (other.message.title, other.message.link) == ("", None)


def test_only_test_and_running_listen(engine: sa.Engine, app_ids: list[int]) -> None:
    for state in State:
        _add(engine, app_ids[0], state=state)
    _add(engine, app_ids[1], state=State.RUNNING)
    found = reading(engine, lambda conn: campaigns.listening(conn, 1))

    assert [c.state for c in found] == [State.TEST, State.RUNNING]


def test_the_newest_version_is_the_one_that_counts(engine: sa.Engine, app_ids: list[int]) -> None:
    campaign_id = _add(engine, app_ids[0])

    def verb(conn: sa.Connection) -> None:
        campaigns.update(conn, campaign_id, version=2, name="New")
        campaigns.add_version(conn, campaign_id=campaign_id, version=2, from_ms=5, body=FULL, actor="t")

    in_transaction(engine, verb)
    row = reading(engine, lambda c: campaigns.get(c, app_ids=app_ids, campaign_id=campaign_id))

    assert row is not None
    assert (row["version"], row["name"], row["body"]) == (2, "New", FULL)
    foreign = reading(engine, lambda c: campaigns.get(c, app_ids=app_ids[1:], campaign_id=campaign_id))
    assert foreign is None


def test_pages_are_newest_first(engine: sa.Engine, app_ids: list[int]) -> None:
    ids = [_add(engine, app_ids[0]) for _ in range(5)]
    _add(engine, app_ids[1])

    def page(after_id: int, state: str | None = None) -> tuple[list[int], int]:
        rows, total = reading(
            engine,
            lambda c: campaigns.listed(c, app_ids=app_ids[:1], state=state, after_id=after_id, limit=2),
        )
        return [row["id"] for row in rows], total

    assert page(0) == ([ids[4], ids[3]], 5)
    assert page(ids[3]) == ([ids[2], ids[1]], 5)
    assert page(ids[1]) == ([ids[0]], 5)
    assert page(0, "running") == ([], 0)


def test_what_is_due(engine: sa.Engine, app_ids: list[int]) -> None:
    ids = {_add(engine, app_ids[1], state=state): state for state in State}

    def due(now_ms: int) -> set[State]:
        rows = reading(engine, lambda conn: campaigns.due(conn, now_ms))
        assert {row["workspace_id"] for row in rows} <= {2}
        return {ids[row["id"]] for row in rows}

    assert due(99) == set()
    assert due(100) == due(199) == {State.STANDBY}
    assert due(200) == due(300) == {State.STANDBY, State.RUNNING, State.PAUSED}


def test_a_state_is_changed_by_whoever_is_first(engine: sa.Engine, app_ids: list[int]) -> None:
    campaign_id = _add(engine, app_ids[0], state=State.STANDBY)

    def change() -> bool:
        return in_transaction(
            engine,
            lambda c: campaigns.change_state(
                c, campaign_id, before=State.STANDBY, after=State.RUNNING, now_ms=9
            ),
        )

    assert [change(), change()] == [True, False]


def test_living_campaigns_are_found_by_what_they_use(engine: sa.Engine, app_ids: list[int]) -> None:
    living = _add(engine, app_ids[0], FULL, state=State.PAUSED)
    _add(engine, app_ids[0], FULL, state=State.DRAFT)
    _add(engine, app_ids[0], FULL, state=State.ENDED)
    _add(engine, app_ids[0], LEAST, state=State.RUNNING)

    def ids(rows: list[sa.RowMapping]) -> list[int]:
        return [row["id"] for row in rows]

    ((row, named),) = reading(engine, lambda c: campaigns.using_fences(c, {4, 99}))
    assert (row["id"], named) == (living, {4})
    assert reading(engine, lambda c: campaigns.using_fences(c, {99})) == []
    assert ids(reading(engine, lambda c: campaigns.using_webhook(c, 8))) == [living]
    assert reading(engine, lambda c: campaigns.using_webhook(c, 9)) == []
    in_group = {"workspace_id": 1, "group": "g"}
    assert ids(reading(engine, lambda c: campaigns.using_group(c, **in_group))) == [living]
    assert reading(engine, lambda c: campaigns.using_group(c, workspace_id=2, group="g")) == []


def test_deleting_takes_versions_and_moves_with_it(engine: sa.Engine, app_ids: list[int]) -> None:
    campaign_id = _add(engine, app_ids[0])
    in_transaction(
        engine,
        lambda c: campaigns.add_move(
            c, campaign_id=campaign_id, at_ms=3, from_state="draft", to_state="test", actor="t"
        ),
    )
    (row,) = reading(engine, lambda conn: campaigns.moves(conn, campaign_id))
    assert (row["from_state"], row["to_state"], row["at_ms"]) == ("draft", "test", 3)

    in_transaction(engine, lambda conn: campaigns.delete(conn, campaign_id))
    assert reading(engine, lambda conn: campaigns.moves(conn, campaign_id)) == []
    gone = reading(engine, lambda c: campaigns.get(c, app_ids=app_ids, campaign_id=campaign_id))
    assert gone is None


def test_test_ids_by_app(engine: sa.Engine, app_ids: list[int]) -> None:
    for app_id, ad_id in ((app_ids[0], "x"), (app_ids[0], "y"), (app_ids[1], "x")):
        in_transaction(
            engine,
            lambda c, app_id=app_id, ad_id=ad_id: workspaces.put_test_device(
                c, app_id=app_id, ad_id=ad_id, name="n", created_ms=0, expires_ms=50
            ),
        )

    found = reading(engine, lambda conn: campaigns.test_ids(conn, 1))
    assert found == {app_ids[0]: {"x": 50, "y": 50}}
