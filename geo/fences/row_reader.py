"""The rows of one sheet → fences, problems, and what was mended with the user's leave.

There are two ways to the same fences. The plain one, `RowReader.take`, reads a row and says all that
is wrong with it. The short one, `RowReader.take_plain`, is for rows of which whole columns at a time
have shown that nothing can be wrong; `plain_rows` says which those are. A property test holds the two
together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from types import MappingProxyType
from typing import Any

from geo.fences.evidence import Evidence
from geo.fences.fence import CircleShape, Fence, PolygonShape
from geo.fences.identity import MEMO, Identity, conflict_keys
from geo.fences.open_sheet import OpenSheet, as_degrees
from geo.fences.outlines import outline, outline_outside
from geo.fences.places import place_faults
from geo.fences.plain_rows import PlainRows, plain_rows
from geo.fences.reading import Place, ReadOptions
from geo.fences.refusals import Note, ShapeRefused
from geo.fences.row_faults import duplicate, fault_of_shape, missing, missing_heading, other_unit
from geo.fences.shapes import ReadShape, read_form
from geo.sheets.cells import as_text
from geo.sheets.problems import CellRefused, Problem
from geo.sheets.records import Record, problem_at
from geo.sheets.table import Cell, is_blank

PROGRESS_ROWS = 1_000
_PLACE = frozenset({"lat", "lng"})
_RADIUS = frozenset({"radius_m", "radius_km"})
_NO_METADATA: Mapping[str, str] = MappingProxyType({})


class RowReader:
    """Rows become fences one after the other; what was read so far tells duplicates.

    Args:
        seen: where the fences of the whole file stand, by the keys of `identity.conflict_keys`; those
            of this sheet are added.
    """

    def __init__(
        self,
        sheet: OpenSheet,
        evidence: Evidence,
        options: ReadOptions,
        seen: dict[Hashable, Place],
    ) -> None:
        self.fences: list[tuple[int, Fence]] = []
        self.refused: dict[int, Identity] = {}
        self.notes: list[tuple[int, Note]] = []
        self.mended: dict[int, tuple[str, ...]] = {}
        self._sheet = sheet
        self._evidence = evidence
        self._options = options
        self._defaults = options.defaults
        group = as_text(self._defaults.group)
        self._groups = (group,) if group else ()
        self._named_by = sheet.named_by
        self._seen = seen
        has = sheet.headings.places
        self._only_outlines = "polygon" in has and not _PLACE & has.keys()
        self._found: dict[int, list[Problem]] = {}
        self._unsound: list[int] = []

    @property
    def problems(self) -> list[Problem]:
        """All problems of all rows, in the order of the rows."""
        return [problem for row in sorted(self._found) for problem in self._found[row]]

    def missing_headings(self) -> list[Problem]:
        """One problem per thing that no column of the sheet could give to any row."""
        has = self._sheet.headings.places
        faults = []
        if self._named_by not in has:
            faults.append(missing_heading("name"))
        if "polygon" not in has:
            faults += [missing_heading(axis) for axis in ("lat", "lng") if axis not in has]
            if self._defaults.radius_m is None and not _RADIUS & has.keys():
                faults.append(missing_heading("radius_m"))
        row = self._sheet.headings.row
        return [
            problem_at(self._sheet.table, self._sheet.headings, row, None, fault) for fault in faults
        ]

    def read(self, progress: Callable[[int], None] | None = None, *, plainly: bool = False) -> None:
        """All rows. `progress` is told how many are done; `plainly` takes no short way."""
        short = None if plainly else plain_rows(self._sheet, self._evidence, self._options)
        count = len(self._sheet)
        for start in range(0, count, PROGRESS_ROWS):
            for index in range(start, min(start + PROGRESS_ROWS, count)):
                if short is None or not short.are[index] or not self.take_plain(index, short):
                    self.take(index)
            if progress is not None:
                progress(min(start + PROGRESS_ROWS, count))

    def counts(self) -> Mapping[str, int]:
        """Code → how many rows were read with its proposal."""
        return Counter(code for codes in self.mended.values() for code in codes)

    def take_plain(self, index: int, rows: PlainRows) -> bool:
        """One row of which `plain_rows` says that only another row can be in its way.

        False: another row is, nothing was done, and `take` has to say so.
        """
        name, external_id = rows.names[index], rows.external_ids[index]
        address = rows.addresses[index]
        groups = rows.groups[index] or self._groups
        here = (self._sheet.table.sheet, self._sheet.first_row + index)
        first = self._seen.setdefault
        # the keys of identity.conflict_keys, without making an Identity
        if external_id is not None and first(("external_id", external_id), here) is not here:
            return False
        for group in groups or (None,):
            if first(("name", group, name, address, external_id), here) is not here:
                self._forget(
                    Identity(name=name, external_id=external_id, groups=groups, address=address), here
                )
                return False
        memo = rows.memos[index]
        circle = CircleShape(lon=rows.lng[index], lat=rows.lat[index], radius_m=rows.radius_m[index])
        fence = Fence(
            name=name,
            shape=circle,
            external_id=external_id,
            groups=groups,
            tags=rows.tags[index] or self._defaults.tags,
            brand=rows.brands[index] or self._defaults.brand,
            category=rows.categories[index] or self._defaults.category,
            store=rows.stores[index] or self._defaults.store,
            address=address,
            metadata=MappingProxyType({MEMO: memo}) if memo else _NO_METADATA,
        )
        self.fences.append((here[1], fence))
        if index in rows.mended:
            self.mended[here[1]] = (rows.mended[index],)
        return True

    def take(self, index: int) -> None:
        """One row: a fence, or its problems and who it would have been. Blank rows are passed over."""
        if is_blank(self._sheet.row(index)):
            return
        record, found, shape = self._mended(index)
        name = record.values.get(self._named_by)
        if name is None and self._named_by not in record.refused:
            self._note(found, record, self._named_by, missing(self._named_by))
        identity = self._identity(record, name)
        if found or shape is None or name is None:
            self._unsound.append(record.row)
        else:
            found = self._conflict(record.row, identity)
        if found or shape is None or name is None:
            self._found[record.row] = found
            self.refused[record.row] = identity
            return
        here = self._sheet.table.sheet, record.row
        self._seen |= dict.fromkeys(conflict_keys(identity), here)
        self.notes += [(record.row, note) for note in shape.notes]
        self.fences.append((record.row, self._fence(record.values, identity, name, shape)))

    def _mended(self, index: int) -> tuple[Record, list[Problem], ReadShape | None]:
        """The row read with the proposals that the user accepts, each code once; else as it stands."""
        number = self._sheet.first_row + index
        accepted = self._options.accepted((self._sheet.table.sheet, number))
        codes: list[str] = []
        instead: dict[str, Cell] = {}
        while True:
            record = self._sheet.record(index, instead)
            found = list(record.problems)
            shape = self._shape(record, found)
            mends: dict[str, dict[str, Cell]] = {}
            for problem in reversed(found):  # the first one of two that speak of the same cell wins
                if problem.code in accepted and problem.code not in codes and problem.proposal:
                    mends.setdefault(problem.code, {}).update(problem.proposal.values)
            if not mends:
                break
            for code, values in mends.items():
                codes.append(code)
                instead |= values
        if codes:
            self.mended[number] = tuple(codes)
        return record, found, shape

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

    def finish(self) -> None:
        """Once all rows of the file are read: which refused rows are the same fence as another row.

        Only now, since a row that gives no fence must not stand in the way of one that does.
        """
        for row in self._unsound:
            identity = self.refused[row]
            if identity.name is None and identity.external_id is None:
                continue
            self._found[row] += self._conflict(row, identity)
            for key in conflict_keys(identity):
                self._seen.setdefault(key, (self._sheet.table.sheet, row))

    def _conflict(self, row: int, identity: Identity) -> list[Problem]:
        """The row is the same fence as another one; its external id says so before its name does."""
        for key in conflict_keys(identity):
            first = self._seen.get(key)
            if first is not None:
                by_id = isinstance(key, tuple) and key[0] == "external_id"
                at = "external_id" if by_id else self._named_by
                fault = duplicate(identity, first, by_id=by_id)
                return [problem_at(self._sheet.table, self._sheet.headings, row, at, fault)]
        return []

    def _forget(self, identity: Identity, here: Place) -> None:
        """Take back what a row said of itself that turned out to be the same fence as another one."""
        for key in conflict_keys(identity):
            if self._seen.get(key) is here:
                del self._seen[key]

    def _shape(self, record: Record, found: list[Problem]) -> ReadShape | None:
        values = record.values
        try:
            if "polygon" not in values:
                return None if "polygon" in record.refused else self._circle(record, found)
            shape = outline(values)
        except ShapeRefused as refused:
            at = _column_of(refused, values)
            self._note(found, record, at, fault_of_shape(refused))
            return None
        if isinstance(shape.shape, PolygonShape):
            fault = outline_outside(shape.shape, self._evidence)
            if fault is not None:
                self._note(found, record, "polygon", fault)
        return shape

    def _circle(self, record: Record, found: list[Problem]) -> ReadShape | None:
        values = record.values
        bad = record.refused & (_PLACE | _RADIUS)
        column = "radius_m" if "radius_m" in values else "radius_km"
        radius_m = values.get(column, self._defaults.radius_m)
        if self._only_outlines and not _PLACE & values.keys():
            self._note(found, record, "polygon", missing("polygon"))
            return None
        for name in ("lat", "lng"):
            if name not in values and name not in bad:
                self._note(found, record, name, missing(name))
        if radius_m is None and not bad & _RADIUS:
            self._note(found, record, "radius_m", missing("radius_m"))
        fault = self._unit_fault(record, column)
        if fault is not None:
            self._note(found, record, column, fault)
        if "lat" not in values or "lng" not in values:
            return None
        lat, lng = as_degrees(values["lat"]), as_degrees(values["lng"])
        faults = place_faults(lat, lng, self._evidence)
        for name, place_fault in faults:
            self._note(found, record, name, place_fault)
        if faults or radius_m is None or bad or fault is not None:
            return None
        most = self._options.max_radius_m
        return read_form(lat=lat.value, lng=lng.value, radius_m=radius_m, max_radius_m=most)

    def _unit_fault(self, record: Record, column: str) -> CellRefused | None:
        """The radius is given in another unit than its heading says, as all of its column are."""
        unit = self._evidence.units.get(column)
        radius_m = record.values.get(column)
        if unit is None or radius_m is None or not self._sheet.is_bare(record.row, column):
            return None
        # a radius that the user's leave has put there is one that fits
        if self._sheet.value(record.row, column) != radius_m:
            return None
        return other_unit(radius_m, column, unit)

    def _note(self, found: list[Problem], record: Record, name: str, fault: CellRefused) -> None:
        """Keep the fault as a problem of its cell; a point of a geo file is one cell."""
        at = "polygon" if name in _PLACE and self._sheet.is_point(record.row) else name
        found.append(problem_at(self._sheet.table, self._sheet.headings, record.row, at, fault))


def _column_of(refused: ShapeRefused, values: Mapping[str, Any]) -> str:
    if "polygon" in values:
        return "polygon"
    at = refused.pointer.removeprefix("/")
    return "radius_km" if at == "radius_m" and "radius_m" not in values else at or "lat"
