"""What is kept of a device at a fence, and how a batch of judged fixes changes it (notes/spine.md §4).

A `Stay` holds the newest evidence and the end state of `visits_of` over all of it, so that a fix in
time order costs one step. A late fix that says something new is joined to all evidence of the pair and
the visits are cut again: the result is always `visits_of(all evidence)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from geo.matching.presence import (
    NO_RUN,
    Event,
    Fix,
    Live,
    PresencePolicy,
    newest_ms,
    step,
)
from geo.matching.visits import P_SCALE, Evidence, Visit, instants, join, pack, visits_of

TAIL = 64  # evidence kept in the stay itself; the older half of a full tail becomes a chunk
_EVIDENCE = np.dtype("<i8")

Key = tuple[int, int]  # device, fence id


@dataclass(frozen=True, kw_only=True, slots=True)
class Stay:
    """The newest evidence of a device at a fence, its newest visit and its live state.

    Attributes:
        fixes, p_sum: of the newest visit, whose arrival and end stand in `live`.
        evidence: the newest evidence, packed little-endian int64, ascending; never empty.
    """

    live: Live
    fixes: int
    p_sum: int
    evidence: bytes

    @property
    def visit(self) -> Visit:
        """The newest visit as it stands."""
        return Visit(
            arrived_ms=self.live.arrived_ms,
            left_ms=self.live.left_ms,
            fixes=self.fixes,
            p_sum=self.p_sum,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """What an amendment has to see: older evidence and the visits written so far."""

    chunk_firsts_ms: Sequence[int]
    evidence: Evidence
    visits: Sequence[Visit]


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What a batch changes, by (device, fence id); everything else stays as it is."""

    stays: dict[Key, Stay] = field(default_factory=dict)
    visits: dict[Key, list[Visit]] = field(default_factory=dict)
    visits_gone: list[tuple[Key, int]] = field(default_factory=list)
    chunks: list[tuple[Key, bytes]] = field(default_factory=list)
    chunks_gone: list[tuple[Key, int]] = field(default_factory=list)
    events: list[tuple[Key, Event]] = field(default_factory=list)
    known: set[int] = field(default_factory=set)  # batch rows whose evidence was there before


def unpack(packed: bytes) -> Evidence:
    """Evidence from its packed form."""
    return np.frombuffer(packed, _EVIDENCE).astype(np.int64)


def pack_bytes(evidence: Evidence) -> bytes:
    """The packed form of evidence."""
    return evidence.astype(_EVIDENCE).tobytes()


def advance(
    stays: Mapping[Key, Stay],
    groups: Iterable[tuple[Key, list[Fix], Sequence[int]]],
    *,
    policy: PresencePolicy,
    load: Callable[[list[Key]], Mapping[Key, History]],
) -> Changes:
    """Take a batch of judged fixes.

    Args:
        stays: what is kept of every pair of the batch's devices.
        groups: per pair its fixes in time order, one an instant, and the dwell thresholds listened
            to (seconds). In fixes are evidence; others only move a live stay.
        load: fetches the history of the pairs that a late fix amends, all at once.
    """
    changes = Changes()
    plans = [_plan(stays.get(key), key, fixes, dwells_s, changes) for key, fixes, dwells_s in groups]
    amended = [plan.key for plan in plans if plan.late]
    histories = load(amended) if amended else {}
    for plan in plans:
        stay = plan.stay
        if plan.late and stay is not None:
            stay = _amend(plan.key, stay, plan.late, histories[plan.key], policy, changes)
        _go_on(plan, stay, policy, changes)
    return changes


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    key: Key
    stay: Stay | None
    late: list[Fix]
    new: list[Fix]
    dwells_s: Sequence[int]


def _plan(
    stay: Stay | None, key: Key, fixes: list[Fix], dwells_s: Sequence[int], changes: Changes
) -> _Plan:
    """Part the fixes: those that go on in time order, and late evidence that says something new."""
    if stay is None:
        return _Plan(key=key, stay=None, late=[], new=fixes, dwells_s=dwells_s)
    left_ms, seen_ms = stay.live.left_ms, newest_ms(stay.live)
    new = [fix for fix in fixes if fix.at_ms > (left_ms if fix.verdict > 0 else seen_ms)]
    old = [fix for fix in fixes if fix.verdict > 0 and fix.at_ms <= left_ms]
    late = []
    if old:
        tail = unpack(stay.evidence)
        kept = dict(zip(instants(tail).tolist(), (tail & P_SCALE).tolist(), strict=True))
        late = [fix for fix in old if kept.get(fix.at_ms, -1) < _p(fix)]
        changes.known.update(fix.ping for fix in old if fix.at_ms in kept)
    return _Plan(key=key, stay=stay, late=late, new=new, dwells_s=dwells_s)


