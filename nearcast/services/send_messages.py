"""Send what waits in the outbox: lease, hand over, record; try again with back-off (product M9).

Two queues, one way: the messages of campaigns, and what endpoints are told without any (product P13).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from campaigns.messages.links import tracked_link
from nearcast.channels.base import Channel, ChannelError, Letter
from nearcast.services.ids import public
from nearcast.store import deliveries, notices, outbox
from nearcast.store.outbox import Attempt, DeliveryState

Lease = deliveries.Lease | notices.Lease

#: the longest attempt takes 15 s and waits in line at most twice as long; quality Q9 wants <= 60 s
LEASE_MS = 60_000
FIRST_BACKOFF_MS = 5_000
MAX_BACKOFF_MS = 6 * 3_600_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def lease(
    conn: sa.Connection,
    *,
    now_ms: int,
    limit: int,
    room: Callable[[int], int] | None = None,
) -> list[Lease]:
    """The next letters to send, this worker's for a minute; expired ones are settled.

    Args:
        limit: at most so many.
        room: how many more may go to an endpoint at once; without, as many as there are. Endpoints
            with the most room come first.
    """
    found: list[Lease] = []
    for webhook_id, free in _turns(conn, now_ms, room or (lambda _: limit)):
        for take in (deliveries.lease, notices.lease):
            wanted = min(limit - len(found), free)
            if wanted > 0:
                leased = take(
                    conn, now_ms=now_ms, limit=wanted, lease_ms=LEASE_MS, webhook_id=webhook_id
                )
                found += leased
                free -= len(leased)
    return found


def any_due(conn: sa.Connection, now_ms: int, room: Callable[[int], int]) -> bool:
    """Whether there is anything to lease or to settle; an idle worker asks often, so it only reads."""
    return any(
        outbox.any_abandoned(conn, queue, now_ms)
        or any(room(webhook_id) > 0 for webhook_id in outbox.endpoints_due(conn, queue, now_ms))
        for queue in outbox.QUEUES
    )


def _turns(conn: sa.Connection, now_ms: int, room: Callable[[int], int]) -> list[tuple[int, int]]:
    """(endpoint, its room) for those that have both room and something due, most room first."""
    for queue in outbox.QUEUES:
        outbox.reclaim(conn, queue, now_ms)
    due = {w for queue in outbox.QUEUES for w in outbox.endpoints_due(conn, queue, now_ms)}
    rooms = [(webhook_id, room(webhook_id)) for webhook_id in due]
    return sorted(((w, free) for w, free in rooms if free > 0), key=lambda turn: (-turn[1], turn[0]))


def hand_over(
    held: Lease, channel: Channel, *, now_ms: int, link_secret: bytes, public_url: str
) -> Attempt:
    """Try to send one leased letter; says what came of it. No database is touched.

    Args:
        now_ms: the service's clock, which dates the attempt and the next one.
        link_secret, public_url: make the tracked link.
    """
    if held.url is None or held.secret is None:
        return _cancelled(now_ms)
    if isinstance(held, notices.Lease):
        key, said = held.key, msgspec.json.decode(held.body)
    else:
        key = public("dlv", held.id)
        said = content(held, link_secret=link_secret, public_url=public_url)
    letter = Letter(key=key, address=held.url, secret=held.secret, content=said)
    try:
        status = channel.send(letter)
    except ChannelError as error:
        return _failed(held, error, now_ms)
    return Attempt(
        at_ms=now_ms,
        ok=True,
        permanent=False,
        status=status,
        detail="",
        state=DeliveryState.SENT,
        state_reason=None,
        not_before_ms=now_ms,
    )


def record(conn: sa.Connection, done: Sequence[tuple[Lease, Attempt]]) -> int:
    """Keep what came of some leases; returns how many were handed over."""
    for held, attempt in done:
        if isinstance(held, notices.Lease):
            notices.record(conn, held, attempt)
        else:
            deliveries.record(conn, held, attempt)
    return sum(attempt.ok for _, attempt in done)


def content(held: deliveries.Lease, *, link_secret: bytes, public_url: str) -> dict[str, Any]:
    """What an endpoint is told of a message: `message.sent` and all that it needs to show it."""
    return {
        "type": "message.sent",
        "timestamp": rfc3339(held.created_ms),
        "data": {
            "delivery_id": public("dlv", held.id),
            "campaign_id": public("cmp", held.campaign_id),
            "device_id": held.device_key,
            "ad_id": held.ad_id,
            "user_id": held.user_id,
            "fence": {
                "id": public("fnc", held.fence_id),
                "external_id": held.fence_external_id,
                "name": held.fence_name,
            },
            "trigger": {"kind": held.kind, "at": rfc3339(held.trigger_ms)},
            "title": held.title,
            "body": held.body,
            "image": held.image,
            "link": tracked_link(held.id, link=held.link, secret=link_secret, public_url=public_url),
            "expires_at": rfc3339(held.expires_ms),
            "test": held.is_test,
        },
    }


def backoff_ms(delivery_id: int, attempts: int) -> int:
    """How long to wait after the n-th attempt (1, 2, …): 5 s, 10 s, 20 s … 6 h, each ± 25 %.

    The spread is a hash of the delivery and the attempt, so that many that failed together come
    back apart, and the same each time it is asked.
    """
    # past 2^16 the bound holds anyway
    base = min(FIRST_BACKOFF_MS << min(attempts - 1, 16), MAX_BACKOFF_MS)
    digest = hashlib.sha256(f"backoff v1 {delivery_id} {attempts}".encode()).digest()
    share = int.from_bytes(digest[:4], "big") / 2**32
    return round(base * (0.75 + share / 2))


def _failed(held: outbox.Lease, error: ChannelError, now_ms: int) -> Attempt:
    wait_ms = backoff_ms(held.id, held.tries)
    if error.retry_after_s is not None:
        wait_ms = max(wait_ms, min(round(error.retry_after_s * 1000), MAX_BACKOFF_MS))
    next_ms = now_ms + wait_ms
    state = DeliveryState.QUEUED
    if error.permanent:
        state = DeliveryState.FAILED
    elif next_ms >= held.give_up_ms:
        state = DeliveryState.DEAD
    return Attempt(
        at_ms=now_ms,
        ok=False,
        permanent=error.permanent,
        status=error.status,
        detail=error.message,
        state=state,
        state_reason=f"http_{error.status}" if error.status else error.code,
        not_before_ms=next_ms,
    )


def _cancelled(now_ms: int) -> Attempt:
    return Attempt(
        at_ms=now_ms,
        ok=False,
        permanent=True,
        status=None,
        detail="The webhook was removed before this was sent.",
        state=DeliveryState.CANCELLED,
        state_reason="webhook_removed",
        not_before_ms=now_ms,
    )


def rfc3339(at_ms: int) -> str:
    """An instant in ms as `2026-11-23T00:05:00.120Z`."""
    at = _EPOCH + timedelta(milliseconds=at_ms)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
