"""What the ways in of pings do: read a body, take or match it, write the answer. No framework."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from api.auth import Principal
from api.pings.arrow_bodies import ARROW
from api.pings.bodies import JSON, read_pings, read_places
from api.pings.contexts import match, matches_arrow, matches_json
from api.pings.foreign import read_segment, read_track
from api.pings.receipts import TransitionOut, counts_of, outcomes_json, receipt_json, transition_out
from api.pings.sent import SentPings
from api.wiring import House
from campaigns.deciding.snapshot import Snapshot
from geo.matching.pings import Ints, Outcome, PingReason
from nearcast import failpoints, stages
from nearcast.services.intake import AppPings
from nearcast.services.manage_workspace import Scope
from nearcast.services.raw_pings import RawPings
from nearcast.services.read_inbox import message_json
from nearcast.services.take_pings import Receipt


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request, its key checked and its body whole and unpacked.

    Attributes:
        mimetype: of the body, in lower case, without parameters; "" where none is given.
        accept: the header as given.
        query: the first value of each name.
    """

    house: House
    who: Principal
    body: bytes
    mimetype: str
    accept: str
    query: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer with status 200."""

    body: bytes
    mimetype: str = JSON


@dataclass(frozen=True, kw_only=True)
class _AppBatch:
    """The pings of one app: their rows among those sent (None: all of them), and their columns."""

    app_id: int
    rows: Ints | None
    raw: RawPings


def take(call: Call) -> Reply:
    """`POST /v1/pings`: outcomes, transitions and messages come back (api.md, Pings)."""
    return _take_sent(call, lambda now_ms: read_pings(call.body, call.mimetype, now_ms=now_ms))


def take_track(call: Call) -> Reply:
    """`POST /v1/track`: one location in Radar's words."""
    return _take_sent(call, lambda now_ms: read_track(call.body, call.mimetype).sent(now_ms=now_ms))


def take_segment(call: Call) -> Reply:
    """`POST /v1/batch`: calls in Segment's words."""

    def read(now_ms: int) -> SentPings:
        return read_segment(call.body, call.mimetype, now_ms=now_ms).sent(now_ms=now_ms)

    return _take_sent(call, read)


def show_context(call: Call) -> Reply:
    """`POST /v1/context`: match without keeping anything."""
    home = call.house
    now_ms = home.clock.now_ms()
    places = read_places(call.body, call.mimetype, now_ms=now_ms)
    snapshot = home.snapshots.current(call.who.workspace_id, now_ms=now_ms)
    matches, warnings = match(places, snapshot, now_ms=now_ms)
    if ARROW in call.accept:
        return Reply(body=matches_arrow(matches, snapshot, warnings), mimetype=ARROW)
    return Reply(body=matches_json(matches, snapshot, warnings))


def _take_sent(call: Call, read: Callable[[int], SentPings]) -> Reply:
    home, who = call.house, call.who
    backfill = call.query.get("mode") == "backfill"
    if backfill:
        who.require(Scope.MANAGE)
    now_ms = home.clock.now_ms()
    lap = stages.started()
    sent = read(now_ms)
    lap("decode")
    snapshot = home.snapshots.current(who.workspace_id, now_ms=now_ms)
    apps = home.apps.of(who.workspace_id, version=snapshot.version)
    lap("snapshot")
    batches = list(_by_app(sent, who, apps, home))
    lap("columns")
    receipts = _take(home, who, batches, snapshot, backfill=backfill)
    counts_only = call.query.get("detail") == "counts"
    lap("in the group")
    answer = _receipt(home, sent, batches, receipts, counts_only=counts_only)
    lap("answer")
    failpoints.hit("ingest.before_answer")
    return Reply(body=answer)


def _by_app(
    sent: SentPings, who: Principal, apps: Mapping[str, int], home: House
) -> Iterator[_AppBatch]:
    """The pings by app: mostly one; a key for all apps may mix them.

    Pings that name no app of this key's are refused; they travel with the first app's.
    """
    only = next(iter(apps.values())) if len(apps) == 1 else None
    default = who.app_id or only
    host = default or next(iter(apps.values()))
    if sent.apps is None:
        strangers = frozenset(range(len(sent)) if default is None else ())
        yield _AppBatch(
            app_id=host, rows=None, raw=sent.raw(None, clock=home.clock, strangers=strangers)
        )
        return
    named = {name: default if name is None else apps.get(name) for name in set(sent.apps)}
    taken = {n: a for n, a in named.items() if a is not None and who.app_id in (None, a)}
    # an unreadable item is told as such, whatever app it may have named
    refused = (row for row, name in enumerate(sent.apps) if name not in taken)
    strangers = frozenset(row for row in refused if row not in sent.faults)
    app_of = np.array([taken.get(name, host) for name in sent.apps], np.int64)
    for app_id in np.unique(app_of).tolist():
        rows = np.flatnonzero(app_of == app_id)
        raw = sent.raw(rows, clock=home.clock, strangers=strangers)
        yield _AppBatch(app_id=app_id, rows=rows, raw=raw)


def _take(
    home: House,
    who: Principal,
    batches: Sequence[_AppBatch],
    snapshot: Snapshot,
    *,
    backfill: bool,
) -> list[Receipt]:
    """All apps of a request in one transaction: a batch is applied whole or not at all."""
    return home.intake.take(
        [
            AppPings(
                app_id=batch.app_id,
                raw=batch.raw,
                snapshot=snapshot,
                key_holds_consent=who.holds_location_consent,
                backfill=backfill,
            )
            for batch in batches
        ]
    )


def _receipt(
    home: House,
    sent: SentPings,
    batches: Sequence[_AppBatch],
    receipts: Sequence[Receipt],
    *,
    counts_only: bool,
) -> bytes:
    codes = np.full(len(sent), Outcome.REJECTED, np.int8)
    reasons: dict[int, PingReason] = {}
    transitions: list[TransitionOut] = []
    messages: list[dict[str, Any]] = []
    for batch, receipt in zip(batches, receipts, strict=True):
        rows = range(len(sent)) if batch.rows is None else batch.rows.tolist()
        codes[slice(None) if batch.rows is None else batch.rows] = receipt.admission.outcome
        reasons |= {rows[place]: why for place, why in receipt.admission.reason.items()}
        if not counts_only:
            transitions += [
                transition_out(found, receipt.snapshot, index=_index(sent, rows[found.ping]))
                for found in receipt.transitions
            ]
            messages += [
                message_json(row, link_secret=home.link_secret, public_url=home.public_url)
                for _, row in receipt.messages
            ]
    outcomes = outcomes_json(
        codes,
        reasons=reasons,
        details=sent.faults,
        ping_ids=sent.ping_ids,
        places=sent.places,
        only_rejected=counts_only,
    )
    return receipt_json(
        outcomes,
        counts=counts_of(codes),
        transitions=transitions,
        messages=messages,
        warnings=sent.warnings,
    )


def _index(sent: SentPings, row: int) -> int:
    return row if sent.places is None else sent.places[row]
