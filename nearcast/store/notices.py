"""What endpoints are told without a campaign: kept, leased, asked for again, forgotten (product P13)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from nearcast.store import bulk, outbox
from nearcast.store.columns import insert_columns
from nearcast.store.engine import among
from nearcast.store.outbox import NOTICES, Attempt, DeliveryState
from nearcast.store.tables import attempt as attempt_table
from nearcast.store.tables import notice, webhook

KEPT_FOR_RETRIES_MS = 3 * 24 * 3_600_000  # api.md: retries with back-off for 3 days
_TOLD = ("webhook_id", "key", "device_id", "fence_id", "body")
_OVER = (*outbox.CAME_TO_NOTHING, DeliveryState.SENT, DeliveryState.UNCERTAIN)


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something to tell an endpoint.

    Attributes:
        key: the webhook-id: the same for a repeat, and for every endpoint that is told.
        body: JSON as it is sent.
    """

    webhook_id: int
    key: str
    device_id: int
    fence_id: int
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Lease(outbox.Lease):
    """A notice that one worker may send until the lease runs out."""

    key: str
    body: bytes


def add(conn: sa.Connection, told: Sequence[Notice], *, app_id: int, now_ms: int) -> int:
    """Queue notices in the order given; those that were told before are left out.

    Returns how many are new. In the caller's transaction: what is not committed was not told.
    """
    serials = bulk.take_serials(conn, notice, len(told))  # in the order given, whatever inserts them
    queued: dict[str, Any] = {
        "app_id": app_id,
        "state": DeliveryState.QUEUED.value,
        "attempts": 0,
        "attempts_before": 0,
        "created_ms": now_ms,
        "not_before_ms": now_ms,
        "lease_until_ms": 0,
        "expires_ms": now_ms + KEPT_FOR_RETRIES_MS,
    }
    columns = {"id": serials} | {name: [getattr(one, name) for one in told] for name in _TOLD}
    columns |= {name: [value] * len(told) for name, value in queued.items()}
    return insert_columns(conn, notice, columns) if told else 0


def lease(
    conn: sa.Connection, *, now_ms: int, limit: int, lease_ms: int, webhook_id: int | None = None
) -> list[Lease]:
    """Take notices that are due; see `deliveries.lease`. Of one device and fence only the earliest."""
    outbox.reclaim(conn, NOTICES, now_ms)
    wanted = {"now_ms": now_ms, "limit": limit, "lease_ms": lease_ms}
    while taken := outbox.take(conn, NOTICES, webhook_id=webhook_id, **wanted):
        leased = [serial for serial, state in taken if state == DeliveryState.LEASED]
        if leased:
            return _leases(conn, leased)
    return []


def record(conn: sa.Connection, held: Lease, attempt: Attempt) -> bool:
    """Keep an attempt; see `outbox.record`."""
    return outbox.record(conn, NOTICES, held, attempt)


def tell_again(
    conn: sa.Connection, webhook_id: int, *, since_ms: int, until_ms: int, now_ms: int, limit: int
) -> tuple[int, int | None]:
    """Queue again what an endpoint was told in `[since, until)`, under the same keys.

    What still waits is left as it is. Returns how many, and from when on to ask for the rest: None
    when that was all. All of one instant go together, so they may be more than the limit.
    """
    wanted = (
        (notice.c.webhook_id == webhook_id)
        & (notice.c.created_ms >= since_ms)
        & notice.c.state.in_([state.value for state in _OVER])
    )
    times = sa.select(notice.c.created_ms).where(wanted, notice.c.created_ms < until_ms)
    last = times.order_by(notice.c.created_ms).offset(limit).limit(1)
    rest_ms = conn.execute(last).scalar()
    if rest_ms == since_ms:  # more than the limit at one instant
        rest_ms = since_ms + 1 if since_ms + 1 < until_ms else None
    done = conn.execute(
        sa.update(notice)
        .where(wanted, notice.c.created_ms < (until_ms if rest_ms is None else rest_ms))
        .values(
            state=DeliveryState.QUEUED.value,
            state_reason=None,
            attempts_before=notice.c.attempts,
            not_before_ms=now_ms,
            lease_until_ms=0,
            expires_ms=now_ms + KEPT_FOR_RETRIES_MS,
        )
    )
    return done.rowcount, rest_ms


def forget_before(conn: sa.Connection, before_ms: int, *, limit: int) -> int:
    """Delete what was told before an instant and is over, with its attempts; returns how many."""
    old = (notice.c.created_ms < before_ms) & notice.c.state.in_([state.value for state in _OVER])
    serials = list(conn.execute(sa.select(notice.c.id).where(old).limit(limit)).scalars())
    if serials:
        of_these = among(conn, attempt_table.c.notice_id, serials)
        conn.execute(sa.delete(attempt_table).where(of_these))
        conn.execute(sa.delete(notice).where(among(conn, notice.c.id, serials)))
    return len(serials)


def attempts_of(conn: sa.Connection, notice_id: int) -> list[Mapping[str, Any]]:
    """The attempts at a notice, the oldest first."""
    return outbox.attempts_of(conn, NOTICES, notice_id)


def _leases(conn: sa.Connection, serials: Sequence[int]) -> list[Lease]:
    columns = ("id", "webhook_id", "attempts", "key", "body")
    query = (
        sa.select(
            *(notice.c[name] for name in columns),
            (notice.c.attempts - notice.c.attempts_before).label("tries"),
            notice.c.expires_ms.label("give_up_ms"),
            webhook.c.url,
            webhook.c.secret,
        )
        .outerjoin(webhook, outbox.endpoint_of(notice))
        .where(among(conn, notice.c.id, serials))
        .order_by(notice.c.not_before_ms, notice.c.id)
    )
    return [Lease(**row) for row in conn.execute(query).mappings()]
