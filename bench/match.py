"""`python -m bench match`: pings a second against every fence, ours and the rivals', in one run.

What is timed is the whole answer to a column of pings: every (ping, fence) pair. One core, CPU time of
all threads, median of five; each way runs in a process of its own (`_runner`) on the same seeded world
(`_workload`). Nearcast and the best exact rival get all pings, slower ways the first so many of them.

The truth is what the best exact rival says, after a sample of its pings was asked by brute force
(`_truth`); every pair of every way is counted against it. Bars M1-M4 are printed, held or not.
"""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np

from bench import _bars, _runner, _start, _truth, _workload

SIZES = (1_000, 10_000, 100_000)
MILLION = 1_000_000
SAMPLE = 300
#: of a case's table
COLUMNS = ("pings_per_s", "wrong_pairs", "pairs", "build_s", "memory_mb", "one_p50_us", "insert_p50_ms")


def measured(fences: int, pings: int, names: list[str], *, runs: int = _runner.RUNS) -> dict[str, Any]:
    """One count of fences: the figures of all ways, and the ratio.

    Raises:
        ClickException: Nearcast or the best exact rival could not be measured.
    """
    world, places = _workload.make_fences(fences), _workload.make_pings(pings)
    with tempfile.TemporaryDirectory() as folder:
        workload = Path(folder, "workload.npz")
        _workload.save(workload, world, places)

        def run(name: str, rival: _runner.Rival) -> _runner.Measured:
            click.echo(f"{fences:,} fences: {rival.label} …", err=True)
            out = Path(folder, name)
            return _runner.measure(rival, workload, out, fences=fences, pings=pings, runs=runs)

        best = run(_runner.BEST_EXACT, _runner.RIVALS[_runner.BEST_EXACT])
        truth = _needed(best, "the best exact rival, whose pairs are the truth,")
        doubtful = _truth.sample_wrong(world, places, truth, sample=SAMPLE)
        own = run("nearcast", _runner.NEARCAST)
        _needed(own, "Nearcast")
        figures = {"nearcast": _counted(own, truth, fences)}
        for name in names:
            other = best if name == _runner.BEST_EXACT else run(name, _runner.RIVALS[name])
            figures[name] = _counted(other, truth, fences) | {"exact": _runner.RIVALS[name].exact}
    ratio = figures["nearcast"]["pings_per_s"] / _best_exact(figures | {"": best.figures})
    return {
        "fences": fences,
        "pings": pings,
        "pairs_per_ping": round(len(truth) / pings, 2),
        "brute_force_pings": min(SAMPLE, pings),
        "wrong_pairs_of_truth": doubtful,
        "figures": figures,
        "ratio_to_best_exact": round(ratio, 1),
        "wrong_pairs": figures["nearcast"]["wrong_pairs"],
    }


def _needed(found: _runner.Measured, who: str) -> np.ndarray[Any, Any]:
    if found.keys is None:
        raise click.ClickException(f"{who} was not measured: {found.figures['skipped']}.")
    return found.keys


def _counted(found: _runner.Measured, truth: np.ndarray[Any, Any], fences: int) -> dict[str, Any]:
    """Figures with the pairs counted; the truth cut to the pings that were asked."""
    if found.keys is None:
        return found.figures
    some = truth[: np.searchsorted(truth, found.figures["pings"] * fences)]
    return found.figures | _runner.counted(found.keys, some)


def _best_exact(figures: dict[str, dict[str, Any]]) -> float:
    """Pings a second of the fastest rival that gave no wrong pair."""
    return max(
        row["pings_per_s"]
        for name, row in figures.items()
        if name != "nearcast" and "skipped" not in row and not row.get("wrong_pairs")
    )


