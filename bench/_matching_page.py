"""The matching section of docs/benchmarks.md, written from the report of `bench match`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench._bars import short
from bench._runner import RIVALS

Case = dict[str, Any]
NEARCAST = "nearcast"


def section(report: dict[str, Any], million: dict[str, Any] | None, chart: str) -> Iterator[str]:
    """The section's lines.

    Args:
        million: an older report whose one case has a million fences; None leaves the column out.
        chart: the picture's file name, beside the page.
    """
    cases = cases_of(report, million)
    yield from ("", "## Matching", "")
    yield (
        "Pings a second against all fences, every (ping, fence) pair returned: a seeded world of 70 "
        "% circles and 30 % polygons of 5 to 2,000 corners around 50 cities (`bench/_workload.py`). "
        "One core, CPU clock of all threads, median of 5, each way in a process of its own. Nearcast "
        f"and the best exact rival are given {cases[0]['pings']:,} pings, slower ways the first so "
        "many of them. *Exact* ways measure circles by geodesic; the others join 64-gons, so pairs "
        "near rims come out wrong: in brackets, how many."
    )
    if million is not None:
        yield (
            f"The column of a million fences is of {million['when']} "
            "(`python -m bench publish --full`), the others of the day above. "
            f"{million.get('note', '')}".strip()
        )
    yield ""
    yield from _speeds(cases)
    yield from ("", f"![Pings a second by fences, both axes logarithmic]({chart})", "")
    yield from _truth(report, cases)
    yield from _costs(cases)
    yield from _prices(cases[-1] if million is None else cases[-2])
    if "starts" in report:
        yield from _starts(report["starts"])
    yield from _bars([*report["bars"], *(_of_million(million) if million else ())])
    skipped = _skipped(cases)
    if skipped:
        yield from ("", "Not measured:", "", *skipped)


def cases_of(report: dict[str, Any], million: dict[str, Any] | None) -> list[Case]:
    """All cases by fences; the older one only where the report has none of its own."""
    cases: list[Case] = [*report["cases"], *(million["cases"] if million else ())]
    return sorted({case["fences"]: case for case in reversed(cases)}.values(), key=_fences)


def series(cases: list[Case]) -> dict[str, dict[int, float]]:
    """What the chart draws."""
    return {
        label(name): {
            case["fences"]: case["figures"][name]["pings_per_s"]
            for case in cases
            if "pings_per_s" in case["figures"].get(name, {})
        }
        for name in (NEARCAST, *RIVALS)
    }


def label(name: str) -> str:
    """A way as tables name it."""
    return "Nearcast" if name == NEARCAST else RIVALS[name].label


def _fences(case: Case) -> int:
    fences: int = case["fences"]
    return fences


def _speeds(cases: list[Case]) -> Iterator[str]:
    yield _row("fences", *(short(case["fences"]) for case in cases))
    yield _row(*["---"] * (len(cases) + 1))
    yield _row("fences that hold a ping", *(f"{case['pairs_per_ping']}" for case in cases))
    for name in (NEARCAST, *RIVALS):
        if any(name in case["figures"] for case in cases):
            bold = "**" if name == NEARCAST else ""
            cells = (_speed(case["figures"].get(name, {})) for case in cases)
            yield _row(bold + label(name) + bold, *(f"{bold}{cell}{bold}" for cell in cells))
    ratios = (f"**{case['ratio_to_best_exact']} ×**" for case in cases)
    yield _row("Nearcast ÷ best exact rival", *ratios)


def _speed(row: dict[str, Any]) -> str:
    if "pings_per_s" not in row:
        return "–"
    wrong = row["wrong_pairs"]
    return _big(row["pings_per_s"]) + (f" ({wrong:,} of {row['pairs']:,})" if wrong else "")


def _big(value: float) -> str:
    """Three digits: 15.2M, 329k."""
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if value >= unit:
            return (
                f"{value / unit:.3g}{letter}" if value < 999 * unit else f"{value / unit:,.0f}{letter}"
            )
    return f"{value:.0f}"


def _truth(report: dict[str, Any], cases: list[Case]) -> Iterator[str]:
    wrong = sum(case["wrong_pairs"] for case in cases)
    pairs = sum(case["figures"][NEARCAST]["pairs"] for case in cases)
    doubtful = sum(case["wrong_pairs_of_truth"] for case in cases)
    asked = sum(case["brute_force_pings"] for case in cases)
    hard = report["hard_places"]
    yield (
        f"Of {pairs:,} pairs Nearcast has {wrong} wrong. The truth is what the best exact rival says; "
        f"{asked:,} pings of it were asked by brute force: {doubtful} pairs differ. Rims, edges and "
        "vertices, and a float beside them, of holes, multipolygons, rings across 180°, both poles and "
        f"half the globe are settled by brute force alone: {hard['wrong_pairs']} of {hard['pairs']:,} "
        "pairs wrong."
    )


COSTS = {
    "built: R-tree, answers from then on": "{rtree_build_s:.2f} s",
    "built: cells": "{build_s:.2f} s",
    "memory: R-tree": "{rtree_memory_mb:,.0f} MB",
    "memory: cells": "{memory_mb:,.0f} MB",
    "pairs as two columns": "{as_columns_pings_per_s:,} pings/s",
    "one ping, p50 / p99": "{one_p50_us} / {one_p99_us} µs",
    "one fence added, p50 / p99": "{insert_p50_ms} / {insert_p99_ms} ms",
    "one fence removed, p50 / p99": "{remove_p50_ms} / {remove_p99_ms} ms",
    "two threads match on one core, pings/s": "{readers_alone_pings_per_s:,}",
    "… while fences change ten times a second": "{readers_under_changes_pings_per_s:,}",
    "… a change then, p50 / p99": "{change_under_load_p50_ms} / {change_under_load_p99_ms} ms",
    "… half changes seen, wrong batches": "{half_changes_seen}, {wrong_batches_under_load}",
    "fences applied at once": "{bulk_fences:,} in {bulk_apply_s} s",
    "verdicts instead of the plain match": "{verdict_cost} × the time",
    "P of a circle": "{p_of_circle_us} µs",
    "P of a polygon under 100 corners": "{p_of_small_polygon_us} µs",
}


def _costs(cases: list[Case]) -> Iterator[str]:
    yield from ("", "What else Nearcast's index does, and what it costs:", "")
    yield _row("fences", *(short(case["fences"]) for case in cases))
    yield _row(*["---"] * (len(cases) + 1))
    for told, form in COSTS.items():
        yield _row(told, *(_told(form, case["figures"][NEARCAST]) for case in cases))


def _told(form: str, figures: dict[str, Any]) -> str:
    try:
        return form.format_map(figures)
    except KeyError:
        return "–"


def _prices(case: Case) -> Iterator[str]:
    """Where we lose."""
    yield from ("", f"The price, beside the others at {short(case['fences'])} fences:", "")
    yield _row("", "built", "memory", "one ping, p50 / p99", "one fence added, p50 / p99")
    yield _row(*["---"] * 5)
    for name, row in case["figures"].items():
        if "build_s" not in row:
            continue
        shown = dict(row)
        if name == NEARCAST:
            shown["build_s"] += row["rtree_build_s"]
            shown["memory_mb"] += row["rtree_memory_mb"]
        added = "rebuild" if "insert_p50_ms" not in row else "{insert_p50_ms} / {insert_p99_ms} ms"
        forms = ("{build_s:.2f} s", "{memory_mb:,.0f} MB", "{one_p50_us} / {one_p99_us} µs", added)
        yield _row(label(name), *(_told(form, shown) for form in forms))
    yield ""
    yield (
        "Nearcast's row is R-tree and cells together. The clock starts when each has what it is "
        "given, shapely polygons, boxes or text; Nearcast takes its polygons apart within it. Memory is "
        "the growth of the process meanwhile, of PostGIS the table with its indexes. rtree and the "
        "STRtree are built in a small part of the time and memory, and rtree takes a new fence in "
        "microseconds: where pings are few or fences change all the time, they are the better choice. "
        "SedonaDB and DuckDB are made for joins of large tables, not for pings as they come."
    )


def _starts(starts: dict[str, Any]) -> Iterator[str]:
    cold, warm = starts["cold"], starts["warm"]
    yield ""
    yield (
        f"**Starts**, of a process, by the wall. With an empty kernel cache and {cold['fences']:,} "
        f"fences the first ping is answered after {cold['first_answer_s']} s, by R-tree; the kernels "
        f"are compiled aside and answer after {cold['cells_answer_s']} s; of "
        f"{cold['answers_meanwhile']:,} pings meanwhile the slowest took "
        f"{cold['slowest_meanwhile_ms']:.0f} ms. With the kernels in the cache and {warm['fences']:,} "
        f"fences the R-tree answers after {warm['first_answer_s']} s and the cells after "
        f"{warm['cells_answer_s']} s; making the fences from columns is in it."
    )


def _of_million(million: dict[str, Any]) -> list[dict[str, Any]]:
    return [bar for bar in million["bars"] if bar["case"] == "1M"]


def _bars(bars: list[dict[str, Any]]) -> Iterator[str]:
    missed = sum(not bar["holds"] for bar in bars)
    yield ""
    told = f"The bars that Nearcast sets itself: {len(bars) - missed} of {len(bars)} hold in this run."
    yield told + (
        " Why others do not, by profile: [matching.md](matching.md#measured)." if missed else ""
    )
    yield ""
    yield _row("bar", "case", "figure", "measured", "bound", "")
    yield _row(*["---"] * 6)
    for bar in bars:
        sign = "at least" if bar["figure"] == "ratio_to_best_exact" else "at most"
        yield _row(
            bar["bar"],
            bar["case"],
            f"`{bar['figure']}`",
            f"{bar['value']:,}",
            f"{sign} {bar['bound']:,}",
            "holds" if bar["holds"] else "**does not hold**",
        )


def _skipped(cases: list[Case]) -> list[str]:
    return [
        f"- {label(name)} at {short(case['fences'])}: {row['skipped']}"
        for case in cases
        for name, row in case["figures"].items()
        if "skipped" in row
    ]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"