def _p(fix: Fix) -> int:
    return round(fix.p * P_SCALE)


def _evidence(fixes: Sequence[Fix]) -> Evidence:
    at_ms = np.array([fix.at_ms for fix in fixes], np.int64)
    return pack(at_ms, np.array([fix.p for fix in fixes], np.float64))


def _go_on(plan: _Plan, stay: Stay | None, policy: PresencePolicy, changes: Changes) -> None:
    """Fixes in time order: the live machine's step, and evidence appended."""
    live, events = step(stay.live if stay else None, plan.new, policy=policy, dwells_s=plan.dwells_s)
    if live is None:
        return
    changes.events.extend((plan.key, event) for event in events)
    seen = [fix for fix in plan.new if fix.verdict > 0]
    if not seen:
        if stay is not None and live != stay.live:
            changes.stays[plan.key] = replace(stay, live=live)
        return
    changes.stays[plan.key] = _append(plan.key, stay, live, _evidence(seen), policy, changes)


def _append(
    key: Key,
    stay: Stay | None,
    live: Live,
    seen: Evidence,
    policy: PresencePolicy,
    changes: Changes,
) -> Stay:
    found = visits_of(seen, gap_ms=policy.gap_s * 1000)
    rows = changes.visits.setdefault(key, [])
    if stay is not None:
        if found[0].arrived_ms - stay.live.left_ms <= policy.gap_s * 1000:
            found[0] = _grown(stay.visit, found[0])
        else:
            rows.append(stay.visit)  # it is over: its row gets its end
    if stay is None or found[-1].arrived_ms != stay.live.arrived_ms:
        rows.extend(found)
    tail = _spill(key, (stay.evidence if stay else b"") + pack_bytes(seen), changes)
    newest = found[-1]
    return Stay(
        live=live,
        fixes=newest.fixes,
        p_sum=newest.p_sum,
        evidence=tail,
    )


def _grown(visit: Visit, more: Visit) -> Visit:
    return Visit(
        arrived_ms=visit.arrived_ms,
        left_ms=more.left_ms,
        fixes=visit.fixes + more.fixes,
        p_sum=visit.p_sum + more.p_sum,
    )


def _spill(key: Key, packed: bytes, changes: Changes) -> bytes:
    """The newest evidence; a full tail sends its older half to chunks of at most `TAIL` each."""
    size = _EVIDENCE.itemsize
    if len(packed) <= TAIL * size:
        return packed
    older = packed[: len(packed) - TAIL // 2 * size]
    changes.chunks.extend(
        (key, older[at : at + TAIL * size]) for at in range(0, len(older), TAIL * size)
    )
    return packed[len(older) :]


def _amend(
    key: Key,
    stay: Stay,
    late: list[Fix],
    history: History,
    policy: PresencePolicy,
    changes: Changes,
) -> Stay:
    """Join late evidence to all that is kept and cut the visits again; write the difference."""
    before = join(history.evidence, unpack(stay.evidence))
    evidence = join(before, _evidence(late))
    changes.known.update(fix.ping for fix in late if fix.at_ms in set(instants(before).tolist()))
    if np.array_equal(before, evidence):
        return stay
    found = visits_of(evidence, gap_ms=policy.gap_s * 1000)
    written = {visit.arrived_ms: visit for visit in history.visits}
    arrivals = {visit.arrived_ms for visit in found}
    changes.visits_gone.extend((key, arrived) for arrived in written if arrived not in arrivals)
    changes.visits[key] = [v for v in found if written.get(v.arrived_ms) != v]
    changes.chunks_gone.extend((key, first_ms) for first_ms in history.chunk_firsts_ms)
    tail = _spill(key, pack_bytes(evidence), changes)
    newest = found[-1]
    live = replace(stay.live, arrived_ms=newest.arrived_ms)
    amended = Stay(live=live, fixes=newest.fixes, p_sum=newest.p_sum, evidence=tail)
    changes.stays[key] = amended
    return amended


def backfilled(stay: Stay, before: Stay | None) -> Stay:
    """A stay as history makes it: evidence and visits grow, who is inside and what was told does not.

    Args:
        before: the stay as it was, None for a new one.
    """
    live = stay.live
    if before is None or live.arrived_ms > before.live.left_ms:
        return replace(stay, live=replace(live, inside=False, told_ms=-1, run=NO_RUN))
    was = before.live
    return replace(stay, live=replace(live, inside=was.inside, told_ms=was.told_ms, run=was.run))