@click.command("match")
@click.option("--fences", type=click.IntRange(min=10), help="one count only  [default: 1k, 10k, 100k]")
@click.option("--pings", default=1_000_000, show_default=True, type=click.IntRange(min=1_000))
@click.option("--rivals", help=f"[default: {','.join(_runner.RIVALS)}]")
@click.option("--runs", default=_runner.RUNS, show_default=True, help="whose median counts")
@click.option("--full", is_flag=True, help="1M fences too: ten to thirty minutes more, 12 GB of memory")
@click.option("--json", "as_json", is_flag=True)
def command(
    fences: int | None, pings: int, rivals: str | None, runs: int, full: bool, as_json: bool
) -> None:
    """Pings a second against all fences, wrong pairs, changes, verdicts, starts."""
    names = list(_runner.RIVALS) if rivals is None else [name for name in rivals.split(",") if name]
    unknown = sorted(set(names) - set(_runner.RIVALS))
    if unknown:
        told = f"no rival {', '.join(unknown)}; there are {', '.join(_runner.RIVALS)}."
        raise click.BadParameter(told)
    sizes = (fences,) if fences else (*SIZES, MILLION) if full else SIZES
    report = reported(sizes, pings, names, runs=runs, starts=fences is None)
    click.echo(json.dumps(report, indent=1) if as_json else table(report))


def reported(
    sizes: tuple[int, ...], pings: int, names: list[str], *, runs: int, starts: bool
) -> dict[str, Any]:
    """The whole report; what was skipped is said loudly, on stderr too."""
    hard = _truth.hard_places()
    cases = [measured(count, pings, names, runs=runs) for count in sizes]
    bars = [bar for case in cases for bar in _bars.of_case(case)] + _bars.of_hard_places(hard)
    report = {
        "bench": "match",
        "when": f"{datetime.now(UTC):%Y-%m-%d}",
        "hard_places": hard,
        "cases": cases,
    }
    if starts:
        click.echo("a cold and a warm start …", err=True)
        report["starts"] = _start.measured()
        bars += _bars.of_starts(report["starts"])
    for line in sorted(set(_skipped(cases))):
        click.echo(line, err=True)
    return report | {"bars": bars}


def _skipped(cases: list[dict[str, Any]]) -> list[str]:
    return [
        f"!! {_runner.RIVALS[name].label} was SKIPPED: {row['skipped']}"
        for case in cases
        for name, row in case["figures"].items()
        if "skipped" in row
    ]


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    lines: list[str] = []
    for case in report["cases"]:
        lines += _case_lines(case)
    hard = report["hard_places"]
    lines += [
        "",
        f"hard places: {hard['wrong_pairs']} of {hard['pairs']:,} pairs wrong",
        *(f"{name} start: {row}" for name, row in report.get("starts", {}).items()),
        *_skipped(report["cases"]),
        "",
    ]
    for bar in report["bars"]:
        sign = "holds" if bar["holds"] else "DOES NOT HOLD"
        lines.append(
            f"{bar['bar']} {bar['case']:12} {bar['figure']:26} {bar['value']:>12,} "
            f"(bound {bar['bound']:,}) {sign}"
        )
    return "\n".join(lines)


def _case_lines(case: dict[str, Any]) -> list[str]:
    lines = [
        "",
        f"{case['fences']:,} fences, {case['pings']:,} pings in {case['pairs_per_ping']} fences each",
        f"{'':26}" + "".join(f"{name:>15}" for name in COLUMNS),
    ]
    for name, row in case["figures"].items():
        label = "Nearcast" if name == "nearcast" else _runner.RIVALS[name].label
        if "skipped" in row:
            lines.append(f"{label:26}{'skipped':>12}")
            continue
        cells = (f"{row[name]:,}" if name in row else "" for name in COLUMNS)
        lines.append(f"{label:26}" + "".join(f"{cell:>15}" for cell in cells))
    own = {k: v for k, v in case["figures"]["nearcast"].items() if k not in COLUMNS}
    lines.append(
        f"the truth differs from brute force in {case['wrong_pairs_of_truth']} pairs of a sample"
    )
    lines.append(f"ratio to the best exact rival: {case['ratio_to_best_exact']}")
    lines.append("Nearcast: " + ", ".join(f"{figure} {value:,}" for figure, value in own.items()))
    return lines
