"""Cursors of lists that are in order of several columns: the place of the last row, as text."""

from __future__ import annotations

from collections.abc import Sequence

from nearcast.services.errors import FieldError, Invalid

_MAX_NUMBER = 2**63 - 1


def cursor_of(place: Sequence[int | str] | None) -> str | None:
    """`(17, 4, 'enter')` → `after_17_4_enter`; None, the end of a list, for None."""
    return None if place is None else "_".join(["after", *map(str, place)])


def place_of(cursor: str | None, *, numbers: int, words: Sequence[str] = ()) -> list[int | str] | None:
    """The place that a cursor goes on behind, None without one.

    Args:
        numbers: how many numbers it begins with.
        words: a last part that is one of these, where the list has such a column.
    Raises:
        Invalid: it is none of this list's cursors.
    """
    if cursor is None:
        return None
    prefix, *parts = cursor.split("_")
    digits, word = parts[:numbers], parts[numbers:]
    fits = len(digits) == numbers and len(word) == bool(words) and all(w in words for w in word)
    readable = all(d.isascii() and d.isdigit() and len(d) < 20 for d in digits)
    if prefix != "after" or not fits or not readable or any(int(d) > _MAX_NUMBER for d in digits):
        message = "This cursor is none of ours; take 'next_cursor' of the page before."
        raise Invalid(errors=[FieldError(pointer="/cursor", code="bad_cursor", message=message)])
    return [*map(int, digits), *word]
