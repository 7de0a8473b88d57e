"""Rows whose texts are longer than a fence may have are refused with their cell, as any other fault.

The bounds are those of `/v1/fences` (product F5): what one door refuses, no other lets in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from geo.fences.fence import Fence
from geo.fences.identity import MEMO, Identity
from geo.fences.reading import ReadFences
from geo.sheets.problems import Problem
from geo.sheets.table import cell_name
from nearcast.services.edit_fences import MAX_EXTERNAL_ID, MAX_NAME

MAX_TEXT = 1_000
MAX_TAG = 128
MAX_LISTED = 50  # groups or tags of one fence
_SHOWN_CHARS = 80
_SHORTEST = min(MAX_NAME, MAX_EXTERNAL_ID, MAX_TEXT, MAX_TAG)


class _Bound(NamedTuple):
    """How long the texts of a column may be, and how many there may be of them."""

    column: str
    texts: Callable[[Fence], Sequence[str]]
    most_chars: int
    most: int = 1


def _one(name: str) -> Callable[[Fence], Sequence[str]]:
    def found(fence: Fence) -> Sequence[str]:
        text: str | None = getattr(fence, name)
        return () if text is None else (text,)

    return found


_BOUNDS = (
    _Bound("name", _one("name"), MAX_NAME),
    _Bound("external_id", _one("external_id"), MAX_EXTERNAL_ID),
    _Bound("group", lambda fence: fence.groups, MAX_NAME, MAX_LISTED),
    _Bound("tags", lambda fence: fence.tags, MAX_TAG, MAX_LISTED),
    *(_Bound(name, _one(name), MAX_TEXT) for name in ("brand", "category", "store", "address")),
    _Bound("memo", lambda fence: (fence.metadata.get(MEMO, ""),), MAX_TEXT),
)


def within_bounds(read: ReadFences) -> ReadFences:
    """The sheet without the rows that are too long, and with a problem for each of their faults."""
    long = [(row, fence) for row, fence in read.fences if _is_long(fence)]
    if not long:
        return read
    problems = [_problem(read, row, *fault) for row, fence in long for fault in _faults(fence)]
    rows = {row for row, _ in long}
    return replace(
        read,
        fences=[pair for pair in read.fences if pair[0] not in rows],
        problems=sorted([*read.problems, *problems], key=lambda problem: problem.row),
        refused={**read.refused, **{row: _identity(fence) for row, fence in long}},
    )


def _is_long(fence: Fence) -> bool:
    """Whether any bound is broken; nearly all rows are short, which is seen at a glance."""
    texts = [fence.name, fence.external_id, *fence.groups, *fence.tags, fence.brand, fence.category]
    texts += [fence.store, fence.address, *fence.metadata.values()]
    if len("".join(filter(None, texts))) <= _SHORTEST and len(texts) <= MAX_LISTED:
        return False
    return any(True for _ in _faults(fence))


def _faults(fence: Fence) -> Iterator[tuple[_Bound, str | Sequence[str]]]:
    """(bound, the text that breaks it, or all texts where they are too many)."""
    for bound in _BOUNDS:
        texts = bound.texts(fence)
        if not texts:
            continue
        if len(texts) > bound.most:
            yield bound, texts
        longest = max(texts, key=len)
        if len(longest) > bound.most_chars:
            yield bound, longest


def _identity(fence: Fence) -> Identity:
    """Who the row is, as far as lists show it and a stored fence can have it."""
    return Identity(
        name=fence.name[:MAX_NAME],
        external_id=fence.external_id and fence.external_id[:MAX_EXTERNAL_ID],
        groups=tuple(group for group in fence.groups if len(group) <= MAX_NAME),
        address=fence.address and fence.address[:MAX_TEXT],
    )


def _problem(read: ReadFences, row: int, bound: _Bound, found: str | Sequence[str]) -> Problem:
    headings = read.headings
    place = None if headings is None else headings.places.get(bound.column)
    heading = None if headings is None else headings.texts.get(bound.column)
    if not isinstance(found, str):
        code, given = "too_many", f"{len(found):,}"
        en = f"These are {given}; a fence has at most {bound.most}. Take some away."
        ko = f"{given}개예요. 지오펜스 하나에 {bound.most}개까지 넣을 수 있어요. 몇 개를 빼 주세요."
    else:
        code, given = "too_long", f"{len(found):,}"
        en = f"This has {given} characters; at most {bound.most_chars:,} are kept. Shorten it."
        ko = f"{given}자예요. {bound.most_chars:,}자까지 쓸 수 있어요. 줄여 주세요."
    return Problem(
        sheet=read.sheet,
        row=row,
        heading=heading,
        cell=None if place is None else cell_name(row, place),
        code=code,
        message_en=en,
        message_ko=ko,
        value=(found if isinstance(found, str) else ";".join(found))[:_SHOWN_CHARS],
    )
