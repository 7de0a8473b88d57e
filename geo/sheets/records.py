"""Rows read through columns, one by one or whole columns at a time; faults become problems."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from geo.sheets.cells import as_text, is_empty, not_a_number
from geo.sheets.problems import CellProposal, CellRefused, Problem
from geo.sheets.table import Broken, Cell, Row, Table, cell_name

if TYPE_CHECKING:
    from geo.sheets.headings import Column, Headings

CHUNK_ROWS = 4_096
_SHOWN_CHARS = 80
#: what a spreadsheet program writes into a CSV where a formula failed; a workbook marks such cells
_CSV_ERRORS = frozenset(
    ("#N/A", "#DIV/0!", "#REF!", "#VALUE!", "#NAME?", "#NUM!", "#NULL!", "#SPILL!", "#CALC!", "#FIELD!")
)


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


class Cleaned(NamedTuple):
    """A whole column, cleaned.

    Attributes:
        values: one per row of the table below the headings; None where empty or refused.
        faults: index into `values` → why the cell was refused.
    """

    values: list[Any]
    faults: dict[int, CellRefused]


def read_records(table: Table, headings: Headings, columns: Sequence[Column]) -> Iterator[Record]:
    """Every row below the headings that is not blank, all its cells cleaned, all faults kept.

    In a CSV a row with more values than headings is a fault of its own (`extra_cells`): mostly a
    comma in an unquoted address, which shifts all that follows.
    """
    used = [(c, headings.places[c.name]) for c in columns if c.name in headings.places]
    for number, row in table.numbered():
        if number > headings.row:
            yield _record(table, headings, used, number, row)


def clean_columns(table: Table, headings: Headings, columns: Sequence[Column]) -> dict[str, Cleaned]:
    """Every used column below the headings, cleaned as `read_records` does, but column by column.

    Blank rows are among the values, as empty ones.
    """
    rows = table.rows[max(0, headings.row - table.first_row + 1) :]
    shortest = min(map(len, rows), default=0)
    return {
        column.name: _clean_column(table, column, _cells(rows, headings.places[column.name], shortest))
        for column in columns
        if column.name in headings.places
    }


def _cells(rows: Sequence[Row], index: int, shortest: int) -> list[Cell]:
    """One column; `shortest` is the length of the shortest row."""
    if index < shortest:
        return [row[index] for row in rows]
    return [row[index] if index < len(row) else None for row in rows]


def _clean_column(table: Table, column: Column, cells: Sequence[Cell]) -> Cleaned:
    values: list[Any] = []
    faults: dict[int, CellRefused] = {}
    for start in range(0, len(cells), CHUNK_ROWS):
        chunk = cells[start : start + CHUNK_ROWS]
        plain = column.clean_all(chunk) if column.clean_all is not None else None
        if table.delimiter is not None and not _CSV_ERRORS.isdisjoint(chunk):
            plain = None
        if plain is not None:
            values += plain
            continue
        for n, cell in enumerate(chunk, start):
            try:
                values.append(clean_cell(table, column, cell))
            except CellRefused as fault:
                values.append(None)
                faults[n] = fault
    return Cleaned(values, faults)


def clean_cell(table: Table, column: Column, cell: Cell) -> Any:
    """The cell's value in this column, None where it shows nothing.

    Raises `CellRefused`: what the column says, `error_value` or `not_calculated`.
    """
    if is_empty(cell):
        return None
    if isinstance(cell, Broken):
        raise broken(cell)
    if table.delimiter is not None and cell in _CSV_ERRORS:
        raise broken(Broken("error_value", str(cell)))
    try:
        return column.clean(cell)
    except CellRefused as fault:
        if table.date_1904 and fault.code == "date_instead_of_number":
            raise not_a_number(cell, date_1904=True) from None
        raise


def broken(cell: Broken) -> CellRefused:
    """The refusal of a cell whose value cannot be trusted."""
    if cell.code == "not_calculated":
        return CellRefused(
            "not_calculated",
            f"The formula {cell.shown[:40]} was saved without its result. Open the file in Excel, "
            "save it and upload it again, or write the value itself.",
            f"수식 {cell.shown[:40]}의 결과가 파일에 저장되어 있지 않아요. 엑셀에서 열어 저장한 뒤 다시 "
            "올리거나 값을 직접 적어 주세요.",
        )
    return CellRefused(
        "error_value",
        f"The cell holds the error {cell.shown[:40]}. Mend its formula or write the value itself.",
        f"칸에 오류 값 {cell.shown[:40]}이(가) 있어요. 수식을 고치거나 값을 직접 적어 주세요.",
    )


def _record(
    table: Table, headings: Headings, used: Sequence[tuple[Column, int]], number: int, row: Row
) -> Record:
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    refused: set[str] = set()
    for column, index in used:
        cell = row[index] if index < len(row) else None
        try:
            value = clean_cell(table, column, cell)
        except CellRefused as fault:
            refused.add(column.name)
            problems.append(problem_at(table, headings, number, column.name, fault))
        else:
            if value is not None:
                values[column.name] = value
    problems += extra_cells(table, headings, number)
    return Record(row=number, values=values, refused=frozenset(refused), problems=tuple(problems))


def problem_at(
    table: Table, headings: Headings, row: int, name: str | None, fault: CellRefused
) -> Problem:
    """The fault as a problem of the cell in this column; of the whole row where `name` is None.

    A proposal's value under the key "" is meant for this column.
    """
    index = headings.places.get(name) if name is not None else None
    at = row - table.first_row
    cells = table.rows[at] if 0 <= at < len(table.rows) else []
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
        cell=cell_name(row, index) if index is not None and table.kind == "rows" else None,
        code=fault.code,
        message_en=fault.message_en,
        message_ko=fault.message_ko,
        value=shown[:_SHOWN_CHARS] if shown else None,
        proposal=proposal,
    )


def extra_cells(table: Table, headings: Headings, number: int) -> list[Problem]:
    """The problem of a row of a CSV with more values than there are headings; else nothing."""
    row = table.rows[number - table.first_row]
    if table.delimiter is None or len(row) <= headings.width or not headings.row:
        return []
    given, bound = len(row), headings.width
    fault = CellRefused(
        "extra_cells",
        f"The row has {given} values under {bound} headings. Put text that contains the delimiter "
        f"'{table.delimiter}' into quotation marks.",
        f"제목은 {bound}개인데 값이 {given}개예요. 구분 기호 '{table.delimiter}'가 든 글은 "
        "따옴표로 묶어 주세요.",
    )
    return [problem_at(table, headings, number, None, fault)]
