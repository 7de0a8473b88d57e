"""A click on a tracked link: counted once for its delivery, then led on (product M6)."""

from __future__ import annotations

import sqlalchemy as sa

from campaigns.messages.links import BadLink, delivery_of
from nearcast.store import deliveries


def target_of(conn: sa.Connection, token: str, *, secret: bytes) -> tuple[int, str]:
    """The delivery that a token names, and where its link leads: what was stored, nothing else.

    Raises:
        BadLink: the token is none of ours, or its delivery has no link (any more).
    """
    delivery_id = delivery_of(token, secret)
    row = deliveries.get(conn, delivery_id)
    if row is None or not row["link"]:
        raise BadLink
    return delivery_id, row["link"]


def take_click(conn: sa.Connection, delivery_id: int, *, now_ms: int) -> None:
    """Keep one click. A test's click is kept too; reports leave it out, as everything of a test."""
    deliveries.add_click(conn, delivery_id, now_ms=now_ms)
