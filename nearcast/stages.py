"""Where a ping's time goes: a clock of stages, for benchmarks; off unless it is asked for.

`NEARCAST_STAGES=file.json` switches it on when the process starts; the file then holds the totals,
written anew a few times a second. A straight line of work says what it has just finished:

    lap = stages.started()
    found = identify(...)
    lap("identify")
    admission = admit(...)
    lap("admit")

While it is off `started` returns one function that does nothing: some 60 ns a lap, a few laps a request.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

VARIABLE = "NEARCAST_STAGES"
WRITE_S = 0.2

Lap = Callable[[str], None]


class StageClock:
    """Totals by stage: how often, nanoseconds by the wall, nanoseconds of the thread's own CPU.

    The wall includes waiting for the GIL, for disks and for other threads; CPU does not, but counts
    what the thread does in C with the GIL released. Time of other processes (PostgreSQL) is in neither.
    """

    def __init__(self) -> None:
        self._totals: dict[str, list[int]] = {}
        self._lock = threading.Lock()

    def started(self) -> Lap:
        """A lap of its own for one line of work; to be used by the thread that asked for it."""
        wall_ns, cpu_ns = time.perf_counter_ns(), time.thread_time_ns()

        def lap(stage: str) -> None:
            nonlocal wall_ns, cpu_ns
            wall_now, cpu_now = time.perf_counter_ns(), time.thread_time_ns()
            self._add(stage, wall_now - wall_ns, cpu_now - cpu_ns)
            wall_ns, cpu_ns = wall_now, cpu_now

        return lap

    def totals(self) -> dict[str, dict[str, int]]:
        """Stage → laps, wall_ns, cpu_ns; `process` holds the CPU time of the whole process."""
        with self._lock:
            found = {
                stage: {"laps": laps, "wall_ns": wall_ns, "cpu_ns": cpu_ns}
                for stage, (laps, wall_ns, cpu_ns) in self._totals.items()
            }
        whole_ns = time.process_time_ns()
        return found | {"process": {"laps": 1, "wall_ns": time.perf_counter_ns(), "cpu_ns": whole_ns}}

    def _add(self, stage: str, wall_ns: int, cpu_ns: int) -> None:
        with self._lock:
            total = self._totals.setdefault(stage, [0, 0, 0])
            total[0] += 1
            total[1] += wall_ns
            total[2] += cpu_ns


def started() -> Lap:
    """Begin to measure a line of work; see above."""
    return _clock.started() if _clock is not None else _nothing


def _nothing(stage: str) -> None:
    """The lap of a process that measures nothing."""


def _write_on(clock: StageClock, path: Path) -> None:
    """Write the totals for as long as the process lives; readers never see half a file."""
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    while True:
        time.sleep(WRITE_S)
        aside.write_text(json.dumps(clock.totals()), encoding="utf-8")
        aside.replace(path)


class _WritingClock(StageClock):
    """Writes its totals from the first lap on: a process that only starts others writes nothing."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._is_writing = False

    def started(self) -> Lap:
        if not self._is_writing:
            with self._lock:
                begins, self._is_writing = not self._is_writing, True
            if begins:
                work = {"target": _write_on, "args": [self, self._path], "name": "stages"}
                threading.Thread(**work, daemon=True).start()  # type: ignore[arg-type]
        return super().started()


def _switched_on(said: str | None) -> StageClock | None:
    return _WritingClock(Path(said)) if said else None


_clock = _switched_on(os.environ.get(VARIABLE))
