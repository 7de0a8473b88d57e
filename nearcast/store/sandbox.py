"""The guarded child process that reads hostile files.

`python-calamine` keeps a dense range: 1.5 kB of XLSX with cells at A1 and XFD1048576 abort the
process, and nothing can catch that (quality.md §2). So the file is looked over first (zip entries,
unpacked size, ratio, farthest cells) and then read in a child with bounded memory and time; whatever
happens there, the parent gets tables or a `SheetRefused`.
"""

from __future__ import annotations

import csv
import io
import os
import re
import signal
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import msgspec

from geo.sheets.problems import SheetRefused
from geo.sheets.workbook import Kind, SheetLimits, Table, check_extent, kind_of, read

_ROOT = Path(__file__).resolve().parents[2]
_READY = b"+"  # the child's first byte: what fails after it is the file's doing
_CHUNK = 1 << 20
_RATIO_FROM_BYTES = 1 << 20
#: references of cells; the second form only of cells that hold something, at some more cost
_CELL = re.compile(rb"""\sr=["']([A-Z]{1,3})(\d{1,7})["']""")
_FILLED_CELL = re.compile(
    rb"""<(?:\w{1,9}:)?c\s(?:[^>]{0,200}?\s)?r=["']([A-Z]{1,3})(\d{1,7})["'][^>]{0,200}?(?<!/)>(?!</)"""
)
_DATE, _DATETIME, _TIME, _TIMEDELTA = range(1, 5)
_MICROSECOND = timedelta(microseconds=1)
_TEMPORAL = frozenset({datetime, date, time, timedelta})


class SandboxBroken(RuntimeError):
    """The child process did not start; the installation is at fault, not the file."""


class _Order(msgspec.Struct):
    """What the child is asked: the file follows it on its standard input."""

    limits: SheetLimits
    sheet: str | None
    encoding: str | None


class _Answer(msgspec.Struct):
    """What the child answers: tables, or why there are none."""

    tables: list[Any] = msgspec.field(default_factory=list)
    refused: str | None = None
    facts: dict[str, str] = msgspec.field(default_factory=dict)


def read_tables(
    data: bytes,
    *,
    sheet: str | None = None,
    encoding: str | None = None,
    limits: SheetLimits | None = None,
) -> list[Table]:
    """The tables of an uploaded file that hold a value, read in a child process.

    Args:
        data: the file as it came; it is judged by its content, never by its name.
        sheet: only this sheet, hidden or not; by default every visible one.
        encoding: of a CSV, a key of `geo.sheets.encoding.ENCODINGS`; by default it is found.
    Raises:
        SheetRefused: with what, where and how to mend; the only error that a file can cause.
        SandboxBroken: the child did not start.
    Source: product U7; limits of `SheetLimits`.
    """
    limits = limits or SheetLimits()
    if len(data) > limits.max_bytes:
        given, bound = f"{len(data) / (1 << 20):,.1f} MiB", f"{limits.max_bytes >> 20} MiB"
        raise _too_large(f"has {given} of at most {bound}", f"{given} (한도 {bound})")
    kind_of(data)
    order = msgspec.msgpack.encode(_Order(limits=limits, sheet=sheet, encoding=encoding))
    done = _run_child(len(order).to_bytes(4, "big") + order + data, limits)
    if not done.stdout.startswith(_READY):
        said = done.stderr.decode(errors="replace")[-2_000:]
        raise SandboxBroken(f"The reader ended with {done.returncode} before it began. {said}")
    if done.returncode != 0:
        raise _refusal_of_exit(done.returncode, limits)
    answer = msgspec.msgpack.decode(memoryview(done.stdout)[1:], type=_Answer, ext_hook=_from_ext)
    if answer.refused is not None:
        raise SheetRefused(answer.refused, **answer.facts)
    return [Table(**table) for table in answer.tables]


