"""`/v1/campaigns`: draft, test, start and end campaigns (product C1–C3, C5)."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from apiflask import APIBlueprint
from flask import Response

from api.answers import after, answered, cursor_to, encode, rfc3339
from api.auth import needs, principal
from api.fields import public_id
from api.routes.actors import author
from api.routes.campaign_bodies import (
    AudienceIn,
    AudienceOut,
    CampaignIn,
    CampaignOut,
    CampaignPatch,
    CampaignQuery,
    CampaignsOut,
    MessageIn,
    MessageOut,
    Parts,
    PeriodIn,
    PeriodOut,
    PlaceOut,
    TargetingIn,
    TargetingOut,
    TriggerOut,
    WarningOut,
)
from api.shapes import GivenShape, circle_out, read_shape
from api.wiring import house
from campaigns.campaign.campaign import Frequency, HoursZone
from campaigns.campaign.life import MOVES, State
from campaigns.people.identity import normal_ad_id
from geo.fences.shapes import to_geojson
from nearcast.services import manage_workspace, run_campaigns
from nearcast.services.errors import FieldError, Invalid, NotFound
from nearcast.services.ids import parse, public
from nearcast.services.run_campaigns import TARGET_OF_MOVE
from nearcast.store import campaigns, fences
from nearcast.store.engine import reading
from nearcast.store.fences import StoredFence

_WARNINGS = {"not_tested": "This campaign was never in test; a test id would have shown its message."}

bp = APIBlueprint("campaigns", __name__, url_prefix="/v1", tag="Campaigns")


@bp.get("/campaigns")
@needs("manage", "test")
@bp.input(CampaignQuery, location="query", arg_name="query")
@bp.output(CampaignsOut)
def list_campaigns(query: CampaignQuery) -> Response:
    """The campaigns, the newest first"""
    who, after_id = principal(), after(query.cursor)

    def verb(conn: sa.Connection) -> CampaignsOut:
        app_ids = manage_workspace.apps_for(conn, who)
        if query.app is not None:
            app_ids = [manage_workspace.app_of(conn, who, query.app)]
        rows, total = campaigns.listed(
            conn, app_ids=app_ids, state=query.state, after_id=after_id, limit=query.limit + 1
        )
        more, page = len(rows) > query.limit, rows[: query.limit]
        cursor = cursor_to(page[-1]["id"] if more else None)
        return CampaignsOut(items=_outs(conn, page), total=total, next_cursor=cursor)

    return Response(encode(reading(house().engine, verb)), mimetype="application/json")


@bp.post("/campaigns")
@needs("manage")
@bp.input(CampaignIn, arg_name="body")
@bp.output(CampaignOut, 201)
def create_campaign(body: CampaignIn) -> Response:
    """Make a draft; it may be incomplete"""
    parts, place = _parts(body), _place(body)

    def verb(conn: sa.Connection) -> CampaignOut:
        serial = run_campaigns.create(
            conn,
            parts,
            app_id=manage_workspace.app_of(conn, principal(), body.app),
            name=body.name,
            in_place=place,
            author=author(),
        )
        return _shown(conn, serial)

    return answered(verb, status=201)


@bp.get("/campaigns/<campaign_id>")
@needs("manage", "test")
@bp.output(CampaignOut)
def get_campaign(campaign_id: str) -> CampaignOut:
    """One campaign"""
    serial = parse("cmp", campaign_id)
    return reading(house().engine, lambda conn: _shown(conn, serial))


@bp.patch("/campaigns/<campaign_id>")
@needs("manage")
@bp.input(CampaignPatch, arg_name="body")
@bp.output(CampaignOut)
def patch_campaign(campaign_id: str, body: CampaignPatch) -> Response:
    """Change a part of a campaign; each change is a new version

    A part that is given replaces the whole part. A campaign in test, on standby or running must stay
    complete.
    """
    serial, changes, place = parse("cmp", campaign_id), _parts(body), _place(body)

    def verb(conn: sa.Connection) -> CampaignOut:
        row = _load(conn, serial)
        run_campaigns.edit(conn, row, changes, name=body.name, in_place=place, author=author())
        return _shown(conn, serial)

    return answered(verb)


@bp.delete("/campaigns/<campaign_id>")
@needs("manage")
@bp.doc(responses={204: "The draft is gone"})
def delete_campaign(campaign_id: str) -> Response:
    """Delete a draft; a campaign with results is archived, never deleted (409)"""
    serial = parse("cmp", campaign_id)
    return answered(
        lambda conn: run_campaigns.delete(conn, _load(conn, serial), author=author()), status=204
    )


def _add_move(name: str, target: State, summary: str) -> None:
    """One route a move, so that each stands in the OpenAPI document by its own address."""

    @bp.post(f"/campaigns/<string:campaign_id>:{name}", endpoint=f"{name}_campaign")
    @needs("manage")
    @bp.output(CampaignOut)
    @bp.doc(summary=summary, description=_MOVES_TEXT)
    def move(campaign_id: str) -> Response:
        serial = parse("cmp", campaign_id)

        def verb(conn: sa.Connection) -> CampaignOut:
            who = author()
            run_campaigns.tick(conn, who.now_ms)
            warnings = run_campaigns.go(conn, _load(conn, serial), target, author=who)
            return _shown(conn, serial, warnings)

        return answered(verb)


_MOVES_TEXT = (
    "draft → test, standby · test → draft, standby, running · standby → draft, running · "
    "running ⇄ paused · running, paused → ended · ended → archived. An illegal move is refused with "
    "those that are `allowed`; what is missing before a test or a start is named."
)
_SUMMARIES = {
    State.DRAFT: "Take a campaign back to draft",
    State.TEST: "Try a campaign: it reaches the app's test ids alone",
    State.STANDBY: "Let a campaign start by itself when its period begins",
    State.RUNNING: "Start a campaign, or go on with it",
    State.PAUSED: "Pause a campaign",
    State.ENDED: "End a campaign; it also ends by itself",
    State.ARCHIVED: "Put an ended campaign away",
}
for _name, _target in TARGET_OF_MOVE.items():
    _add_move(_name, _target, _SUMMARIES[_target])


@bp.post("/campaigns/<string:campaign_id>:copy")
@needs("manage")
@bp.output(CampaignOut, 201)
def copy_campaign(campaign_id: str) -> Response:
    """Make a draft with the same content"""
    serial = parse("cmp", campaign_id)

    def verb(conn: sa.Connection) -> CampaignOut:
        return _shown(conn, run_campaigns.copy(conn, _load(conn, serial), author=author()))

    return answered(verb, status=201)


# --- in ---------------------------------------------------------------------------------------------


#: parts that a body keeps as they come
_PLAIN = (
    "time_zone",
    "hours",
    "hours_zone",
    "frequency",
    "least_p",
    "infer_crossings",
    "priority",
    "additional_days",
)


def _parts(body: Parts) -> dict[str, Any]:
    """The parts that were given, as a campaign's body keeps them."""
    said = body.model_fields_set
    parts: dict[str, Any] = {name: getattr(body, name) for name in _PLAIN if name in said}
    if "targeting" in said:
        parts["targeting"] = _targeting(body.targeting or TargetingIn())
    if "period" in said:
        period = body.period or PeriodIn()
        parts["period"] = {
            name: at.isoformat() if at else None
            for name, at in (("start", period.start), ("end", period.end))
        }
    if "trigger" in said:
        parts["trigger"] = body.trigger.model_dump() if body.trigger else None
    if "audience" in said:
        parts["ad_ids"] = _ad_ids(body.audience or AudienceIn())
    if "message" in said:
        parts["message"] = _message(body.message or MessageIn())
    return parts


