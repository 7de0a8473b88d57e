"""`/v1/retention`: how long what phones have said is kept, and what was deleted when (product P10)."""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa
from apiflask import APIBlueprint
from flask import Response
from pydantic import ConfigDict, Field

from api.answers import In, Out, Page, after, answered, cursor_to, rfc3339
from api.auth import needs, principal
from api.fields import Whole
from api.routes.actors import author
from api.wiring import house
from nearcast.services.forget_old import (
    MAX_RAW_PINGS_DAYS,
    MAX_VISITS_MONTHS,
    report_page,
    retention_policy,
    set_retention,
)
from nearcast.store.engine import reading

bp = APIBlueprint("retention", __name__, url_prefix="/v1", tag="Workspace")


class RetentionPatch(In):
    """What is left out stays as it is."""

    raw_pings_days: Annotated[
        Whole | None, Field(ge=1, le=MAX_RAW_PINGS_DAYS, description="pings as they came")
    ] = None
    visits_months: Annotated[
        Whole | None,
        Field(ge=1, le=MAX_VISITS_MONTHS, description="visits, and where devices were at night"),
    ] = None


class RetentionPolicyOut(Out):
    """How long things are kept: 7 days and 12 months unless set otherwise."""

    raw_pings_days: int
    visits_months: int


class ForgottenOut(Out):
    """What one pass has deleted: raw_pings, evidence, visits or nights.

    `from` and `to` are the oldest and the newest instant that the rows were about.
    """

    model_config = ConfigDict(frozen=True, serialize_by_alias=True, populate_by_name=True)

    at: str
    what: str
    since: Annotated[str, Field(alias="from")]
    until: Annotated[str, Field(alias="to")]
    rows: int


class RetentionOut(RetentionPolicyOut):
    """The policy and what was deleted by it, the newest first."""

    items: list[ForgottenOut]
    total: int
    next_cursor: str | None


@bp.get("/retention")
@needs("manage")
@bp.input(Page, location="query", arg_name="query")
@bp.output(RetentionOut)
def get_retention(query: Page) -> RetentionOut:
    """How long data is kept, and what was deleted when"""
    workspace_id = principal().workspace_id
    before = after(query.cursor) or None

    def verb(conn: sa.Connection) -> RetentionOut:
        found, total, behind = report_page(
            conn, workspace_id=workspace_id, before=before, limit=query.limit
        )
        policy = retention_policy(conn, workspace_id)
        return RetentionOut(
            raw_pings_days=policy.raw_pings_days,
            visits_months=policy.visits_months,
            items=[_out(row) for row in found],
            total=total,
            next_cursor=cursor_to(behind),
        )

    return reading(house().engine, verb)


@bp.patch("/retention")
@needs("admin")
@bp.input(RetentionPatch, arg_name="body")
@bp.output(RetentionPolicyOut)
def patch_retention(body: RetentionPatch) -> Response:
    """Say how long data is kept; what is too old by the new rule goes within two hours"""
    who = author()

    def verb(conn: sa.Connection) -> RetentionPolicyOut:
        policy = set_retention(
            conn,
            workspace_id=who.workspace_id,
            values=body.model_dump(exclude_none=True),
            now_ms=who.now_ms,
            actor=who.actor,
        )
        return RetentionPolicyOut(
            raw_pings_days=policy.raw_pings_days, visits_months=policy.visits_months
        )

    return answered(verb)


def _out(row: sa.RowMapping) -> ForgottenOut:
    return ForgottenOut(
        at=rfc3339(row["at_ms"]),
        what=row["what"],
        since=rfc3339(row["from_ms"]),
        until=rfc3339(row["until_ms"]),
        rows=row["rows"],
    )
