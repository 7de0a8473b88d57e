"""Sealing: what was in the log is in files, each ping once, in words that others read."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from geo.matching.pings import Admission, Outcome, PingReason, Pings
from nearcast.services import seal_pings as sealing
from nearcast.services.intake import Intake
from nearcast.services.seal_pings import DAY_MS, HOLD_MS, Sealed, mend, seal_pings
from nearcast.store import ping_log, ping_seals
from nearcast.store.engine import in_transaction, make_engine, reading
from nearcast.store.ping_files import PingFiles, PingFilesUnreachable
from nearcast.store.ping_fixes import FIX, Flag
from nearcast.store.tables import night_due
from nearcast.store.tables import ping_log as log_table
from tests.world import GANGNAM, MIN, OUTSIDE, START_MS, World

TOMORROW_MS = START_MS + DAY_MS


@pytest.fixture
def world(sqlite_engine: sa.Engine) -> World:
    return World(sqlite_engine)


@pytest.fixture
def either_world(engine: sa.Engine) -> World:
    """The test runs once on each of the two databases."""
    return World(engine)


@pytest.fixture
def files(tmp_path: Path) -> PingFiles:
    return PingFiles(str(tmp_path / "pings"))


def walk(world: World) -> None:
    """Three devices on two UTC days, with a late ping, a repeat, a mocked one and one without a name."""
    world.post([{"who": "b", "at": GANGNAM, "min": 0, "accuracy_m": 12.5}])
    world.post(
        [
            {"who": "a", "at": OUTSIDE, "min": 10},
            {"who": "b", "at": GANGNAM, "min": 5, "accuracy_m": 30.0},
            {"ad_id": "38400000-8cf0-11bd-b23e-10b96e40000d", "at": OUTSIDE, "min": 11},
        ]
    )
    world.post([{"who": "a", "at": GANGNAM, "min": 12, "mocked": True}])
    world.post([{"who": "a", "at": OUTSIDE, "min": 10}])  # again
    world.post([{"who": "a", "at": GANGNAM, "min": -600}])  # late, of the day before
    world.post([{"who": "a", "at": (200.0, 0.0), "min": 13}])  # rejected


def logged(world: World, files: PingFiles | None = None) -> list[tuple[object, ...]]:
    """All that stands in log and files, without order."""
    parts = reading(
        world.engine,
        lambda conn: list(
            ping_log.each(conn, app_id=world.app_id, first_ms=-(2**60), last_ms=2**60, files=files)
        ),
    )
    rows = [(*fix.item(), seq) for p in parts for fix, seq in zip(p.fixes, p.seq.tolist(), strict=True)]
    return sorted(rows, key=repr)  # NaN has no order


def test_what_was_in_the_log_is_in_files_and_nothing_twice(
    either_world: World, files: PingFiles
) -> None:
    world = either_world
    walk(world)
    before = logged(world)
    assert len(before) == 7
    assert seal_pings(world.engine, files, now_ms=TOMORROW_MS + 1) == Sealed(pings=7, files=2)

    assert repr(logged(world, files)) == repr(before)
    assert reading(world.engine, lambda c: c.execute(sa.select(log_table)).all()) == []
    assert seal_pings(world.engine, files, now_ms=TOMORROW_MS + 1) == Sealed(pings=0, files=0)
    assert reading(world.engine, lambda c: ping_log.count(c, workspace_apps=[world.app_id])) == 7
    assert reading(world.engine, ping_log.newest_ms) == START_MS + 12 * MIN


def test_only_days_that_are_over_are_sealed_unless_a_portion_is_full(
    world: World, files: PingFiles
) -> None:
    walk(world)
    now_ms = START_MS + 20 * MIN
    assert seal_pings(world.engine, files, now_ms=now_ms).pings == 0
    assert seal_pings(world.engine, files, now_ms=now_ms, portion=8).pings == 0
    # all rows were seen two minutes ago or more; the clock of each is that of its newest ping
    assert seal_pings(world.engine, files, now_ms=now_ms, portion=7).pings == 7


def test_what_is_young_stays_where_other_processes_read_it(world: World, files: PingFiles) -> None:
    world.post([{"who": "a", "at": OUTSIDE, "min": 10}])
    at_ms = START_MS + 10 * MIN
    assert seal_pings(world.engine, files, now_ms=at_ms + HOLD_MS, portion=1).pings == 0
    assert seal_pings(world.engine, files, now_ms=at_ms + HOLD_MS + 1, portion=1).pings == 1


def test_portions_are_whole_rows_of_the_log(world: World, files: PingFiles) -> None:
    for minute in range(10):
        world.post([{"who": who, "at": OUTSIDE, "min": minute} for who in "abc"])
    before = logged(world)
    assert seal_pings(world.engine, files, now_ms=TOMORROW_MS, portion=7) == Sealed(pings=30, files=5)
    assert repr(logged(world, files)) == repr(before)


def test_a_file_by_its_name_order_and_words(world: World, files: PingFiles, tmp_path: Path) -> None:
    walk(world)
    seal_pings(world.engine, files, now_ms=TOMORROW_MS + 1)
    found = sorted((tmp_path / "pings").rglob("*.parquet"))
    folder = tmp_path / "pings" / f"app_{world.app_id}"
    assert [path.parent for path in found] == [folder / "day=2026-11-22", folder / "day=2026-11-23"]
    assert [path for path in (tmp_path / "pings").rglob("*") if path.is_file()] == found

    table = pd.read_parquet(found[1])
    assert table["device_id"].tolist() == [
        "b",
        "b",
        "a",
        "a",
        "a",
        "adid:38400000-8cf0-11bd-b23e-10b96e40000d",
    ]
    assert table["device_serial"].is_monotonic_increasing
    assert (
        table["outcome"].tolist()
        == [
            "accepted",
            "late",
            "accepted",
            "duplicate",
            "quarantined",
            "accepted",
        ]
        or table["outcome"].tolist()[1] == "accepted"
    )
    mocked = table[table["outcome"] == "quarantined"].iloc[0]
    assert (mocked["reason"], mocked["mocked"], mocked["held"]) == ("mocked", True, True)
    assert table["reason"].isna().sum() == 5
    assert table["taken_at"].iloc[0] == pd.Timestamp("2026-11-23T00:00:00Z")
    assert str(table["taken_at"].dtype) == "datetime64[ms, UTC]"
    assert table["accuracy_m"].tolist()[:2] == [12.5, 30.0]
    assert table["accuracy_m"].isna().sum() == 4
    assert set(table["platform"]) == {"android"}
    assert set(table["app"]) == {"default"}
    assert set(table["app_id"]) == {world.app_id}


def test_all_files_are_one_table_for_pandas(world: World, files: PingFiles, tmp_path: Path) -> None:
    walk(world)
    seal_pings(world.engine, files, now_ms=TOMORROW_MS + 1)
    table = pd.read_parquet(tmp_path / "pings")
    assert table.groupby("day", observed=True).size().to_dict() == {"2026-11-22": 1, "2026-11-23": 6}


def test_duckdb_reads_the_files_as_they_are(world: World, files: PingFiles, tmp_path: Path) -> None:
    walk(world)
    (tmp_path / "pings" / "_aside").mkdir(parents=True)
    (tmp_path / "pings" / "_aside" / "00.part").write_bytes(b"half a file")
    seal_pings(world.engine, files, now_ms=TOMORROW_MS + 1)
    query = (
        "select day, outcome, reason, count(*) n, min(epoch_ms(taken_at)) since from "
        f"read_parquet('{tmp_path}/pings/**/*.parquet') group by all order by all"
    )
    with duckdb.connect() as db:
        rows = db.execute(query).fetchall()
    assert (date(2026, 11, 23), "quarantined", "mocked", 1, START_MS + 12 * MIN) in rows
    assert sum(row[3] for row in rows) == 7
    assert sum(row[3] for row in rows if row[0] == date(2026, 11, 22)) == 1


def test_flags_reasons_and_odd_places_come_back(sqlite_engine: sa.Engine, files: PingFiles) -> None:
    world = World(sqlite_engine)
    world.post([{"who": "a", "at": OUTSIDE, "min": 0}])
    rows = 256
    at_ms = np.linspace(-DAY_MS * 700_000, START_MS, rows).astype(np.int64)
    pings = Pings(
        device=np.full(rows, 1, np.int64),
        lon=np.linspace(-180, 180, rows),
        lat=np.nextafter(np.linspace(-90, 90, rows), 0),
        accuracy_m=np.where(np.arange(rows) % 3, np.linspace(0, 1e300, rows), np.nan),
        at_ms=at_ms,
        now_ms=np.full(rows, START_MS, np.int64),
        platform=(np.arange(rows) % 3).astype(np.int8),
        mocked=np.arange(rows) % 5 == 0,
    )
    reasons = list(PingReason)
    admission = Admission(
        outcome=(np.arange(rows) % 5).astype(np.int8),
        held=np.arange(rows) % 2 == 0,
        reason={row: reasons[row % len(reasons)] for row in range(0, rows, 2)},
    )
    flags = (np.arange(rows) & 31).astype(np.uint8)
    in_transaction(
        world.engine,
        lambda c: ping_log.append(c, app_id=world.app_id, pings=pings, admission=admission, flags=flags),
    )
    before = logged(world)
    kept = admission.outcome != Outcome.REJECTED
    assert len(before) == 1 + kept.sum()
    found = reading(
        world.engine,
        lambda c: ping_log.read(c, app_id=world.app_id, first_ms=-(2**60), last_ms=2**60),
    ).fixes[1:]
    assert found["lat"].tolist() == pings.lat[kept].tolist()
    assert found["reason"].tolist() == [
        reasons.index(admission.reason[row]) if row in admission.reason else -1
        for row in np.flatnonzero(kept).tolist()
    ]
    expected = flags | np.where(pings.mocked, Flag.MOCKED, 0) | np.where(admission.held, Flag.HELD, 0)
    assert found["flags"].tolist() == expected[kept].tolist()

    seal_pings(world.engine, files, now_ms=TOMORROW_MS)
    assert repr(logged(world, files)) == repr(before)


def test_a_ping_costs_52_bytes_in_the_log() -> None:
    assert FIX.itemsize == 52


# --- readers ----------------------------------------------------------------------------------------


def test_readers_see_log_and_files_as_one(either_world: World, files: PingFiles) -> None:
    world = either_world
    walk(world)

    def read(**more: object) -> list[tuple[object, ...]]:
        found = reading(
            world.engine,
            lambda c: ping_log.read(c, app_id=world.app_id, files=files, **more),  # type: ignore[arg-type]
        )
        return [fix.item() for fix in found.fixes]

    spans: list[dict[str, object]] = [
        {"first_ms": 0, "last_ms": 2**50},
        {"first_ms": START_MS + 10 * MIN, "last_ms": START_MS + 11 * MIN},
        {"first_ms": 0, "last_ms": 2**50, "devices": [2]},
        {"first_ms": 0, "last_ms": 2**50, "devices": range(1, 3)},
        {"first_ms": 0, "last_ms": 2**50, "devices": []},
        {"first_ms": 0, "last_ms": 0},
    ]
    before = [read(**span) for span in spans]
    # the repeat is there once, as it was first taken
    assert [len(found) for found in before] == [6, 2, 3, 5, 0, 0]
    assert sorted(map(repr, before[0])) == sorted({repr(fix) for fix in before[0]})
    seal_pings(world.engine, files, now_ms=START_MS + 20 * MIN, portion=4)
    left = reading(world.engine, lambda c: c.execute(sa.select(log_table.c.seq)).all())
    assert 0 < len(left) < 5  # some here, some there
    for span, expected in zip(spans, before, strict=True):
        assert sorted(map(repr, read(**span))) == sorted(map(repr, expected))
    seal_pings(world.engine, files, now_ms=TOMORROW_MS)
    for span, expected in zip(spans, before, strict=True):
        assert sorted(map(repr, read(**span))) == sorted(map(repr, expected))


def test_a_process_that_starts_remembers_what_was_sealed(either_world: World, files: PingFiles) -> None:
    world = either_world
    walk(world)
    seal_pings(world.engine, files, now_ms=TOMORROW_MS)
    anew = Intake(world.engine, world.clock, files=files)
    world.intake = anew
    assert (
        world.post([{"who": "b", "at": GANGNAM, "min": 5, "accuracy_m": 30.0}]).admission.outcome[0]
        == Outcome.DUPLICATE
    )
    # a row that was sealed before this process read it
    world.intake = Intake(world.engine, world.clock, files=files)
    world.post([{"who": "c", "at": OUTSIDE, "min": 14}])
    seal_pings(world.engine, files, now_ms=TOMORROW_MS)
    world.intake = anew
    again = world.post([{"who": "c", "at": OUTSIDE, "min": 14}])
    assert again.admission.outcome[0] == Outcome.DUPLICATE


def test_pings_are_taken_while_the_folder_is_away(world: World, tmp_path: Path) -> None:
    files = PingFiles(str(tmp_path / "pings"))
    walk(world)
    seal_pings(world.engine, files, now_ms=TOMORROW_MS)
    (tmp_path / "pings").rename(tmp_path / "elsewhere")
    with pytest.raises(PingFilesUnreachable, match="NEARCAST_PING_FILES"):
        reading(
            world.engine,
            lambda c: ping_log.read(c, app_id=world.app_id, first_ms=0, last_ms=2**50, files=files),
        )
    world.intake = Intake(world.engine, world.clock, files=files)
    receipt = world.post([{"who": "b", "at": GANGNAM, "min": 15}])
    assert receipt.admission.outcome[0] == Outcome.ACCEPTED


# --- moments ----------------------------------------------------------------------------------------


def test_a_file_that_is_not_renamed_yet_is_read_and_renamed_later(
    world: World, files: PingFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk(world)
    before = logged(world)
    with monkeypatch.context() as patched:
        patched.setattr(sealing, "_name_all", lambda *_: None)
        seal_pings(world.engine, files, now_ms=TOMORROW_MS)
    assert len(reading(world.engine, ping_seals.unnamed)) == 2
    assert list((tmp_path / "pings").rglob("*.parquet")) == []
    assert repr(logged(world, files)) == repr(before)
    # renamed, and the process died before it said so
    sealed = reading(world.engine, ping_seals.unnamed)[0]
    files.rename([(str(sealed.aside), sealed.name)])
    assert repr(logged(world, files)) == repr(before)

    mend(world.engine, files)
    assert reading(world.engine, ping_seals.unnamed) == []
    assert len(list((tmp_path / "pings").rglob("*.parquet"))) == 2
    assert repr(logged(world, files)) == repr(before)


def test_a_file_that_never_counted_is_deleted_after_an_hour(
    world: World, files: PingFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pings" / "_aside").mkdir(parents=True)
    (tmp_path / "pings" / "_aside" / "dead.part").write_bytes(b"half")
    mend(world.engine, files)
    assert len(list((tmp_path / "pings" / "_aside").iterdir())) == 1
    monkeypatch.setattr(sealing, "ABANDONED_S", -1.0)
    mend(world.engine, files)
    assert list((tmp_path / "pings" / "_aside").iterdir()) == []


def test_two_that_seal_the_same_rows_make_one_file(
    world: World, files: PingFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk(world)
    before = logged(world)
    write, nested = sealing._write, []

    def write_while_another_seals(*given: object) -> object:
        rows = write(*given)  # type: ignore[arg-type]
        if not nested:
            nested.append(True)
            assert seal_pings(world.engine, files, now_ms=TOMORROW_MS).pings == 7
        return rows

    monkeypatch.setattr(sealing, "_write", write_while_another_seals)
    assert seal_pings(world.engine, files, now_ms=TOMORROW_MS) == Sealed(pings=0, files=0)
    assert repr(logged(world, files)) == repr(before)
    assert len([path for path in (tmp_path / "pings").rglob("*") if path.is_file()]) == 2


def test_a_row_that_becomes_visible_late_is_sealed_later(postgres_url: str, tmp_path: Path) -> None:
    """PostgreSQL gives serials before it commits: a range of them may have holes that are filled."""
    engine, files = make_engine(postgres_url), PingFiles(str(tmp_path / "pings"))
    world = World(engine)
    world.post([{"who": "a", "at": OUTSIDE, "min": 0}])
    slow = engine.connect()
    begun = slow.begin()
    seq = slow.execute(
        sa.insert(log_table)
        .values(
            app_id=world.app_id,
            pings=1,
            held=0,
            first_ms=START_MS,
            last_ms=START_MS,
            seen_ms=START_MS,
            body=np.zeros(1, FIX).tobytes(),
        )
        .returning(log_table.c.seq)
    ).scalar_one()
    world.post([{"who": "a", "at": OUTSIDE, "min": 1}])
    assert seal_pings(engine, files, now_ms=TOMORROW_MS).pings == 2
    begun.commit()
    slow.close()
    assert seal_pings(engine, files, now_ms=TOMORROW_MS).pings == 1
    assert [row[-1] for row in logged(world, files)].count(seq) == 1
    assert len(logged(world, files)) == 3
    engine.dispose()


def test_serials_of_the_log_are_not_given_again(world: World, files: PingFiles) -> None:
    walk(world)
    last = max(row[-1] for row in logged(world))  # type: ignore[type-var]
    seal_pings(world.engine, files, now_ms=TOMORROW_MS)
    world.post([{"who": "a", "at": OUTSIDE, "min": 20}])
    rows = reading(world.engine, lambda c: c.execute(sa.select(log_table.c.seq)).scalars().all())
    assert rows[0] > last  # type: ignore[operator]


def test_sealing_makes_nights_due(world: World, files: PingFiles) -> None:
    walk(world)  # 2026-11-22T14:00Z is 23:00 of Seoul, 00:00Z 09:00
    world.post([{"who": "a", "at": OUTSIDE, "min": 15 * 60}])  # midnight of the 24th
    world.post([{"who": "a", "at": OUTSIDE, "min": 21 * 60 + 31, "mocked": True}])
    seal_pings(world.engine, files, now_ms=TOMORROW_MS)
    due = reading(world.engine, lambda c: c.execute(sa.select(night_due.c.day)).scalars().all())
    assert due == [date(2026, 11, 24)]


# --- object stores ----------------------------------------------------------------------------------


def test_another_file_system_by_its_url(sqlite_engine: sa.Engine) -> None:
    """Arrow's own file system in memory stands for S3 and its kind: the same calls, no local path."""
    world, files = World(sqlite_engine), PingFiles("mock:///pings")
    walk(world)
    before = logged(world)
    assert seal_pings(world.engine, files, now_ms=TOMORROW_MS) == Sealed(pings=7, files=2)
    assert repr(logged(world, files)) == repr(before)
    sealed = reading(
        world.engine, lambda c: ping_seals.of_time(c, app_id=world.app_id, first_ms=0, last_ms=2**50)
    )
    for file in sealed:
        files.delete(file.name)
        files.delete(file.name)  # nothing, the second time
    with pytest.raises(PingFilesUnreachable):
        logged(world, files)


def test_a_url_that_nobody_knows_is_told(sqlite_engine: sa.Engine) -> None:
    world = World(sqlite_engine)
    walk(world)
    with pytest.raises(PingFilesUnreachable, match=r"gopher://pings \(NEARCAST_PING_FILES\)"):
        seal_pings(world.engine, PingFiles("gopher://pings"), now_ms=TOMORROW_MS)
    assert len(logged(world)) == 7


def test_a_folder_that_cannot_be_written_leaves_the_log(
    sqlite_engine: sa.Engine, tmp_path: Path
) -> None:
    world = World(sqlite_engine)
    walk(world)
    (tmp_path / "pings").write_text("a file, no folder")
    with pytest.raises(PingFilesUnreachable):
        seal_pings(world.engine, PingFiles(str(tmp_path / "pings")), now_ms=TOMORROW_MS)
    assert len(logged(world)) == 7


def test_days_by_utc() -> None:
    at = datetime(2026, 11, 23, tzinfo=UTC)
    assert at.timestamp() * 1000 == START_MS
    assert START_MS % DAY_MS == 0
