"""What a user says about an uploaded file, as it is kept with the upload."""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec

from geo.fences.column_list import BY_NAME
from geo.fences.grids import is_grid
from geo.fences.reading import FenceDefaults, ReadOptions
from geo.sheets.cells import as_text
from geo.sheets.table import FileOptions
from nearcast.services.countries import unknown_countries
from nearcast.services.errors import FieldError, pointer_step

Mapping = dict[str, str | None]


class RowAccepts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Proposals that are taken for one row only."""

    row: int
    codes: tuple[str, ...]
    sheet: str | None = None


class UploadOptions(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """How a file of fences is to be read; what is not said is found out.

    Attributes:
        group, radius_m, brand, category, store, tags: for rows that say nothing of it.
        sheets: of a workbook, or layers of a geo file: only these.
        encoding, delimiter: of a CSV.
        crs: of a geo file without one, such as `EPSG:5181`.
        grid: the projected grid of coordinates in metres; accepts that proposal for all rows.
        heading_row, heading_rows: Excel's number of the heading row, for all sheets or by sheet.
        mapping, sheet_mappings: heading → column, or None for "do not use"; for all or by sheet.
        remembered: whether a mapping of the same headings from an earlier upload counts.
        accept, accept_rows: codes of problems whose proposals are taken, for all rows or single ones.
        countries: ISO 3166 codes where rows may lie; None: the workspace's, empty: anywhere.
        missing: what becomes of fences of the file's groups that it does not name.
    """

    group: str | None = None
    radius_m: float | None = None
    brand: str | None = None
    category: str | None = None
    store: str | None = None
    tags: tuple[str, ...] = ()
    sheets: tuple[str, ...] | None = None
    encoding: str | None = None
    delimiter: str | None = None
    crs: str | None = None
    grid: str | None = None
    heading_row: int | None = None
    heading_rows: dict[str, int] = msgspec.field(default_factory=dict)
    mapping: Mapping = msgspec.field(default_factory=dict)
    sheet_mappings: dict[str, Mapping] = msgspec.field(default_factory=dict)
    remembered: bool = True
    accept: tuple[str, ...] = ()
    accept_rows: tuple[RowAccepts, ...] = ()
    countries: tuple[str, ...] | None = None
    missing: Literal["keep", "delete"] = "keep"

    @classmethod
    def from_json(cls, value: Any) -> UploadOptions:
        """The options from what `to_json` gave."""
        return msgspec.convert(value, cls)

    def to_json(self) -> dict[str, Any]:
        """The options as JSON objects, without what is as by default."""
        given: dict[str, Any] = msgspec.to_builtins(self)
        return given

    def of_file(self) -> FileOptions:
        """What the reader of the file needs."""
        return FileOptions(
            sheets=self.sheets, encoding=self.encoding, delimiter=self.delimiter, crs=self.crs
        )

    def of_rows(
        self,
        *,
        countries: tuple[str, ...],
        remembered: dict[str | None, Mapping],
        max_radius_m: float,
    ) -> ReadOptions:
        """What the reader of the rows needs.

        Args:
            countries: the workspace's, where the options say none.
            remembered: sheet → mapping of an earlier upload, for sheets that `maps` says no to.
        """
        by_sheet = {sheet: mapping for sheet, mapping in remembered.items() if sheet is not None}
        return ReadOptions(
            defaults=FenceDefaults(
                radius_m=self.radius_m,
                group=as_text(self.group),
                brand=as_text(self.brand),
                category=as_text(self.category),
                store=as_text(self.store),
                tags=tuple(text for tag in self.tags if (text := as_text(tag))),
            ),
            mapping=self.mapping or remembered.get(None, {}),
            sheet_mappings=by_sheet | self.sheet_mappings,
            heading_row=self.heading_row,
            heading_rows=self.heading_rows,
            accept=frozenset(self.accept),
            accept_rows=self._accepted_by_row(),
            grid=self.grid,
            max_radius_m=max_radius_m,
            countries=frozenset(self.countries if self.countries is not None else countries),
        )

    def _accepted_by_row(self) -> dict[tuple[str | None, int], frozenset[str]]:
        """(sheet, row) → codes; a row that is named several times takes all of them."""
        found: dict[tuple[str | None, int], frozenset[str]] = {}
        for accepted in self.accept_rows:
            place = (accepted.sheet, accepted.row)
            found[place] = found.get(place, frozenset()).union(accepted.codes)
        return found

    def faults(self) -> list[FieldError]:
        """What names a column, grid or country that there is not; a radius that is no number."""
        found = []
        if self.radius_m is not None and not math.isfinite(self.radius_m):
            message = "radius_m must be a number of metres."
            found.append(FieldError(pointer="/radius_m", code="not_a_number", message=message))
        if self.grid is not None and not is_grid(self.grid):
            message = f"'{self.grid}' is no grid in metres. Write it like EPSG:5174."
            found.append(FieldError(pointer="/grid", code="unknown_grid", message=message))
        found += unknown_countries(self.countries or ())
        mappings = {"/mapping": self.mapping}
        mappings |= {
            f"/sheet_mappings/{pointer_step(name)}": m for name, m in self.sheet_mappings.items()
        }
        return found + [fault for at, mapping in mappings.items() for fault in _unknown(at, mapping)]

    def maps(self, sheet: str | None) -> bool:
        """Whether the user says how the headings of a sheet are meant."""
        return bool(self.mapping) or sheet in self.sheet_mappings


def _unknown(at: str, mapping: Mapping) -> list[FieldError]:
    """The headings that are mapped to columns which there are not."""
    known = ", ".join(BY_NAME)
    return [
        FieldError(
            pointer=f"{at}/{pointer_step(heading)}",
            code="unknown_column",
            message=f"There is no column '{column}'. Columns are: {known}.",
        )
        for heading, column in mapping.items()
        if column is not None and column not in BY_NAME
    ]
