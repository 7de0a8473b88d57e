"""The chapter on ingest of docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

STAGES = 10


def section(report: dict[str, Any]) -> Iterator[str]:
    """The chapter, line by line."""
    yield from ("", "## Ingest", "")
    yield (
        "Durable pings over real HTTP to one `nearcast serve --core 0` on the same machine: fences of a "
        "made-up city, 20 running campaigns, people of whom three in four walk, 2 % of pings late, "
        "1 % sent twice, dated at the moment at which they are sent (`bench/_city.py`). Time is "
        "compressed: a minute of walking goes by from ping to ping, however fast the server "
        "takes them. The client is a process of its own that shares the cores and checks every "
        "answer; an answer lists outcomes and means durable (SQLite WAL with "
        "`synchronous=FULL`, PostgreSQL with `synchronous_commit=on`). Afterwards each visit in "
        "the database is compared with a fold over all acknowledged pings. Each run takes "
        f"{report['seconds']:g} s after all devices were met once."
    )
    yield ""
    yield "| run | known devices | new devices | p50 | p99 | CPU a ping: server, client | wrong visits |"
    yield "|---|---|---|---|---|---|---|"
    for run in report["runs"]:
        yield _row(run)
    yield ""
    yield from _workload(report["runs"])
    yield from _bars(report)
    yield from _stages(report.get("stages", {}))
    yield from _floors(report.get("floors", []))


def _row(run: dict[str, Any]) -> str:
    if "skipped" in run:
        return f"| {run['case']} | {run['skipped']} | | | | | |"
    known, new = run["known_devices"], run.get("new_devices")
    database = run.get("database")
    cells = [
        run["case"],
        f"**{known['pings_per_s']:,} pings/s**",
        f"{new['pings_per_s']:,}" if new else "–",
        f"{known['p50_ms']} ms",
        f"{known['p99_ms']} ms",
        f"{run['server_cpu_us']}, {known['client_us_per_ping']} µs",
        f"{database['wrong_visits']} of {database['visits']:,}" if database else "–",
    ]
    return f"| {' | '.join(cells)} |"


def _workload(runs: list[dict[str, Any]]) -> Iterator[str]:
    """The true shares of the first run, as its database and its answers tell them."""
    shares = next((run["database"] for run in runs if "database" in run), None)
    if shares is None:
        return
    yield (
        f"Of the pings of the first run {shares['inside_share']:.1%} are in a fence, "
        f"{shares['transition_share']:.1%} bring a transition, {shares['late_share']:.1%} are "
        f"late, {shares['duplicate_share']:.1%} duplicates. Context keeps nothing; its answers "
        "are compared with the fences that hold each place."
    )
    yield ""


def _bars(report: dict[str, Any]) -> Iterator[str]:
    missed = [bar for bar in report["bars"] if not bar["holds"]]
    grown = report["growth_over_minutes"]
    yield (
        f"Bars I1 to I3: {len(report['bars']) - len(missed)} of {len(report['bars'])} figures hold"
        + ("; these do not:" if missed else ".")
    )
    yield ""
    for bar in missed:
        yield f"- {bar['bar']} {bar['case']}: {bar['figure']} {bar['value']:,}, bound {bar['bound']:,}"
    if grown < 10:
        yield f"- growth was looked at over {grown} min; the bar says 10 (`--minutes 10`)"
    yield ""


def _stages(watched: dict[str, Any]) -> Iterator[str]:
    rows = watched.get("stages")
    if not rows:
        return
    yield (
        f"The dearest stages of a ping's way ({watched['case']}; a run of its own, because the "
        "clock costs a little), in µs a ping. CPU is that of the thread at work; the wall also "
        "holds what it waits for: the GIL, the disk, PostgreSQL, other threads; walls of "
        "several threads overlap."
    )
    yield ""
    yield "| stage | CPU | wall |"
    yield "|---|---|---|"
    whole = [row for row in rows if row["stage"] == "process"]
    for row in [row for row in rows if row["stage"] != "process"][:STAGES]:
        yield f"| {row['stage']} | {row['cpu_us']} | {row['wall_us']} |"
    for row in whole:
        yield f"| the whole serving process | {row['cpu_us']} | {row['wall_us']} |"
    yield ""


def _floors(floors: list[dict[str, Any]]) -> Iterator[str]:
    if not floors:
        return
    yield "Floors: what stores take that know no fence, no visit, no order, no duplicate and no message."
    yield ""
    for floor in floors:
        said = f"{floor['pings_per_s']:,} pings/s" if "pings_per_s" in floor else floor["skipped"]
        yield f"- {floor['name']}: {said}; {floor['does']}"
    yield ""
