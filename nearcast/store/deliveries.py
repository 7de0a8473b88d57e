"""The messages of campaigns on their way, the inbox, and clicks (product M9).

How they are leased and what becomes of them is `outbox`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from campaigns.campaign.campaign import Channel
from nearcast.store import outbox
from nearcast.store.engine import among
from nearcast.store.outbox import CAME_TO_NOTHING, LEASE_LOST, MESSAGES, Attempt, DeliveryState
from nearcast.store.tables import click, delivery, device, fence, send_slot, webhook

__all__ = ["CAME_TO_NOTHING", "HANDED_OVER", "LEASE_LOST", "Attempt", "DeliveryState", "Lease"]

#: the message was handed to somebody and did not fail
HANDED_OVER = (DeliveryState.SENT, DeliveryState.DELIVERED)
#: product M9: a location trigger's message lives 30 min, so it is rarely old enough to be given up
GIVE_UP_AFTER_MS = 3 * 24 * 3_600_000  # api.md: retries with back-off for 3 days


@dataclass(frozen=True, kw_only=True)
class Lease(outbox.Lease):
    """A message that one worker may send until the lease runs out.

    Attributes:
        device_key: the app's own name of the device; ad_id, user_id: as they are known now.
    """

    campaign_id: int
    created_ms: int
    expires_ms: int
    is_test: bool
    kind: str
    trigger_ms: int
    title: str
    body: str
    image: str | None
    link: str | None
    device_key: str
    ad_id: str | None
    user_id: str | None
    fence_id: int
    fence_external_id: str | None
    fence_name: str


def lease(
    conn: sa.Connection, *, now_ms: int, limit: int, lease_ms: int, webhook_id: int | None = None
) -> list[Lease]:
    """Take messages to endpoints that are due, the longest due first; those over by now expire.

    Due are queued ones, and those whose worker let its lease run out. An expired one that was leased
    and never recorded may have been sent: it becomes `uncertain`.

    Args:
        webhook_id: only those to this endpoint.
    """
    outbox.reclaim(conn, MESSAGES, now_ms)
    wanted = {"now_ms": now_ms, "limit": limit, "lease_ms": lease_ms}
    while taken := outbox.take(conn, MESSAGES, webhook_id=webhook_id, **wanted):
        leased = [serial for serial, state in taken if state == DeliveryState.LEASED]
        _give_back(conn, [serial for serial, state in taken if state == DeliveryState.EXPIRED])
        if leased:
            return _leases(conn, leased)
    return []


def record(conn: sa.Connection, held: Lease, attempt: Attempt) -> bool:
    """Keep an attempt, see `outbox.record`; one that came to nothing gives its frequency slot back."""
    changed = outbox.record(conn, MESSAGES, held, attempt)
    if changed and attempt.state in CAME_TO_NOTHING:
        _give_back(conn, [held.id])
    return changed


def waiting(conn: sa.Connection, now_ms: int) -> int:
    """How many webhook deliveries are due or expired by now."""
    due = MESSAGES.due(now_ms) | MESSAGES.abandoned(now_ms)
    query = sa.select(sa.func.count()).select_from(delivery).where(due)
    return conn.execute(query).scalar_one()


# --- inbox and clicks -------------------------------------------------------------------------------


def inbox(conn: sa.Connection, device_ids: Sequence[int], *, now_ms: int) -> list[sa.RowMapping]:
    """The inbox deliveries of some devices that have not expired, the newest first."""
    if not device_ids:
        return []
    query = (
        sa.select(delivery)
        .where(
            among(conn, delivery.c.device_id, list(device_ids)),
            delivery.c.channel == Channel.INBOX.value,
            delivery.c.expires_ms > now_ms,
            delivery.c.state.not_in([state.value for state in CAME_TO_NOTHING]),
        )
        .order_by(delivery.c.created_ms.desc(), delivery.c.id.desc())
    )
    return list(conn.execute(query).mappings())


def mark_fetched(conn: sa.Connection, delivery_ids: Sequence[int], *, now_ms: int) -> None:
    """The app has read these; only the first time counts, and an expired one cannot be read."""
    conn.execute(
        sa.update(delivery)
        .where(
            among(conn, delivery.c.id, list(delivery_ids)),
            delivery.c.fetched_ms.is_(None),
            delivery.c.expires_ms > now_ms,
        )
        .values(
            fetched_ms=now_ms,
            handed_ms=sa.func.coalesce(delivery.c.handed_ms, now_ms),
            state=DeliveryState.DELIVERED.value,
        )
    )


def get(conn: sa.Connection, delivery_id: int) -> sa.RowMapping | None:
    """One delivery's row."""
    return conn.execute(sa.select(delivery).where(delivery.c.id == delivery_id)).mappings().first()


def add_click(conn: sa.Connection, delivery_id: int, *, now_ms: int) -> None:
    """Keep a click; the first one stands with the delivery."""
    conn.execute(sa.insert(click).values(delivery_id=delivery_id, at_ms=now_ms))
    first = (delivery.c.id == delivery_id) & delivery.c.clicked_ms.is_(None)
    conn.execute(sa.update(delivery).where(first).values(clicked_ms=now_ms))


def attempts_of(conn: sa.Connection, delivery_id: int) -> list[Mapping[str, Any]]:
    """The attempts at a delivery, the oldest first."""
    return outbox.attempts_of(conn, MESSAGES, delivery_id)


# --- inside -----------------------------------------------------------------------------------------


def _give_back(conn: sa.Connection, delivery_ids: Sequence[int]) -> None:
    """Free the frequency slots that these deliveries took, and no other one of the same person."""
    if not delivery_ids:
        return
    took = sa.exists().where(
        among(conn, delivery.c.id, list(delivery_ids)),
        delivery.c.campaign_id == send_slot.c.campaign_id,
        delivery.c.person == send_slot.c.person,
        delivery.c.created_ms == send_slot.c.taken_ms,
        delivery.c.is_test.is_(False),
    )
    conn.execute(sa.delete(send_slot).where(took))


def _leases(conn: sa.Connection, delivery_ids: Sequence[int]) -> list[Lease]:
    if not delivery_ids:
        return []
    query = (
        sa.select(
            *(delivery.c[name] for name in _OF_DELIVERY),
            delivery.c.attempts.label("tries"),
            (delivery.c.created_ms + GIVE_UP_AFTER_MS).label("give_up_ms"),
            device.c.key.label("device_key"),
            device.c.ad_id,
            device.c.user_id,
            fence.c.id.label("fence_id"),
            fence.c.external_id.label("fence_external_id"),
            fence.c.name.label("fence_name"),
            webhook.c.url,
            webhook.c.secret,
        )
        .join(device, device.c.id == delivery.c.device_id)
        .join(fence, fence.c.id == delivery.c.fence_id)
        .outerjoin(webhook, outbox.endpoint_of(delivery))
        .where(among(conn, delivery.c.id, list(delivery_ids)))
        .order_by(delivery.c.not_before_ms, delivery.c.id)
    )
    return [Lease(**row) for row in conn.execute(query).mappings()]


#: what a lease takes over from its row as it stands
_OF_DELIVERY = (
    "id",
    "webhook_id",
    "campaign_id",
    "attempts",
    "created_ms",
    "expires_ms",
    "is_test",
    "kind",
    "trigger_ms",
    "title",
    "body",
    "image",
    "link",
)
