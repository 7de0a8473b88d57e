"""The timers of stays killed at any moment: nothing is lost, nothing told or sent twice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from geo.matching.stay_columns import unpack
from nearcast.services.clocks import ReplayClock
from nearcast.services.keep_snapshot import Snapshots
from nearcast.services.watch_stays import Watch
from nearcast.store.engine import make_engine, reading
from nearcast.store.tables import decision, delivery, evidence_chunk, notice, presence, visit
from tests import dying
from tests.standing import EVENTS, Standing
from tests.world import MIN, START_MS

ROOT = Path(__file__).parents[2]
NOW_MS = START_MS + 60 * MIN
Copied = Callable[[], AbstractContextManager[str]]
Seen = dict[str, list[tuple[Any, ...]]]


def prepared(url: str) -> None:
    """Two stays to sweep, one that is silent, two whose dwell is to be presumed."""
    engine = make_engine(url)
    standing = Standing(engine)
    standing.listen(*EVENTS)
    standing.campaign()
    standing.stay("swept", 0, 5)
    standing.stay("gone", 1, 6, inside=False)
    standing.stay("silent", 20, 25, fence=1)
    standing.stay("dwells", 48, 58)
    standing.stay("dwells too", 49, 58)
    # those are shown by fixes; what is not yet is presumed
    wait = sa.update(presence).where(presence.c.left_ms > START_MS + 50 * MIN)
    with engine.begin() as conn:
        conn.execute(wait.values(told_ms=9 * MIN, left_ms=START_MS + 57 * MIN))
    engine.dispose()


def seen(url: str) -> Seen:
    """Everything that the timers change, but for serials."""
    engine = make_engine(url)
    wanted = {
        "presence": (presence, ("device_id", "fence_id", "inside", "presumed_ms", "evidence")),
        "visits": (visit, ("device_id", "fence_id", "arrived_ms", "left_ms", "fixes", "told_ms")),
        "chunks": (evidence_chunk, ("device_id", "fence_id", "first_ms", "evidence")),
        "notices": (notice, ("key", "body", "state")),
        "decisions": (decision, ("device_id", "kind", "trigger_ms", "reason", "cause")),
        "messages": (delivery, ("device_id", "trigger_ms", "state")),
    }
    found = {}
    for name, (table, columns) in wanted.items():
        query = sa.select(*(table.c[c] for c in columns))
        rows = reading(engine, lambda conn, query=query: conn.execute(query).all())
        found[name] = sorted(tuple(row) for row in rows)
    engine.dispose()
    return found


def evidence(of: Seen) -> list[tuple[Any, ...]]:
    """(device, instant) of all evidence, wherever it stands."""
    rows = [(row[0], row[-1]) for row in (*of["presence"], *of["chunks"])]
    return sorted((device, at) for device, packed in rows for at in (unpack(packed) >> 8).tolist())


def killed(url: str, moment: int) -> str:
    run = subprocess.run(
        [sys.executable, "-m", "tests.dying", url, str(moment), "watch", str(NOW_MS)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == (dying.DIED if moment else 0), run.stderr
    return run.stdout


def looked_again(url: str) -> None:
    engine = make_engine(url)
    Watch(engine, Snapshots(engine), ReplayClock(NOW_MS)).look()
    engine.dispose()


def check_kills(original: str, copied: Copied, most: int) -> int:
    """Kill at up to `most` moments, spread over all of them; how many kills there were."""
    prepared(original)
    before = seen(original)
    with copied() as url:
        told = killed(url, 0)
        after = seen(url)
    counts = {name: len(rows) for name, rows in after.items()}
    assert counts == {
        "presence": 3,
        "visits": 5,
        "chunks": 2,
        "notices": 4,
        "decisions": 2,
        "messages": 2,
    }
    chosen = dying.chosen(told, most)
    for moment in chosen:
        with copied() as url:
            killed(url, moment)
            where = f"moment {moment} of {told.split()[-1]}"
            left = seen(url)
            assert evidence(left) == evidence(before), where
            assert set(left["notices"]) <= set(after["notices"]), where
            assert set(left["messages"]) <= set(after["messages"]), where
            looked_again(url)
            assert seen(url) == after, where
    return len(chosen)


def kills_on_sqlite(template: Path, folder: Path, most: int) -> int:
    original, copy = folder / "original.db", folder / "copy.db"
    shutil.copyfile(template, original)

    @contextmanager
    def copied() -> Iterator[str]:
        for file in folder.glob("copy.db*"):
            file.unlink()
        shutil.copyfile(original, copy)
        yield f"sqlite:///{copy}"

    return check_kills(f"sqlite:///{original}", copied, most)


def kills_on_postgresql(server: Any, template: str, most: int) -> int:
    original = server.create(template)

    @contextmanager
    def copied() -> Iterator[str]:
        name = server.create(original)
        try:
            yield server.url(name)
        finally:
            server.drop(name)

    return check_kills(server.url(original), copied, most)


@pytest.mark.slow
def test_nothing_is_lost_or_told_twice(sqlite_template: Path, tmp_path: Path) -> None:
    assert kills_on_sqlite(sqlite_template, tmp_path, 6) == 6


@pytest.mark.slow
def test_nothing_is_lost_or_told_twice_on_postgresql(postgres: Any, postgres_template: str) -> None:
    assert kills_on_postgresql(postgres, postgres_template, 4) == 4


@pytest.mark.prove
@pytest.mark.timeout(1800)
def test_at_every_moment_of_the_timers(
    sqlite_template: Path,
    postgres: Any,
    postgres_template: str,
    tmp_path: Path,
    proof: Callable[[str, int], None],
) -> None:
    done = kills_on_sqlite(sqlite_template, tmp_path, 1_000)
    done += kills_on_postgresql(postgres, postgres_template, 1_000)
    proof("Q1 kills at every moment of the timers of stays: 0 lost, 0 told twice", done)
