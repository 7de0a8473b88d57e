"""`nearcast replay`: post recorded pings over HTTP, in time order."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from api.commands.printing import json_option, print_json, print_table
from api.commands.recordings import Ping, read
from geo.errors import NearcastError

if TYPE_CHECKING:
    import httpx

ATTEMPTS = 10
MAX_WAIT_S = 15.0
_TRY_AGAIN = frozenset({429, 502, 503, 504})


class ReplayStopped(NearcastError):
    """The server refused a batch; what was posted before stays."""

    code = "replay_stopped"


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="The server.")
@click.option("--key", envvar="NEARCAST_KEY", required=True, help="An API key [NEARCAST_KEY].")
@click.option("--backfill", is_flag=True, help="History: visits only, nothing is sent.")
@click.option("--batch", default=1000, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--zone", default="UTC", show_default=True, help="Time zone of times without one.")
@click.option("--device", help="Device id of points that name none. Default: the file's name.")
@click.option("--app", help="The app that the pings are of. Default: what the file says.")
@json_option
def replay(
    file: Path,
    url: str,
    key: str,
    backfill: bool,
    batch: int,
    zone: str,
    device: str | None,
    app: str | None,
    as_json: bool,
) -> None:
    """Post the pings of FILE (csv, ndjson, gpx, parquet; also .gz) in time order.

    Sealed pings of NEARCAST_PING_FILES are such files, and so is what `nearcast pings` writes.

    For history older than the horizon use --backfill, or a server with `serve --clock replay`.
    """
    try:
        recording = read(file, zone=ZoneInfo(zone), device_id=device)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise click.UsageError(f"'{zone}' is no time zone; say one like Asia/Seoul.") from error
    if app is not None:
        for ping in recording.pings:
            ping["app"] = app
    with _progress(len(recording.pings)) as advance:
        counts, requests = post(
            recording.pings, url=url, key=key, backfill=backfill, batch=batch, advance=advance
        )
    told = {"pings": len(recording.pings), "requests": requests, "untimed": recording.untimed}
    if as_json:
        print_json(told | {"counts": dict(counts)})
    else:
        print_table(["outcome", "pings"], counts.items(), title=f"{file.name}: {requests} requests")
        if recording.untimed:
            click.echo(f"{recording.untimed} points without a time were left out.")


def post(
    pings: Sequence[Ping],
    *,
    url: str,
    key: str,
    backfill: bool = False,
    batch: int = 1000,
    advance: Callable[[int], object] = lambda _: None,
) -> tuple[Counter[str], int]:
    """Post pings in the order given; returns the counts of outcomes and the number of requests.

    A server that is busy or gone is asked again for about a minute: a batch has its effect once.

    Raises:
        ReplayStopped: the server refused a batch, or was gone for too long.
    """
    import httpx

    counts: Counter[str] = Counter()
    requests = 0
    query = {"detail": "counts"} | ({"mode": "backfill"} if backfill else {})
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=url, headers=headers, params=query, timeout=60) as client:
        for first in range(0, len(pings), batch):
            part = pings[first : first + batch]
            counts.update(_post(client, part, first)["counts"])
            requests += 1
            advance(len(part))
    return counts, requests


def _post(client: httpx.Client, part: Sequence[Ping], first: int) -> dict[str, Any]:
    import httpx

    fault = ""
    for attempt in range(ATTEMPTS):
        wait_s = min(0.2 * 2**attempt, MAX_WAIT_S)
        try:
            answer = client.post("/v1/pings", json={"pings": list(part)})
        except httpx.TransportError as error:
            fault = f"{client.base_url} does not answer: {error or type(error).__name__}"
        else:
            if answer.status_code == 200:
                taken: dict[str, Any] = answer.json()
                return taken
            fault = f"{answer.status_code}: {_detail(answer)}"
            if answer.status_code not in _TRY_AGAIN:
                break
            wait_s = max(wait_s, float(answer.headers.get("Retry-After", 0) or 0))
        if attempt < ATTEMPTS - 1:
            time.sleep(wait_s)
    raise ReplayStopped(f"Pings {first + 1:,} to {first + len(part):,} were not taken. {fault}")


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:200]


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], object]]:
    """A bar on the error channel; nothing where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = ("[bold]pings", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("pings", total=total)
        yield lambda done: bar.advance(task, done)
