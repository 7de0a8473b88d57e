"""`python -m bench ingest`: durable pings a second over real HTTP, every answer checked (bars I1-I3).

A city of fences and walking people (`_city.py`) posts to a server in a process of its own, on the same
machine; the client, another process, shares the cores. An answer means durable: SQLite WAL with
`synchronous=FULL`, PostgreSQL with `synchronous_commit=on`. Afterwards every visit in the database is
compared with a fold over all acknowledged pings. Without options it runs every case of the bars, the
stages of a ping's way, and floors beside them; with --db or --format one case of one's own.
"""

from __future__ import annotations

import json
import os
from typing import Any

import click

from bench import _ingest_bars, _ingest_floors
from bench._ingest_bars import Case
from bench._ingest_runner import measured

SECONDS = 12.0
#: the shortest run whose last third tells how cost grows
GROWTH_MINUTES = 10.0


@click.command("ingest")
@click.option("--db", "database", type=click.Choice(["sqlite", "postgres"]), help="One case on this.")
@click.option(
    "--format", "format_", type=click.Choice(["json", "arrow", "ndjson"]), help="One case of it."
)
@click.option("--batch", type=click.IntRange(1, 10_000), help="Pings a request of that case.")
@click.option("--fences", type=click.IntRange(1), help="Of that case.  [default: 10,000]")
@click.option("--devices", type=click.IntRange(1), help="Of that case.")
@click.option("--connections", type=click.IntRange(1), help="Of that case.")
@click.option("--context", is_flag=True, help="That case matches and keeps nothing.")
@click.option("--seconds", default=SECONDS, show_default=True, help="Of each measured phase.")
@click.option("--minutes", type=float, help="The same in minutes; growth is asked over 10.")
@click.option("--stages/--no-stages", default=None, help="Watch the stages of a ping's way.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
def command(
    database: str | None,
    format_: str | None,
    batch: int | None,
    fences: int | None,
    devices: int | None,
    connections: int | None,
    context: bool,
    seconds: float,
    minutes: float | None,
    stages: bool | None,
    as_json: bool,
) -> None:
    """Durable pings a second over HTTP: the bars I1 to I3."""
    seconds = seconds if minutes is None else minutes * 60
    own = context or any(said is not None for said in (database, format_, batch, fences))
    if own:
        one = _own(database, format_, batch, fences or 10_000, devices, connections, context)
    cases = [one] if own else _ingest_bars.ALL
    report = reported(
        cases, seconds=seconds, stages=bool(stages or (stages is None and not own)), floors=not own
    )
    click.echo(json.dumps(report, indent=1) if as_json else "\n".join(lines(report)))


def _own(
    database: str | None,
    format_: str | None,
    batch: int | None,
    fences: int | None,
    devices: int | None,
    connections: int | None,
    context: bool,
) -> Case:
    """A case of one's own; the bar's bounds where it is one of the bars'."""
    format_ = format_ or "json"
    batch = batch or (10_000 if context or format_ == "arrow" else 1_000)
    single = {"devices": devices or 2_000, "connections": connections or 64}
    usual = {"devices": devices or 100_000, "connections": connections or (4 if batch > 5_000 else 8)}
    case = Case(
        *("I2" if batch == 1 else "I1", database or "sqlite", format_, batch, {}),
        fences=fences,
        context=context,
        **(single if batch == 1 else usual),
    )
    known = {other.name: other.bounds for other in _ingest_bars.ALL if other.bar == case.bar}
    return Case(**vars(case) | {"bounds": known.get(case.name, {})})


def reported(cases: list[Case], *, seconds: float, stages: bool, floors: bool) -> dict[str, Any]:
    """Run the cases one after the other; `pings_per_s` is that of the first one."""
    runs = []
    for case in cases:
        click.echo(f"{case.bar} {case.name} …", err=True)
        runs.append((case, measured(case, seconds=seconds)))
    bars = [bar for case, figures in runs for bar in _ingest_bars.of_run(case, figures)]
    report: dict[str, Any] = {
        "seconds": seconds,
        "load": os.getloadavg()[0],
        "growth_over_minutes": round(seconds / 60, 2),
        "runs": [{"case": case.name, "bar": case.bar, **figures} for case, figures in runs],
        "bars": bars + _ingest_bars.of_fences(runs),
    }
    if known := runs[0][1].get("known_devices"):
        report["pings_per_s"] = known["pings_per_s"]
    if stages:
        click.echo("stages …", err=True)
        # apart from the others: the clock itself costs a little
        watched = measured(cases[0], seconds=min(seconds, 6.0), watched=True)
        report["stages"] = {"case": cases[0].name, **watched}
    if floors:
        click.echo("floors …", err=True)
        report["floors"] = _ingest_floors.measured(min(seconds, 5.0))
    return report


def lines(report: dict[str, Any]) -> list[str]:
    """The report for people."""
    found = []
    for run in report["runs"]:
        if "skipped" in run:
            found.append(f"{run['bar']} {run['case']}: skipped, {run['skipped']}")
            continue
        known, new = run["known_devices"], run.get("new_devices")
        found.append(
            f"{run['bar']} {run['case']}: {known['pings_per_s']:,} pings/s, {known['requests_per_s']:,} "
            f"requests/s, p50 {known['p50_ms']} ms, p99 {known['p99_ms']} ms; server "
            f"{run['server_cpu_us']} µs a ping, client {known['client_us_per_ping']}"
            + (f"; new devices {new['pings_per_s']:,}/s" if new else "")
        )
        found.append(f"   {json.dumps(run.get('database', {}))} wrong answers {run['wrong_answers']}")
    for row in report.get("stages", {}).get("stages", [])[:11]:
        found.append(f"   {row['stage']:20} {row['cpu_us']:7.3f} µs CPU  {row['wall_us']:7.3f} µs wall")
    for floor in report.get("floors", []):
        said = f"{floor['pings_per_s']:,} pings/s" if "pings_per_s" in floor else floor["skipped"]
        found.append(f"floor: {floor['name']}: {said} ({floor['does']})")
    for bar in report["bars"]:
        holds = "holds" if bar["holds"] else "DOES NOT HOLD"
        figure = f"{bar['figure']}: {bar['value']:,} (bound {bar['bound']:,})"
        found.append(f"{bar['bar']} {bar['case']} {figure} {holds}")
    if report["growth_over_minutes"] < GROWTH_MINUTES:
        found.append(f"growth is asked over 10 min; this run has {report['growth_over_minutes']} min")
    return found
