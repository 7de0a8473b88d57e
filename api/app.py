"""The HTTP interface: every route, every error as a problem, its document and its readable page."""

from __future__ import annotations

import gc
import sys
import threading
from pathlib import Path

import structlog
from apiflask import APIFlask
from flask import Blueprint, Response, request

from api import hot, openapi, problems, validation
from api.headers import ALWAYS, OF_API
from api.settings import Settings
from api.wiring import EXTENSION, House, build
from nearcast.services.watch_stays import Watch

CONSOLE = Path(__file__).parent / "console"
#: nothing from elsewhere, nothing inline (quality Q15)
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def create_app(house: House | None = None) -> APIFlask:
    """The WSGI application.

    Args:
        house: the parts to use; without, they are built from the environment.
    """
    app = APIFlask(
        "nearcast",
        title=openapi.TITLE,
        version=openapi.VERSION,
        spec_path=None,  # our own routes: every error here is a problem, the docs page is ours
        docs_path=None,
        json_errors=False,
        static_folder=str(CONSOLE / "static"),
        static_url_path="/static",
        template_folder=str(CONSOLE / "templates"),
    )
    if house is None:  # this is a server's process
        house = build(Settings.from_env())
        log = structlog.wrap_logger(structlog.WriteLogger(sys.stderr))
        house.snapshots.compile_aside(log.info)
        _watch(house, log)
        _tune()
    app.extensions[EXTENSION] = house
    app.config.update(openapi.CONFIG)
    problems.install(app)
    app.before_request(validation.refuse_nul)
    app.after_request(_guard)
    for blueprint in blueprints():
        app.register_blueprint(blueprint)
    openapi.install(app)
    hot.install(app, house)
    return app


def _watch(house: House, log: structlog.typing.FilteringBoundLogger) -> None:
    """What time alone changes, also where no worker runs; several may look at once."""
    watch = Watch(house.engine, house.snapshots, house.clock)
    threading.Thread(
        target=watch.keep_looking, args=[threading.Event(), log.error], name="watch", daemon=True
    ).start()


def _tune() -> None:
    """Settings of the interpreter for a process that serves; both measured by `bench ingest`.

    Threads hand the interpreter on after half a millisecond instead of five, so that the one that
    commits does not wait for those that decode. What is there now lives as long as the process: the
    collector need not look at it again, and later rarely at all, for pings leave no cycles.
    """
    sys.setswitchinterval(0.0005)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


def blueprints() -> list[Blueprint]:
    """Every route of the interface, by subject."""
    from api.routes import (
        areas,
        campaigns,
        clicks,
        context,
        explain,
        fences,
        groups,
        health,
        home,
        inbox,
        keys,
        logged_pings,
        pings,
        reports,
        retention,
        test_devices,
        uploads,
        visits,
        webhooks,
        workspace,
    )

    modules = (
        pings,
        logged_pings,
        context,
        inbox,
        fences,
        groups,
        uploads,
        areas,
        campaigns,
        reports,
        explain,
        visits,
        test_devices,
        webhooks,
        workspace,
        retention,
        keys,
        clicks,
        home,
        health,
    )
    return [module.bp for module in modules]


def _guard(answer: Response) -> Response:
    """Browsers guess no types, keep no answers of the API, and run nothing that is not ours."""
    for name, value in (OF_API if request.path.startswith("/v1/") else ALWAYS).items():
        answer.headers.setdefault(name, value)
    if answer.mimetype == "text/html":
        answer.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        answer.headers.setdefault("X-Frame-Options", "DENY")
    return answer
