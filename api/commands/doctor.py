"""`nearcast doctor`: is this installation sound, and what is in it."""

from __future__ import annotations

import platform
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import click

from api.commands.printing import json_option, print_json, print_table

if TYPE_CHECKING:
    import sqlalchemy as sa

#: less free space than this is told as a fault: SQLite's log alone may grow to some 100 MB
LEAST_FREE_BYTES = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at; `ok` is None where nothing can be wrong with it."""

    what: str
    value: str
    ok: bool | None = None
    mend: str = ""


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Look whether the database is reachable, durable and migrated, and what is in it.

    Exit code 1 when something needs mending.
    """
    found = examine()
    sound = all(finding.ok is not False for finding in found)
    if as_json:
        print_json({"sound": sound, "findings": [asdict(finding) for finding in found]})
    else:
        signs = {True: "ok", False: "FAULT", None: ""}
        rows = [(signs[f.ok], f.what, f.value, f.mend) for f in found]
        print_table(["", "what", "value", "how to mend"], rows)
    raise SystemExit(0 if sound else 1)


def examine() -> list[Finding]:
    """All findings, as far as one can get."""
    import sqlalchemy as sa

    from api.settings import Settings
    from nearcast.store.engine import UnsafeDatabase, make_engine

    settings = Settings.from_env()
    found = _versions()
    url = sa.make_url(settings.database_url)
    shown = url.render_as_string(hide_password=True)
    file = Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None
    if file is not None:
        found.append(_disk(file))
        if not file.exists():  # opening it would make it
            missing = Finding(what="database", value=shown, ok=False, mend="Run: nearcast migrate")
            return [*found, missing]
    try:
        engine = make_engine(settings.database_url)
        with engine.connect() as conn:
            found += [Finding(what="database", value=shown, ok=True), *_database(conn)]
        found += _contents(engine, settings.ping_folder)
        engine.dispose()
    except (sa.exc.SQLAlchemyError, UnsafeDatabase) as error:
        told = str(getattr(error, "orig", None) or error).splitlines()[0]
        mend = f"Is it running, and NEARCAST_DATABASE_URL right? {told}"
        found.append(Finding(what="database", value=shown, ok=False, mend=mend))
    return found


def _versions() -> list[Finding]:
    import pyproj
    import shapely

    from geo.matching.cell_match import match_many
    from geo.matching.compiled import is_on_disk

    kernels = "compiled" if is_on_disk(match_many) else "compiled at the first start, in half a minute"
    return [
        Finding(what="nearcast", value=version("nearcast")),
        Finding(what="python", value=platform.python_version()),
        Finding(what="GEOS", value=shapely.geos_version_string),
        Finding(what="PROJ", value=pyproj.proj_version_str),
        Finding(what="numba", value=version("numba")),
        Finding(what="kernels of the matcher", value=kernels),
    ]


def _disk(file: Path) -> Finding:
    folder = next((path for path in file.resolve().parents if path.exists()), Path("/"))
    free = shutil.disk_usage(folder).free
    return Finding(
        what="free disk",
        value=f"{free / (1 << 30):,.1f} GiB at {folder}",
        ok=free >= LEAST_FREE_BYTES,
        mend="" if free >= LEAST_FREE_BYTES else "Free some space: at least 1 GiB.",
    )


def _database(conn: sa.Connection) -> list[Finding]:
    from nearcast.store import health

    found = [Finding(what="database server", value=health.server_version(conn))]
    for name, (value, durable) in health.durability(conn).items():
        mend = "" if durable else f"Acknowledged pings could be lost; set {name} back."
        found.append(Finding(what=name, value=value, ok=durable, mend=mend))
    return found


def _contents(engine: sa.Engine, ping_folder: str) -> list[Finding]:
    from nearcast.services.clocks import WallClock
    from nearcast.store import health, ping_log
    from nearcast.store.engine import reading
    from nearcast.store.migrate import current, newest

    revision, wanted = current(engine), newest()
    if revision != wanted:
        value = f"at {revision or 'nothing'}, this version needs {wanted}"
        return [Finding(what="migrated", value=value, ok=False, mend="Run: nearcast migrate")]
    now_ms = WallClock().now_ms()
    counted = reading(engine, lambda conn: health.counts(conn, now_ms=now_ms))
    last_ms = reading(engine, ping_log.newest_ms)
    last = datetime.fromtimestamp(last_ms / 1000, UTC).isoformat() if last_ms else "never"
    return [
        Finding(what="migrated", value=f"at {revision}", ok=True),
        *(Finding(what=n.replace("_", " "), value=f"{c:,}") for n, c in counted.items()),
        Finding(what="last ping", value=last),
        _ping_files(engine, ping_folder),
        _forgotten(engine),
    ]


def _forgotten(engine: sa.Engine) -> Finding:
    """What retention deleted last; all of it is at `GET /v1/retention`."""
    from nearcast.store import retention
    from nearcast.store.engine import reading

    line = reading(engine, retention.newest)
    if line is None:
        return Finding(what="last deleted by age", value="nothing yet")
    at = datetime.fromtimestamp(line["at_ms"] / 1000, UTC).isoformat(timespec="seconds")
    what = str(line["what"]).replace("_", " ")
    return Finding(what="last deleted by age", value=f"{line['rows']:,} {what} at {at}")


def _ping_files(engine: sa.Engine, folder: str) -> Finding:
    """Whether sealed pings can be read: a file that is registered must be there."""
    from nearcast.store import ping_seals
    from nearcast.store.engine import reading
    from nearcast.store.ping_files import PingFiles, PingFilesUnreachable

    files, pings, size = reading(engine, ping_seals.totals)
    value = f"{files:,} files, {pings:,} pings, {size / (1 << 20):,.1f} MiB at {folder}"
    newest = reading(engine, ping_seals.newest)
    try:
        if newest is not None:
            PingFiles(folder).find(newest.names)
    except PingFilesUnreachable as error:
        return Finding(what="sealed pings", value=value, ok=False, mend=error.message)
    return Finding(what="sealed pings", value=value, ok=True)
