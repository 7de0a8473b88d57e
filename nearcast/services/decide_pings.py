"""Step 8 of a ping's way: transitions × campaigns that listen → decisions, and messages to answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from campaigns.deciding.gates import Candidate, Decision, candidates, decide, slot_of
from campaigns.deciding.snapshot import Snapshot
from campaigns.people.identity import person_of
from geo.matching.pings import Admission, Outcome, Pings
from geo.matching.presence import Transition
from nearcast.services.device_book import Settled
from nearcast.store import decisions as decision_store


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What was decided, and the inbox messages that follow from it at once."""

    made: list[Decision] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)


def decided(
    conn: sa.Connection,
    snapshot: Snapshot,
    pings: Pings,
    transitions: Sequence[Transition],
    settled: Settled,
    *,
    app_id: int,
) -> Decided:
    """Decide about every transition and write what was decided.

    Who a device is, is what is known as of the ping that shows the transition (product W0).
    """
    heard = [t for t in transitions if t.fence_id in snapshot.listeners]
    if not heard:
        return Decided()
    who = settled.who_at([t.ping for t in heard])
    people = {
        (t.device, t.ping): (person_of(device_id=t.device, user_id=user_id), ad_id)
        for t, (user_id, ad_id) in zip(heard, who, strict=True)
    }
    now_ms = {t.ping: int(pings.now_ms[t.ping]) for t in heard}
    asked = list(candidates(snapshot, heard, people, now_ms, app_id=app_id))
    return decided_about(conn, snapshot, asked, app_id=app_id)


def decided_about(
    conn: sa.Connection, snapshot: Snapshot, asked: Sequence[Candidate], *, app_id: int
) -> Decided:
    """Pass candidates of one app through the gates and write what was decided; once each, for ever.

    The presence rows of their devices must be held (quality Q8).
    """
    if not asked:
        return Decided()
    oldest_ms = min(candidate.transition.at_ms for candidate in asked)
    before = decision_store.made_before(conn, [c.transition.device for c in asked], oldest_ms)
    fresh = [c for c in asked if decision_store.key_of(c) not in before]
    taken = decision_store.slots_taken(conn, filter(None, map(slot_of, fresh)))
    made = decide(snapshot, fresh, taken)
    versions = snapshot.index.versions
    messages = decision_store.save(
        conn,
        made,
        app_id=app_id,
        fence_versions={row: versions[row].version for row in {c.transition.fence for c in asked}},
        snapshot_version=snapshot.version,
    )
    return Decided(made=made, messages=messages)


def inbox(
    conn: sa.Connection, pings: Pings, admission: Admission, new: Decided
) -> Sequence[tuple[int, Mapping[str, Any]]]:
    """The inbox messages of a batch's answer, each with the ping that it answers.

    Those just decided, and those that the first sending of a repeated ping got.
    """
    rows: dict[tuple[int, int], list[int]] = {}
    again = (admission.outcome == Outcome.DUPLICATE).nonzero()[0]
    columns = (pings.device[again], pings.at_ms[again], again)
    for device, at_ms, row in zip(*(c.tolist() for c in columns), strict=True):
        rows.setdefault((device, at_ms), []).append(row)
    asked = {key: int(pings.now_ms[of[0]]) for key, of in rows.items()}
    for transition in (found.candidate.transition for found in new.made):
        key = transition.device, transition.at_ms
        asked.pop(key, None)
        rows.setdefault(key, []).append(transition.ping)
    listed = decision_store.inbox_of(conn, asked) if asked else []
    return [
        (row, message)
        for message in (*new.messages, *listed)
        for row in dict.fromkeys(rows[message["device_id"], message["trigger_ms"]])
    ]
