"""How a fence sheet is to be read, and what came of it (product U2-U5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

from geo.fences.fence import Fence
from geo.fences.grids import GridGuess
from geo.fences.identity import Identity
from geo.fences.limits import MAX_RADIUS_M
from geo.fences.refusals import Note
from geo.sheets.headings import Headings
from geo.sheets.problems import Problem

K = TypeVar("K")
V = TypeVar("V")
#: sheet (None for a CSV) and row as Excel shows it
Place = tuple[str | None, int]


def _nothing() -> Mapping[K, V]:
    return MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class FenceDefaults:
    """What holds for every row whose own cell is empty or whose column is absent."""

    radius_m: float | None = None
    group: str | None = None
    brand: str | None = None
    category: str | None = None
    store: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What the user says about a file; nothing is mended that is not named here.

    Attributes:
        mapping: for all sheets: heading as it stands in the sheet (`(C)` for a column without one,
            `text#2` for the second of a text) → column name, or None: the column is not used.
        sheet_mappings: the same for single sheets; a sheet named here does not look at `mapping`.
        heading_row: for all sheets, the Excel number of the heading row; 0: there is none, the
            columns go by their letters. None: it is found.
        heading_rows: the same for single sheets, by name.
        accept: codes of problems whose proposals are taken for all rows.
        accept_rows: (sheet, row) → codes whose proposals are taken for this row.
        grid: the projected grid of coordinates in metres, such as `EPSG:5174`. Naming it accepts the
            proposal of `projected_metres` for all rows; its best guess is not asked then.
        max_radius_m: the largest radius that is taken (product F1).
        countries: ISO 3166 codes of the countries of the workspace, such as `KR`; empty: anywhere.
    """

    defaults: FenceDefaults = FenceDefaults()
    mapping: Mapping[str, str | None] = field(default_factory=_nothing)
    sheet_mappings: Mapping[str, Mapping[str, str | None]] = field(default_factory=_nothing)
    heading_row: int | None = None
    heading_rows: Mapping[str, int] = field(default_factory=_nothing)
    accept: frozenset[str] = frozenset()
    accept_rows: Mapping[Place, frozenset[str]] = field(default_factory=_nothing)
    grid: str | None = None
    max_radius_m: float = MAX_RADIUS_M
    countries: frozenset[str] = frozenset()

    def mapping_of(self, sheet: str | None) -> Mapping[str, str | None]:
        """The mapping for one sheet."""
        return self.sheet_mappings.get(sheet, self.mapping) if sheet is not None else self.mapping

    def heading_row_of(self, sheet: str | None) -> int | None:
        """The number of the heading row of one sheet; None: it is to be found."""
        own = self.heading_rows.get(sheet) if sheet is not None else None
        return self.heading_row if own is None else own

    def accepted(self, place: Place) -> frozenset[str]:
        """The codes whose proposals are taken for this row."""
        return self.accepted_everywhere() | self.accept_rows.get(place, frozenset())

    def accepted_everywhere(self) -> frozenset[str]:
        """The codes whose proposals are taken for all rows."""
        return self.accept if self.grid is None else self.accept | {"projected_metres"}


@dataclass(frozen=True, kw_only=True)
class ReadFences:
    """A sheet read as fences.

    Attributes:
        sheet: its name; None for a CSV.
        fences: (row as Excel shows it, fence) of the rows without a problem, in order.
        problems: all problems of all rows, and of the sheet's headings.
        refused: rows that gave no fence, with as much of their identity as could be read.
        mapping: column name → heading by which `ReadOptions.mapping` can name it.
        unknown_headings: headings that were not used: no column goes by them, or another heading
            serves that column already.
        given: fields of `Fence` that the file or the defaults speak about.
        notes: (row, note): changes to outlines that change no area.
        heading_row: its number, of two the lower one; None where none was found.
        headings: all that is known of them; None where none were found.
        grids: what the coordinates in metres may be, the best guess first; empty where there are none.
        samples: heading → up to three of its values as they are shown, in the order of the sheet.
        title_rows: numbers of the rows with values above the headings, which were passed over.
        hidden_columns: headings of columns that are hidden in Excel and were read all the same.
        hidden_rows: how many of the rows that were read are hidden in Excel.
        mended: code → how many rows were read with the proposal of this code.
        mended_rows: row → the codes whose proposals were taken in it.
    """

    sheet: str | None
    fences: list[tuple[int, Fence]]
    problems: list[Problem]
    refused: Mapping[int, Identity] = field(default_factory=_nothing)
    mapping: Mapping[str, str] = field(default_factory=_nothing)
    unknown_headings: tuple[str, ...] = ()
    given: frozenset[str] = frozenset()
    notes: tuple[tuple[int, Note], ...] = ()
    heading_row: int | None = None
    headings: Headings | None = None
    grids: tuple[GridGuess, ...] = ()
    samples: Mapping[str, tuple[str, ...]] = field(default_factory=_nothing)
    title_rows: tuple[int, ...] = ()
    hidden_columns: tuple[str, ...] = ()
    hidden_rows: int = 0
    mended: Mapping[str, int] = field(default_factory=_nothing)
    mended_rows: Mapping[int, tuple[str, ...]] = field(default_factory=_nothing)
