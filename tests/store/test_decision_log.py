"""Decisions read back, on both databases: pages without a seam, the last one before an instant."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from nearcast.store import decision_log
from nearcast.store.engine import reading
from tests.world import GANGNAM, MIN, OUTSIDE, START_MS, YEOKSAM, World, minutes


@pytest.fixture
def world(engine: sa.Engine) -> World:
    """Two campaigns at two fences that overlap in time: `a` triggers both at once."""
    world = World(engine)
    fences = [world.fence("강남점", GANGNAM), world.fence("강남역", GANGNAM, 300.0)]
    world.campaign(targeting={"fence_ids": fences}, frequency="unlimited")
    world.campaign(targeting={"fence_ids": [world.fence("역삼점", YEOKSAM)]})
    for who, place, at in (
        ("a", GANGNAM, 0),
        ("b", GANGNAM, 0),
        ("a", YEOKSAM, 20),
        ("a", OUTSIDE, 40),
        ("a", GANGNAM, 80),
    ):
        world.post([{"who": who, "at": place, "min": at}])
    return world


def _listed(world: World, **only: Any) -> tuple[list[sa.RowMapping], int]:
    asked = {"campaign_id": 1, "limit": 100} | only
    return reading(world.engine, lambda conn: decision_log.listed(conn, **asked))


def _place(row: sa.RowMapping) -> decision_log.Place:
    return row["trigger_ms"], row["device_id"], row["fence_id"], row["kind"]


def test_pages_meet_without_a_seam(world: World) -> None:
    whole, total = _listed(world)
    assert total == len(whole) == 6
    assert [minutes(row["trigger_ms"]) for row in whole] == [80, 80, 0, 0, 0, 0]
    for size in (1, 2, 4, 5):
        got: list[sa.RowMapping] = []
        while len(got) < total:
            page, _ = _listed(world, limit=size, before=_place(got[-1]) if got else None)
            got += page
        assert [_place(row) for row in got] == [_place(row) for row in whole]


def test_decisions_are_chosen_by_device_and_reason(world: World) -> None:
    whole, _ = _listed(world)
    one = whole[-1]["device_id"]
    assert {row["device_key"] for row in _listed(world, device_ids=[one])[0]} == {"a"}
    assert _listed(world, device_ids=[]) == ([], 0)
    assert _listed(world, reason="frequency_capped")[1] == 0
    assert _listed(world, campaign_id=2)[1] == 1


def test_the_last_decision_before_an_instant(world: World) -> None:
    devices = sorted({row["device_id"] for row in _listed(world)[0]})

    def last(from_min: float, until_min: float) -> float | None:
        row = reading(
            world.engine,
            lambda conn: decision_log.last(
                conn,
                campaign_id=1,
                device_ids=devices,
                from_ms=START_MS + round(from_min * MIN),
                until_ms=START_MS + round(until_min * MIN),
            ),
        )
        return None if row is None else minutes(row["trigger_ms"])

    assert (last(-60, 80), last(-60, 79.99), last(0, 10), last(0.01, 79)) == (80, 0, 0, None)
    nobody = reading(
        world.engine,
        lambda conn: decision_log.last(
            conn, campaign_id=1, device_ids=[], from_ms=0, until_ms=2 * START_MS
        ),
    )
    assert nobody is None
