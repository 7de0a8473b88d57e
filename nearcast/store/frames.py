"""What the reading child and its parent say to each other: frames of msgpack on two pipes.

The parent sends one `Order` and the bytes of the file. The child answers with `READY`, then for each
table its rows, some at a time, and its `TableEnd`; at last `Finished`, or `Refused` at any time. So
neither side ever holds a file twice, and the parent decodes while the child reads on.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Any, BinaryIO, Literal

import msgspec

from geo.sheets.problems import SheetRefused
from geo.sheets.table import Broken, FileOptions, Row, SheetInfo, SheetLimits, Table

READY = b"+"  # the child's first byte: what fails after it is the file's doing
ROWS_PER_FRAME = 2_000
_LENGTH_BYTES = 4
_DATE, _DATETIME, _TIME, _TIMEDELTA, _BROKEN = range(1, 6)
_MICROSECOND = timedelta(microseconds=1)
_WRAPPED = frozenset({datetime, date, time, timedelta, Broken})


class Order(msgspec.Struct):
    """What the child is asked: the file follows it."""

    limits: SheetLimits
    options: FileOptions


class Rows(msgspec.Struct, tag="rows"):
    """The next rows of a table; `to_packable` of each."""

    rows: list[Any]


class TableEnd(msgspec.Struct, tag="table"):
    """What is known of a table besides its rows, which came before."""

    sheet: str | None
    first_row: int
    encoding: str | None
    delimiter: str | None
    hidden: bool
    hidden_rows: frozenset[int]
    hidden_columns: frozenset[int]
    date_1904: bool
    kind: Literal["rows", "features"]
    crs: str | None

    @classmethod
    def of(cls, table: Table) -> TableEnd:
        """All of a table but its rows."""
        return cls(**{name: getattr(table, name) for name in cls.__struct_fields__})

    def with_rows(self, rows: list[Row]) -> Table:
        """The table again."""
        return Table(rows=rows, **{name: getattr(self, name) for name in self.__struct_fields__})


class Finished(msgspec.Struct, tag="finished"):
    """Nothing follows."""

    sheets: tuple[SheetInfo, ...]


class Refused(msgspec.Struct, tag="refused"):
    """Why there are no tables: what makes a `SheetRefused`."""

    code: str
    facts: dict[str, str]


Frame = Rows | TableEnd | Finished | Refused


def frame_bytes(frame: Frame) -> bytes:
    """A frame with its length before it."""
    packed = msgspec.msgpack.encode(frame)
    return len(packed).to_bytes(_LENGTH_BYTES, "big") + packed


def read_frames(pipe: BinaryIO) -> Iterator[Frame]:
    """The frames of a pipe up to its end, also where that comes in the middle of one.

    Raises `msgspec.DecodeError` for what no child of ours writes.
    """
    decoder = msgspec.msgpack.Decoder(Frame, ext_hook=_from_ext)
    while len(head := pipe.read(_LENGTH_BYTES)) == _LENGTH_BYTES:
        size = int.from_bytes(head, "big")
        packed = pipe.read(size)
        if len(packed) < size:
            return
        yield decoder.decode(packed)


def to_packable(row: Row) -> list[Any]:
    """The row with dates, times and broken cells wrapped, since msgpack would make text of them."""
    return row if _WRAPPED.isdisjoint(map(type, row)) else [_to_ext(cell) for cell in row]


def _to_ext(cell: Any) -> Any:
    match cell:
        case Broken():
            return msgspec.msgpack.Ext(_BROKEN, msgspec.msgpack.encode(cell))
        case datetime():
            return msgspec.msgpack.Ext(_DATETIME, cell.isoformat().encode())
        case date():
            return msgspec.msgpack.Ext(_DATE, cell.isoformat().encode())
        case time():
            return msgspec.msgpack.Ext(_TIME, cell.isoformat().encode())
        case timedelta():
            return msgspec.msgpack.Ext(_TIMEDELTA, str(cell // _MICROSECOND).encode())
        case _:
            return cell


def _from_ext(code: int, data: memoryview) -> Any:
    if code == _BROKEN:
        code_of_cell, shown = msgspec.msgpack.decode(data)
        return Broken(code_of_cell, shown)
    text = bytes(data).decode()
    if code == _DATE:
        return date.fromisoformat(text)
    if code == _DATETIME:
        return datetime.fromisoformat(text)
    if code == _TIME:
        return time.fromisoformat(text)
    return timedelta(microseconds=int(text))


def too_heavy(bound_bytes: int) -> SheetRefused:
    """The refusal of a file that needs more memory than this."""
    mib = bound_bytes >> 20
    what, what_ko = f"needs more than {mib:,} MiB of memory", f"읽는 데 메모리 {mib:,} MiB 넘게 필요함"
    return SheetRefused("too_large", what=f"{what} to read", what_ko=what_ko)
