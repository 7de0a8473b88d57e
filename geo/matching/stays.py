"""How a batch of judged fixes changes what is kept of devices at fences (notes/spine.md §4).

A stay holds the newest evidence of a pair and the end state of `visits_of` over all of it, so that a
fix in time order costs one step. Late evidence touches the visits within a gap of it and the one chunk
around it. The result is always `visits_of(all evidence)`, in whatever order it came.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from geo.matching.presence import DwellsOf, ExitRules, PresencePolicy, no_dwells
from geo.matching.stay_amend import Amended
from geo.matching.stay_columns import (
    EVIDENCE,
    TAIL,
    Changes,
    ChunkKeys,
    Chunks,
    Events,
    JudgedFixes,
    Key,
    Stays,
    VisitKeys,
    Visits,
    key_codes,
    span_ms,
)
from geo.matching.stay_late import Batch, Late, Load
from geo.matching.stay_pairs import NEVER_MS, Pairs
from geo.matching.stay_rounds import Rounds
from geo.matching.tables import Ints
from geo.matching.visits import Visit, pack

_SIZE = EVIDENCE.itemsize


def advance(
    stays: Stays,
    fixes: JudgedFixes,
    *,
    policy: PresencePolicy,
    swept_ms: int,
    load: Load,
    rules: ExitRules | None = None,
    dwells_s: DwellsOf = no_dwells,
    forgotten_ms: int = NEVER_MS,
) -> Changes:
    """Take a batch of judged fixes.

    Args:
        stays: what is kept of the pairs in `fixes`, as far as there is something; others are ignored.
        fixes: of each pair all in fixes; out and undecided ones matter only where the device is
            inside or comes in by this batch. Of one instant the surest counts.
        swept_ms: the newest cut of `stay_timers.swept` that was carried out, 0 before the first. It
            belongs to these pairs' workspace: to its gap, staleness and clock, by which no fresh fix
            is older. Older evidence of a pair without a stay makes visits and chunks, but no stay.
        load: fetches, for all spans at once, visits that touch a span and chunks whose own span
            does; a pair may be asked for several spans, and is absent where nothing is found. A
            stay's lock guards its pair; of one without a stay `load` has to keep others away.
        rules, dwells_s: exit rules and the dwells listened to, by fence row; None: the policy's.
        forgotten_ms: chunks older than this may have been dropped (the amend horizon, or older).
    """
    gap_ms = policy.gap_s * 1000
    batch = Batch.of(stays, fixes, gap_ms=gap_ms, swept_ms=swept_ms)
    late = Late(batch, stays, gap_ms=gap_ms)
    if batch.late.any():
        late.find_in_tails()
    late.amend(load, forgotten_ms)
    rounds = Rounds(batch.pairs, batch.fixes, batch.pair, policy=policy, rules=rules, dwells_s=dwells_s)
    rows = batch.moving()
    events = rounds.run(rows)
    return _changes(batch, stays, late, rows, events)


# --- what is to be written --------------------------------------------------------------------------


def _changes(batch: Batch, stays: Stays, late: Late, rows: Ints, events: Events) -> Changes:
    pairs = batch.pairs
    changed = np.flatnonzero(pairs.changed)
    evidence, chunks = _evidence(batch, stays, late, rows, changed)
    written = pairs.stays(changed, evidence)
    old = pairs.row[changed] >= 0
    new, over = _visits(pairs, changed)
    more = _amendments(batch, late.amended) if late.amended else Changes()
    fresh_close = Visits.joined([closed for closed, _ in pairs.over])
    return Changes(
        opened=written.take(~old) if not old.all() else Stays.empty(),
        moved=written.take(old) if not old.all() else written,
        visits_new=Visits.joined([new, more.visits_new]),
        visits_over=Visits.joined([over, more.visits_over]),
        visits_gone=more.visits_gone,
        chunks=Chunks.joined([chunks, more.chunks]),
        chunks_gone=more.chunks_gone,
        events=events,
        known=late.known,
        closed=Visits.joined([fresh_close, more.closed]),
        amended=more.amended,
    )


def _visits(pairs: Pairs, changed: Ints) -> tuple[Visits, Visits]:
    """Visit rows to insert, open ones too, and to update because they are over."""
    opened = changed[pairs.unwritten[changed]]
    new = [pairs.visits(opened), *(visits.take(unwritten) for visits, unwritten in pairs.over)]
    return Visits.joined(new), Visits.joined([v.take(~unwritten) for v, unwritten in pairs.over])


def _evidence(
    batch: Batch, stays: Stays, late: Late, rows: Ints, changed: Ints
) -> tuple[list[bytes], Chunks]:
    """The tails of the changed pairs with what the batch adds; a full one sends its older half away."""
    rows = rows[batch.fixes.verdict[rows] > 0]
    packed = pack(batch.fixes.at_ms[rows], batch.fixes.p[rows]).astype(EVIDENCE).tobytes()
    ends = np.searchsorted(batch.pair[rows], changed, side="right") * _SIZE
    begins = np.searchsorted(batch.pair[rows], changed, side="left") * _SIZE
    kept = stays.evidence
    before = [kept[row] if row >= 0 else b"" for row in batch.pairs.row[changed].tolist()]
    if late.tails:
        before = [
            late.tails.get(pair, tail) for pair, tail in zip(changed.tolist(), before, strict=True)
        ]
    tails = [
        tail + packed[begin:end]
        for tail, begin, end in zip(before, begins.tolist(), ends.tolist(), strict=True)
    ]
    spilt = []
    for at, tail in enumerate(tails):
        if len(tail) > TAIL * _SIZE:
            tails[at], older = _spill(tail)
            spilt += [(*batch.key(int(changed[at])), *span_ms(piece), piece) for piece in older]
    return tails, Chunks.from_rows(spilt)


def _spill(packed: bytes) -> tuple[bytes, list[bytes]]:
    """The newest evidence, and the rest in pieces of at most `TAIL`."""
    older = packed[: len(packed) - TAIL // 2 * _SIZE]
    pieces = [older[at : at + TAIL * _SIZE] for at in range(0, len(older), TAIL * _SIZE)]
    return packed[len(older) :], pieces


def _amendments(batch: Batch, amended: Sequence[tuple[int, Amended]]) -> Changes:
    keyed = [(batch.key(pair), found) for pair, found in amended]
    new = _listed((key, visit) for key, found in keyed for visit in found.new)
    over = _listed((key, visit) for key, found in keyed for visit in found.over)
    joined = [(key, found.newest) for key, found in keyed if found.joined and found.newest]
    return Changes(
        visits_new=new,
        visits_over=over,
        visits_gone=VisitKeys.from_rows((*key, at) for key, found in keyed for at in found.gone),
        chunks=Chunks.from_rows(
            (*key, *span_ms(piece), piece) for key, found in keyed for piece in found.chunks
        ),
        chunks_gone=ChunkKeys.from_rows(
            (*key, first) for key, found in keyed for first in found.chunks_gone
        ),
        closed=new,
        amended=Visits.joined([over, _listed(joined)]),
    )


def _listed(visits: Iterable[tuple[Key, Visit]]) -> Visits:
    return Visits.from_rows(
        (*key, v.arrived_ms, v.left_ms, v.fixes, v.p_sum, v.told_ms) for key, v in visits
    )


def backfilled(changes: Changes, before: Stays) -> Changes:
    """Changes as history makes them: evidence and visits grow, who is inside and what was told does not.

    Args:
        before: the stays that `advance` was given.
    """
    codes = key_codes(before.device, before.fence_id)
    wanted = key_codes(changes.moved.device, changes.moved.fence_id)
    was = before.take(np.searchsorted(codes, wanted))
    goes_on = changes.moved.arrived_ms <= was.left_ms
    kept = _quiet(changes.moved)
    return replace(
        changes,
        opened=_quiet(changes.opened),
        moved=replace(
            kept,
            inside=goes_on & was.inside,
            told_ms=np.where(goes_on, was.told_ms, kept.told_ms),
            presumed_ms=np.where(goes_on, was.presumed_ms, kept.presumed_ms),
            out_first_ms=np.where(goes_on, was.out_first_ms, 0),
            out_last_ms=np.where(goes_on, was.out_last_ms, 0),
            out_fixes=np.where(goes_on, was.out_fixes, 0),
            out_far=np.where(goes_on, was.out_far, 0),
            out_lon=np.where(goes_on, was.out_lon, 0.0),
            out_lat=np.where(goes_on, was.out_lat, 0.0),
        ),
        events=Events.empty(),
        closed=Visits.empty(),
        amended=Visits.empty(),
    )


def _quiet(stays: Stays) -> Stays:
    """Nobody inside, nothing told."""
    zero = np.zeros(len(stays), np.int64)
    return replace(
        stays,
        inside=zero > 0,
        told_ms=zero - 1,
        presumed_ms=zero - 1,
        out_first_ms=zero,
        out_last_ms=zero,
        out_fixes=zero,
        out_far=zero,
        out_lon=np.zeros(len(stays)),
        out_lat=np.zeros(len(stays)),
    )
