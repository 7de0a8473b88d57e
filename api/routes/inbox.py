"""`GET /v1/inbox`: the messages that a phone may show now (product M1)."""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa
from apiflask import APIBlueprint
from flask import Response, request
from pydantic import Field

from api.answers import In, Out, encode
from api.auth import needs, principal
from api.fields import Key
from api.wiring import house
from nearcast.services.manage_workspace import app_of
from nearcast.services.read_inbox import message_json, not_fetched, read_inbox
from nearcast.store import deliveries
from nearcast.store.engine import in_transaction, reading

bp = APIBlueprint("inbox", __name__, url_prefix="/v1", tag="Inbox")


class InboxQuery(In):
    """Whose inbox: a device, by its own id or its ad id."""

    device_id: Annotated[str | None, Field(max_length=128)] = None
    ad_id: Annotated[str | None, Field(max_length=64)] = None
    app: Key | None = None


class InboxMessage(Out):
    """A message for the app to show; its link counts the click and leads on."""

    delivery_id: str
    campaign_id: str
    channel: str
    title: str
    body: str
    image: str | None
    link: str | None


class InboxOut(Out):
    """The messages that have not expired, the newest first."""

    messages: list[InboxMessage]


@bp.get("/inbox")
@needs("ingest")
@bp.input(InboxQuery, location="query", arg_name="query")
@bp.output(InboxOut)
def get_inbox(query: InboxQuery) -> Response:
    """The messages of a device; reading a message makes its person a receiver

    A device that was never seen has none. Expired messages are not shown.
    """
    home, who = house(), principal()
    now_ms = home.clock.now_ms()

    def verb(conn: sa.Connection) -> list[sa.RowMapping]:
        return read_inbox(
            conn,
            app_id=app_of(conn, who, query.app),
            device_id=query.device_id,
            ad_id=query.ad_id,
            now_ms=now_ms,
        )

    rows = reading(home.engine, verb)
    # most calls find nothing new: only a first reading is written, and HEAD reads nothing
    if request.method == "GET" and (new := not_fetched(rows)):
        in_transaction(home.engine, lambda conn: deliveries.mark_fetched(conn, new, now_ms=now_ms))
    messages = [
        InboxMessage(**message_json(row, link_secret=home.link_secret, public_url=home.public_url))
        for row in rows
    ]
    return Response(encode(InboxOut(messages=messages)), mimetype="application/json")
