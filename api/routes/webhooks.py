"""`/v1/webhooks`: where signed messages and events go (Standard Webhooks; product P13)."""

from __future__ import annotations

from typing import Annotated, Any, cast

import sqlalchemy as sa
from apiflask import APIBlueprint
from flask import Response
from pydantic import Field

from api.answers import In, Out, Page, answered, page_of, rfc3339
from api.auth import needs, principal
from api.cursors import cursor_of, place_of
from api.fields import Instant, Key, Name
from api.routes.actors import author
from api.wiring import house
from campaigns.campaign.campaign import to_ms
from campaigns.messages.events import WebhookEvent
from nearcast.services import manage_workspace
from nearcast.services.errors import FieldError, Invalid
from nearcast.services.ids import parse, public
from nearcast.store import notices, outbox, workspaces
from nearcast.store.engine import reading

bp = APIBlueprint("webhooks", __name__, url_prefix="/v1", tag="Webhooks")

#: told again by one request; the answer says from when on to ask for the rest
MAX_TOLD_AGAIN = 10_000

Address = Annotated[str, Field(max_length=2_048, examples=["https://shop.example/nearcast"])]
Events = Annotated[
    list[WebhookEvent],
    Field(
        max_length=20,
        description="what it is told without any campaign; the messages of campaigns go anyway",
        examples=[["fence.entered", "visit.closed"]],
    ),
]


class WebhookIn(In):
    """An endpoint of yours."""

    name: Name
    url: Address
    events: Events = Field(default_factory=list)
    app: Key | None = None


class WebhookPatch(In):
    """What changes of an endpoint; what is left out stays."""

    name: Name | None = None
    url: Address | None = None
    events: Events | None = None


class WebhookOut(Out):
    """An endpoint."""

    id: str
    app: str
    name: str
    url: str
    events: list[WebhookEvent]
    created_at: str


class NewWebhookOut(WebhookOut):
    """A new endpoint with the secret that signs what is sent there; it is never shown again."""

    secret: str


class WebhooksOut(Out):
    """A page of endpoints."""

    items: list[WebhookOut]
    total: int
    next_cursor: str | None


class ReplayQuery(In):
    """Which events: told in `[from, to)`, at most 30 days ago."""

    since: Annotated[Instant, Field(alias="from")]
    until: Annotated[Instant, Field(alias="to")]


class ReplayOut(Out):
    """How many events were queued again; `next_from`: ask again from there on, null: that was all."""

    queued: int
    next_from: str | None


class AttemptOut(Out):
    """One try: `of` is the `webhook-id` of what was sent."""

    id: int
    of: str
    at: str
    ok: bool
    permanent: Annotated[bool, Field(description="it is not tried again")]
    status: Annotated[int | None, Field(description="HTTP; null: there was no answer")]
    detail: str


class AttemptsOut(Out):
    """A page of attempts, the newest first."""

    items: list[AttemptOut]
    next_cursor: str | None


@bp.get("/webhooks")
@needs("manage")
@bp.input(Page, location="query", arg_name="query")
@bp.output(WebhooksOut)
def list_webhooks(query: Page) -> WebhooksOut:
    """The endpoints"""
    who = principal()
    rows = reading(
        house().engine,
        lambda conn: workspaces.webhooks_of(conn, manage_workspace.apps_for(conn, who)),
    )
    page, total, cursor = page_of(rows, query)
    items = [WebhookOut(**_fields(row)) for row in page]
    return WebhooksOut(items=items, total=total, next_cursor=cursor)


@bp.post("/webhooks")
@needs("manage")
@bp.input(WebhookIn, arg_name="body")
@bp.output(NewWebhookOut, 201)
def add_webhook(body: WebhookIn) -> Response:
    """Add an endpoint; the answer alone shows its secret"""
    home, who = house(), principal()

    def verb(conn: sa.Connection) -> NewWebhookOut:
        app_id = manage_workspace.app_of(conn, who, body.app)
        serial, secret = manage_workspace.add_webhook(
            conn,
            app_id=app_id,
            workspace_id=who.workspace_id,
            name=body.name,
            url=body.url,
            events=body.events,
            allow_http=home.settings.allow_private_targets,
            now_ms=home.clock.now_ms(),
            actor=who.actor,
        )
        rows = workspaces.webhooks_of(conn, [app_id])
        row = next(row for row in rows if row["id"] == serial)
        return NewWebhookOut(**_fields(row), secret=secret)

    return answered(verb, status=201)


