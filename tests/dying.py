"""A process that works off uploads and dies at the nth thing it says to the database.

python -m tests.dying URL N      N = 0: it lives, and prints how many things it said

Statements count twice, before and after they were sent, and each commit once, before it: between any
two of these nothing reaches the database, so dying at every n is dying at every moment that matters.
"""

from __future__ import annotations

import itertools
import os
import sys

import sqlalchemy as sa

from nearcast.services.clocks import WallClock
from nearcast.services.work_uploads import work_off
from nearcast.store.engine import make_engine

DIED = 9


def main(url: str, moment: int) -> int:
    """Work off what waits; how many moments there were."""
    engine = make_engine(url)
    said = itertools.count(1)
    last = 0

    def speak(*_: object, **__: object) -> None:
        nonlocal last
        last = next(said)
        if last == moment:
            os._exit(DIED)

    for event in ("before_cursor_execute", "after_cursor_execute", "commit"):
        sa.event.listen(engine, event, speak)
    work_off(engine, WallClock())
    return last


if __name__ == "__main__":
    print(main(sys.argv[1], int(sys.argv[2])))
