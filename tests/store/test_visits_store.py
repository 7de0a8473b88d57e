"""Visits as readers see them: the newest one's end comes from presence, pages meet without a seam."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from campaigns.measuring.visit_classes import VisitClass
from geo.matching.presence import PresencePolicy
from nearcast.services.read_visits import ReadVisit, presence_policy, read_visits
from nearcast.store import visits, workspaces
from nearcast.store.engine import in_transaction, reading
from nearcast.store.tables import visit
from nearcast.store.visits import StoredVisit
from tests.world import GANGNAM, MIN, START_MS, YEOKSAM, World, minutes


@pytest.fixture
def world(engine: sa.Engine) -> World:
    """Two devices, two fences; `a` is still at the second one."""
    world = World(engine)
    world.fence("강남점", GANGNAM, external_id="123")
    world.fence("역삼점", YEOKSAM)
    for who, place, at in (
        ("b", GANGNAM, -30),
        ("a", GANGNAM, 0),
        ("a", GANGNAM, 5),
        ("a", GANGNAM, 50),
        ("a", GANGNAM, 51),
        ("a", YEOKSAM, 60),
        ("a", YEOKSAM, 65),
        ("a", YEOKSAM, 85),
    ):
        world.post([{"who": who, "at": place, "min": at}])
    return world


def _stored(world: World, **only: object) -> list[StoredVisit]:
    asked = {"app_id": world.app_id, "from_ms": 0, "until_ms": START_MS * 2} | only
    return reading(world.engine, lambda conn: visits.visits(conn, **asked))


def _brief(found: list[StoredVisit]) -> list[tuple[str, str, float, float, int]]:
    return [
        (v.device_key, v.fence_name, minutes(v.arrived_ms), minutes(v.left_ms), v.fixes) for v in found
    ]


def test_visits_come_the_newest_first_with_their_true_end(world: World) -> None:
    assert _brief(_stored(world)) == [
        ("a", "역삼점", 60, 85, 3),
        ("a", "강남점", 50, 51, 2),
        ("a", "강남점", 0, 5, 2),
        ("b", "강남점", -30, -30, 1),
    ]
    # the row of the open visit was written when it began
    raw = reading(
        world.engine,
        lambda conn: conn.execute(
            sa.select(visit.c.left_ms).order_by(visit.c.arrived_ms.desc())
        ).first(),
    )
    assert raw is not None
    assert minutes(raw.left_ms) < 85


def test_visits_are_chosen_by_arrival_with_the_end_left_out(world: World) -> None:
    found = _stored(world, from_ms=START_MS, until_ms=START_MS + 60 * MIN)
    assert [minutes(v.arrived_ms) for v in found] == [50, 0]
    found = _stored(world, from_ms=START_MS + 1, until_ms=START_MS + 60 * MIN + 1)
    assert [minutes(v.arrived_ms) for v in found] == [60, 50]


def test_visits_are_chosen_by_fence_and_device(world: World) -> None:
    [first] = _stored(world, from_ms=START_MS - 30 * MIN, until_ms=START_MS)
    assert _brief(_stored(world, device_ids=[first.device_id])) == [("b", "강남점", -30, -30, 1)]
    assert [v.fence_name for v in _stored(world, fence_ids=[first.fence_id])] == ["강남점"] * 3
    assert _stored(world, fence_ids=[]) == []
    assert _stored(world, app_id=world.app_id + 1) == []


def test_pages_meet_without_a_seam(world: World) -> None:
    for size in (1, 2, 3, 4, 5):
        _check_pages(world, size)


def _check_pages(world: World, size: int) -> None:
    policy, pages, before = PresencePolicy(), [], None
    while True:
        page = reading(
            world.engine,
            lambda conn, before=before: read_visits(
                conn,
                app_id=world.app_id,
                policy=policy,
                now_ms=START_MS,
                from_ms=0,
                until_ms=2 * START_MS,
                before=before,
                limit=size,
            ),
        )
        assert page.total == 4
        pages.append([read.visit for read in page.items])
        if page.behind is None:
            break
        before = page.behind
    assert [v for page in pages for v in page] == _stored(world)
    assert all(len(page) == size for page in pages[:-1])


def _read(world: World, now_min: float) -> list[ReadVisit]:
    page = reading(
        world.engine,
        lambda conn: read_visits(
            conn,
            app_id=world.app_id,
            policy=presence_policy(conn, world.workspace_id),
            now_ms=START_MS + round(now_min * MIN),
            from_ms=0,
            until_ms=2 * START_MS,
            limit=9,
        ),
    )
    return list(page.items)


def test_each_visit_has_its_class(world: World) -> None:
    assert [read.kind for read in _read(world, 85)] == [
        VisitClass.VISIT,
        VisitClass.PASS_BY,
        VisitClass.VISIT,
        VisitClass.UNPROVEN,
    ]
    longer = {"min_visit_s": 301}
    in_transaction(world.engine, lambda conn: workspaces.set_settings(conn, world.workspace_id, longer))
    assert [read.kind for read in _read(world, 85)][2] is VisitClass.PASS_BY


def test_a_visit_is_open_until_a_gap_has_passed(world: World) -> None:
    assert [read.open for read in _read(world, 85)] == [True, False, False, False]
    assert _read(world, 85 + 30)[0].open
    assert not _read(world, 85 + 30.001)[0].open


def test_confidence_is_the_mean_of_its_fixes(world: World) -> None:
    # fixes without accuracy that lie inside are sure
    assert {read.confidence for read in _read(world, 85)} == {1.0}


def test_the_last_visits_around_an_instant(world: World) -> None:
    found = _stored(world)
    asked = {"device_ids": [v.device_id for v in found], "fence_ids": [v.fence_id for v in found]}

    def at(minute: float) -> list[tuple[str, str, float]]:
        rows = reading(
            world.engine,
            lambda conn: visits.around(conn, at_ms=START_MS + round(minute * MIN), **asked),
        )
        return [(v.device_key, v.fence_name, minutes(v.arrived_ms)) for v in rows]

    assert at(49) == [("a", "강남점", 0), ("b", "강남점", -30)]
    assert at(60) == [("a", "역삼점", 60), ("a", "강남점", 50), ("b", "강남점", -30)]
    assert at(-31) == []
