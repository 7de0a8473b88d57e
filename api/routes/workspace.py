"""`/v1/workspace`: what holds for all of it (product P3-P6, U5, W1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import sqlalchemy as sa
from apiflask import APIBlueprint
from flask import Response
from pydantic import Field

from api.answers import In, Out, answered
from api.auth import needs, principal
from api.fields import Number, Whole
from api.routes.actors import author
from api.wiring import house
from geo.matching.certainty import CertaintyPolicy
from geo.matching.presence import PresencePolicy
from nearcast.services import manage_workspace
from nearcast.services.check_policies import CERTAINTY_BOUNDS, PRESENCE_BOUNDS
from nearcast.services.ids import public
from nearcast.store import workspaces
from nearcast.store.engine import reading

bp = APIBlueprint("workspace", __name__, url_prefix="/v1", tag="Workspace")

Countries = Annotated[
    list[Annotated[str, Field(max_length=8)]],
    Field(max_length=300, description="ISO 3166 codes", examples=[["KR"]]),
]


def _range(name: str, what: str) -> Any:
    least, most = (PRESENCE_BOUNDS | CERTAINTY_BOUNDS)[name]
    return Field(description=f"{what}; {least:g} to {most:g}")


class PresencePolicyIn(In):
    """When evidence is one visit, and when somebody has left; null is the default again."""

    gap_s: Annotated[Whole | None, _range("gap_s", "a longer absence ends a visit")] = None
    min_visit_s: Annotated[Whole | None, _range("min_visit_s", "a shorter stay is a pass-by")] = None
    staleness_s: Annotated[Whole | None, _range("staleness_s", "older fixes never send")] = None
    amend_horizon_s: Annotated[Whole | None, _range("amend_horizon_s", "older pings are refused")] = None
    exit_fixes: Annotated[Whole | None, _range("exit_fixes", "fixes outside that end a stay")] = None
    exit_span_s: Annotated[Whole | None, _range("exit_span_s", "over so long at least")] = None
    far_sigma: Annotated[
        Number | None, _range("far_sigma", "or two in a row so many sigma from the rim")
    ] = None
    far_m: Annotated[Number | None, _range("far_m", "and so many metres")] = None


class CertaintyPolicyIn(In):
    """When a fix counts as in or out; null is the default again."""

    enter_p: Annotated[Number | None, _range("enter_p", "in from this probability on")] = None
    exit_p: Annotated[Number | None, _range("exit_p", "out up to this probability")] = None
    out_z: Annotated[Number | None, _range("out_z", "and so many sigma beyond the rim")] = None
    poor_out_z: Annotated[
        Number | None, _range("poor_out_z", "or so many, of a fix too coarse to be in")
    ] = None
    missing_sigma_m: Annotated[
        Number | None, _range("missing_sigma_m", "sigma of a fix that gives no accuracy")
    ] = None


class WorkspacePatch(In):
    """What is to change; what is left out stays."""

    countries: Countries | None = None
    presence: PresencePolicyIn | None = None
    certainty: CertaintyPolicyIn | None = None


class PresencePolicyOut(Out):
    """When evidence is one visit, and when somebody has left."""

    gap_s: int
    min_visit_s: int
    staleness_s: int
    amend_horizon_s: int
    exit_fixes: int
    exit_span_s: int
    far_sigma: float
    far_m: float


class CertaintyPolicyOut(Out):
    """When a fix counts as in or out."""

    enter_p: float
    exit_p: float
    out_z: float
    poor_out_z: float
    missing_sigma_m: float


class WorkspaceOut(Out):
    """The workspace of the key. Rows of uploads outside `countries` are questioned; empty: anywhere."""

    id: str
    name: str
    plan: str
    time_zone: str
    countries: Countries
    presence: PresencePolicyOut
    certainty: CertaintyPolicyOut


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
    """Say in which countries the workspace's places lie, and how visits and exits are judged

    Changed policies hold from the next pings on; visits that are written are not cut anew.
    """
    who = author()
    policies = {
        name: part.model_dump(exclude_unset=True) if part is not None else {}
        for name, part in (("presence", body.presence), ("certainty", body.certainty))
    }

    def verb(conn: sa.Connection) -> WorkspaceOut:
        if body.countries is not None:
            manage_workspace.set_countries(conn, body.countries, author=who)
        manage_workspace.set_policies(conn, **policies, author=who)
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
        presence=PresencePolicyOut(**_effective(PresencePolicy(), row["settings"], PRESENCE_BOUNDS)),
        certainty=CertaintyPolicyOut(**_effective(CertaintyPolicy(), row["settings"], CERTAINTY_BOUNDS)),
    )


def _effective(
    policy: PresencePolicy | CertaintyPolicy, settings: Mapping[str, Any], names: Iterable[str]
) -> dict[str, Any]:
    """The settings that may be set, the default where nothing is."""
    return {name: settings.get(name, getattr(policy, name)) for name in names}
