"""Take pings: from columns to outcomes, visits, transitions, decisions and messages.

One straight line (architecture.md, "A ping's way") inside one transaction, for the pings of one app that
came in one or several requests. A verb is pure up to commit: when another process wins a race,
`in_transaction` runs it again from the start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import sqlalchemy as sa

from campaigns.deciding.gates import Decision
from campaigns.deciding.snapshot import Snapshot
from geo.matching.pings import Admission, Bools, Ints, Outcome, PingReason, Pings, admit, refuse
from geo.matching.presence import Transition
from geo.matching.stay_columns import Changes, JudgedFixes, Stays
from geo.matching.stays import advance, backfilled
from geo.matching.suspects import Suspicion
from nearcast import failpoints, stages
from nearcast.services.decide_pings import decided, inbox
from nearcast.services.device_book import Known, Settled
from nearcast.services.match_pings import Near, judged_fixes
from nearcast.services.memory import Memory
from nearcast.services.raw_pings import RawPings
from nearcast.services.tell_transitions import Seen, crossed, doubted, transitions_of
from nearcast.services.tell_webhooks import Who, tell, told_visits
from nearcast.store import ping_log
from nearcast.store import stays as stay_store
from nearcast.store.ping_fixes import Flag

_NONE, _CACHED, _TEST, _BACKFILLED = (
    np.uint8(flag) for flag in (0, Flag.CACHED, Flag.TEST, Flag.BACKFILLED)
)
#: by `Suspicion`
_FLAG_OF = np.array([0, Flag.SUSPECT_SPEED, Flag.SUSPECT_PLACE], np.uint8)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Pings of one app, of one or several requests.

    Attributes:
        near: what is near them, by the same snapshot.
        key_holds_consent: for each ping, whether its API key declares that its backend holds location
            consents (product P9).
        backfill: history: visits only; nothing is told, nothing is sent (product P11).
    """

    app_id: int
    raw: RawPings
    snapshot: Snapshot
    near: Near
    key_holds_consent: Bools
    backfill: bool = False


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What became of a batch.

    Attributes:
        snapshot: what it was taken by; transitions name rows of its index.
        admission: outcome and reason of each ping.
        transitions: live transitions, in time order per device and fence.
        decisions: what was decided about them.
        messages: inbox deliveries for the answer: those just decided, and those that the first
            sending of a repeated ping got, while they have not expired; each with its ping's row.
    """

    snapshot: Snapshot
    admission: Admission
    transitions: Sequence[Transition]
    decisions: Sequence[Decision]
    messages: Sequence[tuple[int, Mapping[str, Any]]]

    def split(self, sizes: Sequence[int]) -> list[Receipt]:
        """Of each of the requests that the batch was made of, rows counted from its own first ping."""
        if len(sizes) == 1:
            return [self]
        return [self._part(a, b) for a, b in pairwise(np.cumsum([0, *sizes]).tolist())]

    def _part(self, first: int, last: int) -> Receipt:
        def here(row: int) -> bool:
            return first <= row < last

        return Receipt(
            snapshot=self.snapshot,
            admission=self.admission.part(first, last),
            transitions=[replace(t, ping=t.ping - first) for t in self.transitions if here(t.ping)],
            decisions=[d for d in self.decisions if here(d.candidate.transition.ping)],
            messages=[(row - first, message) for row, message in self.messages if here(row)],
        )


def take_pings(conn: sa.Connection, batch: Batch, memory: Memory) -> Receipt:
    """Take pings of one app.

    Args:
        memory: what this process remembers; begun for this transaction.
    Raises:
        Conflict: another process was faster; the verb is to be taken again.
    """
    failpoints.hit("ingest.begun")
    lap = stages.started()
    nobody = np.full(len(batch.raw), -1)
    untrue = refuse(_pings(batch.raw, nobody), refused={}, amend_horizon_ms=_horizon_ms(batch))
    known = memory.devices.identify(conn, app_id=batch.app_id, raw=batch.raw, unheard=untrue.keys())
    lap("identify")
    refused, settled = _settle(conn, batch, known, untrue, memory)
    lap("settle")
    pings, is_test = _pings(batch.raw, settled.serial), _is_test(batch)
    admission = admit(
        pings,
        refused=refused,
        repeated=memory.log.fixes.repeated(replace(pings, device=_marks(known, refused))),
        is_test=is_test,
        staleness_ms=batch.snapshot.presence.staleness_s * 1000,
    )
    seen = _look(batch, pings, admission, is_test, memory)
    lap("admit")
    stays = memory.stays.of_devices(conn, np.unique(pings.device[admission.counts]))
    lap("read stays")
    fixes = judged_fixes(
        batch.near,
        pings,
        counts=admission.counts,
        stays=stays,
        fresh=seen.fresh,
        backfill=batch.backfill,
    )
    lap("judge")
    changes = _advance(conn, batch, stays, fixes)
    _label_known(admission, changes)
    lap("advance")
    told = transitions_of(batch.snapshot, changes.events, seen.before)
    silent = doubted(fixes, changes, seen) + crossed(batch.snapshot, pings, seen)
    new = decided(conn, batch.snapshot, pings, [*told, *silent], settled, app_id=batch.app_id)
    _tell_webhooks(conn, batch, told, changes, settled)
    lap("decide")
    logged = ping_log.append(
        conn, app_id=batch.app_id, pings=pings, admission=admission, flags=seen.flags
    )
    failpoints.hit("ingest.logged")
    lap("log")
    memory.stays.save(conn, changes)
    failpoints.hit("ingest.evidence")
    lap("write stays")
    receipt = Receipt(
        snapshot=batch.snapshot,
        admission=admission,
        transitions=told,
        decisions=new.made,
        messages=inbox(conn, pings, admission, new),
    )
    failpoints.hit("ingest.decided")
    lap("messages")
    memory.devices.write(conn, settled)
    memory.wrote(settled, logged)
    lap("words")
    failpoints.hit("ingest.before_commit")
    return receipt


def _settle(
    conn: sa.Connection,
    batch: Batch,
    known: Known,
    untrue: Mapping[int, PingReason],
    memory: Memory,
) -> tuple[dict[int, PingReason], Settled]:
    """Which pings are refused, and the devices of the others, the new ones met.

    Args:
        untrue: pings that are refused by their own numbers or clock.
    """
    raw = batch.raw
    refused = dict(raw.refused)
    for row in np.flatnonzero(known.mark == -1).tolist():
        refused.setdefault(row, PingReason.NO_IDENTITY)
    # the ping's word, else the stored one, else the key's declaration (product P9)
    allowed = (known.location == 1) | ((known.location < 0) & batch.key_holds_consent)
    without = np.flatnonzero(~allowed & (known.mark != -1)).tolist()
    for row in without:
        refused.setdefault(row, PingReason.LOCATION_CONSENT_MISSING)
    for row, why in untrue.items():
        refused.setdefault(row, why)
    taken, refusing = np.ones(len(raw), bool), np.zeros(len(raw), bool)
    taken[list(refused)] = False
    for row in without:
        if row in raw.said and raw.said[row].location is False:
            refusing[row] = refused[row] is PingReason.LOCATION_CONSENT_MISSING
    return refused, memory.devices.settle(conn, known, taken=taken, refusing=refusing)


def _marks(known: Known, refused: Mapping[int, PingReason]) -> Ints:
    """The devices of pings, also of those just met; nobody for what was refused."""
    mark = known.mark.copy()
    mark[list(refused)] = -1
    return mark


def _horizon_ms(batch: Batch) -> int:
    # history may be as old as it likes
    return 1 << 60 if batch.backfill else batch.snapshot.presence.amend_horizon_s * 1000


def _pings(raw: RawPings, device: Ints) -> Pings:
    return Pings(
        device=device,
        lon=raw.lon,
        lat=raw.lat,
        accuracy_m=raw.accuracy_m,
        at_ms=raw.at_ms,
        now_ms=raw.now_ms,
        platform=raw.platform,
        mocked=raw.mocked,
    )


def _is_test(batch: Batch) -> Bools:
    """Rows of registered test ids, as long as their registration holds."""
    expires_ms = np.zeros(len(batch.raw), np.int64)
    known = batch.snapshot.test_ids.get(batch.app_id)
    if known:
        for row, who in batch.raw.said.items():
            expires_ms[row] = known.get(who.ad_id or "", 0)
    return batch.raw.now_ms < expires_ms


def _look(batch: Batch, pings: Pings, admission: Admission, is_test: Bools, memory: Memory) -> Seen:
    """What came before each ping, and which may tell and send."""
    policy, counts = batch.snapshot.presence, admission.counts
    before = memory.log.fixes.look(pings, gap_ms=policy.gap_s * 1000, counts=counts)
    recent = (pings.now_ms - pings.at_ms <= policy.staleness_s * 1000) & (not batch.backfill)
    why = memory.log.suspects.look(pings, before, counts=counts & recent, is_test=is_test)
    flags = _FLAG_OF[why] | np.where(before.cached, _CACHED, _NONE) | np.where(is_test, _TEST, _NONE)
    if batch.backfill:
        flags |= _BACKFILLED
    return Seen(before=before, recent=recent, suspect=why != Suspicion.NONE, flags=flags)


def _advance(conn: sa.Connection, batch: Batch, stays: Stays, fixes: JudgedFixes) -> Changes:
    """Steps 6 and 7: live transitions, evidence and visits."""
    snapshot = batch.snapshot
    changes = advance(
        stays,
        fixes,
        policy=snapshot.presence,
        rules=snapshot.exit_rules,
        dwells_s=snapshot.dwells_s,
        swept_ms=stay_store.swept_ms(conn, snapshot.workspace_id),
        load=lambda spans: stay_store.histories(conn, spans, stays),
        forgotten_ms=int(batch.raw.now_ms.max(initial=0)) - snapshot.presence.amend_horizon_s * 1000,
    )
    return backfilled(changes, stays) if batch.backfill else changes


def _tell_webhooks(
    conn: sa.Connection,
    batch: Batch,
    told: Sequence[Transition],
    changes: Changes,
    settled: Settled,
) -> None:
    """What endpoints are told without any campaign; a device is who it is as of its ping."""
    if not batch.snapshot.webhooks or batch.backfill:
        return
    index = batch.snapshot.index

    def newest(fence_id: int) -> int:
        return index.rows_of(fence_id)[-1]

    rows = [t.ping for t in told]
    people = {
        t.device: Who(key=str(batch.raw.keys[row]), user_id=user_id)
        for t, row, (user_id, _) in zip(told, rows, settled.who_at(rows), strict=True)
    }
    tell(
        conn,
        app_id=batch.app_id,
        webhooks=batch.snapshot.webhooks,
        now_ms=int(batch.raw.now_ms.max(initial=0)),
        fences=index.versions,
        policy=batch.snapshot.presence,
        transitions=told,
        visits_closed=told_visits(changes.closed, fence_of=newest),
        visits_amended=told_visits(changes.amended, fence_of=newest, gone=changes.visits_gone),
        people=people,
    )


def _label_known(admission: Admission, changes: Changes) -> None:
    """A ping whose evidence was there before is a duplicate, whatever memory says."""
    rows = changes.known[admission.outcome[changes.known] >= Outcome.LATE]
    admission.outcome[rows] = Outcome.DUPLICATE
