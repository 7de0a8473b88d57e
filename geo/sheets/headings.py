"""The heading row and which column is which. Knows no fence.

A `Column` says by which headings it goes and how a cell of it is cleaned; people, ad ids and message
values come through the same door with columns of their own (product U3, U8).
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from types import MappingProxyType
from typing import Any, NamedTuple

from geo.sheets.cells import as_text, is_empty
from geo.sheets.records import Record, problem_at, read_records
from geo.sheets.table import HEADING_WITHIN_ROWS, Cell, Row, Table, column_letters, is_blank

__all__ = ["Column", "Headings", "Record", "find_headings", "heading_key", "problem_at", "read_records"]

SAMPLES = 3
_SHOWN_CHARS = 80
_SAMPLED_ROWS = 200  # further down only the first value of a column is looked for


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column a sheet may have.

    Attributes:
        name: what the program calls it; also an alias.
        label_en, label_ko: its heading in what we write ourselves; aliases too.
        aliases: other headings it goes by; where two headings of a sheet fit, the earlier one wins.
        clean: cell → value; called for cells that show something; raises `CellRefused`.
        clean_all: many cells → their values, as `clean` would give them one by one with None for
            empty ones; None where one of the cells is not plain. Only for speed.
    """

    name: str
    label_en: str
    label_ko: str
    aliases: tuple[str, ...]
    clean: Callable[[Cell], Any]
    clean_all: Callable[[Sequence[Cell]], list[Any] | None] | None = None

    def keys(self) -> tuple[str, ...]:
        """The normal forms of all its headings, the strongest first."""
        all_names = (self.name, self.label_en, self.label_ko, *self.aliases)
        return tuple(dict.fromkeys(heading_key(name) for name in all_names))


@dataclass(frozen=True, kw_only=True)
class Headings:
    """The heading row of a table and what it means.

    A column is named by its label: its heading; `text#2` for the second column headed `text`, `(C)`
    for a column without a heading.

    Attributes:
        row: its number in Excel; of two rows the lower one; 0 where the sheet has none.
        rows: the numbers of all rows that make up the headings; two at most.
        places: column name → index of the column in the sheet.
        texts: column name → heading as it stands in the sheet.
        labels: column name → label.
        unknown: labels of the columns that nothing goes by; those without a heading only if they
            hold values.
        shadowed: labels that a column goes by which another one already serves.
        not_found: keys of the mapping that name no column of the sheet, or no column that there is.
        samples: label → up to three different values as they are shown, in the order of the sheet.
        signature: the headings in their normal form, by which a mapping is remembered; the same for
            all sheets with the same headings.
        width: how many columns have headings.
    """

    row: int
    rows: tuple[int, ...]
    places: Mapping[str, int]
    texts: Mapping[str, str]
    labels: Mapping[str, str]
    unknown: tuple[str, ...]
    shadowed: tuple[str, ...]
    not_found: tuple[str, ...] = ()
    samples: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    signature: str = ""
    width: int


