"""`GET /v1/visits`: who was where, since when, how surely (product P6)."""

from __future__ import annotations

from typing import Annotated, cast

import sqlalchemy as sa
from apiflask import APIBlueprint
from pydantic import ConfigDict, Field

from api.answers import Out, Page, rfc3339
from api.auth import needs, principal
from api.cursors import cursor_of, place_of
from api.fields import Instant, Key
from api.wiring import house
from campaigns.campaign.campaign import to_ms
from campaigns.measuring.visit_classes import VisitClass
from nearcast.services.ids import parse, public
from nearcast.services.manage_workspace import app_of
from nearcast.services.read_visits import ReadVisit, presence_policy, read_visits
from nearcast.store import devices, fences
from nearcast.store.engine import reading
from nearcast.store.visits import Place

bp = APIBlueprint("visits", __name__, url_prefix="/v1", tag="Visits")
_FOR_EVER_MS = 2**62


class VisitQuery(Page):
    """Which visits: of a fence, of a device, arrived in `[from, to)`."""

    fence: Annotated[str | None, Field(max_length=200, description="its id, or your external_id")] = None
    device_id: Annotated[str | None, Field(max_length=128)] = None
    since: Annotated[Instant | None, Field(alias="from")] = None
    until: Annotated[Instant | None, Field(alias="to")] = None
    app: Key | None = None


class VisitedFence(Out):
    """The fence of a visit."""

    id: str
    external_id: str | None
    name: str


class VisitOut(Out):
    """A stay of a device at a fence; `left` is its last fix inside, so far while it is open."""

    model_config = ConfigDict(frozen=True, serialize_by_alias=True, populate_by_name=True)

    device_id: str
    fence: VisitedFence
    arrived: str
    left: str
    dwell_s: float
    fixes: int
    confidence: float
    kind: Annotated[VisitClass, Field(alias="class")]
    open: bool


class VisitsOut(Out):
    """A page of visits, the newest arrival first."""

    items: list[VisitOut]
    total: int
    next_cursor: str | None


@bp.get("/visits")
@needs("manage")
@bp.input(VisitQuery, location="query", arg_name="query")
@bp.output(VisitsOut)
def list_visits(query: VisitQuery) -> VisitsOut:
    """Visits, pass-bys and single fixes, told apart by `class`"""
    home, who = house(), principal()
    before = cast("Place | None", _tuple(place_of(query.cursor, numbers=3)))

    def verb(conn: sa.Connection) -> VisitsOut:
        app_id = app_of(conn, who, query.app)
        found = read_visits(
            conn,
            app_id=app_id,
            policy=presence_policy(conn, who.workspace_id),
            now_ms=home.clock.now_ms(),
            from_ms=0 if query.since is None else to_ms(query.since),
            until_ms=_FOR_EVER_MS if query.until is None else to_ms(query.until),
            fence_ids=_fences(conn, who.workspace_id, query.fence),
            device_ids=_devices(conn, app_id, query.device_id),
            before=before,
            limit=query.limit,
        )
        items = [_out(read) for read in found.items]
        return VisitsOut(items=items, total=found.total, next_cursor=cursor_of(found.behind))

    return reading(home.engine, verb)


def _tuple(place: list[int | str] | None) -> tuple[int | str, ...] | None:
    return None if place is None else tuple(place)


def _fences(conn: sa.Connection, workspace_id: int, named: str | None) -> list[int] | None:
    """The fence that is named: by the user's own key, else by an id of ours."""
    if named is None:
        return None
    own = fences.by_external(conn, workspace_id=workspace_id, external_ids=[named])
    return [own[named].id] if own else [parse("fnc", named)]


def _devices(conn: sa.Connection, app_id: int, key: str | None) -> list[int] | None:
    if key is None:
        return None
    return [device.id for device in devices.find(conn, app_id=app_id, key=key)]


def _out(read: ReadVisit) -> VisitOut:
    visit = read.visit
    return VisitOut(
        device_id=visit.device_key,
        fence=VisitedFence(
            id=public("fnc", visit.fence_id),
            external_id=visit.fence_external_id,
            name=visit.fence_name,
        ),
        arrived=rfc3339(visit.arrived_ms),
        left=rfc3339(visit.left_ms),
        dwell_s=read.dwell_ms / 1000,
        fixes=visit.fixes,
        confidence=round(read.confidence, 4),
        kind=read.kind,
        open=read.open,
    )
