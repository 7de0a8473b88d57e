"""Decisions, the frequency slots they take, and the deliveries they lead to: one write a batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from campaigns.campaign.campaign import Channel
from campaigns.deciding.gates import SENDS, Candidate, Decision, Slot
from nearcast.store.bulk import take_serials
from nearcast.store.columns import insert_columns, select_rows
from nearcast.store.engine import Conflict
from nearcast.store.tables import decision, delivery, send_slot

EXPIRES_AFTER_MS = 30 * 60_000  # product M9: a location trigger's message lives 30 min

DecisionKey = tuple[int, int, int, str, int]  # campaign, device, fence, kind, trigger_ms


def key_of(candidate: Candidate) -> DecisionKey:
    """The natural key: the same trigger is decided once, for ever."""
    transition = candidate.transition
    return (
        candidate.campaign.id,
        transition.device,
        transition.fence_id,
        transition.kind.value,
        transition.at_ms,
    )


def made_before(conn: sa.Connection, device_ids: Iterable[int], since_ms: int) -> set[DecisionKey]:
    """The decisions about these devices whose trigger is not older than an instant."""
    wanted = sorted(set(device_ids))
    if not wanted:
        return set()
    rows = select_rows(conn, _MADE, wanted, [since_ms] * len(wanted))
    return {(row[0], row[1], row[2], row[3], row[4]) for row in rows}


_MADE = """
select campaign_id, device_id, fence_id, kind, trigger_ms from :listed cross join decision
where device_id = k0 and trigger_ms >= k1
"""


def any_of(conn: sa.Connection, campaign_id: int) -> bool:
    """Whether a campaign has decided anything yet."""
    query = sa.select(decision.c.campaign_id).where(decision.c.campaign_id == campaign_id)
    return conn.execute(query.limit(1)).first() is not None


def slots_taken(conn: sa.Connection, slots: Iterable[Slot]) -> set[Slot]:
    """Which of these frequency slots are used up."""
    wanted = sorted(set(slots))
    if not wanted:
        return set()
    campaigns, people, windows = zip(*wanted, strict=True)
    return {(row[0], row[1], row[2]) for row in select_rows(conn, _SLOTS, campaigns, people, windows)}


_SLOTS = """
select campaign_id, person, "window" from :listed cross join send_slot
where campaign_id = k0 and person = k1 and "window" = k2
"""


def save(
    conn: sa.Connection,
    decisions: Sequence[Decision],
    *,
    app_id: int,
    fence_versions: Mapping[int, int],
    snapshot_version: int,
) -> list[dict[str, Any]]:
    """Write decisions with their slots and deliveries.

    An inbox message is returned in the answer of the very ping, so its delivery begins as delivered and
    fetched; the rest waits in the outbox.

    Args:
        fence_versions: fence row in the index → version number.
    Returns:
        The inbox messages among them, as `inbox_of` gives them.
    Raises:
        Conflict: another process took one of the slots, or decided the same, first.
    """
    slots = sorted(
        (c.campaign.id, c.person, found.window, c.now_ms)
        for found in decisions
        if found.window is not None
        for c in (found.candidate,)
    )
    if _insert(conn, send_slot, _SLOT, slots) != len(slots):
        raise Conflict
    rows = [_row(found, fence_versions, snapshot_version) for found in decisions]
    if _insert(conn, decision, _DECISION, rows) != len(rows):
        raise Conflict
    sent = [found for found in decisions if found.reason in SENDS]
    ids = take_serials(conn, delivery, len(sent))
    sendings = [_delivery(found, id_, app_id) for found, id_ in zip(sent, ids, strict=True)]
    _insert(conn, delivery, _DELIVERY, sendings)
    inbox = (row for row in sendings if row[_CHANNEL] == _INBOX_CHANNEL)
    shown = (dict(zip(_DELIVERY, row, strict=True)) for row in inbox)
    return [{name: row[name] for name in _SHOWN} for row in shown]


def _insert(
    conn: sa.Connection, table: sa.Table, names: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> int:
    if not rows:
        return 0
    return insert_columns(conn, table, dict(zip(names, zip(*rows, strict=True), strict=True)))


def inbox_of(conn: sa.Connection, triggers: Mapping[tuple[int, int], int]) -> list[dict[str, Any]]:
    """The inbox deliveries of triggers that have not expired, as far as an answer shows them.

    Args:
        triggers: (device, trigger instant) → the clock of the ping that asks, in ms.
    """
    devices, instants = zip(*triggers, strict=True)
    rows = select_rows(conn, _INBOX, devices, instants, list(triggers.values()))
    return [dict(zip(_SHOWN, row, strict=True)) for row in rows]


_SHOWN = (
    "id",
    "device_id",
    "trigger_ms",
    "campaign_id",
    "channel",
    "title",
    "body",
    "image",
    "link",
    "fetched_ms",
)
_INBOX = f"""
select {", ".join(_SHOWN)} from :listed cross join delivery
where device_id = k0 and channel = '{Channel.INBOX.value}' and trigger_ms = k1 and expires_ms > k2
order by id
"""


_SLOT = ("campaign_id", "person", "window", "taken_ms")
_KEY = ("campaign_id", "device_id", "fence_id", "kind", "trigger_ms")
_DECISION = (
    *_KEY,
    "person",
    "is_test",
    "reason",
    "value",
    "bound",
    "initial",
    "cause",
    "new_visit",
    "p",
    "rim_m",
    "decided_ms",
    "campaign_version",
    "fence_version",
    "snapshot_version",
)
_DELIVERY = (
    *_KEY,
    "person",
    "is_test",
    "id",
    "app_id",
    "channel",
    "webhook_id",
    "title",
    "body",
    "image",
    "link",
    "state",
    "attempts",
    "created_ms",
    "not_before_ms",
    "lease_until_ms",
    "expires_ms",
    "handed_ms",
    "fetched_ms",
)
_CHANNEL = _DELIVERY.index("channel")
_INBOX_CHANNEL = Channel.INBOX.value


def _row(found: Decision, fence_versions: Mapping[int, int], snapshot_version: int) -> tuple[Any, ...]:
    """A decision, in the order of `_DECISION`."""
    candidate, transition = found.candidate, found.candidate.transition
    return (
        *key_of(candidate),
        candidate.person,
        found.is_test,
        found.reason.value,
        found.value,
        found.bound,
        transition.initial,
        transition.cause.value,
        transition.at_ms == transition.arrived_ms,
        transition.p,
        transition.rim_m,
        candidate.now_ms,
        candidate.campaign.version,
        fence_versions[transition.fence],
        snapshot_version,
    )


def _delivery(found: Decision, id_: int, app_id: int) -> tuple[Any, ...]:
    """What a decision sends, in the order of `_DELIVERY`."""
    candidate, now_ms = found.candidate, found.candidate.now_ms
    message = candidate.campaign.message
    in_answer = message.channel is Channel.INBOX
    return (
        *key_of(candidate),
        candidate.person,
        found.is_test,
        id_,
        app_id,
        message.channel.value,
        message.webhook_id,
        message.title,
        message.body,
        message.image,
        message.link,
        "delivered" if in_answer else "queued",
        0,
        now_ms,
        now_ms,
        0,
        now_ms + EXPIRES_AFTER_MS,
        now_ms if in_answer else None,
        now_ms if in_answer else None,
    )