def _targeting(where: TargetingIn) -> dict[str, Any]:
    return {
        "fence_ids": [
            _serial("fnc", text, f"/targeting/fence_ids/{n}")
            for n, text in enumerate(dict.fromkeys(where.fence_ids))
        ],
        "groups": list(dict.fromkeys(where.groups)),
        "tags": list(dict.fromkeys(where.tags)),
    }


def _ad_ids(audience: AudienceIn) -> list[str] | None:
    if audience.kind == "everyone":
        if audience.ad_ids:
            message = "Ad ids go with the kind 'ad_ids'."
            fault = FieldError(pointer="/audience/kind", code="differs", message=message)
            raise Invalid(errors=[fault])
        return None
    # a zero one stays as it was sent, for its fault to be named
    return list(dict.fromkeys(normal_ad_id(ad_id) or ad_id for ad_id in audience.ad_ids))


def _message(message: MessageIn) -> dict[str, Any]:
    webhook = message.webhook_id
    return {
        "channel": message.channel.value if message.channel else None,
        "title": message.title,
        "body": message.body,
        "image": message.image,
        "link": message.link,
        "webhook_id": _serial("whk", webhook, "/message/webhook_id") if webhook else None,
    }


def _serial(kind: str, text: str, pointer: str) -> int:
    try:
        return parse(kind, text)
    except NotFound as error:
        fault = FieldError(pointer=pointer, code=error.code, message=error.message)
        raise Invalid(errors=[fault]) from error


