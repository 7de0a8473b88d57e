"""What every queue of letters to endpoints has in common: leases, attempts, order (product M9).

A worker leases a letter, sends it, then records what happened. A worker that dies in between leaves a
lease that runs out, and another one sends the letter again under the same key: nothing is lost, and the
receiver can tell a repeat. Two queues work like this: the messages of campaigns (`deliveries`) and what
is told without any campaign (`notices`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from nearcast.store.tables import attempt as attempt_table
from nearcast.store.tables import delivery, notice, webhook


class DeliveryState(StrEnum):
    """Where a letter stands (api.md)."""

    QUEUED = "queued"
    LEASED = "leased"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    DEAD = "dead"
    UNCERTAIN = "uncertain"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


#: it never reached anybody
CAME_TO_NOTHING = (
    DeliveryState.FAILED,
    DeliveryState.DEAD,
    DeliveryState.EXPIRED,
    DeliveryState.CANCELLED,
)
LEASE_LOST = "lease_lost"
WAITING = (DeliveryState.QUEUED, DeliveryState.LEASED)


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A letter that one worker may send until the lease runs out.

    Attributes:
        id: its serial in its queue.
        attempts: how often it was leased, this time included; also tells this lease from a later one.
        tries: the same since it was last asked for; back-off grows with it.
        give_up_ms: from then on a failure is the last one.
        url, secret: of the endpoint; None when it was removed.
    """

    id: int
    webhook_id: int
    attempts: int
    tries: int
    give_up_ms: int
    url: str | None
    secret: str | None


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What happened when a lease was used.

    Attributes:
        status: the HTTP status, None where there was no answer.
        state: where the letter stands afterwards.
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


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A table of letters that all have the columns of a lease.

    Attributes:
        ours: its rows that go to endpoints.
        ready: among those that are due, the rows that need not wait for an earlier one.
        attempt_of: the column of `attempt` that names its rows.
    """

    table: sa.Table
    ours: sa.ColumnElement[bool]
    ready: sa.ColumnElement[bool]
    attempt_of: sa.Column[Any]

    def due(self, now_ms: int) -> sa.ColumnElement[bool]:
        """The rows that may be leased now."""
        queued = self.table.c.state == DeliveryState.QUEUED.value
        return self.ours & queued & (self.table.c.not_before_ms <= now_ms) & self.ready

    def abandoned(self, now_ms: int) -> sa.ColumnElement[bool]:
        """The rows whose lease ran out: their worker is dead or stuck."""
        leased = self.table.c.state == DeliveryState.LEASED.value
        return self.ours & leased & (self.table.c.lease_until_ms <= now_ms)


#: a later notice of the same device and fence waits while an earlier one is tried for the first times:
#: after these, some 75 s in all, the rest goes on without it
ORDERED_ATTEMPTS = 5
_earlier = notice.alias("earlier")
MESSAGES = Queue(
    table=delivery,
    ours=delivery.c.channel == "webhook",
    ready=sa.true(),
    attempt_of=attempt_table.c.delivery_id,
)
NOTICES = Queue(
    table=notice,
    ours=sa.true(),
    ready=~sa.exists().where(
        _earlier.c.device_id == notice.c.device_id,
        _earlier.c.fence_id == notice.c.fence_id,
        _earlier.c.webhook_id == notice.c.webhook_id,
        _earlier.c.id < notice.c.id,
        # as text, so that both databases see that their partial index serves it
        sa.text("earlier.state in ('queued', 'leased')"),
        _earlier.c.attempts - _earlier.c.attempts_before < ORDERED_ATTEMPTS,
    ),
    attempt_of=attempt_table.c.notice_id,
)
QUEUES = (MESSAGES, NOTICES)


def endpoints_due(conn: sa.Connection, queue: Queue, now_ms: int) -> list[int]:
    """The endpoints, removed ones too, for which something may be leased now; in order of their ids.

    One look into the index an endpoint, however much waits for it.
    """
    some = sa.exists().where(queue.table.c.webhook_id == webhook.c.id, queue.due(now_ms))
    query = sa.select(webhook.c.id).where(some.correlate(webhook)).order_by(webhook.c.id)
    return list(conn.execute(query).scalars())


def any_abandoned(conn: sa.Connection, queue: Queue, now_ms: int) -> bool:
    """Whether a lease has run out."""
    return conn.execute(sa.select(sa.exists().where(queue.abandoned(now_ms)))).scalar_one()


def reclaim(conn: sa.Connection, queue: Queue, now_ms: int) -> None:
    """Letters whose lease ran out are anybody's again; too late to be sent, they become uncertain."""
    table = queue.table
    conn.execute(
        sa.update(table)
        .where(queue.abandoned(now_ms))
        .values(
            state=sa.case(
                (table.c.expires_ms <= now_ms, DeliveryState.UNCERTAIN.value),
                else_=DeliveryState.QUEUED.value,
            ),
            state_reason=LEASE_LOST,
        )
    )


