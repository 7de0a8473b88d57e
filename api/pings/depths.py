"""How deep the brackets of a JSON text are nested, without reading it; a text of 8 MiB takes 0.1 s."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from api.answers import MAX_DEPTH
from api.problems import MalformedBody

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

_PORTION = 1 << 18
_STEP = np.zeros(256, np.int64)
_STEP[[ord("["), ord("{")]] = 1
_STEP[[ord("]"), ord("}")]] = -1


def levels(text: bytes) -> Iterator[tuple[Bytes, Ints]]:
    """Portion by portion: the bytes outside of texts, and the level that each leads to.

    What stands inside of a text comes as 0. Backslashes are taken for what they are in texts; outside
    of them they are no JSON.
    """
    if b"\\" in text:
        text = text.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    marks = np.frombuffer(text, np.uint8)
    level, quotes = 0, 0
    for first in range(0, len(marks), _PORTION):
        some = marks[first : first + _PORTION]
        inside = (np.cumsum(some == ord('"'), dtype=np.int64) + quotes) & 1
        quotes = int(inside[-1])
        some = np.where(inside == 1, np.uint8(0), some)
        reached = np.cumsum(_STEP[some]) + level
        level = int(reached[-1])
        yield some, reached


def shallow(value: bytes, *, above: int) -> None:
    """Refuse a value that is nested too deep, whoever reads it.

    Args:
        above: levels of the body that the value stands in.
    Raises:
        MalformedBody: with the body's limit.
    """
    room = MAX_DEPTH - above
    if value.count(b"[") + value.count(b"{") <= room:
        return
    if any(int(reached.max(initial=0)) > room for _, reached in levels(value)):
        raise MalformedBody(f"The body is nested deeper than {MAX_DEPTH} levels.")


def commas_at(text: bytes, level: int) -> int:
    """How many commas stand at one level."""
    return sum(
        int(np.count_nonzero((marks == ord(",")) & (reached == level)))
        for marks, reached in levels(text)
    )
