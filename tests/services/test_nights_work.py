"""Nights worked out from sealed pings: once they are over, again when late pings are sealed."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import shapely
import sqlalchemy as sa

from geo.areas import Area
from nearcast.services import nights as working
from nearcast.services.nights import work_out_nights
from nearcast.services.seal_pings import DAY_MS, seal_pings
from nearcast.store import areas
from nearcast.store import nights as night_store
from nearcast.store.engine import in_transaction, reading
from nearcast.store.ping_files import PingFiles
from nearcast.store.tables import device, night, night_due
from tests.world import GANGNAM, MIN, OUTSIDE, START_MS, YEOKSAM, World

MIDNIGHT = 15 * 60  # minutes after START: 00:00 of the 24th in Seoul
DAY = date(2026, 11, 24)
OVER_MS = START_MS + (MIDNIGHT + 6 * 60 + 30) * MIN
LATER_MS = START_MS + 3 * DAY_MS
Rows = list[tuple[str, date, str | None, int, int]]


@pytest.fixture
def world(engine: sa.Engine) -> World:
    return World(engine)


@pytest.fixture
def files(tmp_path: Path) -> PingFiles:
    return PingFiles(str(tmp_path / "pings"))


def around(place: tuple[float, float], deg: float) -> Any:
    return shapely.box(place[0] - deg, place[1] - deg, place[0] + deg, place[1] + deg)


def layers(world: World) -> None:
    """Two dong within one si, and a trade area smaller than all."""
    kinds = {
        ("si", "region"): [("Seoul", around(GANGNAM, 0.2))],
        ("dong", "region"): [("Gangnam", around(GANGNAM, 0.01)), ("Yeoksam", around(YEOKSAM, 0.01))],
        ("shops", "trade_area"): [("Street", around(GANGNAM, 0.001))],
    }
    for (name, kind), listed in kinds.items():
        in_transaction(
            world.engine,
            lambda c, name=name, kind=kind, listed=listed: areas.add(  # type: ignore[misc]
                c,
                workspace_id=world.workspace_id,
                name=name,
                kind=kind,
                areas=[Area(name=n, code=None, geometry=g) for n, g in listed],
                now_ms=0,
            ),
        )


def sleep(world: World, who: str, place: tuple[float, float], *minutes: float, **more: Any) -> None:
    for minute in minutes:
        world.post([{"who": who, "at": place, "min": MIDNIGHT + minute, **more}])


def seal(world: World, files: PingFiles) -> None:
    seal_pings(world.engine, files, now_ms=START_MS + 2 * DAY_MS)


def work(world: World, files: PingFiles, now_ms: int = LATER_MS, **more: Any) -> int:
    more.setdefault("whole_since_ms", lambda _: 0)
    return work_out_nights(world.engine, files, now_ms=now_ms, **more)


def rows(world: World) -> Rows:
    found = reading(
        world.engine,
        lambda c: night_store.of_devices(c, range(1, 100), since=date.min, until=date.max),
    )
    named = sa.select(device.c.id, device.c.key)
    keys = {row.id: row.key for row in reading(world.engine, lambda c: c.execute(named).all())}
    return [(keys[r["device_id"]], r["day"], r["area_name"], r["minutes"], r["fixes"]) for r in found]


def due(world: World) -> list[date]:
    return list(reading(world.engine, lambda c: c.execute(sa.select(night_due.c.day)).scalars()))


def test_a_night_is_worked_out_once_it_is_over(world: World, files: PingFiles) -> None:
    layers(world)
    sleep(world, "a", GANGNAM, 0, 20, 40)
    sleep(world, "a", YEOKSAM, 60)
    sleep(world, "b", OUTSIDE, 100)  # in the si alone
    sleep(world, "c", (126.0, 37.0), 110, 120)  # nowhere
    sleep(world, "d", GANGNAM, 130, mocked=True)
    sleep(world, "e", GANGNAM, 400)  # in the morning
    assert work(world, files) == 0  # nothing is sealed
    seal(world, files)
    assert due(world) == [DAY]
    assert work(world, files, OVER_MS - 1) == 0
    assert rows(world) == []
    assert work(world, files, OVER_MS) == 1
    expected: Rows = [
        ("a", DAY, "Gangnam", 50, 3),
        ("b", DAY, "Seoul", 0, 1),
        ("c", DAY, None, 10, 2),
    ]
    assert rows(world) == expected
    assert (due(world), work(world, files)) == ([], 0)


def test_late_pings_are_in_it_when_they_are_sealed(world: World, files: PingFiles) -> None:
    layers(world)
    sleep(world, "a", GANGNAM, 0, 40)
    seal(world, files)
    work(world, files)
    assert rows(world) == [("a", DAY, "Gangnam", 0, 2)]
    sleep(world, "a", GANGNAM, 20)
    sleep(world, "a", GANGNAM, 20)  # the same once more
    sleep(world, "b", YEOKSAM, 30)
    seal(world, files)
    assert (due(world), work(world, files)) == ([DAY], 1)
    assert rows(world) == [("a", DAY, "Gangnam", 40, 3), ("b", DAY, "Yeoksam", 0, 1)]


def test_a_night_whose_pings_are_partly_gone_only_gets_new_rows(world: World, files: PingFiles) -> None:
    layers(world)
    sleep(world, "a", GANGNAM, 0, 20)
    seal(world, files)
    work(world, files)
    sleep(world, "a", YEOKSAM, 100, 120, 140)
    sleep(world, "b", YEOKSAM, 100)
    seal(world, files)
    begins_ms = START_MS + MIDNIGHT * MIN - 30 * MIN
    assert work(world, files, whole_since_ms=lambda _: begins_ms + 1) == 1
    assert rows(world) == [("a", DAY, "Gangnam", 20, 2), ("b", DAY, "Yeoksam", 0, 1)]
    sleep(world, "b", YEOKSAM, 110)
    seal(world, files)
    assert work(world, files, whole_since_ms=lambda _: begins_ms) == 1
    assert rows(world) == [("a", DAY, "Yeoksam", 40, 3), ("b", DAY, "Yeoksam", 10, 2)]


@pytest.mark.parametrize("portion", [1, 2, 3, 1_000])
def test_portions_make_no_difference(sqlite_engine: sa.Engine, files: PingFiles, portion: int) -> None:
    world = World(sqlite_engine)
    for number, who in enumerate("abcde"):
        sleep(world, who, OUTSIDE, number, number + 10)
    seal(world, files)
    assert work(world, files, portion=portion) == 1
    assert rows(world) == [(who, DAY, None, 10, 2) for who in "abcde"]


def test_what_is_sealed_meanwhile_leaves_the_night_due(
    world: World, files: PingFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep(world, "a", OUTSIDE, 0)
    seal(world, files)
    save, sealed = working._save, []

    def save_while_another_seals(*args: Any, **more: Any) -> None:
        save(*args, **more)
        if not sealed:
            sealed.append(True)
            sleep(world, "a", OUTSIDE, 10)
            seal(world, files)

    monkeypatch.setattr(working, "_save", save_while_another_seals)
    assert work(world, files) == 0
    assert due(world) == [DAY]
    assert work(world, files) == 1
    assert rows(world) == [("a", DAY, None, 10, 2)]


def test_the_surest_fix_of_an_instant_says_where(world: World, files: PingFiles) -> None:
    layers(world)
    for place, accuracy_m in ((YEOKSAM, 50.0), (GANGNAM, 10.0), (YEOKSAM, 900.0)):
        sleep(world, "a", place, 60, accuracy_m=accuracy_m)
    seal(world, files)
    work(world, files)
    assert rows(world) == [("a", DAY, "Gangnam", 0, 1)]


def test_an_area_that_is_deleted_leaves_the_night(world: World, files: PingFiles) -> None:
    layers(world)
    sleep(world, "a", GANGNAM, 0)
    seal(world, files)
    work(world, files)
    in_transaction(world.engine, lambda c: areas.delete(c, 2))
    before = reading(world.engine, lambda c: c.execute(sa.select(night.c.area_id)).scalar())
    layers_again = Area(name="Other", code=None, geometry=around(OUTSIDE, 0.1))
    in_transaction(
        world.engine,
        lambda c: areas.add(
            c, workspace_id=world.workspace_id, name="o", kind="region", areas=[layers_again], now_ms=0
        ),
    )
    assert before is not None
    assert rows(world) == [("a", DAY, None, 0, 1)]  # and no other area's name
