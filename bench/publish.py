"""`python -m bench publish`: run the benchmarks and write docs/benchmarks.md."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np
import shapely

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
FENCES = (1_000, 10_000, 100_000)
PINGS = 200_000
RIVALS = "--rivals=rtree,strtree,geopandas"


@click.command("publish")
@click.option("--seconds", default=15.0, show_default=True, help="of each ingest run")
def command(seconds: float) -> None:
    """All benchmarks, one after the other; takes about three minutes."""
    matching = []
    for fences in FENCES:
        click.echo(f"matching, {fences:,} fences …")
        matching.append(_measured("match", f"--fences={fences}", f"--pings={PINGS}", RIVALS))
    click.echo("ingest on both databases …")
    ingest = _measured("ingest", f"--seconds={seconds}")
    click.echo("uploads on both databases …")
    uploads = _measured("upload")
    PAGE.write_text("\n".join(_page(matching, ingest, uploads)) + "\n", encoding="utf-8")
    click.echo(f"{PAGE.name} is written.")


def _measured(*args: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "bench", *args, "--json"], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


def _page(
    matching: list[dict[str, Any]], ingest: list[dict[str, Any]], uploads: dict[str, Any]
) -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    yield (
        f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores "
        f"({_processor()}), Python {platform.python_version()}, NumPy {np.__version__}, "
        f"shapely {shapely.__version__} (GEOS {shapely.geos_version_string}). Machines differ and so do "
        f"hours: trust the ratios of one run (load average {os.getloadavg()[1]:.1f})."
    )
    yield from _matching(matching)
    yield from _ingest(ingest)
    yield from _uploads(uploads)


def _matching(runs: list[dict[str, Any]]) -> Iterator[str]:
    yield from ("", "## Matching", "")
    yield (
        f"{PINGS:,} pings against all fences (circles and polygons of a seeded workload), every pair "
        "returned, one core, CPU clock, median of 5. *STRtree exact* is shapely's tree over boxes with "
        "a vectorised exact refinement, the best exact rival; geopandas joins 64-gons, so pairs near "
        "rims come out wrong. *Verdicts* is in/out/undecided for each candidate, as a multiple of the "
        "plain match."
    )
    yield ""
    yield (
        "| fences | Nearcast | STRtree exact | rtree | geopandas.sjoin (wrong pairs) | "
        "ratio to best exact | verdicts | MB | built | one ping p50 / p99 | insert p50 / p99 |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for run in runs:
        own, tree, each, frame = (
            run["figures"][name] for name in ("nearcast", "strtree", "rtree", "geopandas")
        )
        one, change = run["one_ping"], run["changes"]
        yield (
            f"| {run['case']['fences']:,} | **{own['pings_per_s']:,}/s** | {tree['pings_per_s']:,}/s | "
            f"{each['pings_per_s']:,}/s | {frame['pings_per_s']:,}/s ({frame['wrong_pairs']:,}) | "
            f"**{run['ratio_to_best_exact']:.1f}** | {run['verdicts']['cost_ratio']:.2f} × | "
            f"{own['memory_mb']:,.0f} | {own['rtree_s']:.1f} + {own['build_s']:.1f} s | "
            f"{one['p50_us']:.1f} / {one['p99_us']:.1f} µs | "
            f"{change['insert_p50_ms']:.2f} / {change['insert_p99_ms']:.0f} ms |"
        )
    yield ""
    wrong = sum(run["wrong_pairs"] for run in runs)
    yield (
        f"Wrong pairs of Nearcast over all runs: {wrong}. Built: the R-tree that answers first, and the "
        "cells compiled from it; a bare tree takes a tenth of both. What each bar says:"
    )
    yield from ("", "| bar | case | figure | measured | bound | |", "|---|---|---|---|---|---|")
    for run in runs:
        for bar in run["bars"]:
            yield (
                f"| {bar['bar']} | {bar['case']} | {bar['figure']} | {bar['value']} | {bar['bound']} | "
                f"{'holds' if bar['holds'] else '**does not hold**'} |"
            )


def _ingest(runs: list[dict[str, Any]]) -> Iterator[str]:
    yield from ("", "## Ingest", "")
    yield (
        f"JSON batches of 1,000 pings over real HTTP to one `nearcast serve`, "
        f"{runs[0]['fences']:,} fences, "
        "20 running campaigns; the client shares the cores, every answer is "
        "read and its counts checked, "
        "and an answer means durable (SQLite WAL with `synchronous=FULL`, PostgreSQL with "
        "`synchronous_commit=on`). One transaction a request."
    )
    yield ""
    yield "| database | devices never seen before | known devices | p50 | p99 |"
    yield "|---|---|---|---|---|"
    for run in runs:
        new, known = run["new_devices"], run["known_devices"]
        yield (
            f"| {run['db']} | {new['pings_per_s']:,} pings/s | **{known['pings_per_s']:,} pings/s** | "
            f"{known['p50_ms']} ms | {known['p99_ms']} ms |"
        )
    yield ""
    yield (
        "A profile on SQLite shows Python objects made for pairs near fences as the dearest part. "
        "Sharing one commit among waiting requests, COPY and compiled kernels are not there yet."
    )


def _uploads(run: dict[str, Any]) -> Iterator[str]:
    yield from ("", "## Uploads", "")
    yield (
        f"A file of {run['rows']:,} made-up stores, nine columns, over HTTP to a real server: from the "
        "first byte sent until the report, or the fences, are there, the start of the process aside "
        "included. Memory is that of all processes at work on it together."
    )
    yield ""
    yield "| database | check XLSX | check CSV | apply | the same CSV again | undo | most memory |"
    yield "|---|---|---|---|---|---|---|"
    for database, figures in run["figures"].items():
        steps = ("xlsx_check", "csv_check", "apply", "same_file_again", "undo")
        seconds = " | ".join(f"{figures[f'{step}_s']:.1f} s" for step in steps)
        most = max(value for name, value in figures.items() if name.endswith("_mb"))
        yield f"| {database} | {seconds} | {most:,.0f} MB |"
    yield ""
    rivals = run["rivals"]
    missed = [f"{b['figure']} on {b['case']}" for b in run["bars"] if not b["holds"]]
    said = f"does not hold in this run for {', '.join(missed)}" if missed else "holds"
    yield (
        f"openpyxl takes {rivals['openpyxl_reads_s']:.1f} s to read the cells of the XLSX alone and "
        f"understands nothing; Python's csv takes {rivals['csv_reads_s']:.2f} s for the CSV. Bar U1 "
        f"(XLSX 6 s, CSV 3 s, apply 6 s, 600 MB) {said}."
    )


def _processor() -> str:
    """The CPU's name as Linux tells it."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
