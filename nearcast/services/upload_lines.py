"""The lines of a review as they are kept: packed, and read back as pages or as fences to save."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import shapely
import sqlalchemy as sa

from geo.fences.fence import CircleShape, Fence, PolygonShape, Shape
from geo.fences.identity import Identity
from geo.fences.reading import ReadFences
from geo.measure import circle_area_km2, projected_area_m2
from geo.sheets.changes import Change, RowState
from geo.sheets.problems import Problem
from nearcast.store import uploads
from nearcast.store.fences import StoredFence, attributes_of, fence_of

#: how lists show the states: what needs a look comes first
SHOWN_ORDER = (RowState.REFUSED, RowState.CHANGED, RowState.NEW, RowState.MISSING, RowState.SAME)


class LineProposal(msgspec.Struct, array_like=True):
    """A way to mend a row: words, and column → value."""

    en: str
    ko: str
    values: dict[str, str | float]


class LineProblem(msgspec.Struct, array_like=True):
    """One fault of a row."""

    heading: str | None
    cell: str | None
    value: str | None
    code: str
    en: str
    ko: str
    proposal: LineProposal | None = None


class Line(msgspec.Struct, array_like=True, omit_defaults=True):
    """One row of a file, or one fence that the file does not name.

    Attributes:
        sheet, row: where it stands; None for a missing fence.
        fence_id, version: of the fence that is there; 0 for none.
        attributes, circle, wkb: what would be there (new and changed); circle is lon, lat, radius_m.
        before: of a changed fence, field → what is there now, for the fields that change.
        mended: codes of the proposals that were taken.
    """

    sheet: str | None
    row: int | None
    name: str | None
    external_id: str | None
    fence_id: int = 0
    version: int = 0
    attributes: dict[str, Any] | None = None
    circle: tuple[float, float, float] | None = None
    wkb: bytes | None = None
    before: dict[str, Any] | None = None
    problems: list[LineProblem] = []
    mended: tuple[str, ...] = ()

    @property
    def shape(self) -> Shape | None:
        """The shape that would be there."""
        if self.circle is not None:
            lon, lat, radius_m = self.circle
            return CircleShape(lon=lon, lat=lat, radius_m=radius_m)
        return None if self.wkb is None else PolygonShape(geometry=shapely.from_wkb(self.wkb))

    @property
    def fence(self) -> Fence:
        """The fence that would be there. Raises ValueError where the line has none."""
        shape = self.shape
        if shape is None or self.attributes is None:
            raise ValueError(f"row {self.row} holds no fence")
        return fence_of(self.attributes, shape)


class Done(msgspec.Struct, array_like=True):
    """What applying did to one fence.

    Attributes:
        before: its version before; 0 where it was made.
        after: its version after; that before where it was deleted.
    """

    fence_id: int
    before: int
    after: int
    deleted: bool = False


def lines_of(
    changes: Iterable[Change[Fence]], stored: Sequence[StoredFence], read: Sequence[ReadFences]
) -> dict[RowState, list[Line]]:
    """The lines of a review by state, in the order of the file."""
    refused = {(s.sheet, row): who for s in read for row, who in s.refused.items()}
    mended = {(s.sheet, row): codes for s in read for row, codes in s.mended_rows.items()}
    lines: dict[RowState, list[Line]] = {state: [] for state in RowState}
    for change in changes:
        before = None if change.place is None else stored[change.place]
        place = (change.sheet, change.row or 0)
        line = _line(change, before, refused.get(place))
        if place in mended:
            line.mended = mended[place]
        lines[change.state].append(line)
    return lines


def _line(change: Change[Fence], before: StoredFence | None, refused: Identity | None) -> Line:
    who = change.after or change.before or refused
    line = Line(
        change.sheet,
        change.row,
        who.name if who is not None else None,
        who.external_id if who is not None else None,
    )
    if before is not None:
        line.fence_id, line.version = before.id, before.version
    if change.problems:
        line.problems = [_problem(problem) for problem in change.problems]
    if change.after is not None and change.state is not RowState.SAME:
        line.attributes = attributes_of(change.after)
        line.circle, line.wkb = _packed(change.after.shape)
        if before is not None:
            line.before = _differing(before.fence, change.after)
    return line


def _packed(shape: Shape) -> tuple[tuple[float, float, float] | None, bytes | None]:
    if isinstance(shape, CircleShape):
        return (shape.lon, shape.lat, shape.radius_m), None
    return None, shapely.to_wkb(shape.geometry)


def _problem(problem: Problem) -> LineProblem:
    offered = problem.proposal
    return LineProblem(
        problem.heading,
        problem.cell,
        problem.value,
        problem.code,
        problem.message_en,
        problem.message_ko,
        LineProposal(offered.message_en, offered.message_ko, dict(offered.values)) if offered else None,
    )


def _differing(before: Fence, after: Fence) -> dict[str, Any]:
    """What is there now, of the fields that would change."""
    old, new = attributes_of(before), attributes_of(after)
    found = {name: old.get(name) for name in sorted({*old, *new}) if old.get(name) != new.get(name)}
    if before.shape != after.shape:
        found["shape"] = shown_shape(before.shape)
    return found


def shown_shape(shape: Shape) -> dict[str, Any]:
    """A shape in a few words: a circle whole, of a polygon its size."""
    if isinstance(shape, CircleShape):
        return {"lat": shape.lat, "lng": shape.lon, "radius_m": shape.radius_m}
    corners = int(shapely.get_num_coordinates(shape.geometry))
    return {"area_km2": area_km2(shape), "vertices": corners}


def area_km2(shape: Shape) -> float:
    """A shape's area as F2 measures it."""
    if isinstance(shape, CircleShape):
        return circle_area_km2(shape.radius_m)
    return projected_area_m2(shape.geometry) / 1e6


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[Line]).decode
_unpack_done = msgspec.msgpack.Decoder(list[Done]).decode


