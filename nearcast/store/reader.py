"""The child process that reads one hostile file; `nearcast.store.sandbox` starts it.

It bounds its own memory and time, opens no file, and says everything in frames (`frames`).
"""

from __future__ import annotations

import csv
import gc
import os
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import BinaryIO

import msgspec

from geo.sheets.kinds import Kind
from geo.sheets.problems import SheetRefused
from geo.sheets.table import ReadFile, Row, SheetInfo, SheetLimits
from geo.sheets.workbook import kind_within, open_file
from nearcast.store.frames import (
    READY,
    ROWS_PER_FRAME,
    Finished,
    Frame,
    Order,
    Refused,
    Rows,
    TableEnd,
    frame_bytes,
    to_packable,
    too_heavy,
)


def main() -> None:
    """Read one order and one file from standard input, answer on standard output."""
    os.write(1, READY)
    head = sys.stdin.buffer.read(4)
    order = msgspec.msgpack.decode(sys.stdin.buffer.read(int.from_bytes(head, "big")), type=Order)
    _be_silent()
    _bound_myself(order.limits)
    gc.disable()  # rows form no cycles, and looking for some takes longer than reading them
    answer = _Answer(sys.stdout.buffer, order.limits)
    try:
        _read(sys.stdin.buffer.read(), order, answer)
    except SheetRefused as refused:
        answer.send(Refused(refused.code, refused.facts))
    except MemoryError:
        heavy = too_heavy(_memory_bound())
        answer.send(Refused(heavy.code, heavy.facts))


def _be_silent() -> None:
    """Libraries that complain about the file must not fill a pipe that nobody reads."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _bound_myself(limits: SheetLimits) -> None:
    """Memory, CPU time, no files, no core dumps; set here because `preexec_fn` is not thread-safe.

    Memory may be raised once more, for a geo file, up to the bound that is for those.
    """
    import resource

    most = max(limits.memory_bytes, limits.geo_memory_bytes)
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, most))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    csv.field_size_limit(limits.max_cell_chars)


def _memory_bound() -> int:
    import resource

    return resource.getrlimit(resource.RLIMIT_AS)[0]


def _bound_for_geo(limits: SheetLimits) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (limits.geo_memory_bytes, limits.geo_memory_bytes))


class _Answer:
    """Sends frames and counts their bytes."""

    def __init__(self, pipe: BinaryIO, limits: SheetLimits) -> None:
        self._pipe = pipe
        self._most = limits.max_answer_bytes
        self._sent = 0

    def send(self, frame: Frame) -> None:
        """Send a frame. Raises `SheetRefused` (`too_large`) where all are more than the limit."""
        packed = frame_bytes(frame)
        self._sent += len(packed)
        if self._sent > self._most and not isinstance(frame, Refused):
            bound = f"{self._most >> 20:,} MiB"
            what, what_ko = f"holds more than {bound} of values", f"값이 {bound}를 넘음"
            raise SheetRefused("too_large", what=what, what_ko=what_ko)
        self._pipe.write(packed)
        self._pipe.flush()

    def send_rows(self, rows: Iterable[Row]) -> None:
        """Send rows as they come, never all at once."""
        for part in _parts(rows):
            self.send(Rows([to_packable(row) for row in part]))


def _parts(rows: Iterable[Row]) -> Iterator[list[Row]]:
    source = iter(rows)
    while part := list(islice(source, ROWS_PER_FRAME)):
        yield part


def _read(data: bytes, order: Order, answer: _Answer) -> None:
    if kind_within(data, order.limits) is Kind.GEO:
        _send_whole(_read_geo(data, order), answer)
        return
    sheets: list[SheetInfo] = []
    with open_file(data, order.options, order.limits) as found:
        for sheet in found:
            answer.send_rows(sheet.counted())
            if sheet.row_count and sheet.taken:
                answer.send(TableEnd.of(sheet.finished([])))
            sheets.append(sheet.info)
    if not any(sheet.taken and sheet.rows for sheet in sheets):
        raise SheetRefused("empty")
    answer.send(Finished(tuple(sheets)))


def _read_geo(data: bytes, order: Order) -> ReadFile:
    """A geo file; GDAL is loaded for these alone: it takes 0.3 s and 150 MiB."""
    _bound_for_geo(order.limits)
    from nearcast.store.geo_files import read_features

    return read_features(data, options=order.options, limits=order.limits)


def _send_whole(read: ReadFile, answer: _Answer) -> None:
    for table in read.tables:
        answer.send_rows(table.rows)
        answer.send(TableEnd.of(table))
    if not read.tables:
        raise SheetRefused("empty")
    answer.send(Finished(read.sheets))


if __name__ == "__main__":
    main()
