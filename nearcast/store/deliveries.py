"""The outbox: deliveries leased by workers, what became of them, the inbox, and clicks (product M9).

A worker leases a delivery, sends it, then records what happened. A worker that dies in between leaves a
lease that runs out, and another one sends the message again under the same key: nothing is lost, and
the receiver can tell a repeat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from campaigns.campaign.campaign import Channel
from nearcast.store.engine import among
from nearcast.store.tables import attempt as attempt_table
from nearcast.store.tables import click, delivery, device, fence, send_slot, webhook


class DeliveryState(StrEnum):
    """Where a delivery stands (api.md)."""

    QUEUED = "queued"
    LEASED = "leased"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    DEAD = "dead"
    UNCERTAIN = "uncertain"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


#: the message was handed to somebody and did not fail
HANDED_OVER = (DeliveryState.SENT, DeliveryState.DELIVERED)
#: it never reached anybody: the frequency slot is given back (product C5)
CAME_TO_NOTHING = (
    DeliveryState.FAILED,
    DeliveryState.DEAD,
    DeliveryState.EXPIRED,
    DeliveryState.CANCELLED,
)
LEASE_LOST = "lease_lost"
_WAITING = (DeliveryState.QUEUED, DeliveryState.LEASED)


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A delivery that one worker may send until the lease runs out.

    Attributes:
        attempts: how often it was leased, this time included; also tells this lease from a later one.
        device_key: the app's own name of the device; ad_id, user_id: as they are known now.
        url, secret: of the endpoint; None when it was removed.
    """

    id: int
    webhook_id: int
    campaign_id: int
    attempts: int
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
    url: str | None
    secret: str | None


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What happened when a lease was used.

    Attributes:
        status: the HTTP status, None where there was no answer.
        state: where the delivery stands afterwards.
        state_reason: why, where it was not handed over.
        not_before_ms: when a `QUEUED` one is tried again.
    """

    at_ms: int
    ok: bool
    permanent: bool
    status: int | None
    detail: str
    state: DeliveryState
    state_reason: str | None
    not_before_ms: int


def lease(conn: sa.Connection, *, now_ms: int, limit: int, lease_ms: int) -> list[Lease]:
    """Take webhook deliveries that are due, the longest due first; those that are over by now expire.

    Due are queued ones, and those whose worker let its lease run out. An expired one that was leased
    and never recorded may have been sent: it becomes `uncertain`.
    """
    _reclaim(conn, now_ms)
    while taken := _take(conn, now_ms=now_ms, limit=limit, lease_ms=lease_ms):
        leased = [serial for serial, state in taken if state == DeliveryState.LEASED]
        _give_back(conn, [serial for serial, state in taken if state == DeliveryState.EXPIRED])
        if leased:
            return _leases(conn, leased)
    return []


def record(conn: sa.Connection, held: Lease, attempt: Attempt) -> bool:
    """Keep an attempt and what it makes of the delivery; whether this worker still held the lease.

    When the lease was taken over meanwhile, a failure changes nothing any more – the other worker is
    at it – but a success is one, whoever tells of it.
    """
    conn.execute(
        sa.insert(attempt_table).values(
            webhook_id=held.webhook_id,
            delivery_id=held.id,
            at_ms=attempt.at_ms,
            ok=attempt.ok,
            permanent=attempt.permanent,
            status=attempt.status,
            detail=attempt.detail,
        )
    )
    own = (delivery.c.state == DeliveryState.LEASED.value) & (delivery.c.attempts == held.attempts)
    open_ = delivery.c.state.in_([*_WAITING, DeliveryState.UNCERTAIN])
    statement = (
        sa.update(delivery)
        .where(delivery.c.id == held.id, open_ if attempt.ok else own)
        .values(
            state=attempt.state.value,
            state_reason=attempt.state_reason,
            # an expired one comes up at its expiry, whatever its back-off says
            not_before_ms=sa.case(
                (delivery.c.expires_ms < attempt.not_before_ms, delivery.c.expires_ms),
                else_=attempt.not_before_ms,
            ),
            lease_until_ms=0,
            handed_ms=attempt.at_ms if attempt.ok else delivery.c.handed_ms,
        )
    )
    changed = conn.execute(statement).rowcount == 1
    if changed and attempt.state in CAME_TO_NOTHING:
        _give_back(conn, [held.id])
    return changed


def waiting(conn: sa.Connection, now_ms: int) -> int:
    """How many webhook deliveries are due or expired by now."""
    query = sa.select(sa.func.count()).select_from(delivery).where(_due(now_ms))
    return conn.execute(query).scalar_one()


def any_waiting(conn: sa.Connection, now_ms: int) -> bool:
    """Whether there is anything to lease or to expire; an idle worker asks often, so it only reads."""
    return conn.execute(sa.select(sa.exists().where(_due(now_ms)))).scalar_one()


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
    query = sa.select(attempt_table).where(attempt_table.c.delivery_id == delivery_id)
    return [dict(row) for row in conn.execute(query.order_by(attempt_table.c.id)).mappings()]


# --- inside -----------------------------------------------------------------------------------------


_WEBHOOKS = delivery.c.channel == Channel.WEBHOOK.value
_QUEUED = _WEBHOOKS & (delivery.c.state == DeliveryState.QUEUED.value)


def _reclaim(conn: sa.Connection, now_ms: int) -> None:
    """Leases that ran out: their worker is dead or stuck, and the message is anybody's again."""
    conn.execute(
        sa.update(delivery)
        .where(_abandoned(now_ms))
        .values(
            state=sa.case(
                (delivery.c.expires_ms <= now_ms, DeliveryState.UNCERTAIN.value),
                else_=DeliveryState.QUEUED.value,
            ),
            state_reason=LEASE_LOST,
        )
    )


