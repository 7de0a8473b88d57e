"""`python -m bench._start WORKLOAD BEGUN`: a start of the matcher, timed from outside the process.

BEGUN is `time.monotonic()` of the one who started it (on Linux the clock of the whole machine). A server
does the same steps (`keep_snapshot`): the R-tree answers first, the kernels come aside.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import click

from bench import _runner, _workload

COLD_FENCES, WARM_FENCES = 10_000, 100_000


def measured() -> dict[str, Any]:
    """A cold start with an empty kernel cache, and a warm one; seconds by the wall."""
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder, "kernels")
        empty.mkdir()
        cold = _started(Path(folder), COLD_FENCES, cache=empty)
        warm = _started(Path(folder), WARM_FENCES, cache=empty)  # by now it is full
    return {"cold": cold, "warm": warm}


def _started(folder: Path, fences: int, *, cache: Path) -> dict[str, Any]:
    path = folder / f"{fences}.npz"
    _workload.save(path, _workload.make_fences(fences), _workload.make_pings(1_000))
    args = [str(path), repr(time.monotonic())]
    done = _runner.run_child(args, python=Path(sys.executable), module="bench._start", cache=cache)
    if done.returncode:
        raise click.ClickException(f"A start failed:\n{done.stderr}")
    return json.loads(done.stdout)


def main() -> None:
    """Start, answer, switch to cells, answer again."""
    path, begun = Path(sys.argv[1]), float(sys.argv[2])
    from bench._nearcast import versions_of  # what it takes to import counts
    from geo.matching.index import FenceIndex

    fences, pings = _workload.load(path)
    index = FenceIndex.build(versions_of(fences))
    place = float(pings.lon[0]), float(pings.lat[0])
    first = index.match_one(*place)
    told = {"fences": len(fences), "first_answer_s": _since(begun)}
    meanwhile = _while_compiling(index, place)
    if index.match_one(*place) != first:
        raise AssertionError("Cells and R-tree do not agree.")
    print(json.dumps(told | {"cells_answer_s": _since(begun)} | meanwhile))


def _while_compiling(index: Any, place: tuple[float, float]) -> dict[str, float]:
    """Compile aside; one ping every 10 ms goes on being answered by R-tree."""

    def compile_aside() -> None:
        from geo.matching.kernels import warm

        warm()
        index.compile()

    thread = threading.Thread(target=compile_aside)
    thread.start()
    took = [0.0]
    while thread.is_alive():
        begun = time.perf_counter()
        index.match_one(*place)
        took.append(time.perf_counter() - begun)
        thread.join(0.01)
    if index.engine != "cells":
        raise AssertionError("The kernels were not compiled.")
    return {"answers_meanwhile": len(took) - 1, "slowest_meanwhile_ms": round(max(took) * 1e3, 1)}


def _since(begun: float) -> float:
    return round(time.monotonic() - begun, 2)


if __name__ == "__main__":
    main()
