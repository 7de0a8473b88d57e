"""Kept pings as files: `nearcast pings` writes them, `nearcast replay` reads them and sealed ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from api.cli import main
from api.commands.recordings import read
from api.wiring import House
from nearcast.services.seal_pings import DAY_MS, seal_pings
from nearcast.store.engine import make_engine
from tests.api.replayed import replayed
from tests.world import GANGNAM, OUTSIDE, START_MS, YEOKSAM, World, north

AD_ID = "38400000-8cf0-11bd-b23e-10b96e40000d"


def live(world: World) -> None:
    """Two days of three phones: stays, gaps, a late ping, a repeat, a mocked one."""
    for minute in (0, 5, 9, 100, 104, 1500, 1510):
        world.post([{"who": "a", "at": GANGNAM, "min": minute, "accuracy_m": 12.345}])
        world.post([{"ad_id": AD_ID, "at": north(YEOKSAM, 30), "min": minute + 1, "accuracy_m": 8.0}])
    world.post([{"who": "a", "at": YEOKSAM, "min": 1511, "mocked": True}])
    world.post([{"who": "a", "at": GANGNAM, "min": 1400, "accuracy_m": 5.0}])
    world.post([{"who": "a", "at": GANGNAM, "min": 1510, "accuracy_m": 12.345}])
    world.post([{"who": "b", "at": OUTSIDE, "min": 1512}])


def fences(world: World) -> None:
    world.fence("강남점", GANGNAM)
    world.fence("역삼점", YEOKSAM)


@pytest.fixture
def recorded(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[World, House]:
    """A world with pings, some of them sealed; the environment names its database."""
    monkeypatch.setenv("NEARCAST_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("NEARCAST_CLOCK", "replay")
    with replayed(sqlite_url) as (world, _, house):
        fences(world)
        live(world)
        seal_pings(world.engine, house.ping_files, now_ms=START_MS + DAY_MS)
        return world, house


def run(*args: object) -> str:
    done = CliRunner().invoke(main, ["pings", *map(str, args)])
    assert done.exit_code == 0, done.output
    return done.output


def posted(client: FlaskClient, path: Path) -> None:
    answer = client.post("/v1/pings?mode=backfill&detail=counts", json={"pings": read(path).pings})
    assert answer.status_code == 200, answer.text
    assert answer.json["counts"].get("rejected", 0) == 0, answer.text


def visits_after(url: str, paths: list[Path]) -> list[Any]:
    """The visits of a fresh installation with the same fences after a backfill of some files."""
    with replayed(url) as (world, client, _):
        fences(world)
        for path in paths:
            posted(client, path)
        return world.visits()


def test_sealed_files_replay_as_they_are(
    recorded: tuple[World, House], sqlite_template: Path, tmp_path: Path
) -> None:
    world, house = recorded
    before = world.visits()
    assert len(before) >= 6
    seal_pings(world.engine, house.ping_files, now_ms=START_MS + 2 * DAY_MS)
    world.engine.dispose()
    paths = sorted(Path(house.ping_files.url).rglob("*.parquet"))
    assert len(paths) >= 2
    other = tmp_path / "other.db"
    other.write_bytes(sqlite_template.read_bytes())
    assert visits_after(f"sqlite:///{other}", paths[::-1]) == before


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_what_is_exported_replays_to_the_same_visits(
    recorded: tuple[World, House], sqlite_template: Path, tmp_path: Path, ending: str
) -> None:
    before = recorded[0].visits()
    out = tmp_path / f"all.{ending}"
    assert run("--out", out).startswith("17 pings")
    other = tmp_path / "other.db"
    other.write_bytes(sqlite_template.read_bytes())
    assert visits_after(f"sqlite:///{other}", [out]) == before


def test_an_export_has_each_ping_once_sealed_or_not(
    recorded: tuple[World, House], tmp_path: Path
) -> None:
    out = tmp_path / "a.parquet"
    run("--out", out)
    table = pd.read_parquet(out)
    assert len(table) == 17  # the repeat is there once
    assert set(table["device_id"]) == {"a", "b", f"adid:{AD_ID}"}
    assert set(table[table["device_id"] == "a"]["accuracy_m"].dropna()) == {12.345, 5.0}
    sealed = [pd.read_parquet(path) for path in Path(recorded[1].ping_files.url).rglob("*.parquet")]
    assert 0 < sum(map(len, sealed)) < 17
    assert [*sealed[0].columns] == [*table.columns]


def test_a_part_of_them(recorded: tuple[World, House], tmp_path: Path) -> None:
    out = tmp_path / "a.csv"
    told = run(
        "--from", "2026-11-23T09:05:00+09:00", "--to", "2026-11-23T01:40:00Z", "--device", "a",
        "--app", "default", "--out", out,
    )  # fmt: skip
    assert told.startswith("2 pings")  # 00:05 and 00:09; 01:40 is the first one after
    table = pd.read_csv(out)
    assert pd.to_datetime(table["taken_at"]).dt.minute.tolist() == [5, 9]
    run("--device", "nobody", "--out", out)
    assert len(pd.read_csv(out)) == 0


def test_a_recording_of_ours_says_who_and_what_was_mocked(
    recorded: tuple[World, House], tmp_path: Path
) -> None:
    for ending in ("parquet", "csv"):
        out = tmp_path / f"a.{ending}"
        run("--out", out)
        pings = read(out).pings
        assert sum(ping.get("mocked", False) for ping in pings) == 1
        assert {(p.get("device_id"), p.get("ad_id")) for p in pings} == {
            ("a", None),
            ("b", None),
            (None, AD_ID),
        }
        assert pings[0]["at"] == "2026-11-23T00:00:00.000+00:00"
        assert all(ping["app"] == "default" for ping in pings)


def test_nothing_kept_gives_a_file_without_rows(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEARCAST_DATABASE_URL", sqlite_url)
    World(make_engine(sqlite_url)).engine.dispose()
    assert run("--out", tmp_path / "a.parquet").startswith("0 pings")
    assert len(pd.read_parquet(tmp_path / "a.parquet")) == 0


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--out", "a.txt"], "may end in .parquet or .csv"),
        (["--out", "a.csv", "--from", "2026-11-23"], "no time with its zone"),
        (["--out", "a.csv", "--app", "x"], "There is no app 'x'; there is default."),
    ],
)
def test_what_cannot_be_written_is_told(
    recorded: tuple[World, House], args: list[str], told: str, tmp_path: Path
) -> None:
    done = CliRunner().invoke(main, ["pings", *args])
    assert done.exit_code == 2
    assert told in done.output
