"""Runs each way to match in a process of its own and counts its pairs against the truth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench._workload import Ints

HOME = Path(__file__).parent
RIVALS_PYTHON = HOME / ".venv" / "bin" / "python"
RUNS = 5
#: libraries that would start threads of their own
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Rival:
    """How a way to match is run.

    Attributes:
        label: as tables name it.
        module: where its `Matcher` is.
        foreign: runs in bench/.venv, because Nearcast does not depend on its library.
        exact: circles are geodesic; others draw 64-gons.
        most_pings: it is given at most so many, so that a run takes seconds; an eighth with a million
            fences, unless …
        joins: … each query makes its index anew, which few pings would have to pay for.
        most_fences: with more it takes hours to build.
    """

    label: str
    module: str
    foreign: bool = False
    exact: bool = True
    most_pings: int = 100_000
    most_fences: int = 1_000_000
    joins: bool = False

    def pings_of(self, pings: int, *, fences: int) -> int:
        """How many of so many pings it is given."""
        fewer = fences >= 1_000_000 and not self.joins
        return min(pings, self.most_pings // 8 if fewer else self.most_pings)


NEARCAST = Rival("Nearcast", "bench._nearcast", most_pings=1 << 40)
#: its pairs are the truth
BEST_EXACT = "strtree"
RIVALS = {
    "rtree": Rival("rtree per ping + exact", "bench.rivals.rtree_points", most_pings=10_000),
    "rtree_bulk": Rival("rtree in bulk + exact", "bench.rivals.rtree_bulk", most_pings=50_000),
    "strtree": Rival("STRtree + exact", "bench.rivals.strtree", most_pings=1 << 40),
    "h3": Rival("H3 inverted + exact", "bench.rivals.h3_cells", True, True, 10_000, 100_000),
    "postgis": Rival("PostGIS", "bench.rivals.postgis", most_pings=10_000),
    "geopandas": Rival("geopandas.sjoin, 64-gons", "bench.rivals.geopandas_join", exact=False),
    "sedona": Rival("SedonaDB, 64-gons", "bench.rivals.sedona", True, False, 400_000, joins=True),
    "duckdb": Rival(
        "DuckDB spatial, 64-gons", "bench.rivals.duckdb_spatial", True, False, 400_000, joins=True
    ),
}


@dataclass(frozen=True)
class Measured:
    """What one run gave; `keys` (ping × fences + fence, ascending) is None where it was skipped."""

    figures: dict[str, Any]
    keys: Ints | None


def measure(rival: Rival, workload: Path, out: Path, *, fences: int, pings: int, runs: int) -> Measured:
    """Run one way; what keeps it from being measured is told as `skipped`, never raised."""
    if fences > rival.most_fences:
        return _skipped(f"not measured with more than {rival.most_fences:,} fences")
    if rival.foreign and not RIVALS_PYTHON.exists():
        return _skipped("bench/.venv is missing: run scripts/install-rivals.sh")
    count = rival.pings_of(pings, fences=fences)
    done = run_child(
        [rival.module, str(workload), str(out), f"--pings={count}", f"--runs={runs}"],
        python=RIVALS_PYTHON if rival.foreign else Path(sys.executable),
    )
    if done.returncode:
        return _skipped(f"it failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    figures = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    if "skipped" in figures:
        return Measured(figures, None)
    with np.load(out.with_suffix(".npz")) as file:
        keys = file["ping"].astype(np.int64) * fences + file["fence"]
    keys.sort()
    return Measured(figures, keys)


def run_child(
    args: list[str], *, python: Path, module: str = "bench._child", cache: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a module of this package in a process of its own, with one thread a library.

    Args:
        cache: the folder of compiled kernels; None is the usual one.
    """
    env = os.environ | ONE_THREAD | {"PYTHONPATH": str(HOME.parent)}
    if cache is not None:
        env["NUMBA_CACHE_DIR"] = str(cache)
    return subprocess.run(
        [str(python), "-m", module, *args],
        cwd=HOME.parent,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def counted(keys: Ints, truth: Ints) -> dict[str, int]:
    """Pairs, and those missing, not true, or given twice; both ascending, the truth each once."""
    once = keys[np.diff(keys, prepend=-1) > 0]
    missing = len(np.setdiff1d(truth, once, assume_unique=True))
    extra = len(np.setdiff1d(once, truth, assume_unique=True))
    twice = len(keys) - len(once)
    return {
        "pairs": len(keys),
        "wrong_pairs": missing + extra + twice,
        "missing_pairs": missing,
        "extra_pairs": extra + twice,
    }


def _skipped(why: str) -> Measured:
    return Measured({"skipped": why}, None)
