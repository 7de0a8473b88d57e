"""A process killed at any moment of sealing or retention loses no ping, and nobody reads one twice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest
import sqlalchemy as sa

from nearcast.services import seal_pings as sealing
from nearcast.services.forget_old import forget_old
from nearcast.services.seal_pings import DAY_MS, mend, seal_pings
from nearcast.store import ping_log, ping_seals
from nearcast.store.engine import make_engine, reading
from nearcast.store.ping_files import PingFiles
from nearcast.store.tables import night_due, ping_file, retention_report
from nearcast.store.tables import ping_log as log_table
from tests import dying
from tests.world import OUTSIDE, START_MS, World

ROOT = Path(__file__).parents[2]
TOMORROW_MS = START_MS + DAY_MS
NEXT_WEEK_MS = TOMORROW_MS + 8 * DAY_MS
Ping = tuple[int, int, int]  # row of the log, device, instant


def prepared(url: str) -> int:
    """Pings of two days in six rows of the log; the serial of their app."""
    engine = make_engine(url)
    world = World(engine)
    for minute in (-600, 0, 1, 2, 3, 900):
        world.post([{"who": who, "at": OUTSIDE, "min": minute} for who in "abc"])
    world.post([{"who": who, "at": OUTSIDE, "min": 901 - 1500 * n} for n, who in enumerate("ab")])
    engine.dispose()
    return world.app_id


class Installation:
    """A database and its folder of files, as another process finds them."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.engine, self.files = make_engine(url), PingFiles(str(folder))

    def ours(self, app_id: int) -> Counter[Ping]:
        """What our own readers get."""
        found = reading(
            self.engine,
            lambda c: list(ping_log.each(c, app_id=app_id, first_ms=0, last_ms=2**50, files=self.files)),
        )
        return Counter(
            (seq, int(fix["device"]), int(fix["at_ms"]))
            for part in found
            for seq, fix in zip(part.seq.tolist(), part.fixes, strict=True)
        )

    def theirs(self) -> Counter[Ping]:
        """What DuckDB, Spark and pandas get from the folder."""
        found: Counter[Ping] = Counter()
        for path in self.folder.rglob("*.parquet"):
            table = parquet.ParquetFile(path).read(["seq", "device_serial", "taken_at"])
            table = table.set_column(2, "at_ms", table["taken_at"].cast("int64"))
            found.update(tuple(row.values()) for row in table.to_pylist())
        return found

    def log(self) -> set[int]:
        """Rows that are still in the log."""
        return set(reading(self.engine, lambda c: c.execute(sa.select(log_table.c.seq)).scalars()))

    def due(self) -> list[Any]:
        """The nights that wait."""
        return list(reading(self.engine, lambda c: c.execute(sa.select(night_due)).all()))

    def close(self) -> None:
        self.engine.dispose()


def killed(there: Installation, moment: int, job: str, now_ms: int) -> str:
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.dying",
            there.url,
            str(moment),
            job,
            str(there.folder),
            str(now_ms),
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == (dying.DIED if moment else 0), run.stderr
    return run.stdout


Copied = Callable[[], Any]


def check_seal_kills(copied: Copied, app_id: int, most: int) -> int:
    with copied() as there:
        before = there.ours(app_id)
        assert before.total() == 20
        told = killed(there, 0, "seal", TOMORROW_MS)
        due = there.due()
        assert due
    tried = dying.chosen(told, most)
    for moment in tried:
        with copied() as there:
            killed(there, moment, "seal", TOMORROW_MS)
            where = f"moment {moment} of {told.split()[-1]}"
            assert there.ours(app_id) == before, where
            seen = there.theirs()
            assert not {ping[0] for ping in seen} & there.log(), where  # not in both
            assert max(seen.values(), default=1) == 1, where
            # the next process
            seal_pings(there.engine, there.files, now_ms=TOMORROW_MS)
            mend(there.engine, there.files)
            assert there.ours(app_id) == there.theirs() == before, where
            assert there.due() == due, where
            assert reading(there.engine, ping_seals.unnamed) == [], where
            assert list(there.folder.rglob("*.part")) == [], where
    return len(tried)


