"""A process that works and dies at the nth thing it says to the database.

python -m tests.dying URL N                       uploads; N = 0: it lives, and prints how many things
python -m tests.dying URL N seal FOLDER NOW_MS    it said, before that the turns: before and behind
python -m tests.dying URL N forget FOLDER NOW_MS  each commit and each new name of a file

Statements count twice, before and after they were sent, and each commit once, before it, and each file
that gets its name: between any two of these nothing reaches the database or the folder that others
read, so dying at every n is dying at every moment that matters.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable

import sqlalchemy as sa

from nearcast.services.clocks import WallClock
from nearcast.services.forget_old import forget_old
from nearcast.services.seal_pings import seal_pings
from nearcast.services.work_uploads import work_off
from nearcast.store.engine import make_engine
from nearcast.store.ping_files import PingFiles

DIED = 9


def upload(engine: sa.Engine) -> None:
    """Work off what waits."""
    work_off(engine, WallClock())


def seal(engine: sa.Engine, folder: str, now_ms: str) -> None:
    """Seal the ping log."""
    seal_pings(engine, PingFiles(folder), now_ms=int(now_ms))


def forget(engine: sa.Engine, folder: str, now_ms: str) -> None:
    """Delete what is too old; twice, as files go in two passes."""
    for _ in range(2):
        forget_old(engine, PingFiles(folder), now_ms=int(now_ms))


JOBS: dict[str, Callable[..., None]] = {"upload": upload, "seal": seal, "forget": forget}


def main(url: str, moment: int, job: str = "upload", *args: str) -> list[int]:
    """Do the job; the moments before and behind each commit and new name, and the last of all."""
    engine = make_engine(url)
    said = itertools.count(1)
    turns: list[int] = []
    last = 0

    def speak(*_: object, **__: object) -> None:
        nonlocal last
        last = next(said)
        if last == moment:
            os._exit(DIED)

    def turn(*_: object) -> None:
        speak()
        turns.extend((last, last + 1))

    def heard(event: str, args: tuple[object, ...]) -> None:
        if event == "os.rename" and str(args[1]).endswith(".parquet"):
            turn()

    for event in ("before_cursor_execute", "after_cursor_execute"):
        sa.event.listen(engine, event, speak)
    sa.event.listen(engine, "commit", turn)
    sys.addaudithook(heard)
    JOBS[job](engine, *args)
    return [*(n for n in turns if n < last), last]


if __name__ == "__main__":
    told = main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
    print(*(told if len(sys.argv) > 3 else told[-1:]))