@bp.patch("/webhooks/<webhook_id>")
@needs("manage")
@bp.input(WebhookPatch, arg_name="body")
@bp.output(WebhookOut)
def patch_webhook(webhook_id: str, body: WebhookPatch) -> Response:
    """Change an endpoint: its name, its address, what it is told; its secret stays"""
    home, who, serial = house(), principal(), parse("whk", webhook_id)
    changes = author()

    def verb(conn: sa.Connection) -> WebhookOut:
        apps = manage_workspace.apps_for(conn, who)
        manage_workspace.change_webhook(
            conn,
            manage_workspace.webhook_of(conn, serial, app_ids=apps),
            name=body.name,
            url=body.url,
            events=body.events,
            allow_http=home.settings.allow_private_targets,
            author=changes,
        )
        row = manage_workspace.webhook_of(conn, serial, app_ids=apps)
        return WebhookOut(**_fields(row))

    return answered(verb)


@bp.post("/webhooks/<string:webhook_id>:replay")
@needs("manage")
@bp.input(ReplayQuery, location="query", arg_name="query")
@bp.output(ReplayOut)
def replay_webhook(webhook_id: str, query: ReplayQuery) -> Response:
    """Tell an endpoint again what it was told in a time, under the same ids

    Events of fences and visits, whether they arrived or were given up; what still waits is left as it
    is. The messages of campaigns are not repeated: they were for that moment.
    """
    since_ms, until_ms = to_ms(query.since), to_ms(query.until)
    if since_ms >= until_ms:
        message = "'to' must be later than 'from'."
        raise Invalid(errors=[FieldError(pointer="/to", code="empty_period", message=message)])
    who, now_ms, serial = principal(), house().clock.now_ms(), parse("whk", webhook_id)

    def verb(conn: sa.Connection) -> ReplayOut:
        manage_workspace.webhook_of(conn, serial, app_ids=manage_workspace.apps_for(conn, who))
        queued, rest_ms = notices.tell_again(
            conn,
            serial,
            since_ms=since_ms,
            until_ms=until_ms,
            now_ms=now_ms,
            limit=MAX_TOLD_AGAIN,
        )
        return ReplayOut(queued=queued, next_from=None if rest_ms is None else rfc3339(rest_ms))

    return answered(verb)


@bp.get("/webhooks/<webhook_id>/attempts")
@needs("manage")
@bp.input(Page, location="query", arg_name="query")
@bp.output(AttemptsOut)
def list_attempts(webhook_id: str, query: Page) -> AttemptsOut:
    """The newest attempts at an endpoint, and what came of each"""
    who, serial = principal(), parse("whk", webhook_id)
    place = cast("list[int] | None", place_of(query.cursor, numbers=1))

    def verb(conn: sa.Connection) -> AttemptsOut:
        manage_workspace.webhook_of(conn, serial, app_ids=manage_workspace.apps_for(conn, who))
        rows = outbox.attempts_at(
            conn, serial, limit=query.limit + 1, before_id=place[0] if place else None
        )
        page = rows[: query.limit]
        return AttemptsOut(
            items=[_attempt(row) for row in page],
            next_cursor=cursor_of([page[-1]["id"]] if len(rows) > query.limit else None),
        )

    return reading(house().engine, verb)


@bp.delete("/webhooks/<webhook_id>")
@needs("manage")
@bp.doc(responses={204: "The endpoint is gone"})
def delete_webhook(webhook_id: str) -> Response:
    """Remove an endpoint; one that a living campaign sends to is kept (409)"""
    who, now_ms = principal(), house().clock.now_ms()
    serial = parse("whk", webhook_id)

    def verb(conn: sa.Connection) -> None:
        manage_workspace.remove_webhook(
            conn,
            serial,
            app_ids=manage_workspace.apps_for(conn, who),
            workspace_id=who.workspace_id,
            now_ms=now_ms,
            actor=who.actor,
        )

    return answered(verb, status=204)


def _fields(row: sa.RowMapping) -> dict[str, Any]:
    return {
        "id": public("whk", row["id"]),
        "app": public("app", row["app_id"]),
        "name": row["name"],
        "url": row["url"],
        "events": row["events"],
        "created_at": rfc3339(row["created_ms"]),
    }


def _attempt(row: sa.RowMapping) -> AttemptOut:
    return AttemptOut(
        id=row["id"],
        of=row["key"] or public("dlv", row["delivery_id"]),
        at=rfc3339(row["at_ms"]),
        ok=row["ok"],
        permanent=row["permanent"],
        status=row["status"],
        detail=row["detail"],
    )
