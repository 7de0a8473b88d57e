"""The heading row, which column is which, and rows read through columns. Knows no fence.

A `Column` says by which headings it goes and how a cell of it is cleaned; people, ad ids and message
values come through the same door with columns of their own (product U3, U8).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from geo.sheets.cells import as_text, is_empty
from geo.sheets.problems import CellProposal, CellRefused, Problem
from geo.sheets.workbook import HEADING_WITHIN_ROWS, Cell, Row, Table, cell_name, column_letters

_SHOWN_CHARS = 80


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column a sheet may have.

    Attributes:
        name: what the program calls it; also an alias.
        label_en, label_ko: its heading in what we write ourselves; aliases too.
        aliases: other headings it goes by; where two headings of a sheet fit, the earlier one wins.
        clean: cell → value; called for cells that show something; raises `CellRefused`.
    """

    name: str
    label_en: str
    label_ko: str
    aliases: tuple[str, ...]
    clean: Callable[[Cell], Any]

    def keys(self) -> tuple[str, ...]:
        """The normal forms of all its headings, the strongest first."""
        all_names = (self.name, self.label_en, self.label_ko, *self.aliases)
        return tuple(dict.fromkeys(heading_key(name) for name in all_names))


@dataclass(frozen=True, kw_only=True)
class Headings:
    """The heading row of a table and what it means.

    Attributes:
        row: its number in Excel.
        places: column name → index of the column in the sheet.
        texts: column name → heading as it stands in the sheet.
        unknown: headings that no column goes by, and columns with values but no heading (`(C)`).
        shadowed: headings that a column goes by which another heading already serves.
    """

    row: int
    places: Mapping[str, int]
    texts: Mapping[str, str]
    unknown: tuple[str, ...]
    shadowed: tuple[str, ...]
    width: int


@dataclass(frozen=True, kw_only=True)
class Record:
    """One row read through the columns.

    Attributes:
        values: column name → cleaned value; a column whose cell is empty or refused is not in it.
        refused: names of the columns whose cell was refused.
    """

    row: int
    values: Mapping[str, Any]
    refused: frozenset[str]
    problems: tuple[Problem, ...]


def heading_key(text: str) -> str:
    """The normal form in which headings are compared: NFKC, case folded, letters and digits only."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in unicodedata.normalize("NFC", folded) if c.isalnum())


def find_headings(
    table: Table,
    columns: Sequence[Column],
    *,
    mapping: Mapping[str, str | None] | None = None,
    heading_row: int | None = None,
) -> Headings | None:
    """The row among the first 50 that names the most columns, the first of equals; None: none does.

    Title rows above it are passed over.
    """
    known = {key: (rank, c.name) for c in columns for rank, key in enumerate(c.keys())}
    best: tuple[int, int, Row] | None = None
    for number, row in islice(enumerate(table.rows, table.first_row), HEADING_WITHIN_ROWS):
        named = {known[key][1] for key in map(_key_of, row) if key in known}
        if named and (best is None or len(named) > best[0]):
            best = len(named), number, row
    return None if best is None else _headings(table, best[1], best[2], known)


def _key_of(cell: Cell) -> str:
    return heading_key(cell) if isinstance(cell, str) else ""


def _headings(table: Table, number: int, row: Row, known: Mapping[str, tuple[int, str]]) -> Headings:
    """Which heading serves which column; the strongest alias wins, then the leftmost."""
    ranked = sorted((*known[key], index) for index, key in enumerate(map(_key_of, row)) if key in known)
    places: dict[str, int] = {}
    for _, name, index in ranked:
        places.setdefault(name, index)
    serving = set(places.values())
    named = {index for _, _, index in ranked}
    below = [r for n, r in table.numbered() if n > number]
    width = max(map(len, [row, *below]))
    unknown = []
    for index in range(width):
        text = as_text(row[index]) if index < len(row) else None
        if text and index not in named:
            unknown.append(text)
        elif not text and any(index < len(r) and r[index] is not None for r in below):
            unknown.append(f"({column_letters(index)})")
    return Headings(
        row=number,
        places=places,
        texts={name: as_text(row[index]) or "" for name, index in places.items()},
        unknown=tuple(unknown),
        shadowed=tuple(as_text(row[i]) or "" for i in sorted(named - serving)),
        width=len(row),
    )


def read_records(table: Table, headings: Headings, columns: Sequence[Column]) -> Iterator[Record]:
    """Every row below the headings that is not blank, all its cells cleaned, all faults kept.

    In a CSV a row with more values than headings is a fault of its own (`extra_cells`): mostly a
    comma in an unquoted address, which shifts all that follows.
    """
    used = [(c, headings.places[c.name]) for c in columns if c.name in headings.places]
    for number, row in table.numbered():
        if number > headings.row:
            yield _record(table, headings, used, number, row)


def _record(
    table: Table, headings: Headings, used: Sequence[tuple[Column, int]], number: int, row: Row
) -> Record:
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    refused: set[str] = set()
    for column, index in used:
        cell = row[index] if index < len(row) else None
        if is_empty(cell):
            continue
        try:
            values[column.name] = column.clean(cell)
        except CellRefused as fault:
            refused.add(column.name)
            problems.append(problem_at(table, headings, number, column.name, fault))
    if table.delimiter is not None and len(row) > headings.width:
        problems.append(_extra_cells(table, headings, number, row))
    return Record(row=number, values=values, refused=frozenset(refused), problems=tuple(problems))


def problem_at(
    table: Table, headings: Headings, row: int, name: str | None, fault: CellRefused
) -> Problem:
    """The fault as a problem of the cell in this column; of the whole row where `name` is None.

    A proposal's value under the key "" is meant for this column.
    """
    index = headings.places.get(name) if name is not None else None
    cells = table.rows[row - table.first_row]
    cell = cells[index] if index is not None and index < len(cells) else None
    proposal = fault.proposal
    if proposal is not None and "" in proposal.values and name is not None:
        values = {key or name: value for key, value in proposal.values.items()}
        proposal = CellProposal(
            message_en=proposal.message_en, message_ko=proposal.message_ko, values=values
        )
    shown = as_text(cell)
    return Problem(
        sheet=table.sheet,
        row=row,
        heading=headings.texts.get(name) if name is not None else None,
        cell=cell_name(row, index) if index is not None else None,
        code=fault.code,
        message_en=fault.message_en,
        message_ko=fault.message_ko,
        value=shown[:_SHOWN_CHARS] if shown else None,
        proposal=proposal,
    )


def _extra_cells(table: Table, headings: Headings, number: int, row: Row) -> Problem:
    given, bound = len(row), headings.width
    fault = CellRefused(
        "extra_cells",
        f"The row has {given} values under {bound} headings. Put text that contains the delimiter "
        f"'{table.delimiter}' into quotation marks.",
        f"제목은 {bound}개인데 값이 {given}개예요. 구분 기호 '{table.delimiter}'가 든 글은 "
        "따옴표로 묶어 주세요.",
    )
    return problem_at(table, headings, number, None, fault)