def heading_key(text: str) -> str:
    """The normal form in which headings are compared: NFKC, case folded, letters and digits only."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in unicodedata.normalize("NFC", folded) if c.isalnum())


def row_signature(row: Sequence[Cell]) -> str:
    """What `Headings.signature` is if this row holds the headings."""
    return "|".join(heading_key(as_text(cell) or "") for cell in row).rstrip("|")


#: key of a heading → (rank among the aliases of its column, name of the column)
_Known = Mapping[str, tuple[int, str]]


class _Head(NamedTuple):
    """A row, or two, that may be the headings: per column its text and the keys it may go by."""

    rows: tuple[int, ...]
    texts: tuple[str | None, ...]
    keys: tuple[tuple[str, ...], ...]


def find_headings(
    table: Table,
    columns: Sequence[Column],
    *,
    mapping: Mapping[str, str | None] | None = None,
    heading_row: int | None = None,
) -> Headings | None:
    """The row among the first 50 that names the most columns, the first of equals; None: none does.

    Title rows above it are passed over. Two rows, one below the other, are taken together where that
    names more columns than any single one: a heading over several columns and what each of them is.

    Args:
        mapping: label or heading → column name, or None: the column is not used. It wins over the
            aliases; headings that it does not name are still guessed unless their column is taken.
        heading_row: the Excel number of the row, or of one of the two; 0: the sheet has no headings,
            its columns go by `(A)`, `(B)` …. It is taken even if it names no column. Of a geo file,
            whose property names stand in row 0, nothing is asked.
    """
    known = {key: (rank, c.name) for c in columns for rank, key in enumerate(c.keys())}
    mapping = mapping or {}
    if table.kind == "features":
        return _headings(table, _at(table, table.first_row), known, mapping, {c.name for c in columns})
    names = {column.name for column in columns}
    wanted = {label for label, name in mapping.items() if name in names}
    head = _best(_heads(table, heading_row), known, wanted, heading_row)
    if heading_row is not None and head is None:
        head = _at(table, heading_row)
    return None if head is None else _headings(table, head, known, mapping, names)


def _heads(table: Table, heading_row: int | None) -> Iterable[_Head]:
    """What may be the headings: single rows in their order, then pairs of rows."""
    first, end = table.first_row, table.first_row + len(table.rows)
    if heading_row is None:
        numbers = range(first, min(first + HEADING_WITHIN_ROWS, end))
    elif first <= heading_row < end:
        numbers = range(max(first, heading_row - 1), min(heading_row + 2, end))
    else:
        return
    rows = [(n, table.rows[n - first]) for n in numbers]
    yield from (_single(n, row) for n, row in rows)
    for (upper, above), (lower, below) in pairwise(rows):
        if not is_blank(above) and not is_blank(below) and _only_words(below):
            yield _joined(upper, above, lower, below)


def _at(table: Table, number: int) -> _Head:
    inside = 0 <= number - table.first_row < len(table.rows)
    return _single(number, table.rows[number - table.first_row] if inside else [])


def _text_of(cell: Cell) -> str | None:
    return as_text(cell) if isinstance(cell, str) else None


def _single(number: int, row: Row) -> _Head:
    texts = tuple(as_text(cell) for cell in row)
    return _Head((number,), texts, tuple((heading_key(_text_of(cell) or ""),) for cell in row))


def _only_words(row: Row) -> bool:
    """Whether all that the row shows could be headings; rows of data mostly hold a number."""
    return all(
        isinstance(cell, str) and not (as_text(cell) or "")[0].isdigit()
        for cell in row
        if not is_empty(cell)
    )


def _joined(upper: int, above: Row, lower: int, below: Row) -> _Head:
    """Both rows as one: `WGS84` over `위도` is `WGS84 위도`, which may also go by `위도` alone."""
    texts: list[str | None] = []
    keys: list[tuple[str, ...]] = []
    for index in range(max(len(above), len(below))):
        over = _text_of(above[index]) if index < len(above) else None
        own = _text_of(below[index]) if index < len(below) else None
        parts = list(dict.fromkeys(part for part in (over, own) if part))
        texts.append(" ".join(parts) or None)
        keys.append(tuple(dict.fromkeys(heading_key(t) for t in (" ".join(parts), own) if t)))
    return _Head((upper, lower), tuple(texts), tuple(keys))


def _best(
    heads: Iterable[_Head], known: _Known, wanted: set[str], heading_row: int | None
) -> _Head | None:
    """The first of those that name the most columns; two rows only if they name more than either."""
    best: tuple[int, _Head] | None = None
    alone: dict[int, int] = {}
    for head in heads:
        named = {found[1] for keys in head.keys if (found := _known_by(keys, known))}
        count = len(named) + len(wanted.intersection(head.texts))
        if len(head.rows) == 1:
            alone[head.rows[0]] = count
        elif count <= max(alone[row] for row in head.rows):
            continue
        if heading_row is not None and heading_row not in head.rows:
            continue
        if count and (best is None or count > best[0]):
            best = count, head
    return None if best is None else best[1]


def _known_by(keys: Sequence[str], known: _Known) -> tuple[int, str] | None:
    return next((known[key] for key in keys if key in known), None)


def _headings(
    table: Table, head: _Head, known: _Known, mapping: Mapping[str, str | None], names: set[str]
) -> Headings:
    """Which heading serves which column: the mapping, then the strongest alias, then the leftmost."""
    below = table.rows[max(0, head.rows[-1] - table.first_row + 1) :]
    labels = _labels(head, max(map(len, below), default=0))
    chosen, not_found = _chosen(labels, mapping, names)
    places = {name: index for index, name in reversed(chosen.items()) if name is not None}
    ranked = sorted(
        (*found, index)
        for index, keys in enumerate(head.keys)
        if index not in chosen and (found := _known_by(keys, known))
    )
    for _, name, index in ranked:
        places.setdefault(name, index)
    serving = set(places.values())
    named = {index for _, _, index in ranked} | {i for i, name in chosen.items() if name is not None}
    samples = {i: _samples(i, below) for i in range(len(labels))}
    headed = [bool(i < len(head.texts) and head.texts[i]) for i in range(len(labels))]
    idle = [i for i in range(len(labels)) if i not in named and i not in chosen]
    return Headings(
        row=head.rows[-1],
        rows=head.rows,
        places=places,
        texts={n: (head.texts[i] if headed[i] else None) or labels[i] for n, i in places.items()},
        labels={name: labels[index] for name, index in places.items()},
        unknown=tuple(labels[i] for i in idle if headed[i] or samples[i]),
        shadowed=tuple(labels[i] for i in sorted(named - serving)),
        not_found=not_found,
        samples={labels[i]: found for i, found in samples.items() if headed[i] or found},
        signature=row_signature(head.texts),
        width=len(head.texts),
    )


def _labels(head: _Head, width: int) -> list[str]:
    """A label per column, each once: `이름`, `이름#2`, `(C)`."""
    texts = [*head.texts, *[None] * (width - len(head.texts))]
    taken = {text for text in texts if text}
    seen: Counter[str] = Counter()
    labels = []
    for index, text in enumerate(texts):
        label = text or f"({column_letters(index)})"
        seen[label] += 1
        if seen[label] > 1:
            while (numbered := f"{label}#{seen[label]}") in taken:
                seen[label] += 1
            label = numbered
        labels.append(label)
    return labels


def _chosen(
    labels: Sequence[str], mapping: Mapping[str, str | None], names: set[str]
) -> tuple[dict[int, str | None], tuple[str, ...]]:
    """(index → what the user says it is, in the order of the sheet; what could not be followed)."""
    exact = {label: index for index, label in enumerate(labels)}
    alike = {_label_key(label): index for index, label in reversed(list(enumerate(labels)))}
    chosen: dict[int, str | None] = {}
    not_found = []
    for label, name in mapping.items():
        index = exact.get(label, alike.get(_label_key(label)))
        if index is None or (name is not None and name not in names):
            not_found.append(label)
        else:
            chosen[index] = name
    return dict(sorted(chosen.items())), tuple(not_found)


def _label_key(label: str) -> str:
    """A label in its normal form; `(C)` is another one than a heading `C`."""
    text, mark, number = label.rpartition("#")
    if mark and number.isdigit():
        return f"{heading_key(text)}#{number}"
    return label if label.startswith("(") and label.endswith(")") else heading_key(label) or label


def _samples(index: int, below: Sequence[Row]) -> tuple[str, ...]:
    """The first three different values of a column among its first rows, else its first value."""
    found: dict[str, None] = {}
    for row in islice(below, _SAMPLED_ROWS):
        text = as_text(row[index]) if index < len(row) else None
        if text:
            found[text[:_SHOWN_CHARS]] = None
            if len(found) == SAMPLES:
                break
    if not found:
        cells = (row[index] for row in islice(below, _SAMPLED_ROWS, None) if index < len(row))
        first = next((text for cell in cells if cell is not None and (text := as_text(cell))), None)
        found = {first[:_SHOWN_CHARS]: None} if first else {}
    return tuple(found)