def check_forget_kills(copied: Copied, app_id: int, most: int) -> int:
    def reported(there: Installation) -> int:
        total = sa.select(sa.func.sum(retention_report.c.rows))
        return int(reading(there.engine, lambda c: c.execute(total).scalar()) or 0)

    def registered(there: Installation) -> int:
        total = sa.select(sa.func.sum(ping_file.c.pings))
        return int(reading(there.engine, lambda c: c.execute(total).scalar()) or 0)

    with copied() as there:
        seal_pings(there.engine, there.files, now_ms=TOMORROW_MS)
        pings = registered(there)
        told = killed(there, 0, "forget", NEXT_WEEK_MS)
        assert (reported(there), there.theirs().total()) == (pings, 0)
    tried = dying.chosen(told, most)
    for moment in tried:
        with copied() as there:
            seal_pings(there.engine, there.files, now_ms=TOMORROW_MS)
            killed(there, moment, "forget", NEXT_WEEK_MS)
            where = f"moment {moment} of {told.split()[-1]}"
            # what is reported is gone, what is not reported is still known
            assert reported(there) + registered(there) == pings, where
            assert there.theirs().total() <= registered(there), where
            there.ours(app_id)  # no reader is sent to a file that is gone
            for _ in range(2):
                forget_old(there.engine, there.files, now_ms=NEXT_WEEK_MS)
            assert (reported(there), registered(there)) == (pings, 0), where
            assert there.theirs().total() == 0, where
    return len(tried)


CHECKS = {"seal": check_seal_kills, "forget": check_forget_kills}


def kills(url: str, copies: Callable[[], Any], folder: Path, job: str, most: int) -> int:
    """Kill at up to `most` moments of a job; how many kills there were."""
    app_id = prepared(url)

    @contextmanager
    def copied() -> Iterator[Installation]:
        shutil.rmtree(folder, ignore_errors=True)
        with copies() as copy:
            there = Installation(copy, folder)
            yield there
            there.close()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sealing, "ABANDONED_S", -1.0)  # the dead one's files are nobody's at once
        return CHECKS[job](copied, app_id, most)


def kills_on_sqlite(template: Path, folder: Path, job: str, most: int) -> int:
    original, copy = folder / "original.db", folder / "copy.db"
    shutil.copyfile(template, original)

    @contextmanager
    def copies() -> Iterator[str]:
        for file in folder.glob("copy.db*"):
            file.unlink()
        shutil.copyfile(original, copy)
        yield f"sqlite:///{copy}"

    return kills(f"sqlite:///{original}", copies, folder / "pings", job, most)


def kills_on_postgresql(server: Any, template: str, folder: Path, job: str, most: int) -> int:
    original = server.create(template)

    @contextmanager
    def copies() -> Iterator[str]:
        name = server.create(original)
        try:
            yield server.url(name)
        finally:
            server.drop(name)

    return kills(server.url(original), copies, folder / "pings", job, most)


@pytest.mark.slow
@pytest.mark.parametrize("job", CHECKS)
def test_no_ping_is_lost_or_read_twice(job: str, sqlite_template: Path, tmp_path: Path) -> None:
    assert kills_on_sqlite(sqlite_template, tmp_path, job, 8) == 8


@pytest.mark.slow
def test_no_ping_is_lost_or_read_twice_on_postgresql(
    postgres: Any, postgres_template: str, tmp_path: Path
) -> None:
    assert kills_on_postgresql(postgres, postgres_template, tmp_path, "seal", 4) == 4


@pytest.mark.prove
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("job", CHECKS)
def test_at_every_moment(
    job: str,
    sqlite_template: Path,
    postgres: Any,
    postgres_template: str,
    tmp_path: Path,
    proof: Callable[[str, int], None],
) -> None:
    done = kills_on_sqlite(sqlite_template, tmp_path, job, 1_000)
    done += kills_on_postgresql(postgres, postgres_template, tmp_path / "pg", job, 1_000)
    proof(f"Q1 kills at every moment of pings' {job}: 0 lost, 0 twice", done)
