"""A reviewed change: what a file would do to what is there (product U4). Knows no fence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from geo.sheets.problems import Problem

T = TypeVar("T")
_SEVERAL = -1  # in place of an index: a key names more than one thing


class RowState(StrEnum):
    """What applying would do to one row, or to one thing that no row names."""

    NEW = "new"
    CHANGED = "changed"
    SAME = "same"
    REFUSED = "refused"
    MISSING = "missing"


@dataclass(frozen=True, kw_only=True)
class Change(Generic[T]):
    """One line of the review.

    Attributes:
        sheet, row: where it stands; None for what is missing from the file (a CSV has no sheet).
        before: what is there; None for new and refused ones.
        after: what would be there; None for refused and missing ones.
        place: index of `before` in the list that was reviewed; None where there is none.
    """

    state: RowState
    sheet: str | None = None
    row: int | None = None
    before: T | None = None
    after: T | None = None
    place: int | None = None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Review(Generic[T]):
    """All lines: rows in the order of the sheet, then what is missing from it."""

    changes: tuple[Change[T], ...]

    @property
    def counts(self) -> Mapping[RowState, int]:
        """How many lines of each state; every state is named."""
        found = Counter(change.state for change in self.changes)
        return {state: found[state] for state in RowState}


def pair(
    incoming: Sequence[T],
    existing: Sequence[T],
    *,
    levels: Sequence[Callable[[T], Iterable[Hashable]]],
    fits: Callable[[T, T], bool] = lambda _incoming, _existing: True,
) -> list[int | None]:
    """For each incoming thing the index of the existing one it means, or None.

    Each level gives the keys a thing goes by, the surest level first. A key pairs two things only if
    it names one unpaired thing on either side; each thing is paired once.

    Args:
        fits: whether two things of one key may be the same.
    """
    paired: list[int | None] = [None] * len(incoming)
    taken: set[int] = set()
    for level in levels:
        there: dict[Hashable, int] = {}
        for place, thing in enumerate(existing):
            if place not in taken:
                for key in level(thing):
                    there[key] = _SEVERAL if there.setdefault(key, place) != place else place
        wanted: dict[Hashable, int] = {}
        for asker, thing in enumerate(incoming):
            if paired[asker] is None:
                for key in level(thing):
                    if key in there:
                        wanted[key] = _SEVERAL if wanted.setdefault(key, asker) != asker else asker
        for key, asker in wanted.items():
            place = there[key]
            if _SEVERAL in (asker, place) or paired[asker] is not None or place in taken:
                continue
            if fits(incoming[asker], existing[place]):
                paired[asker] = place
                taken.add(place)
    return paired


def review(
    rows: Sequence[tuple[int, T]],
    existing: Sequence[T],
    *,
    pairs: Sequence[int | None],
    merge: Callable[[int, T, T], T],
    problems: Sequence[Problem] = (),
    sheets: Sequence[str | None] | None = None,
    spared: frozenset[int] = frozenset(),
    in_scope: Callable[[T], bool] = lambda _thing: True,
) -> Review[T]:
    """What the rows would do to what is there.

    Args:
        rows: (row number, thing) of the rows that can be taken, in the order of their sheets.
        pairs: per row the index of the existing thing it means, as `pair` gives it.
        merge: (index of the row, existing, incoming) → what would be there after; equal to the
            existing one: same.
        problems: of all rows; a row in them that is not in `rows` is refused.
        sheets: the sheet of each row, where they come from several; else all are of one.
        spared: indices of existing things that a refused row names: they are not missing.
        in_scope: whether an existing thing that no row names counts as missing.
    """
    places = list(sheets) if sheets is not None else [None] * len(rows)
    by_row: dict[tuple[str | None, int], list[Problem]] = {}
    for problem in problems:
        at = problem.sheet if sheets is not None else None
        by_row.setdefault((at, problem.row), []).append(problem)
    lines: list[Change[T]] = []
    for n, ((row, thing), sheet, place) in enumerate(zip(rows, places, pairs, strict=True)):
        found = tuple(by_row.pop((sheet, row), ())) if by_row else ()
        if place is None:
            new = Change(state=RowState.NEW, sheet=sheet, row=row, after=thing, problems=found)
            lines.append(new)
            continue
        before = existing[place]
        after = merge(n, before, thing)
        lines.append(
            Change(
                state=RowState.SAME if after is before or after == before else RowState.CHANGED,
                sheet=sheet,
                row=row,
                before=before,
                after=after,
                place=place,
                problems=found,
            )
        )
    if by_row:
        lines += [
            Change(state=RowState.REFUSED, sheet=sheet, row=row, problems=tuple(found))
            for (sheet, row), found in by_row.items()
        ]
        order = {sheet: n for n, sheet in enumerate(dict.fromkeys(places))}
        lines.sort(key=lambda line: (order.get(line.sheet, len(order)), line.row or 0))
    named = spared | {place for place in pairs if place is not None}
    lines += [
        Change(state=RowState.MISSING, before=thing, place=place)
        for place, thing in enumerate(existing)
        if place not in named and in_scope(thing)
    ]
    return Review(changes=tuple(lines))
