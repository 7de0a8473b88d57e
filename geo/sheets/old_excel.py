"""What calamine does not tell of an XLS: errors, hidden rows and columns, the epoch of its dates.

XLS is a compound file (sectors chained by a table, [MS-CFB]) that holds a stream of records
([MS-XLS]): kind and size as two little-endian words, then the body. Only fixed fields of few records
are read here. A formula that was never calculated cannot be told from one that gives empty text.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from geo.sheets.marks import SheetMarks
from geo.sheets.table import Broken

_FREE_FROM = 0xFFFFFFFA  # marks of the chain table above every sector number
_HEADER_SECTORS = 109
_SECTOR_SHIFTS = (9, 12)  # 512 or 4,096 bytes; there are no others
_SMALL_STREAM_BYTES = 4_096
_WORKBOOK, _BOOK = "Workbook".encode("utf-16-le"), "Book".encode("utf-16-le")
_BOF, _EOF, _BOUND_SHEET, _DATE_MODE = 0x0809, 0x000A, 0x0085, 0x0022
_ROW, _COLUMNS, _BOOL_OR_ERROR, _FORMULA = 0x0208, 0x007D, 0x0205, 0x0006
_ERRORS = {
    0x00: "#NULL!",
    0x07: "#DIV/0!",
    0x0F: "#VALUE!",
    0x17: "#REF!",
    0x1D: "#NAME?",
    0x24: "#NUM!",
    0x2A: "#N/A",
}


def read_old_excel(data: bytes) -> list[SheetMarks]:
    """The marks of all sheets of an XLS, in the order of the file; none where it is damaged.

    Damage is calamine's to report: this look never refuses a file.
    """
    try:
        stream = _workbook_stream(data)
        return [_sheet_marks(stream, start, date_1904) for start, date_1904 in _sheets(stream)]
    except (struct.error, IndexError):
        return []


def _workbook_stream(data: bytes) -> bytes:
    """The bytes of the stream that holds the records; nothing where there is none."""
    (shift,) = struct.unpack_from("<H", data, 30)
    if shift not in _SECTOR_SHIFTS:
        return b""
    sector = 1 << shift
    table = _chain_table(data, sector)
    (first_directory,) = struct.unpack_from("<I", data, 48)
    directory = b"".join(_chained(data, sector, table, first_directory))
    for at in range(0, len(directory) - 127, 128):
        (name_bytes,) = struct.unpack_from("<H", directory, at + 64)
        if directory[at : at + max(0, name_bytes - 2)] in (_WORKBOOK, _BOOK):
            start, size = struct.unpack_from("<II", directory, at + 116)
            if size >= _SMALL_STREAM_BYTES:
                return b"".join(_chained(data, sector, table, start))[:size]
            return _small_stream(data, sector, table, directory, start)[:size]
    return b""


def _chain_table(data: bytes, sector: int) -> list[int]:
    """For each sector the one that follows it; the table itself lies in sectors listed in chains."""
    places = list(struct.unpack_from(f"<{_HEADER_SECTORS}I", data, 76))
    (more,) = struct.unpack_from("<I", data, 68)
    words = sector // 4
    needed = len(data) // sector // words + 2
    while more < _FREE_FROM and len(places) < needed:
        listed = struct.unpack_from(f"<{words}I", data, (more + 1) * sector)
        places.extend(listed[:-1])
        more = listed[-1]
    table: list[int] = []
    for place in places[:needed]:
        if place < _FREE_FROM:
            table.extend(struct.unpack_from(f"<{words}I", data, (place + 1) * sector))
    return table


def _chained(data: bytes, sector: int, table: list[int], start: int) -> Iterator[bytes]:
    """The sectors of one chain, at most as many as the file has."""
    for _ in range(len(data) // sector):
        if start >= _FREE_FROM:
            return
        yield data[(start + 1) * sector : (start + 2) * sector]
        start = table[start]


def _small_stream(data: bytes, sector: int, table: list[int], directory: bytes, start: int) -> bytes:
    """A stream under 4 KiB lies in 64-byte sectors of the root entry's stream, with an own table."""
    (root_start,) = struct.unpack_from("<I", directory, 116)
    (table_start,) = struct.unpack_from("<I", data, 60)
    own = b"".join(_chained(data, sector, table, table_start))
    small_table = list(struct.unpack(f"<{len(own) // 4}I", own))
    small = bytes(64) + b"".join(_chained(data, sector, table, root_start))  # as behind a header
    return b"".join(_chained(small, 64, small_table, start))


def _sheets(stream: bytes) -> list[tuple[int, bool]]:
    """(where its records begin, whether days count from 1904) of each sheet."""
    starts: list[int] = []
    date_1904 = False
    for kind, at, size in _records(stream, 0):
        if kind == _BOUND_SHEET and size >= 6:
            starts.append(struct.unpack_from("<I", stream, at)[0])
        elif kind == _DATE_MODE and size >= 2:
            date_1904 = struct.unpack_from("<H", stream, at)[0] == 1
    return [(start, date_1904) for start in starts]


def _records(stream: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """(kind, where its body begins, size) up to the end of the part that begins at `at`.

    A chart inside a sheet is a part of its own, whose records are left out.
    """
    depth = 0
    while at + 4 <= len(stream):
        kind, size = struct.unpack_from("<HH", stream, at)
        at += 4
        if kind == _BOF:
            depth += 1
        elif kind == _EOF:
            depth -= 1
            if depth <= 0:
                return
        elif depth == 1 and at + size <= len(stream):
            yield kind, at, size
        at += size


def _sheet_marks(stream: bytes, start: int, date_1904: bool) -> SheetMarks:  # noqa: FBT001
    marks = SheetMarks(date_1904=date_1904)
    for kind, at, size in _records(stream, start):
        if kind == _ROW and size >= 16:
            row, flags = struct.unpack_from("<H10xH", stream, at)
            if flags & 0x20:
                marks.hidden_rows.add(row)
        elif kind == _COLUMNS and size >= 10:
            first, last, flags = struct.unpack_from("<HH4xH", stream, at)
            if flags & 1:
                marks.hidden_columns.update(range(first, min(last, 255) + 1))
        elif kind == _BOOL_OR_ERROR and size >= 8:
            row, column, value, is_error = struct.unpack_from("<HH2xBB", stream, at)
            if is_error:
                marks.add_broken(row, column, _error(value))
        elif kind == _FORMULA and size >= 14:
            row, column, result, value, mark = struct.unpack_from("<HH2xBxB3xH", stream, at)
            if mark == 0xFFFF and result == 2:
                marks.add_broken(row, column, _error(value))
    return marks


def _error(code: int) -> Broken:
    return Broken("error_value", _ERRORS.get(code, "#ERR"))
