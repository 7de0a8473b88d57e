"""The columns of a fence sheet: rows → fences and problems, fences → rows (product U2-U6)."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from geo.fences.column_list import COLUMNS, FIELDS, MAX_POLYGON_CELLS
from geo.fences.fence import CircleShape, Fence, PolygonShape
from geo.fences.identity import MEMO, Identity, conflict_keys, review_fences
from geo.fences.limits import check_circle
from geo.fences.reading import FenceDefaults, Place, ReadFences, ReadOptions
from geo.fences.refusals import Note, ShapeRefused
from geo.fences.row_faults import (
    duplicate,
    fault_of_shape,
    missing,
    missing_heading,
    no_headings,
    place_faults,
)
from geo.fences.shapes import ReadShape, read_form, read_geojson, read_text, read_wkt, to_wkt
from geo.sheets.cells import join_list
from geo.sheets.changes import Review
from geo.sheets.headings import Headings, Record, find_headings, problem_at, read_records
from geo.sheets.problems import CellRefused, Problem
from geo.sheets.workbook import Cell, Table

__all__ = [
    "FenceDefaults",
    "ReadFences",
    "ReadOptions",
    "fences_to_rows",
    "read_fences",
    "read_sheets",
    "review_sheets",
]

POLYGON_CELL_CHARS = 32_000  # below Excel's 32,767 of a cell; longer outlines go on beside it
_WKT_START = re.compile(r"\s*(?:SRID=\d+;\s*)?[A-Za-z]{4,}")
#: (rows done, all rows)
Progress = Callable[[int, int], None]


def read_sheets(
    tables: Sequence[Table],
    *,
    options: ReadOptions | None = None,
    progress: Progress | None = None,
) -> list[ReadFences]:
    """The fences of all sheets of a file; the same fence may not stand in two of them.

    A sheet without headings (a legend, a cover) is left out where another one has some.

    Args:
        progress: told (rows done, all rows) of the file, at most once every 1,000 rows.
    Raises:
        ShapeRefused: the default radius is out of bounds; nothing else raises.
    """
    seen: dict[Hashable, Place] = {}
    read = [read_fences(table, options=options, seen=seen) for table in tables]
    headed = [sheet for sheet in read if sheet.heading_row is not None]
    return headed or read[:1]


def review_sheets(
    read: Sequence[ReadFences],
    existing: Sequence[Fence],
    *,
    scope: frozenset[str] | None = None,
) -> Review[Fence]:
    """What the sheets of a file would do together; see `identity.review_fences`.

    Each row lays over its fence only what its own sheet speaks about.
    """
    rows = [(sheet, pair) for sheet in read for pair in sheet.fences]
    return review_fences(
        [pair for _, pair in rows],
        existing,
        given=[sheet.given for sheet, _ in rows],
        sheets=[sheet.sheet for sheet, _ in rows],
        problems=[problem for sheet in read for problem in sheet.problems],
        refused={(s.sheet, row): who for s in read for row, who in s.refused.items()},
        scope=scope,
    )


def read_fences(
    table: Table,
    *,
    options: ReadOptions | None = None,
    seen: dict[Hashable, Place] | None = None,
) -> ReadFences:
    """The fences of a sheet, and every problem of every row.

    Where no column names the fences, the store column does, and serves as both. A row with an outline
    is a polygon, whatever its latitude and longitude say (they often are a label point); else it is a
    circle. A row with a problem gives no fence; of two rows that are the same fence (see
    `geo.fences.identity`) the first stays and the second has the problem.

    Args:
        seen: where the fences of other sheets of the same file stand; this sheet's are added.
    Raises:
        ShapeRefused: the default radius is out of bounds; nothing else raises.
    """
    options = options or ReadOptions()
    defaults = options.defaults
    if defaults.radius_m is not None:
        check_circle(CircleShape(lon=0.0, lat=0.0, radius_m=defaults.radius_m))
    headings = find_headings(
        table,
        COLUMNS,
        mapping=options.mapping_of(table.sheet),
        heading_row=options.heading_row_of(table.sheet),
    )
    if headings is None:
        return ReadFences(sheet=table.sheet, fences=[], problems=[no_headings(table)])
    reader = _Reader(table, headings, defaults, {} if seen is None else seen)
    problems = reader.missing_headings()
    if not problems:
        for record in read_records(table, headings, COLUMNS):
            reader.take(record)
    return ReadFences(
        sheet=table.sheet,
        fences=reader.fences,
        problems=problems or reader.problems,
        refused=MappingProxyType(reader.refused),
        mapping=MappingProxyType(reader.mapping()),
        unknown_headings=(*headings.unknown, *headings.shadowed),
        given=reader.given(),
        notes=tuple(reader.notes),
        heading_row=headings.row,
        headings=headings,
    )


class _Reader:
    """Rows become fences one after the other; what was read so far tells duplicates."""

    def __init__(
        self,
        table: Table,
        headings: Headings,
        defaults: FenceDefaults,
        seen: dict[Hashable, Place],
    ) -> None:
        self.fences: list[tuple[int, Fence]] = []
        self.problems: list[Problem] = []
        self.refused: dict[int, Identity] = {}
        self.notes: list[tuple[int, Note]] = []
        self._table = table
        self._headings = headings
        self._defaults = defaults
        self._groups = (defaults.group,) if defaults.group else ()
        self._named_by = "name" if "name" in headings.places else "store"
        self._seen = seen

    def missing_headings(self) -> list[Problem]:
        """One problem per thing that no column of the sheet could give to any row."""
        has = self._headings.places
        faults = []
        if self._named_by not in has:
            faults.append(missing_heading("name"))
        if "polygon" not in has:
            faults += [missing_heading(axis) for axis in ("lat", "lng") if axis not in has]
            if self._defaults.radius_m is None and not {"radius_m", "radius_km"} & has.keys():
                faults.append(missing_heading("radius_m"))
        row = self._headings.row
        return [problem_at(self._table, self._headings, row, None, fault) for fault in faults]

    def given(self) -> frozenset[str]:
        """The fields of a fence about which the file or the defaults say something."""
        fields = {FIELDS[name] for name in self._headings.places if name in FIELDS}
        fields |= {"shape", "name"}
        fields |= {"groups"} if self._groups else set()
        for name in ("brand", "category", "store", "tags"):
            if getattr(self._defaults, name):
                fields.add(name)
        return frozenset(fields)

    def mapping(self) -> dict[str, str]:
        """Column → heading; the store's heading also for the name where it serves as one."""
        texts = dict(self._headings.texts)
        if self._named_by in texts:
            texts["name"] = texts[self._named_by]
        return texts

    def take(self, record: Record) -> None:
        """One row: a fence, or its problems and who it would have been."""
        found = list(record.problems)
        shape = self._shape(record, found)
        name = record.values.get(self._named_by)
        if name is None:
            self._note(found, record, self._named_by, missing(self._named_by))
        identity = self._identity(record, name)
        found += self._conflicts(record, identity)
        if found or shape is None or name is None:
            self.problems += found
            self.refused[record.row] = identity
            return
        self.notes += [(record.row, note) for note in shape.notes]
        self.fences.append((record.row, self._fence(record.values, identity, name, shape)))

    def _fence(
        self, values: Mapping[str, Any], identity: Identity, name: str, shape: ReadShape
    ) -> Fence:
        memo = values.get("memo")
        own: dict[str, Any] = {
            key: values.get(key) or getattr(self._defaults, key)
            for key in ("brand", "category", "store", "tags")
        }
        return Fence(
            name=name,
            shape=shape.shape,
            external_id=identity.external_id,
            groups=identity.groups,
            address=identity.address,
            metadata=MappingProxyType({MEMO: str(memo)} if memo else {}),
            **own,
        )

    def _identity(self, record: Record, name: str | None) -> Identity:
        return Identity(
            name=name,
            external_id=record.values.get("external_id"),
            groups=record.values.get("group") or self._groups,
            address=record.values.get("address"),
        )

    def _conflicts(self, record: Record, identity: Identity) -> list[Problem]:
        """The row is the same fence as one above it."""
        if identity.name is None and identity.external_id is None:
            return []
        found: list[Problem] = []
        for key in conflict_keys(identity):
            here = (self._table.sheet, record.row)
            first = self._seen.setdefault(key, here)
            if first == here or found:
                continue
            by_id = isinstance(key, tuple) and key[0] == "external_id"
            at = "external_id" if by_id else self._named_by
            self._note(found, record, at, duplicate(identity, first, by_id=by_id))
        return found

    def _shape(self, record: Record, found: list[Problem]) -> ReadShape | None:
        try:
            if "polygon" in record.values:
                return _outline(record.values)
            return self._circle(record, found)
        except ShapeRefused as refused:
            at = _column_of(refused, record.values)
            self._note(found, record, at, fault_of_shape(refused))
        return None

    def _circle(self, record: Record, found: list[Problem]) -> ReadShape | None:
        values = record.values
        radius_m = values.get("radius_m", values.get("radius_km", self._defaults.radius_m))
        bad = record.refused & {"lat", "lng", "radius_m", "radius_km"}
        for name in ("lat", "lng"):
            if name not in values and name not in bad:
                self._note(found, record, name, missing(name))
        if radius_m is None and not bad & {"radius_m", "radius_km"}:
            self._note(found, record, "radius_m", missing("radius_m"))
        if "lat" not in values or "lng" not in values:
            return None
        faults = place_faults(values["lat"], values["lng"])
        for name, fault in faults:
            self._note(found, record, name, fault)
        if faults or radius_m is None or bad:
            return None
        return read_form(lat=values["lat"].value, lng=values["lng"].value, radius_m=radius_m)

    def _note(self, found: list[Problem], record: Record, name: str, fault: CellRefused) -> None:
        found.append(problem_at(self._table, self._headings, record.row, name, fault))


