"""`python -m bench._child MODULE WORKLOAD OUT …`: measure one way to match, in a process of its own.

On one core, by the CPU clock of all threads; the figures go to OUT.json, the pairs to OUT.npz. Imports
nothing but NumPy and the way's own file, so that it runs in the environment of the rivals too.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import importlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench._workload import Fences, Pings, load
from bench.rivals import Unavailable

WARM_UP = 1_000
SINGLE_PINGS = 2_000
CHANGES = 200


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("module")
    parser.add_argument("workload", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pings", type=int, required=True)
    parser.add_argument("--runs", type=int, required=True)
    args = parser.parse_args()
    on_one_core()
    try:
        figures = measured(args.module, *load(args.workload), args)
    except (Unavailable, ImportError) as missing:
        figures = {"skipped": str(missing)}
    args.out.with_suffix(".json").write_text(json.dumps(figures), encoding="utf-8")


def measured(module: str, fences: Fences, pings: Pings, args: argparse.Namespace) -> dict[str, Any]:
    """The figures of one way; its pairs are written to the file."""
    matcher = importlib.import_module(module).Matcher(fences)
    try:
        return _figures(matcher, fences, pings, args)
    finally:
        getattr(matcher, "close", lambda: None)()


def _figures(matcher: Any, fences: Fences, pings: Pings, args: argparse.Namespace) -> dict[str, Any]:
    also_s = getattr(matcher, "also_cpu_s", lambda: 0.0)

    def clock() -> float:
        return time.process_time() + also_s()

    some = pings.head(args.pings)
    before_mb, begun = resident_mb(), clock()
    matcher.build()
    build_s = clock() - begun
    grown_mb = resident_mb() - before_mb
    matcher.match(pings.head(WARM_UP))
    getattr(matcher, "prepare", lambda _: None)(some)
    match_s, found = median_s(lambda: matcher.match(some), args.runs, clock)
    ping, fence = getattr(matcher, "columns", lambda pairs: pairs)(found)
    np.savez(args.out.with_suffix(".npz"), ping=ping, fence=fence)
    return {
        "pings": len(some),
        "pings_per_s": round(len(some) / match_s),
        "build_s": round(build_s, 3),
        "memory_mb": round(getattr(matcher, "memory_mb", lambda: grown_mb)(), 1),
        **_single(matcher, pings),
        **_changes(matcher, len(fences)),
        **getattr(matcher, "more", lambda *_: {})(fences, some, args.runs),
    }


def median_s(run: Callable[[], Any], runs: int, clock: Callable[[], float]) -> tuple[float, Any]:
    """Seconds of the median run, and what the last one gave."""
    seconds = []
    for _ in range(runs):
        gc.collect()  # what the run before left is not this one's to clean
        begun = clock()
        found = run()
        seconds.append(clock() - begun)
    return statistics.median(seconds), found


def percentiles(seconds: list[float], scale: float, places: int = 2) -> tuple[float, float]:
    """The 50th and the 99th, times scale."""
    p50, p99 = np.percentile(seconds, [50, 99]) * scale
    return round(float(p50), places), round(float(p99), places)


def _single(matcher: Any, pings: Pings) -> dict[str, float]:
    """One place after the other, by the wall."""
    if not hasattr(matcher, "one"):
        return {}
    count = getattr(matcher, "single_pings", SINGLE_PINGS)
    places = list(zip(pings.lon[:count].tolist(), pings.lat[:count].tolist(), strict=True))
    for place in places[:100]:
        matcher.one(*place)
    took = [_took(matcher.one, *place) for place in places]
    p50, p99 = percentiles(took, 1e6)
    return {"one_p50_us": p50, "one_p99_us": p99}


def _changes(matcher: Any, fences: int) -> dict[str, float]:
    """A twin of a fence comes and goes, by the wall."""
    if not hasattr(matcher, "insert"):
        return {}
    insert, remove = [], []
    for row in range(min(CHANGES, fences)):
        insert.append(_took(matcher.insert, row))
        remove.append(_took(matcher.remove, row))
    figures: dict[str, float] = {}
    for way, took in (("insert", insert), ("remove", remove)):
        figures[f"{way}_p50_ms"], figures[f"{way}_p99_ms"] = percentiles(took, 1e3, 3)
    return figures


def _took(call: Callable[..., Any], *args: Any) -> float:
    begun = time.perf_counter()
    call(*args)
    return time.perf_counter() - begun


def on_one_core() -> None:
    """Keep this process and what it starts on one core, where the system can."""
    if sys.platform == "linux":
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def resident_mb() -> float:
    """Memory of this process, what was freed given back first; 0 where the system does not tell."""
    if sys.platform != "linux":
        return 0.0
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
