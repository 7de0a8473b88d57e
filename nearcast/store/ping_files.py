"""Sealed pings as Parquet files in a folder or an object store, as DuckDB, Spark and pandas read them.

    app_1/day=2026-11-23/000000000001-000000000420-3f9a1c20.parquet
    _aside/3f9a1c20.part                  being written, or written and not yet counted by the database

A file is written aside, made durable, and renamed only after the database has committed that its pings
are no longer in the log: whoever reads the folder sees each ping once or not yet, never twice.

pyarrow is imported where it is used: commands that read no pings need not wait for it.
"""

from __future__ import annotations

import importlib
import io
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geo.errors import NearcastError
from geo.matching.pings import Ints
from nearcast.store.ping_fixes import FIX, FLAG_WORDS, NO_REASON, OUTCOMES, PLATFORMS, REASON_WORDS

ASIDE = "_aside"  # Spark, Arrow and pandas pass over folders that begin so
_PART = ".part"  # and DuckDB's *.parquet over names that end so
#: rows of a group: a reader of one device skips the others, which are sorted by device
ROW_GROUP = 1 << 17
COMPRESSION_LEVEL = 3
_WITHOUT_FOLDERS = ("s3", "gcs", "abfs")
_WORDS = ("device_id", "app", "platform", "outcome", "reason")
Table = Any  # pyarrow has no types


class PingFilesUnreachable(NearcastError):
    """The folder of sealed pings cannot be read or written."""

    code = "ping_files_unreachable"


@dataclass(frozen=True, kw_only=True)
class SealedFixes:
    """Pings as they stand in files.

    Attributes:
        fixes: structured array of `FIX`.
        seq: the row of the log that each was sealed from.
    """

    fixes: NDArray[np.void]
    seq: Ints


def table_of(
    fixes: NDArray[np.void], seq: Ints, *, keys: Callable[[Ints], Sequence[str]], app_id: int, app: str
) -> Table:
    """Packed pings as the table that stands in files, in the order given.

    Args:
        keys: the names of devices by their serials.
        app: the app's bundle id, by which a ping names it.
    """
    import pyarrow as pa

    serials, which = np.unique(fixes["device"], return_inverse=True)
    named = pa.DictionaryArray.from_arrays(which.astype(np.int32), pa.array(keys(serials), pa.string()))
    flags, accuracy_m = fixes["flags"], np.ascontiguousarray(fixes["accuracy_m"])
    columns = {  # `at` would be a keyword in DuckDB
        "device_id": named,
        "device_serial": np.ascontiguousarray(fixes["device"]),
        "app": pa.DictionaryArray.from_arrays(np.zeros(len(fixes), np.int8), [app]),
        "app_id": np.full(len(fixes), app_id, np.int32),
        "taken_at": _instants(fixes["at_ms"]),
        "seen_at": _instants(fixes["now_ms"]),
        "lat": np.ascontiguousarray(fixes["lat"]),
        "lng": np.ascontiguousarray(fixes["lon"]),
        "accuracy_m": pa.array(accuracy_m, mask=np.isnan(accuracy_m)),
        "platform": _words(fixes["platform"], PLATFORMS),
        "outcome": _words(fixes["outcome"], OUTCOMES),
        "reason": _words(fixes["reason"], REASON_WORDS),
        **{name: pa.array((flags & flag) != 0) for name, flag in FLAG_WORDS.items()},
        "seq": np.ascontiguousarray(seq),
    }
    return pa.table(columns)


def fixes_of(table: Table) -> SealedFixes:
    """The packed pings of a table that `table_of` made and a file gave back."""
    fixes = np.empty(table.num_rows, FIX)
    fixes["device"] = _numbers(table, "device_serial")
    for name, column in (("at_ms", "taken_at"), ("now_ms", "seen_at")):
        fixes[name] = _numbers(table, column, "int64")
    for name, column in (("lat", "lat"), ("lon", "lng"), ("accuracy_m", "accuracy_m")):
        fixes[name] = _numbers(table, column)  # a null is NaN
    for name, known in (("platform", PLATFORMS), ("outcome", OUTCOMES), ("reason", REASON_WORDS)):
        fixes[name] = _codes(table, name, known)
    flags = np.zeros(len(fixes), np.uint8)
    for name, flag in FLAG_WORDS.items():
        flags |= np.where(_numbers(table, name), np.uint8(flag), np.uint8(0))
    fixes["flags"] = flags
    return SealedFixes(fixes=fixes, seq=_numbers(table, "seq").astype(np.int64))


