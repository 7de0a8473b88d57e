"""`nearcast serve`, `worker`, `migrate`, `openapi`, `demo`: what runs the service."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import threading

import click

from api.commands.opening import make_folder, opened
from api.commands.printing import json_option, print_json

CLOCKS = ("wall", "replay")
#: most of them wait for the commit that they share
BLOCKING_THREADS = 64
#: addresses to listen at that nobody can be sent to
_ANYWHERE = ("0.0.0.0", "::")  # noqa: S104


@click.command()
@json_option
def migrate(as_json: bool) -> None:
    """Bring the database to the newest tables; the first time, found the workspace and its app."""
    from api.settings import Settings
    from nearcast.services.clocks import WallClock
    from nearcast.services.manage_workspace import found_installation
    from nearcast.store import workspaces
    from nearcast.store.engine import in_transaction, make_engine, reading
    from nearcast.store.migrate import current, upgrade

    settings = Settings.from_env()
    make_folder(settings.database_url)
    engine = make_engine(settings.database_url)
    before = current(engine)
    upgrade(engine)
    now_ms = WallClock().now_ms()
    workspace_id = in_transaction(engine, lambda conn: found_installation(conn, now_ms=now_ms))
    keys = reading(engine, lambda conn: workspaces.keys_of(conn, workspace_id))
    revision = current(engine)
    shown = engine.url.render_as_string(hide_password=True)
    engine.dispose()
    if as_json:
        print_json({"database": shown, "before": before, "revision": revision})
        return
    click.echo(f"{shown} is at revision {revision}" + (" already." if before == revision else "."))
    if not keys:
        click.echo("There is no API key yet. Make one: nearcast keys create --holds-consent")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65_535))
@click.option("--clock", type=click.Choice(CLOCKS), help="replay: now is the newest ping's time.")
@click.option(
    "--threads",
    type=click.IntRange(1, 256),
    help="Requests answered at once.  [default: 64]",
)
@click.option(
    "--core",
    type=click.IntRange(0),
    help="Answer on this core alone, from 0: a third more pings; for a core that is the server's own.",
)
def serve(host: str, port: int, clock: str | None, threads: int | None, core: int | None) -> None:
    """Serve the API and the console."""
    if core is not None:
        stay_on(core)
    reached = "127.0.0.1" if host in _ANYWHERE else host
    os.environ.setdefault("NEARCAST_PUBLIC_URL", f"http://{reached}:{port}")
    if clock:
        os.environ["NEARCAST_CLOCK"] = clock
    free_port_or_tell(host, port)
    with opened():  # a fault of the settings or the database is told here, not by a child process
        pass
    run_server(host=host, port=port, threads=threads)


def stay_on(core: int) -> None:
    """Keep this process and what it starts on one core.

    Python answers on one core at a time anyway, and moves to another each time that a thread hands it
    on; staying saves the moves.
    """
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set[int]()
    if core not in allowed:
        known = ", ".join(map(str, sorted(allowed))) or "none can be chosen on this system"
        raise click.ClickException(f"There is no core {core} here; the cores are {known}.")
    os.sched_setaffinity(0, {core})


def free_port_or_tell(host: str, port: int) -> None:
    """Refuse at once where somebody listens already, before anything long begins."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
        except OSError as error:
            why = error.strerror or str(error)
            raise click.ClickException(f"{host}:{port}: {why}. Say another with --port.") from error


def run_server(*, host: str, port: int, threads: int | None = None) -> None:
    """Serve until a signal ends it; settings reach the serving process by the environment."""
    from granian import Granian
    from granian.constants import Interfaces

    click.echo(f"Nearcast listens at http://{host}:{port} (end with Ctrl-C)", err=True)
    Granian(
        "api.app:create_app",
        factory=True,
        interface=Interfaces.WSGI,
        address=host,
        port=port,
        workers=1,  # SQLite has one writer; for more processes see docs/reference.md
        blocking_threads=threads or BLOCKING_THREADS,
        log_access=False,
        websockets=False,
    ).serve()


@click.command()
@click.option("--once", is_flag=True, help="End when nothing is due any more.")
def worker(once: bool) -> None:
    """Send what waits in the outbox; ends on a signal, after what is in flight."""
    from api.settings import Settings
    from api.wiring import build
    from api.worker import run

    stop = threading.Event()
    for caught in (signal.SIGINT, signal.SIGTERM):
        signal.signal(caught, lambda *_: stop.set())
    with opened():
        pass
    house = build(Settings.from_env())
    try:
        sent = run(house, stop=stop, once=once)
    finally:
        house.engine.dispose()
    click.echo(f"{sent:,} messages handed over.")


@click.command()
def openapi() -> None:
    """Print the OpenAPI document of the HTTP interface; needs no database."""
    from api.app import create_app
    from api.settings import Settings
    from api.wiring import build
    from nearcast.store.engine import make_engine
    from nearcast.store.migrate import upgrade

    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/nearcast.db"
        engine = make_engine(url)
        upgrade(engine)
        engine.dispose()
        house = build(Settings(database_url=url))
        document = create_app(house).test_client().get("/openapi.json").get_json()
        house.engine.dispose()
    print_json(document)