def _outline(values: Mapping[str, Any]) -> ReadShape:
    """The polygon of a row, from one cell or several; GeoJSON, WKT or points, by how it begins."""
    numbered = (f"polygon_{n}" for n in range(2, MAX_POLYGON_CELLS + 1))
    text = "".join(values.get(name) or "" for name in ("polygon", *numbered))
    if text.startswith("{"):
        return read_geojson(text)
    return read_wkt(text) if _WKT_START.match(text) else read_text(text)


def _column_of(refused: ShapeRefused, values: Mapping[str, Any]) -> str:
    if "polygon" in values:
        return "polygon"
    at = refused.pointer.removeprefix("/")
    return "radius_km" if at == "radius_m" and "radius_m" not in values else at or "lat"


def fences_to_rows(fences: Iterable[Fence], *, lang: str = "en") -> list[list[Cell]]:
    """Headings, then a row per fence, which `read_fences` reads back as the same (product U6).

    Circles have lat, lng and radius_m, polygons WKT to the last bit, in as many cells side by side as
    it takes. What has no column (opening hours, validity, other metadata) is not exported; reading
    the rows back leaves it as it is.
    """
    rows = [_row_of(fence) for fence in fences]
    used = {name for row in rows for name in row} | _ALWAYS
    columns = [column for column in COLUMNS if column.name in used]
    headings: list[Cell] = [c.label_ko if lang == "ko" else c.label_en for c in columns]
    return [headings, *([row.get(c.name) for c in columns] for row in rows)]


