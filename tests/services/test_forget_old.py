"""Retention: what is too old goes in small transactions, the rest stays, and a report says what went."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from nearcast.services import forget_old as forgetting
from nearcast.services.errors import Invalid
from nearcast.services.forget_old import (
    MARGIN_MS,
    RetentionPolicy,
    forget_old,
    retention_policy,
    set_retention,
)
from nearcast.services.seal_pings import DAY_MS, seal_pings
from nearcast.store import ping_log
from nearcast.store.engine import in_transaction, reading
from nearcast.store.ping_files import PingFiles
from nearcast.store.tables import evidence_chunk, night, presence, retention_report, visit
from tests.world import GANGNAM, MIN, OUTSIDE, START_MS, World

WEEK_MS = 7 * DAY_MS


@pytest.fixture
def world(engine: sa.Engine) -> World:
    return World(engine)


@pytest.fixture
def files(tmp_path: Path) -> PingFiles:
    return PingFiles(str(tmp_path / "pings"))


def report(world: World) -> list[tuple[str, int, int, int]]:
    names = ("what", "from_ms", "until_ms", "rows")
    query = sa.select(*(retention_report.c[name] for name in names)).order_by(retention_report.c.id)
    return [tuple(row) for row in reading(world.engine, lambda c: c.execute(query).all())]


def kept(world: World, files: PingFiles) -> int:
    found = reading(
        world.engine,
        lambda c: ping_log.read(c, app_id=world.app_id, first_ms=0, last_ms=2**50, files=files),
    )
    return len(found)


def insert(world: World, table: sa.Table, *listed: dict[str, Any]) -> None:
    in_transaction(world.engine, lambda c: c.execute(sa.insert(table), list(listed)))


def left(world: World, column: sa.Column[Any]) -> list[Any]:
    return list(reading(world.engine, lambda c: c.execute(sa.select(column).order_by(column)).scalars()))


def test_a_file_goes_when_its_newest_ping_is_too_old_in_two_passes(
    world: World, files: PingFiles, tmp_path: Path
) -> None:
    for minute in (0, 30, 24 * 60):
        world.post([{"who": "a", "at": OUTSIDE, "min": minute}])
    seal_pings(world.engine, files, now_ms=START_MS + 2 * DAY_MS)
    too_old_ms = START_MS + 30 * MIN + WEEK_MS + 1
    assert forget_old(world.engine, files, now_ms=too_old_ms - 1) == {}
    assert kept(world, files) == 3
    # nobody is sent to it any more, but who reads it comes to the end
    assert forget_old(world.engine, files, now_ms=too_old_ms) == {}
    assert (kept(world, files), len(list(tmp_path.rglob("*.parquet")))) == (1, 2)
    assert forget_old(world.engine, files, now_ms=too_old_ms) == {"raw_pings": 2}
    assert (kept(world, files), len(list(tmp_path.rglob("*.parquet")))) == (1, 1)
    assert report(world) == [("raw_pings", START_MS, START_MS + 30 * MIN, 2)]
    assert forget_old(world.engine, files, now_ms=too_old_ms) == {}


def test_a_file_that_somebody_deleted_is_no_obstacle(
    world: World, files: PingFiles, tmp_path: Path
) -> None:
    world.post([{"who": "a", "at": OUTSIDE, "min": 0}])
    seal_pings(world.engine, files, now_ms=START_MS + DAY_MS)
    next(tmp_path.rglob("*.parquet")).unlink()
    for _ in range(2):
        gone = forget_old(world.engine, files, now_ms=START_MS + 2 * WEEK_MS)
    assert gone == {"raw_pings": 1}


def test_rows_of_the_log_that_nobody_sealed_go_too(
    world: World, files: PingFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "LOG_ROWS", 2)  # several transactions, one line of the report
    for minute in range(6):
        world.post([{"who": who, "at": OUTSIDE, "min": minute} for who in "ab"])
    now_ms = START_MS + 5 * MIN + WEEK_MS
    assert forget_old(world.engine, files, now_ms=now_ms) == {"raw_pings": 10}
    assert report(world) == [("raw_pings", START_MS, START_MS + 4 * MIN, 10)]
    assert kept(world, files) == 2


def chunk(fence_id: int, first_ms: int, last_ms: int) -> dict[str, Any]:
    body = (np.array([first_ms, last_ms], "<i8") << 8 | 255).astype("<i8").tobytes()
    span = {"first_ms": first_ms, "last_ms": last_ms}
    return {"device_id": 1, "fence_id": fence_id, "evidence": body} | span


def test_evidence_goes_when_no_late_ping_can_touch_it(
    world: World, files: PingFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "ROWS", 2)
    fence_id = world.fence("a", GANGNAM)
    other = world.fence("b", OUTSIDE)
    cut = START_MS - WEEK_MS - MARGIN_MS
    insert(
        world,
        evidence_chunk,
        chunk(fence_id, cut - 10, cut - 1),
        chunk(fence_id, cut - 5, cut),
        chunk(fence_id, cut - 20, cut - 15),
        chunk(fence_id, cut + 1, cut + 5),
        chunk(other, cut - 100, cut - 50),
        chunk(other, cut - 40, cut + 50),
    )
    assert forget_old(world.engine, files, now_ms=START_MS) == {"evidence": 3}
    assert left(world, evidence_chunk.c.first_ms) == [cut - 40, cut - 5, cut + 1]
    assert report(world) == [("evidence", cut - 100, cut - 1, 3)]


def test_visits_and_nights_go_after_their_months(
    world: World, files: PingFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "ROWS", 2)
    fence_id = world.fence("a", GANGNAM)
    world.post([{"who": "a", "at": OUTSIDE, "min": 0}])
    cut = round(datetime(2025, 11, 23, tzinfo=UTC).timestamp() * 1000)

    def stay(arrived_ms: int, left_ms: int) -> dict[str, int]:
        own = {"device_id": 1, "fence_id": fence_id, "fixes": 2, "p_sum": 510, "told_ms": 0}
        return own | {"arrived_ms": arrived_ms, "left_ms": left_ms}

    insert(
        world,
        visit,
        *(stay(cut - n, cut - 1) for n in (50, 40, 30)),
        stay(cut - 20, cut),  # ended just in time
        stay(cut - 10, cut - 5),  # may still grow: its end stands in presence
    )
    insert(
        world,
        presence,
        stay(cut - 10, START_MS)
        | {"inside": True, "presumed_ms": -1, "out_first_ms": 0, "out_last_ms": 0, "out_fixes": 0}
        | {"out_far": 0, "out_lon": 0.0, "out_lat": 0.0, "evidence": b""},
    )
    days = [date(2025, 11, day) for day in (20, 21, 22, 23)]
    rows = [{"device_id": 1, "day": day, "area_id": None, "minutes": 5, "fixes": 1} for day in days]
    insert(world, night, *rows)

    assert forget_old(world.engine, files, now_ms=START_MS) == {"visits": 3, "nights": 3}
    assert left(world, visit.c.arrived_ms) == [cut - 20, cut - 10]
    assert left(world, night.c.day) == [date(2025, 11, 23)]
    assert report(world) == [
        ("visits", cut - 50, cut - 1, 3),
        ("nights", cut - 3 * DAY_MS, cut - DAY_MS, 3),
    ]


def test_each_workspace_keeps_what_it_says(world: World, files: PingFiles) -> None:
    world.post([{"who": "a", "at": OUTSIDE, "min": 0}])
    own = world.workspace_id
    set_days = {"raw_pings_days": 1}
    in_transaction(
        world.engine,
        lambda c: set_retention(c, workspace_id=own, values=set_days, now_ms=0, actor="test"),
    )
    assert reading(world.engine, lambda c: retention_policy(c, own)) == RetentionPolicy(raw_pings_days=1)
    assert forget_old(world.engine, files, now_ms=START_MS + DAY_MS + 1) == {"raw_pings": 1}


@pytest.mark.parametrize(
    "values", [{"raw_pings_days": 0}, {"visits_months": 0}, {"raw_pings_days": 3_661}]
)
def test_a_policy_beyond_its_bounds_is_refused(sqlite_engine: sa.Engine, values: dict[str, int]) -> None:
    world = World(sqlite_engine)
    with pytest.raises(Invalid):
        in_transaction(
            world.engine,
            lambda c: set_retention(
                c, workspace_id=world.workspace_id, values=values, now_ms=0, actor="test"
            ),
        )


@pytest.mark.parametrize(
    ("months", "now", "before"),
    [
        (12, "2026-11-23T10:00:00+00:00", "2025-11-23T10:00:00+00:00"),
        (12, "2028-02-29T10:00:00+00:00", "2027-02-28T10:00:00+00:00"),
        (1, "2026-03-31T00:00:00+00:00", "2026-02-28T00:00:00+00:00"),
        (1, "2026-01-15T00:00:00+00:00", "2025-12-15T00:00:00+00:00"),
        (120, "2026-11-23T00:00:00+00:00", "2016-11-23T00:00:00+00:00"),
    ],
)
def test_months_are_those_of_the_calendar(months: int, now: str, before: str) -> None:
    policy = RetentionPolicy(visits_months=months)
    ms = [round(datetime.fromisoformat(text).timestamp() * 1000) for text in (now, before)]
    assert policy.visits_before_ms(ms[0]) == ms[1]