def _due(now_ms: int) -> sa.ColumnElement[bool]:
    return (_QUEUED & (delivery.c.not_before_ms <= now_ms)) | _abandoned(now_ms)


def _abandoned(now_ms: int) -> sa.ColumnElement[bool]:
    leased = delivery.c.state == DeliveryState.LEASED.value
    return _WEBHOOKS & leased & (delivery.c.lease_until_ms <= now_ms)


def _take(
    conn: sa.Connection, *, now_ms: int, limit: int, lease_ms: int
) -> list[tuple[int, DeliveryState]]:
    """Lease the head of the queue, or let it expire: one statement along one index."""
    due = (
        sa.select(delivery.c.id)
        .where(_QUEUED, delivery.c.not_before_ms <= now_ms)
        .order_by(delivery.c.not_before_ms, delivery.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)  # SQLite, with its one writer, leaves this out
        .cte("due")  # read once; as a plain subquery PostgreSQL may run it again and take too many
    )
    over = delivery.c.expires_ms <= now_ms
    rows = conn.execute(
        sa.update(delivery)
        .where(delivery.c.id.in_(sa.select(due.c.id)))
        .values(
            state=sa.case(
                # the worker that lost it may have sent it
                (over & (delivery.c.state_reason == LEASE_LOST), DeliveryState.UNCERTAIN.value),
                (over, DeliveryState.EXPIRED.value),
                else_=DeliveryState.LEASED.value,
            ),
            lease_until_ms=now_ms + lease_ms,
            attempts=delivery.c.attempts + sa.case((over, 0), else_=1),
        )
        .returning(delivery.c.id, delivery.c.state)
    )
    return [(row.id, DeliveryState(row.state)) for row in rows]


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
    endpoint = (webhook.c.id == delivery.c.webhook_id) & webhook.c.deleted_ms.is_(None)
    query = (
        sa.select(
            *(delivery.c[name] for name in _OF_DELIVERY),
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
        .outerjoin(webhook, endpoint)
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