class PingFiles:
    """The folder of sealed pings, by path or by URL (`s3://bucket/pings`, `gs://…`, `abfs://…`, `hdfs://…`).

    Schemes that pyarrow does not know go through fsspec where that is installed. Nothing is opened
    before it is used.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._local = None if "://" in url and not url.startswith("file://") else Path(_path(url))

    def write_aside(self, table: Table, token: str) -> int:
        """Write a table under `_aside/<token>.part`, durably; returns its size in bytes."""
        import pyarrow.parquet as parquet

        packed = io.BytesIO()
        parquet.write_table(
            table,
            packed,
            compression="zstd",
            compression_level=COMPRESSION_LEVEL,
            use_dictionary=[*_WORDS, "device_serial", "app_id", "accuracy_m"],
            column_encoding=dict.fromkeys(("taken_at", "seen_at", "seq"), "DELTA_BINARY_PACKED"),
            row_group_size=ROW_GROUP,
        )
        self._put(aside_of(token), packed.getbuffer())
        return packed.tell()

    def make_durable(self) -> None:
        """Files that were written aside are still there after a power cut; call it before they count."""
        if self._local is not None:
            _sync({self._local / ASIDE, self._local})

    def rename(self, names: Sequence[tuple[str, str]]) -> None:
        """Give files their names, durably: (name aside, name); nothing for one that has it already.

        Raises:
            PingFilesUnreachable: a file has neither.
        """
        with _telling(self.url):
            if self._local is not None:
                for aside, name in names:
                    _rename(self._local / aside, self._local / name)
                below = {(self._local / name).parent for _, name in names}
                _sync({*below, *(day.parent for day in below), self._local})
                return
            for aside, name in names:
                if self._kept.get_file_info(aside).type.name == "File":
                    self._make_folder(name)
                    self._kept.move(aside, name)
                elif self._kept.get_file_info(name).type.name != "File":
                    raise FileNotFoundError(name)

    def read(
        self,
        names: Sequence[str],
        *,
        first_ms: int,
        last_ms: int,
        devices: Collection[int] | range | None = None,
        after_seq: int | None = None,
    ) -> SealedFixes:
        """The pings of one file in `[first_ms, last_ms]`.

        Args:
            names: where it may be: under its own name, or still aside. The first that is there.
            devices: serials, or a range of them.
            after_seq: only those sealed from later rows of the log.
        Raises:
            PingFilesUnreachable: it is at none of them.
        """
        import pyarrow.compute as pc
        import pyarrow.parquet as parquet

        taken_at = pc.field("taken_at")
        wanted = (taken_at >= _instant(first_ms)) & (taken_at <= _instant(last_ms))
        if isinstance(devices, range):
            serial = pc.field("device_serial")
            wanted &= (serial >= devices.start) & (serial < devices.stop)
        elif devices is not None:
            wanted &= pc.field("device_serial").isin(list(devices))
        if after_seq is not None:
            wanted &= pc.field("seq") > after_seq
        with _telling(self.url):
            for place, name in enumerate(names):
                try:
                    table = parquet.read_table(
                        name, filesystem=self._kept, filters=wanted, partitioning=None
                    )
                except FileNotFoundError:
                    if place == len(names) - 1:
                        raise
                else:
                    return fixes_of(table)
        raise AssertionError(names)  # not reached: the last name gives a table or raises

    def find(self, names: Sequence[str]) -> str:
        """The first of some names under which there is a file.

        Raises:
            PingFilesUnreachable: there is none.
        """
        with _telling(self.url):
            for name in names:
                if self._kept.get_file_info(name).type.name == "File":
                    return name
            raise FileNotFoundError(f"{names[-1]} is not there")

    def delete(self, name: str) -> None:
        """Delete a file; nothing where it is gone already."""
        with _telling(self.url):
            if self._kept.get_file_info(name).type.name == "File":
                self._kept.delete_file(name)

    def asides(self, *, older_than_s: float, now_s: float) -> list[str]:
        """Files aside that were written so long ago that nobody writes them any more."""
        from pyarrow.fs import FileSelector

        with _telling(self.url):
            listed = self._kept.get_file_info(FileSelector(ASIDE, allow_not_found=True))
        return [
            f"{ASIDE}/{info.base_name}"
            for info in listed
            if info.mtime is not None and info.mtime.timestamp() < now_s - older_than_s
        ]

    @cached_property
    def _kept(self) -> Any:
        """The file system below the folder; the folder is made when the first file is written."""
        from pyarrow import fs

        if self._local is not None:
            return fs.SubTreeFileSystem(str(self._local.resolve()), fs.LocalFileSystem())
        with _telling(self.url):
            found, path = _opened(self.url)
            return fs.SubTreeFileSystem(path, found)

    def _put(self, name: str, body: memoryview) -> None:
        if self._local is not None:
            with _telling(self.url):
                if not self._local.exists():
                    self._local.mkdir(parents=True, exist_ok=True)
                    _sync({self._local.parent})
                _write(self._local / name, body)
            return
        with _telling(self.url):
            self._make_folder(name)
            with self._kept.open_output_stream(name) as out:
                out.write(body)

    def _make_folder(self, name: str) -> None:
        """Object stores have no folders; others want them made."""
        if self._kept.base_fs.type_name not in _WITHOUT_FOLDERS:
            self._kept.create_dir(name.rpartition("/")[0], recursive=True)


def aside_of(token: str) -> str:
    """The name under which a file is written."""
    return f"{ASIDE}/{token}{_PART}"


def name_of(*, app_id: int, day: str, first_seq: int, last_seq: int, token: str) -> str:
    """The name of a file once it counts; the token keeps two installations in one folder apart."""
    return f"app_{app_id}/day={day}/{first_seq:012}-{last_seq:012}-{token}.parquet"


@contextmanager
def _telling(url: str) -> Iterator[None]:
    """Turn faults of files into ours, with the folder's URL."""
    try:
        yield
    except OSError as error:
        told = str(error).splitlines()[0]
        raise PingFilesUnreachable(f"{url} (NEARCAST_PING_FILES): {told}") from error


