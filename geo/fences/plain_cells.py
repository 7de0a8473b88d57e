"""Whole columns of plain cells at once, for speed.

Each function gives what the column's own `clean` would give cell by cell, None for empty cells, or
None for the whole where one cell is not plain: then every cell goes the long way. A property test
holds the two ways together. Most columns hold the same texts again and again (brand, category, group):
those are split once.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from geo.sheets.cells import split_list
from geo.sheets.table import Cell

_NONE = type(None)
_TEXTS = {str, _NONE}
_FLOATS = {float, _NONE}
_NUMBERS = {float, int, _NONE}
_SEPARATOR = "\x1f"  # no printable text holds it
_DECIMALS = re.compile(r"(?:[+-]?[0-9]{1,3}\.[0-9]{1,20}\x1f)*\Z")
_WHOLE_OR_DECIMAL = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{1,20})?\x1f)*\Z")
_MOST_CACHED = 10_000
_MOST_EXACT = 1 << 53


def plain_texts(cells: Sequence[Cell]) -> list[Any] | None:
    """Texts without odd characters, stripped; see `cells.as_text`."""
    kinds = set(map(type, cells))
    if not kinds <= _TEXTS:
        return None
    joined = "".join(cells if _NONE not in kinds else filter(None, cells))  # type: ignore[arg-type]
    # a piece of text in NFC is in NFC
    if not joined.isprintable() or not unicodedata.is_normalized("NFC", joined):
        return None
    if _NONE in kinds:
        return [cell.strip() or None if cell else None for cell in cells]  # type: ignore[union-attr]
    return [cell.strip() or None for cell in cells]  # type: ignore[union-attr]


def plain_groups(cells: Sequence[Cell]) -> list[Any] | None:
    """Lists as `cells.split_list` reads them, commas being part of an item."""
    return _lists(cells, commas=False)


def plain_tags(cells: Sequence[Cell]) -> list[Any] | None:
    """Lists as `cells.split_list` reads them with commas."""
    return _lists(cells, commas=True)


def _lists(cells: Sequence[Cell], *, commas: bool) -> list[Any] | None:
    texts = plain_texts(cells)
    if texts is None:
        return None
    different = set(texts)
    if len(different) > _MOST_CACHED:
        return None
    read = {text: None if text is None else split_list(text, commas=commas) for text in different}
    return [read[text] for text in texts]


def plain_degrees(cells: Sequence[Cell]) -> list[Any] | None:
    """Numbers, or texts such as `37.4979` all through; see `degrees.read_degrees`."""
    return _numbers(cells, _DECIMALS)


def plain_metres(cells: Sequence[Cell]) -> list[Any] | None:
    """Numbers, or texts such as `500` and `120.5` all through; see `degrees.read_metres`."""
    return _numbers(cells, _WHOLE_OR_DECIMAL)


def _numbers(cells: Sequence[Cell], form: re.Pattern[str]) -> list[Any] | None:
    kinds = set(map(type, cells))
    if kinds <= _FLOATS:
        return list(cells)
    if kinds <= _NUMBERS:
        if any(type(cell) is int and abs(cell) > _MOST_EXACT for cell in cells):
            return None
        return [cell if cell is None else float(cell) for cell in cells]  # type: ignore[arg-type]
    if not kinds <= _TEXTS:
        return None
    filled = [cell for cell in cells if cell]
    joined = _SEPARATOR.join(filled) + _SEPARATOR  # type: ignore[arg-type]
    if joined.count(_SEPARATOR) != max(1, len(filled)) or not form.match(joined if filled else ""):
        return None
    return [float(cell) if cell else None for cell in cells]  # type: ignore[arg-type]
