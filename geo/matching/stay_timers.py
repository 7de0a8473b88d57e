"""What happens to stays while no fix comes: silence, presumed dwells, and the sweep (product P4).

A worker calls these now and then with the stays that it has locked. How often it does changes when
something is told, never what a visit is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from geo.matching.presence import CAUSES, KINDS, Cause, Kind, PresencePolicy
from geo.matching.stay_columns import Changes, Chunks, Events, Stays, span_ms
from geo.matching.tables import Bools, Ints

#: a stay is swept when its newest evidence is so much older than the gap: what is fresh then begins
#: a visit of its own, or finds its stay
SWEEP_MARGIN_MS = 10 * 60_000
#: a dwell is presumed while the newest fix is no older (product P4)
PRESUMED_WITHIN_MS = 5 * 60_000


def sweep_cut_ms(now_ms: int, policy: PresencePolicy) -> int:
    """The cut of a sweep: stays whose newest evidence is older may go; it becomes `swept_ms`."""
    return now_ms - policy.gap_s * 1000 - max(SWEEP_MARGIN_MS, policy.staleness_s * 1000)


def silent(stays: Stays, now_ms: int, policy: PresencePolicy) -> Changes:
    """Exits by silence: those inside of whom no in or out fix was heard for longer than the gap.

    Dated at the last in fix; such an exit never sends. A return within the gap, told late, is silent.
    """
    rows = np.flatnonzero(_silent(stays, now_ms, policy))
    gone = stays.take(rows)
    return Changes(moved=replace(gone, inside=np.zeros(len(gone), bool)), events=_silences(gone, now_ms))


def swept(stays: Stays, now_ms: int, policy: PresencePolicy) -> Changes:
    """The stays that nothing in time order can reach any more: their visits are final.

    A stay stays while its device is inside and heard of, however old its evidence is. The caller
    writes `sweep_cut_ms` as the new `swept_ms` in the same transaction, if it is newer, even where
    no stay goes.

    Returns:
        Stays to delete, their visits' ends, their evidence as chunks, and exits by silence of
        those still inside.
    """
    over = stays.left_ms < sweep_cut_ms(now_ms, policy)
    quiet = _silent(stays, now_ms, policy)
    gone = stays.take(over & (~stays.inside | quiet))
    visits = gone.visits()
    spans = np.array([span_ms(packed) for packed in gone.evidence], np.int64).reshape(-1, 2)
    return Changes(
        gone=gone,
        visits_over=visits,
        closed=visits,
        chunks=Chunks(
            device=gone.device,
            fence_id=gone.fence_id,
            first_ms=spans[:, 0],
            last_ms=spans[:, 1],
            evidence=gone.evidence,
        ),
        events=_silences(gone.take(gone.inside), now_ms),
    )


def presumed(stays: Stays, now_ms: int, thresholds: Callable[[int], Sequence[int]]) -> Changes:
    """Dwells that are due though no fix has proven them.

    The newest fix is a fresh in fix no older than 5 min, the enter was told, and arrival + N has come.
    Each is told once. A fix that proves it later makes an event marked `again`, for those who do not
    presume.

    Args:
        thresholds: seconds that somebody presumes, by fence id.
    Returns:
        The stays with what was presumed, and the events, dated at arrival + N.
    """
    rows, limits = _due(stays, now_ms, thresholds)
    if not len(rows):
        return Changes()
    longest = stays.presumed_ms.copy()
    np.maximum.at(longest, rows, limits)
    moved = np.unique(rows)
    some = stays.take(moved)
    of = stays.take(rows)
    return Changes(
        moved=replace(some, presumed_ms=longest[moved]),
        events=_timed(
            of, Kind.DWELL, Cause.PRESUMED, of.arrived_ms + limits, now_ms, dwell_s=limits // 1000
        ),
    )


def _due(stays: Stays, now_ms: int, thresholds: Callable[[int], Sequence[int]]) -> tuple[Ints, Ints]:
    """Rows of stays and the thresholds (ms) that are due, by arrival + N."""
    dwell_ms = stays.left_ms - stays.arrived_ms
    likely = (
        stays.inside
        & (stays.out_last_ms <= stays.left_ms)  # nothing since the newest in fix
        & (now_ms - stays.left_ms <= PRESUMED_WITHIN_MS)
        & (stays.told_ms >= dwell_ms)  # that fix was fresh
    )
    found = [
        (row, 1000 * seconds)
        for row in np.flatnonzero(likely).tolist()
        for seconds in sorted(set(thresholds(int(stays.fence_id[row]))))
        if max(stays.told_ms[row], stays.presumed_ms[row]) < 1000 * seconds
        and 1000 * seconds <= now_ms - stays.arrived_ms[row]
    ]
    pairs = np.array(found, np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _silent(stays: Stays, now_ms: int, policy: PresencePolicy) -> Bools:
    return stays.inside & (now_ms - stays.heard_ms > policy.gap_s * 1000)


def _silences(stays: Stays, now_ms: int) -> Events:
    """Nobody exits who was never told to have entered."""
    told = stays.take(stays.told_ms >= 0)
    return _timed(told, Kind.EXIT, Cause.SILENCE, told.left_ms, now_ms)


def _timed(
    stays: Stays,
    kind: Kind,
    cause: Cause,
    at_ms: Ints,
    now_ms: int,
    *,
    dwell_s: Ints | None = None,
) -> Events:
    count = len(stays)
    none = np.full(count, -1, np.int64)
    unknown = np.full(count, np.nan)
    return Events(
        ping=none,
        device=stays.device,
        fence_id=stays.fence_id,
        fence=none,
        kind=np.full(count, KINDS.index(kind), np.int8),
        cause=np.full(count, CAUSES.index(cause), np.int8),
        at_ms=at_ms,
        seen_ms=np.full(count, now_ms, np.int64),
        arrived_ms=stays.arrived_ms,
        dwell_s=none if dwell_s is None else dwell_s,
        p=unknown,
        rim_m=unknown,
        again=np.zeros(count, bool),
    )
