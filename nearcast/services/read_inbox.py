"""The inbox of a device: the messages it may show now (product M1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from campaigns.messages.links import tracked_link
from campaigns.people.identity import identify
from nearcast.services.errors import FieldError, Invalid
from nearcast.services.ids import public
from nearcast.store import deliveries, devices


def read_inbox(
    conn: sa.Connection, *, app_id: int, device_id: str | None, ad_id: str | None, now_ms: int
) -> list[sa.RowMapping]:
    """The messages of a device that have not expired, the newest first; nothing is written.

    A `device_id` wins over the ad id, as with pings; by an ad id all devices that bear it answer. A
    device that was never seen has no messages.

    Raises:
        Invalid: neither is given; an ad id of zeros is none.
    """
    who = identify(device_id=device_id, ad_id=ad_id)
    if who.key is None:
        message = "Name the device: device_id, or an ad_id that is not all zeros."
        raise Invalid(errors=[FieldError(pointer="/device_id", code="required", message=message)])
    found = devices.find(conn, app_id=app_id, key=(device_id or "").strip() or None, ad_id=who.ad_id)
    return deliveries.inbox(conn, [device.id for device in found], now_ms=now_ms)


def not_fetched(rows: list[sa.RowMapping]) -> list[int]:
    """The deliveries among these that the app reads for the first time."""
    return [row["id"] for row in rows if row["fetched_ms"] is None]


def message_json(
    row: Mapping[str, Any] | sa.RowMapping, *, link_secret: bytes, public_url: str
) -> dict[str, Any]:
    """A delivery as apps are given it, in the inbox and in a ping's answer (api.md)."""
    return {
        "delivery_id": public("dlv", row["id"]),
        "campaign_id": public("cmp", row["campaign_id"]),
        "channel": row["channel"],
        "title": row["title"],
        "body": row["body"],
        "image": row["image"],
        "link": tracked_link(row["id"], link=row["link"], secret=link_secret, public_url=public_url),
    }