def _run_child(message: bytes, limits: SheetLimits) -> subprocess.CompletedProcess[bytes]:
    """Nothing of our environment, and no secret in it, reaches the child."""
    try:
        return subprocess.run(
            [sys.executable, "-P", "-m", "nearcast.store.sandbox"],
            input=message,
            capture_output=True,
            timeout=limits.wall_s,
            env={"PYTHONPATH": str(_ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            cwd="/",
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _too_slow(limits.wall_s) from error


def _refusal_of_exit(code: int, limits: SheetLimits) -> SheetRefused:
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return _too_slow(limits.cpu_s)
    if code in (-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS):
        return _too_heavy(limits)
    return SheetRefused(
        "unreadable", what="its structure cannot be followed", what_ko="구조를 해석할 수 없음"
    )


def _too_large(what: str, what_ko: str) -> SheetRefused:
    return SheetRefused("too_large", what=what, what_ko=what_ko)


def _too_slow(seconds: float) -> SheetRefused:
    return _too_large(f"takes longer than {seconds:g} s to read", f"읽는 데 {seconds:g}초 넘게 걸림")


def _too_heavy(limits: SheetLimits) -> SheetRefused:
    mib = limits.memory_bytes >> 20
    return _too_large(
        f"needs more than {mib:,} MiB of memory to read", f"읽는 데 메모리 {mib:,} MiB 넘게 필요함"
    )


# --- below: what runs in the child ---------------------------------------------------------------


def main() -> None:
    """Read one order and one file from standard input, answer on standard output."""
    os.write(1, _READY)
    head = sys.stdin.buffer.read(4)
    order = msgspec.msgpack.decode(sys.stdin.buffer.read(int.from_bytes(head, "big")), type=_Order)
    _bound_myself(order.limits)
    try:
        answer = _answer(sys.stdin.buffer.read(), order)
    except SheetRefused as refused:
        answer = _Answer(refused=refused.code, facts=refused.facts)
    except MemoryError:
        heavy = _too_heavy(order.limits)
        answer = _Answer(refused=heavy.code, facts=heavy.facts)
    sys.stdout.buffer.write(msgspec.msgpack.encode(answer))


def _bound_myself(limits: SheetLimits) -> None:
    """Memory, CPU time, no files, no core dumps; set here because `preexec_fn` is not thread-safe."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    csv.field_size_limit(limits.max_cell_chars)


def _answer(data: bytes, order: _Order) -> _Answer:
    kind = kind_of(data)
    if kind is Kind.ZIP:
        check_zip(data, order.limits)
    if kind is Kind.CFB and "EncryptedPackage".encode("utf-16-le") in data:
        raise SheetRefused("encrypted")
    tables = read(data, sheet=order.sheet, encoding=order.encoding, limits=order.limits)
    return _Answer(
        tables=[
            {
                "sheet": t.sheet,
                "rows": [_packable(row) for row in t.rows],
                "first_row": t.first_row,
                "encoding": t.encoding,
                "delimiter": t.delimiter,
            }
            for t in tables
        ]
    )


def check_zip(data: bytes, limits: SheetLimits) -> None:
    """Refuse a zip that is no workbook, or that would cost far more than its size says.

    The directory is judged first, without unpacking; then every XML part is unpacked once, in pieces,
    for entities and for the farthest cell that holds a value. A file can hide cells from this look;
    the bounds of the process hold all the same.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            entries = packed.infolist()
            _check_directory(entries, limits)
            _check_is_workbook(packed, [entry.filename for entry in entries])
            for entry in entries:
                if entry.filename.lower().endswith((".xml", ".xml.rels")):
                    _check_part(packed, entry, limits)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise SheetRefused("unreadable", what=str(error) or "the zip ends early") from error


def _check_directory(entries: list[zipfile.ZipInfo], limits: SheetLimits) -> None:
    if any(entry.flag_bits & 1 for entry in entries):
        raise SheetRefused("encrypted")
    if len(entries) > limits.max_entries:
        given = f"{len(entries):,}"
        raise _bomb(f"{given} parts", f"구성 파일 {given}개")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > limits.max_unpacked_bytes:
        given = f"{unpacked >> 20:,} MiB"
        raise _bomb(f"{given} unpacked", f"압축을 풀면 {given}")
    for entry in entries:
        ratio = entry.file_size / max(1, entry.compress_size)
        if entry.file_size > _RATIO_FROM_BYTES and ratio > limits.max_ratio:
            raise _bomb(f"a part packed {ratio:,.0f} to 1", f"{ratio:,.0f}배로 압축된 부분")


def _bomb(what: str, what_ko: str) -> SheetRefused:
    return SheetRefused("bomb", what=what, what_ko=what_ko)


def _check_is_workbook(packed: zipfile.ZipFile, names: list[str]) -> None:
    lower = [name.replace("\\", "/").lower() for name in names]
    if any(name.startswith("xl/") for name in lower):
        return
    if "mimetype" in lower and packed.read("mimetype")[:200].endswith(b"opendocument.spreadsheet"):
        if "META-INF/manifest.xml" in names and b":encryption-data" in packed.read(
            "META-INF/manifest.xml"
        ):
            raise SheetRefused("encrypted")
        return
    what, what_ko = "a zip archive", "zip 압축 파일이에요"
    for mark, en, ko in (
        ("word/", "a Word document", "Word 문서예요"),
        ("ppt/", "a presentation", "프레젠테이션이에요"),
        (".shp", "a zipped Shapefile", "압축된 Shapefile이에요"),
        (".kml", "a KMZ file", "KMZ 파일이에요"),
    ):
        if any(name.startswith(mark) or name.endswith(mark) for name in lower):
            what, what_ko = en, ko
    raise SheetRefused("not_a_sheet", what=what, what_ko=what_ko)


def _check_part(packed: zipfile.ZipFile, entry: zipfile.ZipInfo, limits: SheetLimits) -> None:
    """Entities and the extent of one XML part; empty formatted cells do not count."""
    name = entry.filename.rsplit("/", 1)[-1]
    try:
        check_extent(name, *_extent(packed, entry, _CELL), limits)
    except SheetRefused as refused:
        if refused.code not in ("too_many_rows", "too_many_columns", "too_many_cells"):
            raise
        check_extent(name, *_extent(packed, entry, _FILLED_CELL), limits)


def _extent(
    packed: zipfile.ZipFile, entry: zipfile.ZipInfo, pattern: re.Pattern[bytes]
) -> tuple[int, int]:
    """(last row, last column) among the cells that the pattern finds, counted from 1."""
    rows, columns = 0, 0
    for piece in _pieces(packed, entry):
        if b"<!DOCTYPE" in piece or b"<!ENTITY" in piece:
            raise _bomb("it declares XML entities", "XML 엔터티 선언")
        found = set(pattern.findall(piece))
        rows = max(rows, max((int(row) for _, row in found), default=0))
        columns = max(columns, max((_column(letters) for letters, _ in found), default=0))
    return rows, columns


def _pieces(packed: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """The part in pieces that end before a tag begins."""
    rest = b""
    with packed.open(entry) as part:
        while chunk := part.read(_CHUNK):
            piece = rest + chunk
            end = piece.rfind(b"<")
            if end <= 0:
                end = len(piece)
            yield piece[:end]
            rest = piece[end:]
    yield rest


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - ord("A") + 1
    return number


def _packable(row: list[Any]) -> list[Any]:
    """The row with dates and times wrapped, since msgpack would make text of them."""
    return row if _TEMPORAL.isdisjoint(map(type, row)) else [_to_ext(cell) for cell in row]


def _to_ext(cell: Any) -> Any:
    match cell:
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
    text = bytes(data).decode()
    match code:
        case 1:
            return date.fromisoformat(text)
        case 2:
            return datetime.fromisoformat(text)
        case 3:
            return time.fromisoformat(text)
        case _:
            return timedelta(microseconds=int(text))


if __name__ == "__main__":
    main()
