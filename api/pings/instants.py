"""Instants of a batch: RFC 3339 texts to milliseconds, in columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: the first and the last instant that an RFC 3339 text can name, ms since 1970
FIRST_MS = -62_135_596_800_000 - 86_400_000
LAST_MS = 253_402_300_799_999 + 86_400_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_Instant = Annotated[datetime, msgspec.Meta(tz=True)]
#: fewer texts are read faster one by one
_FEW = 24
_ZERO = np.uint8(ord("0"))
#: years whose months stand in the table; texts of other years are read one by one
_YEARS = range(1970, 2100)
_MONTHS = np.arange("1970-01", f"{_YEARS.stop}-01", dtype="M8[M]").astype("M8[D]").astype(np.int64)
_LENGTHS = np.diff(np.append(_MONTHS, np.datetime64(f"{_YEARS.stop}-01-01", "D").astype(np.int64)))
#: where the digits of `2026-11-23T00:05:00` stand, and what stands between them
_DIGITS = [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18]
_BETWEEN = [4, 7, 10, 13, 16]
_MARKS = np.frombuffer(b"--T::", np.uint8)[:, None]
_SHORTEST, _LONGEST = 20, 35


class BadInstant(ValueError):
    """A text names no instant; says why."""


def instant_ms(text: str) -> int:
    """The instant of one RFC 3339 text with its zone, ms since 1970; what is finer is cut off downwards.

    More than six digits of a second are rounded to microseconds first, as msgspec does.

    Raises:
        BadInstant: it names none.
    """
    try:
        at: datetime = msgspec.convert(text, _Instant)
    except msgspec.ValidationError as error:
        raise BadInstant(str(error)) from error
    return (at - _EPOCH) // _MS


def instants_ms(texts: Sequence[str | None], *, absent_ms: int) -> tuple[Ints, dict[int, str]]:
    """`instant_ms` of many texts, in columns.

    Args:
        absent_ms: what stands where no text is given.
    Returns:
        Milliseconds, and for each text that names no instant (which gets `absent_ms`) why not.
    """
    if len(texts) < _FEW:
        return _one_by_one(texts, range(len(texts)), np.full(len(texts), absent_ms, np.int64))
    at_ms, unread = np.full(len(texts), absent_ms, np.int64), [_NONE]
    for length, some in _by_length(texts):
        found, good = _alike(
            texts if len(some) == len(texts) else [texts[row] for row in some.tolist()], length
        )
        at_ms[some[good]] = found[good]
        unread.append(some[~good])
    return _one_by_one(texts, np.concatenate(unread).tolist(), at_ms)


_NONE = np.zeros(0, np.int64)


def _by_length(texts: Sequence[str | None]) -> Iterator[tuple[int, Ints]]:
    """The rows that give a text, by its length; one length is the rule."""
    given = np.arange(len(texts))
    if None in texts:
        given = np.array([row for row, text in enumerate(texts) if text is not None], np.int64)
        texts = [texts[row] for row in given.tolist()]
    lengths = set(map(len, texts))  # type: ignore[arg-type]  # no text is None here
    if len(lengths) == 1:
        yield lengths.pop(), given
        return
    of = np.fromiter(map(len, texts), np.int64, len(texts))  # type: ignore[arg-type]
    for length in lengths:
        yield length, given[of == length]


def _one_by_one(
    texts: Sequence[str | None], rows: Sequence[int], at_ms: Ints
) -> tuple[Ints, dict[int, str]]:
    faults = {}
    for row in rows:
        text = texts[row]
        if text is not None:
            try:
                at_ms[row] = instant_ms(text)
            except BadInstant as error:
                faults[row] = str(error)
    return at_ms, faults


def _alike(texts: Sequence[str | None], length: int) -> tuple[Ints, Bools]:
    """Milliseconds of texts of one length, and which of them were read: others need a closer look."""
    joined = "".join(texts) if _SHORTEST <= length <= _LONGEST else ""  # type: ignore[arg-type]
    if not joined or not joined.isascii():
        return np.zeros(len(texts), np.int64), np.zeros(len(texts), bool)
    # a row for each position: what follows goes through memory in one direction
    text = np.frombuffer(joined.encode(), np.uint8).reshape(len(texts), length).T.copy()
    if (text[-1] == ord("Z")).all():
        return _local(text[:-1])
    at_ms, good = _local(text[:-6])
    offset_ms, known = _offset(text[-6:])
    return at_ms - offset_ms, good & known


def _local(text: NDArray[np.uint8]) -> tuple[Ints, Bools]:
    """`2026-11-23T00:05:00.123`, up to nine digits of a second, as if it were UTC."""
    count = text.shape[1]
    if len(text) < 19 or len(text) == 20:  # a point, and no digit behind it
        return np.zeros(count, np.int64), np.zeros(count, bool)
    digit = text[_DIGITS] - _ZERO
    good = (digit.max(axis=0) <= 9) & (text[_BETWEEN] == _MARKS).all(axis=0)
    century, year, month, day, hour, minute, second = digit[0::2] * np.uint8(10) + digit[1::2]
    good &= (month >= 1) & (month <= 12) & (day >= 1) & (hour < 24) & (minute < 60) & (second < 60)
    which = (century.astype(np.int64) * 100 + year - _YEARS.start) * 12 + month - 1
    good &= (which >= 0) & (which < len(_MONTHS))
    which[~good] = 0
    good &= day <= _LENGTHS[which]
    of_day = (hour * np.int64(60) + minute) * 60 + second
    fraction_ms, plain = _fraction_ms(text[19:])
    return ((_MONTHS[which] + day - 1) * 86_400 + of_day) * 1000 + fraction_ms, good & plain


def _fraction_ms(text: NDArray[np.uint8]) -> tuple[Ints | int, Bools | bool]:
    """`.123456789`, or nothing, as whole milliseconds; see `instant_ms` for what is finer."""
    if not len(text):
        return 0, True
    if len(text) > 10:
        return 0, False
    digit = text[1:] - _ZERO
    nanoseconds = np.zeros(text.shape[1], np.int64)
    for place, column in enumerate(digit):
        nanoseconds += column * np.int64(10 ** (8 - place))
    good = (digit.max(axis=0) <= 9) & (text[0] == ord("."))
    return (nanoseconds + 500) // 1_000_000, good


def _offset(text: NDArray[np.uint8]) -> tuple[Ints, Bools]:
    """`+09:00` in milliseconds."""
    sign, *digits, colon = text[[0, 1, 2, 4, 5, 3]]
    tens, ones, minute_tens, minute_ones = (column - _ZERO for column in digits)
    good = (tens <= 2) & (ones <= 9) & (minute_tens <= 5) & (minute_ones <= 9) & (colon == ord(":"))
    hours, minutes = tens * np.int64(10) + ones, minute_tens * np.int64(10) + minute_ones
    good &= ((sign == ord("+")) | (sign == ord("-"))) & (hours < 24)
    offset_ms = (hours * 60 + minutes) * 60_000
    return np.where(sign == ord("-"), -offset_ms, offset_ms), good