def _path(url: str) -> str:
    return url.removeprefix("file://")


def _opened(url: str) -> tuple[Any, str]:
    """The file system of a URL and the path in it."""
    import pyarrow as pa
    from pyarrow import fs

    try:
        found: tuple[Any, str] = fs.FileSystem.from_uri(url)
    except pa.ArrowInvalid as unknown:
        try:
            fsspec = importlib.import_module("fsspec")
        except ImportError:
            raise PingFilesUnreachable(f"{url} (NEARCAST_PING_FILES): {unknown}") from unknown
        system, path = fsspec.core.url_to_fs(url)
        found = fs.PyFileSystem(fs.FSSpecHandler(system)), path
    return found


def _write(path: Path, body: memoryview) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def _rename(aside: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        aside.rename(path)
    except FileNotFoundError:
        if not path.exists():
            raise


def _sync(folders: Collection[Path]) -> None:
    """Make the names in some folders durable."""
    for folder in sorted(folders):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _instants(at_ms: Ints) -> Any:
    import pyarrow as pa

    return pa.array(np.ascontiguousarray(at_ms)).cast(pa.timestamp("ms", tz="UTC"))


def _instant(at_ms: int) -> Any:
    import pyarrow as pa

    return pa.scalar(max(-(2**62), min(at_ms, 2**62)), pa.int64()).cast(pa.timestamp("ms", tz="UTC"))


def _words(codes: NDArray[np.int8], known: Sequence[str]) -> Any:
    """Codes as words; -1 is null."""
    import pyarrow as pa

    codes = np.ascontiguousarray(codes)
    return pa.DictionaryArray.from_arrays(
        pa.array(codes, mask=codes == NO_REASON), pa.array(known, pa.string())
    )


def _codes(table: Table, name: str, known: Sequence[str]) -> NDArray[np.int8]:
    found = np.full(table.num_rows, NO_REASON, np.int8)
    place = 0
    for chunk in table[name].chunks:
        encoded = chunk if hasattr(chunk, "dictionary") else chunk.dictionary_encode()
        # one more for null, at the end, where -1 points
        code = np.array([*(known.index(w) for w in encoded.dictionary.to_pylist()), NO_REASON], np.int8)
        found[place : place + len(chunk)] = code[encoded.indices.fill_null(-1).to_numpy()]
        place += len(chunk)
    return found


def _numbers(table: Table, name: str, kind: str | None = None) -> NDArray[Any]:
    column = table[name]
    values: NDArray[Any] = (column.cast(kind) if kind else column).to_numpy()
    return values