def take(
    conn: sa.Connection,
    queue: Queue,
    *,
    now_ms: int,
    limit: int,
    lease_ms: int,
    webhook_id: int | None = None,
) -> list[tuple[int, DeliveryState]]:
    """Lease the head of the queue, or let it expire: one statement along one index.

    Args:
        webhook_id: only what goes to this endpoint.
    """
    table = queue.table
    wanted = queue.due(now_ms)
    if webhook_id is not None:
        wanted &= table.c.webhook_id == webhook_id
    due = (
        sa.select(table.c.id)
        .where(wanted)
        .order_by(table.c.not_before_ms, table.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=table)  # SQLite, with its one writer, leaves this out
        .cte("due")  # read once; as a plain subquery PostgreSQL may run it again and take too many
    )
    over = table.c.expires_ms <= now_ms
    rows = conn.execute(
        sa.update(table)
        .where(table.c.id.in_(sa.select(due.c.id)))
        .values(
            state=sa.case(
                # the worker that lost it may have sent it
                (over & (table.c.state_reason == LEASE_LOST), DeliveryState.UNCERTAIN.value),
                (over, DeliveryState.EXPIRED.value),
                else_=DeliveryState.LEASED.value,
            ),
            lease_until_ms=now_ms + lease_ms,
            attempts=table.c.attempts + sa.case((over, 0), else_=1),
        )
        .returning(table.c.id, table.c.state)
    )
    return [(row.id, DeliveryState(row.state)) for row in rows]


def record(conn: sa.Connection, queue: Queue, held: Lease, done: Attempt) -> bool:
    """Keep an attempt and what it makes of the letter; whether this worker still held the lease.

    When the lease was taken over meanwhile, a failure changes nothing any more – the other worker is
    at it – but a success is one, whoever tells of it.
    """
    table = queue.table
    conn.execute(
        sa.insert(attempt_table).values(
            {
                "webhook_id": held.webhook_id,
                queue.attempt_of.name: held.id,
                "at_ms": done.at_ms,
                "ok": done.ok,
                "permanent": done.permanent,
                "status": done.status,
                "detail": done.detail,
            }
        )
    )
    own = (table.c.state == DeliveryState.LEASED.value) & (table.c.attempts == held.attempts)
    open_ = table.c.state.in_([*WAITING, DeliveryState.UNCERTAIN])
    statement = (
        sa.update(table)
        .where(table.c.id == held.id, open_ if done.ok else own)
        .values(
            state=done.state.value,
            state_reason=done.state_reason,
            # an expired one comes up at its expiry, whatever its back-off says
            not_before_ms=sa.case(
                (table.c.expires_ms < done.not_before_ms, table.c.expires_ms),
                else_=done.not_before_ms,
            ),
            lease_until_ms=0,
            handed_ms=done.at_ms if done.ok else table.c.handed_ms,
        )
    )
    return conn.execute(statement).rowcount == 1


def attempts_of(conn: sa.Connection, queue: Queue, serial: int) -> list[Mapping[str, Any]]:
    """The attempts at one letter, the oldest first."""
    query = sa.select(attempt_table).where(queue.attempt_of == serial).order_by(attempt_table.c.id)
    return [dict(row) for row in conn.execute(query).mappings()]


def attempts_at(
    conn: sa.Connection, webhook_id: int, *, limit: int, before_id: int | None = None
) -> Sequence[sa.RowMapping]:
    """The newest attempts at an endpoint with the key of each notice; messages are named by serial."""
    query = (
        sa.select(attempt_table, notice.c.key)
        .outerjoin(notice, notice.c.id == attempt_table.c.notice_id)
        .where(attempt_table.c.webhook_id == webhook_id)
        .order_by(attempt_table.c.id.desc())
        .limit(limit)
    )
    if before_id is not None:
        query = query.where(attempt_table.c.id < before_id)
    return conn.execute(query).mappings().all()


def endpoint_of(table: sa.Table) -> sa.ColumnElement[bool]:
    """Joins a queue's rows to their endpoint, unless it was removed."""
    return (webhook.c.id == table.c.webhook_id) & webhook.c.deleted_ms.is_(None)
