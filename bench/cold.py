"""`python -m bench cold`: how soon a server answers whose kernels were never compiled (bar M3).

Two processes, one after the other, on one kernel cache that is empty at first: the first answers
its first ping by R-tree, the second finds the kernels of the first. The database is left out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

#: what one process does: until it can match, a match, and the switch to the cells
WORK = """
import sys, time
begun = time.perf_counter()
import numpy as np
from bench import _world
from geo.matching.index import FenceIndex
imported = time.perf_counter()
versions = _world.fence_versions(int(sys.argv[1]))
drawn = time.perf_counter()
index = FenceIndex.build(versions)
index.match_one(127.0, 37.5)
first = time.perf_counter()
from geo.matching.kernels import warm
warm()
warmed = time.perf_counter()
index.compile()
index.match_one(127.0, 37.5)
done = time.perf_counter()
print(imported - begun, first - drawn, warmed - first, done - warmed)
"""


@click.command("cold")
@click.option("--fences", default=100_000, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def command(fences: int, as_json: bool) -> None:
    """Seconds from an empty kernel cache to the first answer, and to the compiled index."""
    with tempfile.TemporaryDirectory() as folder:
        cold, warm = (_seconds(fences, folder) for _ in range(2))
    report = {"bench": "cold", "case": {"fences": fences}, "cold": cold, "warm": warm}
    ready_s = round(warm["import_s"] + warm["first_answer_s"] + warm["kernels_s"] + warm["cells_s"], 2)
    cases = (
        ("cold", "first_ping_s", cold["import_s"] + cold["first_answer_s"], 3),
        ("warm", "ready_by_cells_s", ready_s, 10),
    )
    report["bars"] = [
        {
            "bar": "M3",
            "case": f"{case}, {fences:,} fences",
            "figure": figure,
            "value": round(value, 2),
            "bound": bound,
            "holds": value <= bound,
        }
        for case, figure, value, bound in cases
    ]
    if as_json:
        click.echo(json.dumps(report, indent=1))
        return
    for name in ("cold", "warm"):
        click.echo(f"{name}: " + ", ".join(f"{k} {v}" for k, v in report[name].items()))
    for bar in report["bars"]:
        sign = "holds" if bar["holds"] else "DOES NOT HOLD"
        click.echo(f"M3 {bar['case']} {bar['figure']} {bar['value']} (bound {bar['bound']}): {sign}")


def _seconds(fences: int, cache: str) -> dict[str, float]:
    began = time.perf_counter()
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(fences)],
        env=os.environ | {"NUMBA_CACHE_DIR": cache, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    names = ("import_s", "first_answer_s", "kernels_s", "cells_s")
    told = dict(zip(names, map(float, done.stdout.split()), strict=True))
    return {name: round(s, 2) for name, s in told.items()} | {
        "whole_s": round(time.perf_counter() - began, 2)
    }