_ALWAYS = {c.name for c in COLUMNS if not c.name.startswith("polygon_")} - {"radius_km"}


def _row_of(fence: Fence) -> dict[str, Cell]:
    row: dict[str, Cell] = {
        "name": fence.name,
        "external_id": fence.external_id,
        "group": join_list(fence.groups) or None,
        "brand": fence.brand,
        "category": fence.category,
        "store": fence.store,
        "address": fence.address,
        "tags": join_list(fence.tags) or None,
        "memo": fence.metadata.get(MEMO),
    }
    match fence.shape:
        case CircleShape(lon=lon, lat=lat, radius_m=radius_m):
            row |= {"lat": lat, "lng": lon, "radius_m": radius_m}
        case PolygonShape():
            for n, piece in enumerate(_pieces(to_wkt(fence.shape)), 1):
                row["polygon" if n == 1 else f"polygon_{n}"] = piece
    return row


def _pieces(wkt: str) -> list[str]:
    """WKT cut after commas, where a space lost at the end of a cell does no harm."""
    pieces = []
    while len(wkt) > POLYGON_CELL_CHARS:
        cut = wkt.rindex(",", 0, POLYGON_CELL_CHARS) + 1
        pieces.append(wkt[:cut])
        wkt = wkt[cut:].lstrip()
    return [*pieces, wkt]
