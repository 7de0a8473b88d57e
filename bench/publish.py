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

from bench import _chart, _ingest_page, _matching_page
from bench._runner import RIVALS_PYTHON

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
CHART = PAGE.with_name("matching.svg")
#: the last run with a million fences: it takes ten minutes and more, so the page quotes its date
MILLION = Path(__file__).with_name("million.json")


@click.command("publish")
@click.option("--seconds", default=12.0, show_default=True, help="of each ingest run")
@click.option(
    "--full", is_flag=True, help="match against a million fences too, for ten to thirty minutes"
)
def command(seconds: float, full: bool) -> None:
    """All benchmarks, one after the other; takes some fifteen minutes."""
    if not RIVALS_PYTHON.exists():
        click.echo("the rivals' environment …")
        subprocess.run([str(PAGE.parents[1] / "scripts" / "install-rivals.sh")], check=True)
    if full:
        click.echo("matching, a million fences …")
        told = json.dumps(_measured("match", "--fences=1000000"), indent=1)
        MILLION.write_text(told + "\n", encoding="utf-8")
    click.echo("matching …")
    matching = _measured("match")
    click.echo("ingest on both databases …")
    ingest = _measured("ingest", f"--seconds={seconds}")
    click.echo("uploads on both databases …")
    uploads = _measured("upload")
    million = json.loads(MILLION.read_text(encoding="utf-8")) if MILLION.exists() else None
    cases = _matching_page.cases_of(matching, million)
    CHART.write_text(_chart.drawn(_matching_page.series(cases)), encoding="utf-8")
    PAGE.write_text("\n".join(_page(matching, million, ingest, uploads)) + "\n", encoding="utf-8")
    click.echo(f"{PAGE.name} is written.")


def _measured(*args: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "bench", *args, "--json"], check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout)


def _page(
    matching: dict[str, Any],
    million: dict[str, Any] | None,
    ingest: dict[str, Any],
    uploads: dict[str, Any],
) -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    yield (
        f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores "
        f"({_processor()}), Python {platform.python_version()}, NumPy {np.__version__}, "
        f"shapely {shapely.__version__} (GEOS {shapely.geos_version_string}). Machines differ and so do "
        f"hours: trust the ratios of one run (load average {os.getloadavg()[1]:.1f})."
    )
    yield from _matching_page.section(matching, million, CHART.name)
    yield from _ingest_page.section(ingest)
    yield from _uploads(uploads)


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
