"""Stays, judged fixes and what a batch changes, as columns (notes/spine.md §3).

Evidence is packed little-endian int64, `at_ms << 8 | p`, ascending, one an instant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from geo.matching.presence import CAUSES, KINDS, Cause, Kind
from geo.matching.tables import Bools, Codes, Floats, Ints, Table
from geo.matching.visits import Evidence, Visit

TAIL = 64  # evidence kept in the stay itself; the older half of a full tail becomes a chunk
EVIDENCE = np.dtype("<i8")

Key = tuple[int, int]  # device, fence id


def unpack(packed: bytes) -> Evidence:
    """Evidence from its packed form."""
    return np.frombuffer(packed, EVIDENCE).astype(np.int64)


def pack_bytes(evidence: Evidence) -> bytes:
    """The packed form of evidence."""
    return evidence.astype(EVIDENCE).tobytes()


def span_ms(packed: bytes) -> tuple[int, int]:
    """First and last instant of packed evidence that is not empty."""
    return (
        int.from_bytes(packed[:8], "little", signed=True) >> 8,
        int.from_bytes(packed[-8:], "little", signed=True) >> 8,
    )


def key_codes(device: Ints, fence_id: Ints) -> Ints:
    """One number a pair, in the order of (device, fence id); both are below 2**31."""
    return (device << 32) | fence_id


@dataclass(frozen=True, kw_only=True)
class Stays(Table):
    """One row a (device, fence_id), ascending and unique: newest visit, live machine, tail.

    Attributes:
        inside: entered (or silently returned) and not exited.
        told_ms: the longest dwell of the newest visit that a fresh fix has shown, -1 while its enter
            is still to come; presumed_ms: the longest that was presumed, -1 none.
        arrived_ms, left_ms, fixes, p_sum: of the newest visit; `left_ms` is the newest evidence.
        out_first_ms … out_lat: the run of out fixes since, see `presence.Run`.
        evidence: the newest, packed; never empty, newer than all evidence in chunks.
    """

    device: Ints
    fence_id: Ints
    inside: Bools
    told_ms: Ints
    presumed_ms: Ints
    arrived_ms: Ints
    left_ms: Ints
    fixes: Ints
    p_sum: Ints
    out_first_ms: Ints
    out_last_ms: Ints
    out_fixes: Ints
    out_far: Ints
    out_lon: Floats
    out_lat: Floats
    evidence: list[bytes]

    @property
    def heard_ms(self) -> Ints:
        """The newest fix that was in or out: what a silence is measured from."""
        return np.maximum(self.left_ms, np.where(self.out_fixes > 0, self.out_last_ms, self.left_ms))

    def visits(self) -> Visits:
        """The newest visits as they stand."""
        return Visits(
            device=self.device,
            fence_id=self.fence_id,
            arrived_ms=self.arrived_ms,
            left_ms=self.left_ms,
            fixes=self.fixes,
            p_sum=self.p_sum,
            told_ms=self.told_ms,
        )


@dataclass(frozen=True, kw_only=True)
class JudgedFixes(Table):
    """One row a (ping, fence) pair, in any order; several pings may share one instant.

    Attributes:
        ping: its row in the batch.
        fence: row of the fence version in the index that is live at the fix's instant.
        verdict: 1 in, 0 undecided, -1 out (`certainty.Verdict`).
        rim_m: signed metres to the rim, negative inside.
        fresh: young enough to tell and send; late, backfilled and suspect fixes are not.
    """

    ping: Ints
    device: Ints
    fence_id: Ints
    fence: Ints
    at_ms: Ints
    verdict: Codes
    p: Floats
    rim_m: Floats
    sigma_m: Floats
    lon: Floats
    lat: Floats
    fresh: Bools


@dataclass(frozen=True, kw_only=True)
class Visits(Table):
    """Visits of many pairs; told_ms as in `visits.Visit`."""

    device: Ints
    fence_id: Ints
    arrived_ms: Ints
    left_ms: Ints
    fixes: Ints
    p_sum: Ints
    told_ms: Ints


@dataclass(frozen=True, kw_only=True)
class VisitKeys(Table):
    """Visits by what they are found by."""

    device: Ints
    fence_id: Ints
    arrived_ms: Ints


@dataclass(frozen=True, kw_only=True)
class Chunks(Table):
    """Older evidence in pieces of at most `TAIL`; the spans of one pair's chunks do not overlap.

    Attributes:
        first_ms, last_ms: the first and last instant in it; `first_ms` belongs to the key.
    """

    device: Ints
    fence_id: Ints
    first_ms: Ints
    last_ms: Ints
    evidence: list[bytes]


@dataclass(frozen=True, kw_only=True)
class ChunkKeys(Table):
    """Chunks by what they are found by."""

    device: Ints
    fence_id: Ints
    first_ms: Ints


@dataclass(frozen=True, kw_only=True)
class Events(Table):
    """Live transitions before they are addressed, in the order of the fixes that showed them.

    Attributes:
        ping, fence: batch row and fence version row of the fix that shows it; -1 where none does.
        kind, cause: places in `presence.KINDS` and `presence.CAUSES`.
        at_ms: the trigger instant: the in fix of an enter or proven dwell, arrival + N of a presumed
            dwell, the first out fix of an exit, the last in fix of an exit by silence.
        seen_ms: the instant of the fix that showed it, or of the timer.
        p, rim_m: of that fix; NaN where none.
        dwell_s: the threshold that a dwell has passed, else -1.
        again: a proven dwell that was presumed before: who was told then is not told again.
    """

    ping: Ints
    device: Ints
    fence_id: Ints
    fence: Ints
    kind: Codes
    cause: Codes
    at_ms: Ints
    seen_ms: Ints
    arrived_ms: Ints
    dwell_s: Ints
    p: Floats
    rim_m: Floats
    again: Bools

    def listed(self) -> list[ToldEvent]:
        """The events one by one, codes and -1 spelt out."""
        return [ToldEvent.of(*row) for row in self.rows()]


class ToldEvent(NamedTuple):
    """One row of `Events`."""

    ping: int
    device: int
    fence_id: int
    fence: int
    kind: Kind
    cause: Cause
    at_ms: int
    seen_ms: int
    arrived_ms: int
    dwell_s: int | None
    p: float
    rim_m: float
    again: bool

    @classmethod
    def of(
        cls,
        ping: int,
        device: int,
        fence_id: int,
        fence: int,
        kind: int,
        cause: int,
        at_ms: int,
        seen_ms: int,
        arrived_ms: int,
        dwell_s: int,
        p: float,
        rim_m: float,
        again: bool,  # noqa: FBT001 - a row of `Events`
    ) -> ToldEvent:
        """From a row of the columns."""
        said = None if dwell_s < 0 else dwell_s
        what, why = KINDS[kind], CAUSES[cause]
        return cls(
            ping, device, fence_id, fence, what, why, at_ms, seen_ms, arrived_ms, said, p, rim_m, again
        )


@dataclass(frozen=True, kw_only=True)
class History:
    """What is kept of a pair around some instants; more than was asked for does no harm.

    Attributes:
        visits: rows as written; the one that a stay holds may be among them as it was at its enter.
        chunks: packed evidence.
    """

    visits: Sequence[Visit] = ()
    chunks: Sequence[bytes] = ()


class Span(NamedTuple):
    """A pair and instants, both ends included, around which its history is asked for."""

    key: Key
    first_ms: int
    last_ms: int


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What a batch changes; everything else stays as it is.

    Written in this order: what is gone, then what is new, then what has changed. No key stands twice
    in one table, and none in two of the same kind.

    Attributes:
        opened, moved: stays to insert and to update; `gone` those to delete (by a sweep).
        visits_new, visits_over, visits_gone: visit rows to insert, to update, to delete. The row of a
            stay's newest visit keeps what it had at its enter: its end stands in the stay.
        chunks: to write, whether or not there is one of that key.
        events: live transitions in time order, per pair in the order in which they happened.
        known: ping rows whose evidence was there before.
        closed: visits that are over by now and were not before (`visit.closed`).
        amended: visits that were over and have changed (`visit.amended`); one that has joined the
            newest visit of a stay is open again.
    """

    opened: Stays = field(default_factory=Stays.empty)
    moved: Stays = field(default_factory=Stays.empty)
    gone: Stays = field(default_factory=Stays.empty)
    visits_new: Visits = field(default_factory=Visits.empty)
    visits_over: Visits = field(default_factory=Visits.empty)
    visits_gone: VisitKeys = field(default_factory=VisitKeys.empty)
    chunks: Chunks = field(default_factory=Chunks.empty)
    chunks_gone: ChunkKeys = field(default_factory=ChunkKeys.empty)
    events: Events = field(default_factory=Events.empty)
    known: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    closed: Visits = field(default_factory=Visits.empty)
    amended: Visits = field(default_factory=Visits.empty)
