"""The columns of a fence sheet: a file's tables → fences and problems → a review (product U2-U6)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Hashable, Sequence
from itertools import accumulate
from types import MappingProxyType

import numpy as np

from geo.fences.column_list import FIELDS
from geo.fences.evidence import Evidence, Unit, gather
from geo.fences.export import POLYGON_CELL_CHARS, fences_to_rows
from geo.fences.fence import CircleShape, Fence
from geo.fences.identity import review_fences
from geo.fences.limits import check_circle
from geo.fences.open_sheet import OpenSheet, open_sheet
from geo.fences.reading import FenceDefaults, Place, ReadFences, ReadOptions
from geo.fences.row_faults import no_headings
from geo.fences.row_reader import RowReader
from geo.sheets.changes import Review
from geo.sheets.problems import Problem
from geo.sheets.table import Table, is_blank

__all__ = [
    "POLYGON_CELL_CHARS",
    "FenceDefaults",
    "ReadFences",
    "ReadOptions",
    "fences_to_rows",
    "read_fences",
    "read_sheets",
    "review_sheets",
]

#: told (rows done, all rows)
Progress = Callable[[int, int], None]


def read_sheets(
    tables: Sequence[Table],
    *,
    options: ReadOptions | None = None,
    progress: Progress | None = None,
    plainly: bool = False,
) -> list[ReadFences]:
    """The fences of all sheets of a file; the same fence may not stand in two of them.

    A sheet without headings (a legend, a cover) is left out where another one has some. What the
    rows of all sheets together say about swapped coordinates, grids and units decides what is
    proposed for each of them.

    Where no column names the fences, the store column does, and serves as both. A row with an outline
    is a polygon, whatever its latitude and longitude say (they often are a label point); else it is a
    circle. A row with a problem gives no fence; of two rows that are the same fence (see
    `geo.fences.identity`) the first without another problem stays and the other has the problem.

    Args:
        progress: told (rows done, all rows) of the file, at most once every 1,000 rows.
        plainly: every row is read by itself, as slowly as it takes; the twin of the fast way.
    Raises:
        ShapeRefused: the default radius is out of bounds; nothing else raises.
    """
    options = options or ReadOptions()
    if options.defaults.radius_m is not None:
        circle = CircleShape(lon=0.0, lat=0.0, radius_m=options.defaults.radius_m)
        check_circle(circle, max_radius_m=options.max_radius_m)
    opened = [(table, open_sheet(table, options)) for table in tables]
    sheets = [sheet for _, sheet in opened if sheet is not None]
    if not sheets:
        return [ReadFences(sheet=t.sheet, fences=[], problems=[no_headings(t)]) for t in tables[:1]]
    evidence = _evidence(sheets, options)
    seen: dict[Hashable, Place] = {}
    readers = [RowReader(sheet, evidence, options, seen) for sheet in sheets]
    faults = [reader.missing_headings() for reader in readers]
    count, done = sum(map(len, sheets)), 0
    for reader, sheet, missing in zip(readers, sheets, faults, strict=True):
        if not missing:
            reader.read(None if progress is None else _from(progress, done, count), plainly=plainly)
        done += len(sheet)
    for reader in readers:
        reader.finish()
    return [
        _told(sheet, reader, missing, evidence, options)
        for reader, sheet, missing in zip(readers, sheets, faults, strict=True)
    ]


def read_fences(table: Table, *, options: ReadOptions | None = None) -> ReadFences:
    """The fences of one sheet, as `read_sheets` reads a file with this sheet only."""
    (read,) = read_sheets([table], options=options)
    return read


def review_sheets(
    read: Sequence[ReadFences],
    existing: Sequence[Fence],
    *,
    scope: frozenset[str] | None = None,
) -> Review[Fence]:
    """What the sheets of a file would do together; see `identity.review_fences`.

    Each row lays over its fence only what its own sheet speaks about.
    """
    return review_fences(
        [pair for sheet in read for pair in sheet.fences],
        existing,
        given=[sheet.given for sheet in read for _ in sheet.fences],
        sheets=[sheet.sheet for sheet in read for _ in sheet.fences],
        problems=[problem for sheet in read for problem in sheet.problems],
        refused={(s.sheet, row): who for s in read for row, who in s.refused.items()},
        scope=scope,
    )


def _from(progress: Progress, done: int, count: int) -> Callable[[int], None]:
    return lambda rows: progress(done + rows, count)


def _evidence(sheets: Sequence[OpenSheet], options: ReadOptions) -> Evidence:
    """What the rows of all sheets say together."""
    starts = list(accumulate(map(len, sheets), initial=0))

    def place_of(index: int) -> Place:
        at = bisect_right(starts, index) - 1
        return sheets[at].table.sheet, sheets[at].first_row + index - starts[at]

    addresses = [address for sheet in sheets for address in sheet.column("address")]
    axes = [sheet.headings.texts.get(axis) for sheet in sheets for axis in ("lat", "lng")]
    units: dict[str, Unit] = {}
    for sheet in sheets:
        units |= sheet.units()
    return gather(
        np.concatenate([sheet.degrees("lat") for sheet in sheets]),
        np.concatenate([sheet.degrees("lng") for sheet in sheets]),
        place_of=place_of,
        addresses=addresses,
        headings=[text for text in axes if text],
        countries=options.countries,
        grid=options.grid,
        units=units,
    )


def _told(
    sheet: OpenSheet,
    reader: RowReader,
    missing: list[Problem],
    evidence: Evidence,
    options: ReadOptions,
) -> ReadFences:
    """What came of a sheet; only the missing columns where some are."""
    headings, table = sheet.headings, sheet.table
    hidden = {label for index, label in _used(sheet) if index in table.hidden_columns}
    return ReadFences(
        sheet=table.sheet,
        fences=reader.fences,
        problems=missing or reader.problems,
        refused=MappingProxyType(reader.refused),
        mapping=MappingProxyType(_mapping(sheet)),
        unknown_headings=(*headings.unknown, *headings.shadowed),
        given=_given(sheet, options.defaults),
        notes=tuple(reader.notes),
        heading_row=headings.row,
        headings=headings,
        grids=evidence.grids,
        samples=headings.samples,
        title_rows=tuple(n for n, _ in _above(sheet)),
        hidden_columns=tuple(label for label in headings.samples if label in hidden),
        hidden_rows=_hidden_rows(sheet, reader),
        mended=reader.counts(),
        mended_rows=MappingProxyType(reader.mended),
    )


def _hidden_rows(sheet: OpenSheet, reader: RowReader) -> int:
    hidden = sheet.table.hidden_rows
    if not hidden:
        return 0
    return sum(row in hidden for row, _ in reader.fences) + len(hidden & reader.refused.keys())


def _used(sheet: OpenSheet) -> list[tuple[int, str]]:
    """(index, label) of the columns that are read."""
    return [(index, sheet.headings.labels[name]) for name, index in sheet.headings.places.items()]


def _above(sheet: OpenSheet) -> list[tuple[int, object]]:
    """The rows with values above the headings."""
    first = min(sheet.headings.rows) - sheet.table.first_row
    rows = enumerate(sheet.table.rows[: max(0, first)], sheet.table.first_row)
    return [(number, row) for number, row in rows if not is_blank(row)]


def _mapping(sheet: OpenSheet) -> dict[str, str]:
    """Column → label; the store's also for the name where it serves as one."""
    labels = dict(sheet.headings.labels)
    if sheet.named_by in labels:
        labels["name"] = labels[sheet.named_by]
    return labels


def _given(sheet: OpenSheet, defaults: FenceDefaults) -> frozenset[str]:
    """The fields of a fence about which the file or the defaults say something."""
    fields = {FIELDS[name] for name in sheet.headings.places if name in FIELDS} | {"shape", "name"}
    if defaults.group:
        fields.add("groups")
    fields |= {name for name in ("brand", "category", "store", "tags") if getattr(defaults, name)}
    return frozenset(fields)
