"""`/v1/workspace`: what holds for all of it (product U5, W1)."""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa
from apiflask import APIBlueprint
from flask import Response
from pydantic import Field

from api.answers import In, Out, answered
from api.auth import needs, principal
from api.routes.actors import author
from api.wiring import house
from nearcast.services import manage_workspace
from nearcast.services.ids import public
from nearcast.store import workspaces
from nearcast.store.engine import reading

bp = APIBlueprint("workspace", __name__, url_prefix="/v1", tag="Workspace")

Countries = Annotated[
    list[Annotated[str, Field(max_length=8)]],
    Field(max_length=300, description="ISO 3166 codes", examples=[["KR"]]),
]


class WorkspacePatch(In):
    """What is to change; what is left out stays."""

    countries: Countries | None = None


class WorkspaceOut(Out):
    """The workspace of the key. Rows of uploads outside `countries` are questioned; empty: anywhere."""

    id: str
    name: str
    plan: str
    time_zone: str
    countries: Countries


@bp.get("/workspace")
@needs("manage")
@bp.output(WorkspaceOut)
def get_workspace() -> WorkspaceOut:
    """The workspace of this key"""
    workspace_id = principal().workspace_id
    return reading(house().engine, lambda conn: _shown(conn, workspace_id))


@bp.patch("/workspace")
@needs("manage")
@bp.input(WorkspacePatch, arg_name="body")
@bp.output(WorkspaceOut)
def patch_workspace(body: WorkspacePatch) -> Response:
    """Say in which countries the workspace's places lie"""
    who = author()

    def verb(conn: sa.Connection) -> WorkspaceOut:
        if body.countries is not None:
            manage_workspace.set_countries(conn, body.countries, author=who)
        return _shown(conn, who.workspace_id)

    return answered(verb)


def _shown(conn: sa.Connection, workspace_id: int) -> WorkspaceOut:
    row = workspaces.get(conn, workspace_id)
    return WorkspaceOut(
        id=public("wsp", row["id"]),
        name=row["name"],
        plan=row["plan"],
        time_zone=row["time_zone"],
        countries=row["settings"].get("countries", []),
    )
