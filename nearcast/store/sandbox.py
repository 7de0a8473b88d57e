"""Reading hostile files: in a child process with bounded memory and time.

Whatever happens there (a crash that nothing can catch, more memory or time than allowed), the parent
gets a file that was read or a `SheetRefused`. What the child does stands in `nearcast.store.reader`.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Event, Timer
from typing import IO, BinaryIO, Self, cast

import msgspec

from geo.sheets.kinds import Kind, kind_of
from geo.sheets.problems import SheetRefused
from geo.sheets.table import FileOptions, ReadFile, Row, SheetLimits, Table
from nearcast.store.frames import (
    READY,
    Finished,
    Frame,
    Order,
    Refused,
    Rows,
    TableEnd,
    read_frames,
    too_heavy,
)

_ROOT = Path(__file__).resolve().parents[2]
#: nothing of our environment, and no secret in it, reaches the child; one thread needs no arenas
_ENVIRONMENT = {
    "PYTHONPATH": str(_ROOT),
    "PYTHONDONTWRITEBYTECODE": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
    "PROJ_NETWORK": "OFF",
}


class SandboxBroken(RuntimeError):
    """The child process did not start; the installation is at fault, not the file."""


def read_file(
    data: bytes, *, options: FileOptions | None = None, limits: SheetLimits | None = None
) -> ReadFile:
    """An uploaded file, read in a child process: the tables that hold a value, and a list of all sheets.

    Args:
        data: the file as it came; it is judged by its content, never by its name.
        options: which sheets or layers, and what of a file should not be guessed.
    Raises:
        SheetRefused: with what, where and how to mend; the only error that a file can cause.
        SandboxBroken: the child did not start.
    Source: product U7; limits of `SheetLimits`.
    """
    limits = limits or SheetLimits()
    if len(data) > limits.max_bytes:
        given, bound = f"{len(data) / (1 << 20):,.1f} MiB", f"{limits.max_bytes >> 20} MiB"
        raise _too_large(f"has {given} of at most {bound}", f"{given} (한도 {bound})")
    is_geo = kind_of(data) is Kind.GEO
    order = msgspec.msgpack.encode(Order(limits=limits, options=options or FileOptions()))
    with _Child(limits) as child:
        child.send(len(order).to_bytes(4, "big"), order, data)
        read = _collected(child.frames())
        child.wait()
    if read is None:
        raise child.refusal(limits.geo_memory_bytes if is_geo else limits.memory_bytes)
    return read


def _collected(frames: Iterable[Frame]) -> ReadFile | None:
    """The file, or None where the frames end too early. Raises what the child refused."""
    tables: list[Table] = []
    rows: list[Row] = []
    for frame in frames:
        match frame:
            case Rows():
                rows.extend(frame.rows)
            case TableEnd():
                tables.append(frame.with_rows(rows))
                rows = []
            case Finished():
                return ReadFile(tables=tables, sheets=frame.sheets)
            case Refused():
                raise SheetRefused(frame.code, **frame.facts)
    return None


class _Child:
    """The process; killed when its time is over, and in any case when the block is left."""

    def __init__(self, limits: SheetLimits) -> None:
        self._limits = limits
        self._late = Event()

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "nearcast.store.reader"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_ENVIRONMENT,
            cwd="/",
        )
        self._timer = Timer(self._limits.wall_s, self._end_late)
        self._timer.daemon = True
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(BrokenPipeError):
                cast("IO[bytes]", pipe).close()

    def _end_late(self) -> None:
        self._late.set()
        self._process.kill()

    def send(self, *parts: bytes) -> None:
        """Write to the child and close; a child that has ended is no error here."""
        pipe = cast("IO[bytes]", self._process.stdin)
        with contextlib.suppress(BrokenPipeError):
            for part in parts:
                pipe.write(part)
            pipe.close()

    def frames(self) -> Iterator[Frame]:
        """What the child answers. Raises `SandboxBroken` where it never began."""
        pipe = cast("BinaryIO", self._process.stdout)
        if pipe.read(len(READY)) != READY:
            if self._late.is_set():
                return
            said = cast("IO[bytes]", self._process.stderr).read().decode(errors="replace")[-2_000:]
            code = self._process.wait()
            raise SandboxBroken(f"The reader ended with {code} before it began. {said}")
        with contextlib.suppress(msgspec.DecodeError):  # then the answer ends too early
            yield from read_frames(pipe)

    def wait(self) -> None:
        """Wait until the child has ended by itself or by its timer."""
        self._process.wait()

    def refusal(self, memory_bytes: int) -> SheetRefused:
        """Why there is no answer: the file's doing. `memory_bytes` is what it was allowed."""
        code = self._process.returncode
        if self._late.is_set():
            return _too_slow(self._limits.wall_s)
        if code in (-signal.SIGXCPU, -signal.SIGKILL):
            return _too_slow(self._limits.cpu_s)
        if code in (-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS):
            return too_heavy(memory_bytes)
        what, what_ko = "its structure cannot be followed", "구조를 해석할 수 없음"
        return SheetRefused("unreadable", what=what, what_ko=what_ko)


def _too_large(what: str, what_ko: str) -> SheetRefused:
    return SheetRefused("too_large", what=what, what_ko=what_ko)


def _too_slow(seconds: float) -> SheetRefused:
    return _too_large(f"takes longer than {seconds:g} s to read", f"읽는 데 {seconds:g}초 넘게 걸림")
