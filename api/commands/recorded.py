"""`nearcast pings`: write the pings that are kept, sealed or not, to one file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from api.commands.opening import Opened, opened

if TYPE_CHECKING:
    from nearcast.store.ping_log import LoggedPings

_DAY_MS = 86_400_000
_ENDINGS = (".parquet", ".csv")


@click.command()
@click.option("--from", "since", help="The first instant, such as 2026-11-23T00:00:00+09:00.")
@click.option("--to", "until", help="The instant after the last one.")
@click.option("--device", help="Only of this device id.")
@click.option("--app", help="Of this app, by its bundle id. Default: the oldest one.")
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write: .parquet or .csv.",
)
def pings(since: str | None, until: str | None, device: str | None, app: str | None, out: Path) -> None:
    """Write pings as they were taken, each once, by UTC day, device and time.

    The columns are those of the sealed files; `nearcast replay` reads what is written.
    """
    if out.suffix not in _ENDINGS:
        raise click.UsageError(f"'{out.name}' may end in {' or '.join(_ENDINGS)}.")
    first_ms, last_ms = _instant_ms(since, 0), _instant_ms(until, 1 << 52) - 1
    with opened() as home:
        written = _write(home, _app(home, app), device, first_ms, last_ms, out)
    click.echo(f"{written:,} pings in {out}")


def _app(home: Opened, bundle_id: str | None) -> tuple[int, str]:
    from nearcast.store import workspaces

    apps = home.read(lambda conn: workspaces.apps_of(conn, home.workspace_id))
    named = next(iter(apps)) if bundle_id is None else bundle_id
    if named not in apps:
        raise click.UsageError(f"There is no app '{named}'; there is {', '.join(apps)}.")
    return apps[named], named


def _write(
    home: Opened, app: tuple[int, str], device: str | None, first_ms: int, last_ms: int, out: Path
) -> int:
    import numpy as np

    from nearcast.store import ping_seals
    from nearcast.store.ping_export import TableFile
    from nearcast.store.ping_files import table_of

    def keys(serials: Any) -> list[str]:
        return home.read(lambda conn: ping_seals.keys_of(conn, serials.tolist()))

    app_id, bundle_id = app
    written = 0
    with TableFile(out) as file:
        for found in _by_day(home, app_id, device, first_ms, last_ms):
            order = np.lexsort((found.fixes["at_ms"], found.fixes["device"]))
            fixes, seq = found.fixes[order], found.seq[order]
            file.write(table_of(fixes, seq, keys=keys, app_id=app_id, app=bundle_id))
            written += len(fixes)
    return written


def _by_day(
    home: Opened, app_id: int, device: str | None, first_ms: int, last_ms: int
) -> Iterator[LoggedPings]:
    """The pings of each UTC day; the first piece may be empty, so that a file is written."""
    from nearcast.store import devices, ping_log

    found = home.read(lambda conn: ping_log.span_ms(conn, app_id)) or (0, -1)
    ids = None
    if device is not None:
        ids = [d.id for d in home.read(lambda conn: devices.find(conn, app_id=app_id, key=device))]
    start, end = max(first_ms, found[0]), min(last_ms, found[1])
    for day_ms in range(start // _DAY_MS * _DAY_MS, max(end, start) + 1, _DAY_MS):
        read = partial(
            ping_log.read,
            app_id=app_id,
            first_ms=max(day_ms, start),
            last_ms=min(day_ms + _DAY_MS - 1, end),
            devices=ids,
            files=home.ping_files,
        )
        logged = home.read(read)
        if len(logged) or day_ms <= start:
            yield logged


def _instant_ms(text: str | None, default_ms: int) -> int:
    if text is None:
        return default_ms
    with suppress(ValueError):
        at = datetime.fromisoformat(text)
        if at.tzinfo is not None:
            return round(at.timestamp() * 1000)
    raise click.UsageError(f"'{text}' is no time with its zone, such as 2026-11-23T00:00:00+09:00.")
