"""`nearcast report`: what a campaign reached; the figures as tables, sheets or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from api.commands.opening import opened
from api.commands.printing import json_option, print_json, print_table
from nearcast.services.ids import parse, public

if TYPE_CHECKING:
    from campaigns.measuring.reports import Figures, Report

MAX_FENCES = 10
COUNTED = ("targets", "receivers", "clickers", "response", "visitors", "visits")


_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("campaign")
@click.option("--xlsx", type=_FILE, help="Write the report as a workbook.")
@click.option("--csv", type=_FILE, help="Write the report as one CSV.")
@json_option
def report(campaign: str, xlsx: Path | None, csv: Path | None, as_json: bool) -> None:
    """Print the report of CAMPAIGN (cmp_1) over its period, or write it to files."""
    from campaigns.campaign.plans import Feature, opens
    from nearcast.services import write_reports
    from nearcast.services.report_files import to_table, to_workbook

    serial = parse("cmp", campaign)
    with opened() as home:
        with_visits = opens(home.plan, Feature.VISIT_PERFORMANCE)
        found = home.read(
            lambda conn: write_reports.report(conn, serial, now_ms=home.now_ms, with_visits=with_visits)
        )
    for file, written in ((xlsx, to_workbook), (csv, to_table)):
        if file is not None:
            file.write_bytes(written(found))
            click.echo(f"{campaign} in {file}", err=True)
    if as_json:
        print_json(report_json(found))
    elif xlsx is None and csv is None:
        show(found)


def report_json(found: Report) -> dict[str, Any]:
    """A report as `GET /v1/campaigns/{id}/report` answers it."""
    interval = found.totals.response_interval
    return {
        "campaign_id": public("cmp", found.campaign_id),
        "name": found.name,
        "state": found.state,
        "time_zone": found.time_zone,
        "from": _rfc3339(found.from_ms),
        "until": _rfc3339(found.until_ms),
        "visits_until": _rfc3339(found.visits_until_ms),
        "as_of": _rfc3339(found.as_of_ms),
        "fences_total": found.fences_total,
        "decisions_total": found.decisions,
        "totals": _figures(found, found.totals)
        | {"response_interval": list(interval) if interval else None},
        "per_day": [_figures(found, day) | {"day": str(day.day)} for day in found.per_day],
        "per_fence": [
            _figures(found, fence) | {"fence_id": public("fnc", fence.fence_id)}
            for fence in found.per_fence
        ],
        "reasons": [asdict(reason) for reason in found.reasons],
    }


def _figures(found: Report, counted: Figures) -> dict[str, Any]:
    figures = asdict(counted) | {"response_rate": counted.response_rate}
    return figures if found.has_visits else figures | {"visitors": None, "visits": None}


def _rfc3339(at_ms: int) -> str:
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def show(found: Report) -> None:
    """Print a report as tables."""
    zone = ZoneInfo(found.time_zone)
    start, end = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (found.from_ms, found.until_ms))
    period = f"{start.astimezone(zone):%Y-%m-%d %H:%M} to {end.astimezone(zone):%Y-%m-%d %H:%M}"
    title = f"{found.name} ({found.state}), {period} {found.time_zone}"
    total = ["all days", *_cells(found.totals)]
    print_table(
        ["day", *COUNTED],
        [*([str(day.day), *_cells(day)] for day in found.per_day), total],
        title=title,
    )
    rows = [[fence.name, *_cells(fence)] for fence in found.per_fence[:MAX_FENCES]]
    if rows:
        shown = f"{len(rows)} of {found.fences_total} fences, the most visited first"
        print_table(["fence", *COUNTED], rows, title=shown)
    if found.reasons:
        reasons = [(reason.code, reason.count, reason.persons) for reason in found.reasons]
        print_table(["decision", "times", "persons"], reasons, title="Decisions")


def _cells(figures: Figures) -> Sequence[Any]:
    rate = figures.response_rate
    return (
        figures.targets,
        figures.receivers,
        figures.clickers,
        None if rate is None else f"{rate:.1%}",
        figures.visitors,
        figures.visits,
    )
