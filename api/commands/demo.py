"""`nearcast demo`: the whole job on made-up stores and phones, then a page with its report."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from api.commands.printing import json_option, print_json, print_table
from api.commands.reports import report_json, show
from api.commands.serving import free_port_or_tell, run_server

if TYPE_CHECKING:
    from api.demo.run import Played
    from campaigns.measuring.reports import Report


@click.command()
@click.option("--no-serve", is_flag=True, help="End after the report.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65_535))
@click.option(
    "--database",
    default=Path("var/demo.db"),
    show_default=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="A SQLite file; one that stands there is made anew.",
)
@click.option("--devices", default=2_000, show_default=True, type=click.IntRange(1, 100_000))
@click.option("--days", default=3, show_default=True, type=click.IntRange(1, 31))
@json_option
def demo(no_serve: bool, port: int, database: Path, devices: int, days: int, as_json: bool) -> None:
    """Load stores, play walking phones, print the campaigns' reports, serve the page.

    Everything is made up; a seed makes it the same each time.
    """
    if not no_serve:
        free_port_or_tell("127.0.0.1", port)
    from api.demo.run import play

    with _progress() as tell:
        played = play(database, devices=devices, days=days, progress=tell)
    reports = _reports(played)
    if as_json:
        print_json(_as_json(played, reports))
    else:
        _show(played, reports)
    if no_serve:
        return
    os.environ |= {
        "NEARCAST_DATABASE_URL": f"sqlite:///{database}",
        "NEARCAST_CLOCK": "replay",
        "NEARCAST_DEMO": "1",
        "NEARCAST_PUBLIC_URL": f"http://127.0.0.1:{port}",
    }
    run_server(host="127.0.0.1", port=port)


def _reports(played: Played) -> list[Report]:
    from nearcast.services.write_reports import report
    from nearcast.store.engine import reading

    house = played.house
    now_ms = house.clock.now_ms()
    found = reading(
        house.engine,
        lambda conn: [report(conn, serial, now_ms=now_ms) for serial in played.campaign_ids],
    )
    house.engine.dispose()
    return found


def _show(played: Played, reports: list[Report]) -> None:
    took = sum(played.seconds.values())
    click.echo(
        f"{played.stores:,} stores and {played.areas:,} areas loaded, "
        f"{len(played.walks.at_ms):,} pings played in {took:.0f} s."
    )
    print_table(["pings", "count"], played.outcomes.items())
    for found in reports:
        click.echo()
        show(found)


def _as_json(played: Played, reports: list[Report]) -> dict[str, Any]:
    return {
        "stores": played.stores,
        "areas": played.areas,
        "pings": len(played.walks.at_ms),
        "outcomes": played.outcomes,
        "transitions": played.transitions,
        "seconds": played.seconds,
        "reports": [report_json(found) for found in reports],
    }


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """One bar a step, on the error channel; nothing where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = ("[bold]{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        tasks: dict[str, Any] = {}

        def tell(step: str, done: int, of: int) -> None:
            if step not in tasks:
                tasks[step] = bar.add_task(step, total=of)
            bar.update(tasks[step], completed=done)

        yield tell
