"""Visits as a pure function of the set of inside evidence (product P5, P6; notes/spine.md §2).

One piece of evidence says "this device was inside this fence at this instant, with this P". It is one
int64: `at_ms << 8 | p`, p = P in 1/255. Joining two sets keeps the greater p per instant; the join is
commutative, associative and idempotent, so neither order nor repetition of pings can change a visit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Evidence = NDArray[np.int64]

P_SCALE = 255
_P_BITS = 8
_P_MASK = (1 << _P_BITS) - 1


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A stay of one device at one fence.

    Attributes:
        arrived_ms, left_ms: first and last evidence, both included.
        fixes: evidence counted, one per instant.
        p_sum: sum of their p in 1/255; whole numbers, so exact in any order.
        told_ms: the longest dwell of it that was told live, -1 if not even its enter was. It hangs
            on what was known when, so it is no part of the visit's value.
    """

    arrived_ms: int
    left_ms: int
    fixes: int
    p_sum: int
    told_ms: int = field(default=-1, compare=False)

    @property
    def dwell_ms(self) -> int:
        """Time between the first and the last evidence."""
        return self.left_ms - self.arrived_ms

    @property
    def confidence(self) -> float:
        """Mean P of the evidence, 0 to 1."""
        return self.p_sum / (self.fixes * P_SCALE)


def pack(at_ms: NDArray[np.int64], p: NDArray[np.float64]) -> Evidence:
    """Evidence from instants (ms) and probabilities (0 to 1), in the order given."""
    return (at_ms << _P_BITS) | np.rint(p * P_SCALE).astype(np.int64)


def instants(evidence: Evidence) -> NDArray[np.int64]:
    """The instants of evidence in ms."""
    return evidence >> _P_BITS


def join(*parts: Evidence) -> Evidence:
    """The union of sets of evidence: ascending, one entry an instant, the greatest p kept."""
    merged = np.sort(np.concatenate([np.empty(0, np.int64), *parts]))
    if len(merged) < 2:
        return merged
    last_of_instant = np.append(instants(merged[1:]) != instants(merged[:-1]), True)
    return merged[last_of_instant]


def visits_of(evidence: Evidence, *, gap_ms: int) -> list[Visit]:
    """Cut joined evidence wherever two neighbours are further apart than the gap.

    Evidence exactly `gap_ms` apart belongs to one visit. Source: product P6.
    """
    if not len(evidence):
        return []
    at_ms = instants(evidence)
    first = np.concatenate([[0], np.flatnonzero(np.diff(at_ms) > gap_ms) + 1])
    last = np.append(first[1:], len(evidence)) - 1
    p_sum = np.add.reduceat(evidence & _P_MASK, first)
    return [
        Visit(arrived_ms=a, left_ms=b, fixes=n, p_sum=s)
        for a, b, n, s in zip(
            at_ms[first].tolist(),
            at_ms[last].tolist(),
            (last - first + 1).tolist(),
            p_sum.tolist(),
            strict=True,
        )
    ]


def visits_plain(evidence: Iterable[tuple[int, int]], *, gap_ms: int) -> list[Visit]:
    """The O(n²) twin of `visits_of`: connected components of instants within the gap of each other.

    Args:
        evidence: (at_ms, p) pairs in any order, with any repetition.
    """
    best: dict[int, int] = {}
    for at_ms, p in evidence:
        best[at_ms] = max(p, best.get(at_ms, 0))
    waiting = set(best)
    found = []
    while waiting:
        stay = {waiting.pop()}
        while near := {t for t in waiting if any(abs(t - u) <= gap_ms for u in stay)}:
            stay |= near
            waiting -= near
        total = sum(best[t] for t in stay)
        found.append(Visit(arrived_ms=min(stay), left_ms=max(stay), fixes=len(stay), p_sum=total))
    return sorted(found, key=lambda visit: visit.arrived_ms)
