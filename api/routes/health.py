"""Is the process alive, and may it be sent traffic."""

from __future__ import annotations

import sqlalchemy as sa
from apiflask import APIBlueprint
from flask import Response

from api.answers import Out, encode
from api.wiring import house
from nearcast.store import workspaces
from nearcast.store.engine import reading

bp = APIBlueprint("health", __name__, tag="Health")


class Health(Out):
    """What a probe asks."""

    status: str


class Ready(Health):
    """What a probe asks before it sends traffic.

    Attributes:
        matcher: `cells`, or `rtree` until the kernels of the faster one are compiled.
    """

    matcher: str


@bp.get("/healthz")
@bp.output(Health)
def healthz() -> Health:
    """Whether the process answers at all"""
    return Health(status="ok")


@bp.get("/readyz")
@bp.output(Ready)
@bp.doc(responses={503: "The database does not answer"})
def readyz() -> Response:
    """Whether requests may be sent here: the database answers and fences are loaded"""
    home = house()

    def verb(conn: sa.Connection) -> list[int]:
        return workspaces.serials(conn)

    engines = set()
    for workspace_id in reading(home.engine, verb):
        home.snapshots.current(workspace_id, now_ms=home.clock.now_ms())
        engines.add(home.snapshots.engine_of(workspace_id))
    matcher = "cells" if engines == {"cells"} else "rtree"
    return Response(encode(Ready(status="ready", matcher=matcher)), mimetype="application/json")