def packed(kind: str, lines: Sequence[Line] | Sequence[Done]) -> list[tuple[str, int, int, bytes]]:
    """The parts of one kind, as `uploads.put_parts` takes them."""
    size = uploads.PART_LINES
    starts = range(0, max(len(lines), 1), size)
    return [(kind, n, len(lines[n : n + size]), _pack(lines[n : n + size])) for n in starts]


def kept(
    conn: sa.Connection, upload_id: int, state: RowState, *, from_line: int = 0
) -> Iterator[tuple[int, Line]]:
    """(index among those of its state, line) from a line on."""
    for first, body in uploads.parts(conn, upload_id, state.value, from_line=from_line):
        for n, line in enumerate(_unpack(body), first):
            if n >= from_line:
                yield n, line


def done(conn: sa.Connection, upload_id: int) -> list[Done]:
    """What applying did, in the order in which it was written."""
    found: list[Done] = []
    for _, body in uploads.parts(conn, upload_id, uploads.DONE):
        found += _unpack_done(body)
    return found


def page(
    conn: sa.Connection,
    upload_id: int,
    *,
    counts: Mapping[str, int],
    states: Sequence[RowState],
    code: str | None,
    start: int,
    limit: int,
) -> tuple[list[tuple[RowState, Line]], int | None]:
    """Some lines of the states, in the order of `SHOWN_ORDER`, and where to go on; None at the end.

    Args:
        counts: state → lines, as the upload has them.
        code: only lines with a problem of this code.
        start: how many lines of these states to pass over, those without the code counted too.
    """
    found: list[tuple[RowState, Line]] = []
    passed = 0
    wanted = set(states) if code is None else {RowState.REFUSED} & set(states)  # others have none
    for state in (s for s in SHOWN_ORDER if s in wanted):
        here = counts.get(state.value, 0)
        if start < passed + here:
            for n, line in kept(conn, upload_id, state, from_line=max(0, start - passed)):
                if len(found) == limit:
                    return found, passed + n
                if code is None or any(p.code == code for p in line.problems):
                    found.append((state, line))
        passed += here
    return found, None
