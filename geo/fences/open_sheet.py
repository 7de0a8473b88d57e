"""A sheet whose headings are known and whose columns are cleaned, not yet judged row by row."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geo.fences.column_list import BY_NAME, COLUMNS
from geo.fences.degrees import Degrees
from geo.fences.evidence import Unit, unit_of
from geo.fences.grids import Floats
from geo.fences.limits import MIN_RADIUS_M
from geo.fences.outlines import is_ring_around
from geo.fences.reading import ReadOptions
from geo.sheets.headings import Headings, find_headings
from geo.sheets.problems import CellRefused
from geo.sheets.records import Cleaned, Record, clean_cell, clean_columns, extra_cells, problem_at
from geo.sheets.table import Cell, Row, Table

_N = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_POINT = re.compile(
    rf"\s*(?:SRID=4326;)?\s*(?:POINT|MULTIPOINT)\s*(?:ZM|Z|M)?\s*\(\s*\(?\s*({_N})\s+({_N})(?:\s+{_N}){{0,2}}"
    r"\s*\)?\s*\)\s*\Z",
    re.IGNORECASE | re.ASCII,
)
_AS_IT_STANDS: Mapping[str, Cell] = MappingProxyType({})
_LETTER = re.compile(r"[^\W\d_]")


class OpenSheet:
    """A table read column by column. Rows are counted from 0 below the headings.

    A cell of the polygon column with a WKT point is taken as latitude and longitude of its row: the
    centre of a circle, whose radius comes from its own column or the default.
    """

    def __init__(self, table: Table, headings: Headings, *, max_radius_m: float) -> None:
        self.table = table
        self.headings = headings
        self.first_row = max(table.first_row, headings.row + 1)
        self.cells = clean_columns(table, headings, COLUMNS)
        self.named_by = "name" if "name" in headings.places else "store"
        self._max_radius_m = max_radius_m
        if table.kind == "features":
            self._leave_drawn_circles()
        self._points = self._take_points()

    def __len__(self) -> int:
        return max(0, len(self.table.rows) - (self.first_row - self.table.first_row))

    def row(self, index: int) -> Row:
        """The cells of a row as they stand."""
        return self.table.rows[self.first_row - self.table.first_row + index]

    def column(self, name: str) -> Sequence[Any]:
        """The values of a column; None where there is none."""
        cleaned = self.cells.get(name)
        return [None] * len(self) if cleaned is None else cleaned.values

    def value(self, row: int, name: str) -> Any:
        """The value of one cell by Excel's row number."""
        cleaned = self.cells.get(name)
        return None if cleaned is None else cleaned.values[row - self.first_row]

    def is_point(self, row: int) -> bool:
        """Whether latitude and longitude of this row (Excel's number) come from one WKT point."""
        return row - self.first_row in self._points

    def is_bare(self, row: int, name: str) -> bool:
        """Whether the cell is a number without a unit beside it."""
        return _is_bare(self._cell(row - self.first_row, name))

    def record(self, index: int, instead: Mapping[str, Cell] = _AS_IT_STANDS) -> Record:
        """One row as `records.read_records` gives it.

        Args:
            instead: column → cell that is read in place of the one that stands in the sheet; with an
                outline, the cells in which the old one went on are left out.
        """
        number = self.first_row + index
        values, refused, problems = {}, set(), []
        for name in dict.fromkeys((*self.cells, *instead)):
            if "polygon" in instead and name.startswith("polygon_"):
                continue
            value, fault = self._read(index, name, instead)
            if fault is not None:
                refused.add(name)
                problems.append(problem_at(self.table, self.headings, number, name, fault))
            elif value is not None:
                values[name] = value
        problems += extra_cells(self.table, self.headings, number)
        return Record(row=number, values=values, refused=frozenset(refused), problems=tuple(problems))

    def _read(
        self, index: int, name: str, instead: Mapping[str, Cell]
    ) -> tuple[Any, CellRefused | None]:
        """(value, fault) of one cell, as it stands or as it is to be read instead."""
        if name not in instead:
            cleaned = self.cells[name]
            return cleaned.values[index], cleaned.faults.get(index)
        try:
            return clean_cell(self.table, BY_NAME[name], instead[name]), None
        except CellRefused as fault:
            return None, fault

    def degrees(self, name: str) -> Floats:
        """The numbers of the latitude or longitude column; NaN where empty, refused, or where the
        row has an outline, beside which they are only a label."""
        numbers = numbers_of(self.column(name))
        outlines = [value is not None for value in self.column("polygon")]
        numbers[np.array(outlines, bool)] = np.nan
        return numbers

    def units(self) -> dict[str, Unit]:
        """Columns of the radius whose numbers seem to be given in another unit than the heading's."""
        found: dict[str, Unit] = {}
        for name in ("radius_m", "radius_km"):
            if name not in self.cells:
                continue
            numbers = numbers_of(self.column(name))
            known = np.isfinite(numbers)
            if not ((numbers[known] < MIN_RADIUS_M) | (numbers[known] >= self._max_radius_m)).any():
                continue
            bare = np.array([_is_bare(self._cell(n, name)) for n in range(len(self))], bool)
            unit = unit_of(name, numbers[bare & known], max_radius_m=self._max_radius_m)
            if unit is not None:
                found[name] = unit
        return found

    def _cell(self, index: int, name: str) -> Cell:
        place = self.headings.places.get(name)
        row = self.row(index)
        return row[place] if place is not None and place < len(row) else None

    def _leave_drawn_circles(self) -> None:
        """A feature with a centre, a radius and the ring that is drawn around them is that circle: so
        our own GeoJSON comes back."""
        outlines, columns = self.cells.get("polygon"), ("lat", "lng", "radius_m")
        if outlines is None or not self.cells.keys() >= set(columns):
            return
        lat, lng, radius_m = (numbers_of(self.column(name)) for name in columns)
        whole = np.isfinite(lat) & np.isfinite(lng) & np.isfinite(radius_m)
        for index in np.flatnonzero(whole).tolist():
            text = outlines.values[index]
            if text is not None and is_ring_around(text, lon=lng[index], lat=lat[index]):
                outlines.values[index] = None

    def _take_points(self) -> frozenset[int]:
        """Points out of the polygon column into those of latitude and longitude."""
        outlines = self.cells.get("polygon")
        if outlines is None:
            return frozenset()
        found = {
            index: match
            for index, text in enumerate(outlines.values)
            if text is not None and (match := _POINT.match(text))
        }
        if not found:
            return frozenset()
        for name, group in (("lat", 2), ("lng", 1)):
            column = self.cells.setdefault(name, Cleaned([None] * len(self), {}))
            for index, match in found.items():
                column.values[index] = float(match[group])
                column.faults.pop(index, None)
        for index in found:
            outlines.values[index] = None
        return frozenset(found)


