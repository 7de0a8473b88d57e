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
) -> None:
    """Write decisions with their slots and deliveries.

    An inbox message is returned in the answer of the very ping, so its delivery begins as delivered and
    fetched; the rest waits in the outbox.

    Args:
        fence_versions: fence row in the index → version number.
    Raises:
        Conflict: another process took one of the slots first.
    """
    slots = [_slot_row(found) for found in decisions if found.window is not None]
    slots.sort(key=lambda row: (row["campaign_id"], row["person"], row["window"]))
    if _insert(conn, send_slot, slots) != len(slots):
        raise Conflict
    rows = [
        _row(found)
        | {
            "fence_version": fence_versions[found.candidate.transition.fence],
            "snapshot_version": snapshot_version,
        }
        for found in decisions
    ]
    _insert(conn, decision, rows)
    sent = [_delivery(found, app_id) for found in decisions if found.reason in SENDS]
    ids = take_serials(conn, delivery, len(sent))
    _insert(conn, delivery, [row | {"id": id_} for row, id_ in zip(sent, ids, strict=True)])


def _insert(conn: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> int:
    if not rows:
        return 0
    return insert_columns(conn, table, {name: [row[name] for row in rows] for name in rows[0]})


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


def _names(found: Decision) -> dict[str, object]:
    campaign_id, device_id, fence_id, kind, trigger_ms = key_of(found.candidate)
    return {
        "campaign_id": campaign_id,
        "device_id": device_id,
        "fence_id": fence_id,
        "kind": kind,
        "trigger_ms": trigger_ms,
        "person": found.candidate.person,
        "is_test": found.is_test,
    }


def _row(found: Decision) -> dict[str, object]:
    transition = found.candidate.transition
    return _names(found) | {
        "reason": found.reason.value,
        "value": found.value,
        "bound": found.bound,
        "initial": transition.initial,
        "cause": transition.cause.value,
        "new_visit": transition.at_ms == transition.arrived_ms,
        "p": transition.p,
        "rim_m": transition.rim_m,
        "decided_ms": found.candidate.now_ms,
        "campaign_version": found.candidate.campaign.version,
    }


def _slot_row(found: Decision) -> dict[str, str | int | None]:
    return {
        "campaign_id": found.candidate.campaign.id,
        "person": found.candidate.person,
        "window": found.window,
        "taken_ms": found.candidate.now_ms,
    }


def _delivery(found: Decision, app_id: int) -> dict[str, object]:
    message, now_ms = found.candidate.campaign.message, found.candidate.now_ms
    in_answer = message.channel is Channel.INBOX
    return _names(found) | {
        "app_id": app_id,
        "channel": message.channel.value,
        "webhook_id": message.webhook_id,
        "title": message.title,
        "body": message.body,
        "image": message.image,
        "link": message.link,
        "state": "delivered" if in_answer else "queued",
        "attempts": 0,
        "created_ms": now_ms,
        "not_before_ms": now_ms,
        "lease_until_ms": 0,
        "expires_ms": now_ms + EXPIRES_AFTER_MS,
        "handed_ms": now_ms if in_answer else None,
        "fetched_ms": now_ms if in_answer else None,
    }
