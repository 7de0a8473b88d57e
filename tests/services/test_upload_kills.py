"""A process killed at any moment of an upload leaves all or nothing, and the next one ends the work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from geo.fences.fence import CircleShape, Fence
from nearcast.services import upload
from nearcast.services.export_fences import Format
from nearcast.store import uploads
from nearcast.store.engine import make_engine
from nearcast.store.tables import upload as upload_table
from nearcast.store.uploads import UploadState
from tests import dying
from tests.desk import STORES, Desk

ROOT = Path(__file__).parents[2]
STEPS = ("check", "apply", "undo")
CHANGED = STORES.replace("1.5km", "2km") + "신촌점,S4,37.55,126.93,100,신규\n"

#: URL of a copy of a prepared database → what is done with it
Copies = Callable[[], Iterator[str]]


def prepared(url: str, step: str) -> int:
    """A workspace with fences, and an upload whose next step is the one wanted."""
    engine = make_engine(url)
    desk = Desk(engine)
    desk.apply(desk.check(STORES))
    closed = CircleShape(lon=127.0, lat=37.0, radius_m=100.0)
    desk.save(Fence(name="폐점", groups=("카페",), shape=closed))
    serial = desk.receive(CHANGED, missing="delete")
    if step != "check":
        desk.work()
        if step == "undo":
            desk.apply(serial)
            desk.write(lambda c: upload.undo(c, serial, leave_edited=False, author=desk.author))
        else:
            desk.write(lambda c: upload.apply(c, serial, author=desk.author))
    engine.dispose()
    return serial


def seen(url: str, serial: int) -> dict[str, Any]:
    """All that a user could see of the fences and of the upload."""
    engine = make_engine(url)
    desk = Desk(engine)
    row = desk.row(serial)
    lines = [(line.name, line.row) for line in desk.lines(serial)] if row["counts"] else []
    features = json.loads(desk.exported(Format.GEOJSON))["features"]
    # a transaction that died has used up serials of PostgreSQL's: new fences have others then
    nameless = [{key: f[key] for key in ("geometry", "properties")} for f in features]
    found = {
        "fences": (desk.exported(Format.CSV), nameless),
        "state": row["state"],
        "counts": row["counts"],
        "lines": lines,
    }
    engine.dispose()
    return found


def killed(url: str, moment: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.dying", url, str(moment)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def finished(url: str) -> None:
    """The next process, once the dead one's lease has run out."""
    engine = make_engine(url)
    desk = Desk(engine)
    desk.write(lambda c: c.execute(sa.update(upload_table).values(lease_until_ms=0)))
    desk.work()
    engine.dispose()


@contextmanager
def sqlite_copy(of: Path, folder: Path) -> Iterator[str]:
    path = folder / "copy.db"
    for file in folder.glob("copy.db*"):
        file.unlink()
    shutil.copyfile(of, path)
    yield f"sqlite:///{path}"


def check_kills(original: str, copied: Callable[[], Any], step: str, most: int) -> int:
    """Kill at up to `most` moments of a step, spread over all of them; how many kills there were."""
    serial = prepared(original, step)
    before = seen(original, serial)
    with copied() as url:
        told = killed(url, 0)
        assert told.returncode == 0, told.stderr
        moments = int(told.stdout)
        after = seen(url, serial)
    assert after["state"] != before["state"]
    chosen = sorted({1 + n * (moments - 1) // max(1, most - 1) for n in range(most)})
    for moment in chosen:
        with copied() as url:
            died = killed(url, moment)
            assert died.returncode == dying.DIED, died.stderr
            left = seen(url, serial)
            assert left in (before, after), f"{step}, moment {moment} of {moments}"
            finished(url)
            assert seen(url, serial) == after, f"{step}, moment {moment} of {moments}, taken up again"
    return len(chosen)


def kills_on_sqlite(template: Path, folder: Path, step: str, most: int) -> int:
    original = folder / "original.db"
    shutil.copyfile(template, original)
    return check_kills(f"sqlite:///{original}", lambda: sqlite_copy(original, folder), step, most)


def kills_on_postgresql(server: Any, template: str, step: str, most: int) -> int:
    original = server.create(template)

    @contextmanager
    def copied() -> Iterator[str]:
        name = server.create(original)
        try:
            yield server.url(name)
        finally:
            server.drop(name)

    return check_kills(server.url(original), copied, step, most)


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_all_or_nothing_on_sqlite(step: str, sqlite_template: Path, tmp_path: Path) -> None:
    assert kills_on_sqlite(sqlite_template, tmp_path, step, 4) == 4


@pytest.mark.slow
def test_all_or_nothing_on_postgresql(postgres: Any, postgres_template: str) -> None:
    assert kills_on_postgresql(postgres, postgres_template, "apply", 4) == 4


def test_the_states_at_work_are_those_that_another_process_takes_up() -> None:
    assert {s.value for s in uploads.AT_WORK} == {"checking", "applying", "undoing"}
    assert UploadState.CHECKED not in uploads.AT_WORK
