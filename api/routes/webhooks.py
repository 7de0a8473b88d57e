"""`/v1/webhooks`: where signed messages go (Standard Webhooks)."""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa
from apiflask import APIBlueprint
from flask import Response
from pydantic import Field

from api.answers import In, Out, Page, answered, page_of, rfc3339
from api.auth import needs, principal
from api.fields import Key, Name
from api.wiring import house
from nearcast.services import manage_workspace
from nearcast.services.ids import parse, public
from nearcast.store import workspaces
from nearcast.store.engine import reading

bp = APIBlueprint("webhooks", __name__, url_prefix="/v1", tag="Webhooks")


class WebhookIn(In):
    """An endpoint of yours."""

    name: Name
    url: Annotated[str, Field(max_length=2_048, examples=["https://shop.example/nearcast"])]
    app: Key | None = None


class WebhookOut(Out):
    """An endpoint."""

    id: str
    app: str
    name: str
    url: str
    created_at: str


class NewWebhookOut(WebhookOut):
    """A new endpoint with the secret that signs what is sent there; it is never shown again."""

    secret: str


class WebhooksOut(Out):
    """A page of endpoints."""

    items: list[WebhookOut]
    total: int
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
            allow_http=home.settings.allow_private_targets,
            now_ms=home.clock.now_ms(),
            actor=who.actor,
        )
        rows = workspaces.webhooks_of(conn, [app_id])
        row = next(row for row in rows if row["id"] == serial)
        return NewWebhookOut(**_fields(row), secret=secret)

    return answered(verb, status=201)


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


def _fields(row: sa.RowMapping) -> dict[str, str]:
    return {
        "id": public("whk", row["id"]),
        "app": public("app", row["app_id"]),
        "name": row["name"],
        "url": row["url"],
        "created_at": rfc3339(row["created_ms"]),
    }