def open_sheet(table: Table, options: ReadOptions) -> OpenSheet | None:
    """The sheet with its headings found and its columns cleaned; None where it has no headings."""
    mapping: dict[str, str | None] = dict(options.mapping_of(table.sheet))
    if table.kind == "features" and table.rows and table.rows[0]:
        # the shape stands in the last column, whatever the properties are called
        last = table.rows[0][-1]
        label = f"{last}#{n}" if (n := table.rows[0].count(last)) > 1 else str(last)
        mapping = {label: "polygon", **mapping}
    headings = find_headings(
        table, COLUMNS, mapping=mapping, heading_row=options.heading_row_of(table.sheet)
    )
    if headings is None:
        return None
    return OpenSheet(table, headings, max_radius_m=options.max_radius_m)


def as_degrees(value: float | Degrees) -> Degrees:
    """A cleaned cell of latitude or longitude: a number, or one with a hemisphere."""
    return value if isinstance(value, Degrees) else Degrees(value)


def numbers_of(values: Sequence[Any]) -> NDArray[np.float64]:
    """Cleaned numbers or degrees as an array; NaN for None."""
    if set(map(type, values)) <= {float, type(None)}:
        return np.array(values, np.float64)  # None becomes NaN
    plain = [value.value if isinstance(value, Degrees) else value for value in values]
    return np.array(plain, np.float64)


def _is_bare(cell: Cell) -> bool:
    return not isinstance(cell, str) or not _LETTER.search(cell)
