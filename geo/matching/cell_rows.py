"""Rows of an answer, put in order and sifted in place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geo.matching.compiled import bare_kernel, inlined

Ints = NDArray[np.int64]
Rows = NDArray[np.int32]


@inlined
def sort_rows(out: Rows, begin: int, end: int) -> None:
    """Ascending, in place: a few rows as a rule."""
    if end - begin > 32:
        _sort_many(out, begin, end)
    else:
        _sort_apart(out, begin, end, 1)


@inlined
def _sort_apart(out: Rows, begin: int, end: int, gap: int) -> None:
    """Insertion sort of each set of rows that lie `gap` apart."""
    for place in range(begin + gap, end):
        row = out[place]
        at = place - gap
        while at >= begin and out[at] > row:
            out[at + gap] = out[at]
            at -= gap
        out[at + gap] = row


@bare_kernel
def _sort_many(out: Rows, begin: int, end: int) -> None:
    """Shell's sort: the gaps shrink by 2.25 (Tokuda), the last is 1."""
    gap = end - begin
    while gap > 1:
        gap = max(1, int(gap / 2.25))
        _sort_apart(out, begin, end, gap)


@bare_kernel
def once_each(out: Rows, begin: int, end: int) -> int:
    """Of ascending rows each only once; where they end then."""
    kept = begin
    for place in range(begin, end):
        if place == begin or out[place] != out[place - 1]:
            out[kept] = out[place]
            kept += 1
    return kept


@bare_kernel
def keep_in_time(
    offsets: Ints,
    rows: Rows,
    at_ms: Ints,
    live_from_ms: Ints,
    live_until_ms: Ints,
    first: int,
    many: int,
) -> int:
    """Keep the rows that are live at their ping's instant, in place; where they end then.

    Of so many pings from the first on, which are the last so far.
    """
    kept = begin = offsets[first]
    for ping in range(first, first + many):
        end = offsets[ping + 1]
        for place in range(begin, end):
            row = rows[place]
            rows[kept] = row
            kept += live_from_ms[row] <= at_ms[ping] < live_until_ms[row]
        begin = end
        offsets[ping + 1] = kept
    return kept
