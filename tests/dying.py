"""A process that works and dies at the nth thing it says to the database.

python -m tests.dying URL N                       uploads; N = 0: it lives, and prints how many things
python -m tests.dying URL N seal FOLDER NOW_MS    it said, before that the turns: before and behind
python -m tests.dying URL N forget FOLDER NOW_MS  each commit and each new name of a file
python -m tests.dying URL N watch NOW_MS

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

from nearcast.services.clocks import ReplayClock, WallClock
from nearcast.services.forget_old import forget_old
from nearcast.services.keep_snapshot import Snapshots
from nearcast.services.seal_pings import seal_pings
from nearcast.services.watch_stays import Watch
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


def watch(engine: sa.Engine, now_ms: str) -> None:
    """Let the timers of stays look once."""
    Watch(engine, Snapshots(engine), ReplayClock(int(now_ms))).look()


JOBS: dict[str, Callable[..., None]] = {
    "upload": upload,
    "seal": seal,
    "forget": forget,
    "watch": watch,
}


def chosen(told: str, most: int) -> list[int]:
    """At most so many of the moments that a run told of: the turns first, then some between them."""
    *turns, moments = map(int, told.split())
    some = (1 + n * (moments - 1) // max(1, most - 1) for n in range(most))
    return sorted([*dict.fromkeys([*turns, *some])][:most])


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