def _place(body: Parts) -> GivenShape | None:
    if body.targeting is None or body.targeting.shape is None:
        return None
    bound = house().settings.max_radius_m
    return read_shape(body.targeting.shape, max_radius_m=bound, pointer="/targeting/shape")


def _load(conn: sa.Connection, serial: int) -> sa.RowMapping:
    app_ids = manage_workspace.apps_for(conn, principal())
    return run_campaigns.load(conn, app_ids=app_ids, campaign_id=serial)


# --- out --------------------------------------------------------------------------------------------


def _shown(conn: sa.Connection, serial: int, warnings: list[str] | None = None) -> CampaignOut:
    return _outs(conn, [_load(conn, serial)], warnings)[0]


def _outs(
    conn: sa.Connection, rows: list[sa.RowMapping], warnings: list[str] | None = None
) -> list[CampaignOut]:
    own = [row["body"]["targeting"].get("shape_fence_id") for row in rows]
    found = fences.get(
        conn,
        workspace_id=principal().workspace_id,
        fence_ids=[fence_id for fence_id in own if fence_id is not None],
    )
    return [_out(row, found.get(place), warnings or []) for row, place in zip(rows, own, strict=True)]


def _out(row: sa.RowMapping, place: StoredFence | None, warnings: list[str]) -> CampaignOut:
    body = row["body"]
    period, trigger = body.get("period") or {}, body["trigger"]
    ad_ids = body.get("ad_ids")
    return CampaignOut(
        id=public("cmp", row["id"]),
        app=public("app", row["app_id"]),
        name=row["name"],
        state=row["state"],
        allowed=[state.value for state in MOVES[State(row["state"])]],
        version=row["version"],
        targeting=_where(body["targeting"], place),
        period=PeriodOut(start=_utc(period.get("start")), end=_utc(period.get("end"))),
        time_zone=body["time_zone"],
        hours=body.get("hours"),
        hours_zone=body.get("hours_zone") or HoursZone.CAMPAIGN,
        trigger=TriggerOut(
            kind=trigger["kind"],
            after_s=trigger.get("after_s"),
            presumed=trigger.get("presumed", False),
        ),
        audience=AudienceOut(kind="everyone" if ad_ids is None else "ad_ids", ad_ids=ad_ids or []),
        frequency=body.get("frequency") or Frequency.ONCE_IN_PERIOD,
        least_p=body.get("least_p") or 0.0,
        infer_crossings=body.get("infer_crossings") or False,
        priority=body.get("priority") or 0,
        additional_days=body.get("additional_days") or 0,
        message=_said(body.get("message") or {}),
        warnings=[WarningOut(code=code, message=_WARNINGS[code]) for code in warnings],
        created_at=rfc3339(row["created_ms"]),
        updated_at=rfc3339(row["updated_ms"]),
    )


def _where(targeting: dict[str, Any], place: StoredFence | None) -> TargetingOut:
    shape = None
    if place is not None:
        shape = PlaceOut(
            fence_id=public("fnc", place.id),
            geometry=to_geojson(place.fence.shape),
            circle=circle_out(place.fence.shape),
        )
    own = targeting.get("shape_fence_id")
    return TargetingOut(
        fence_ids=[public("fnc", f) for f in targeting.get("fence_ids") or [] if f != own],
        groups=targeting.get("groups") or [],
        tags=targeting.get("tags") or [],
        shape=shape,
    )


def _said(message: dict[str, Any]) -> MessageOut:
    return MessageOut(
        channel=message.get("channel"),
        title=message.get("title") or "",
        body=message.get("body") or "",
        image=message.get("image"),
        link=message.get("link"),
        webhook_id=public_id("whk", message.get("webhook_id")),
    )


def _utc(text: str | None) -> str | None:
    return None if text is None else text.replace("+00:00", "Z")
