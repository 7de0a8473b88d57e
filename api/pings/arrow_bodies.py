"""Arrow IPC streams to columns: the same names as in JSON, checked whole, numbers taken as they lie.

Buffers that are packed inside the stream are refused: a few bytes could unpack to anything. Pack the
whole body instead (Content-Encoding).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from api.pings.arrow_columns import BadColumn, flags, instants, numbers, texts
from api.pings.arrow_frames import check_frames
from api.pings.instants import FIRST_MS, LAST_MS
from api.pings.json_bodies import bounded
from api.pings.sent import SentPings, platforms, who_sent
from api.pings.words import FIELDS, LENGTHS, MAX_PINGS
from api.problems import MalformedBody

ARROW = "application/vnd.apache.arrow.stream"
CONSENTS = ("location", "marketing", "night")
Floats = NDArray[np.float64]
_REQUIRED = ("lat", "lng")


def read_arrow(body: bytes, *, now_ms: int) -> SentPings:
    """All record batches of a stream, as one.

    Raises:
        MalformedBody: no stream, damaged, packed inside, or a column of a wrong type (named).
        BodyTooLarge: more than 10,000 pings.
    """
    try:
        table, warnings = read_table(body, FIELDS, _REQUIRED)
        return _Reading(table, now_ms).sent(warnings)
    except UnicodeDecodeError as error:  # pyarrow reads them when they are asked for
        raise MalformedBody("A name in the Arrow stream is not UTF-8.") from error


def read_table(body: bytes, wanted: frozenset[str], required: Sequence[str]) -> tuple[Any, list[str]]:
    """A checked pyarrow table of the wanted columns, and what was left out, in words."""
    check_frames(body)
    try:
        schema = pa.ipc.open_stream(body).schema
        names = _names(schema.names, required)
        kept = [place for place, name in enumerate(names) if name in wanted]
        options = pa.ipc.IpcReadOptions(included_fields=kept, ensure_native_endian=True)
        source = pa.BufferReader(body)
        with pa.ipc.open_stream(source, options=options) as reader:
            table = pa.Table.from_batches(list(_batches(reader)), reader.schema)
        table.validate(full=True)
    except pa.ArrowException as error:
        raise MalformedBody(f"The body is no whole Arrow stream: {_first_line(error)}.") from error
    except OSError as error:  # cut in the midst of a message
        why = f"damaged or was cut on the way (byte {len(body)}): {_first_line(error)}"
        raise MalformedBody(f"The Arrow stream is {why}.") from error
    left_out = [f"unknown column '{name}': left out" for name in sorted(set(names) - wanted)]
    return table, left_out


def _names(names: list[str], required: Sequence[str]) -> list[str]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise MalformedBody(f"The Arrow stream has the column '{twice[0]}' more than once.")
    missing = [name for name in required if name not in names]
    if missing:
        raise MalformedBody(f"The Arrow stream has no column '{missing[0]}'.")
    return names


def _batches(reader: Any) -> Iterator[Any]:
    count = 0
    for batch in reader:
        count += batch.num_rows
        if count > MAX_PINGS:
            bounded(count)
        yield batch


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0].rstrip(".")


class _Reading:
    """The columns of one table, with the rows that cannot be read."""

    def __init__(self, table: Any, now_ms: int) -> None:
        self._table = table
        self._now_ms = now_ms
        self._count = table.num_rows
        self._faults: dict[int, str] = {}

    def sent(self, warnings: Sequence[str]) -> SentPings:
        """Every column, read and checked."""
        lat, lng = self._place("lat"), self._place("lng")
        accuracy_m = self._column("accuracy_m", numbers)
        self._column("speed_mps", numbers)
        words = {name: self._texts(name, length) for name, length in LENGTHS.items()}
        mocked = self._column("mocked", flags)
        keys, said = who_sent(
            words["device_id"], words["ad_id"], words["user_id"], self._consents(), self._count
        )
        return SentPings(
            keys=keys,
            said=said,
            lon=lng,
            lat=lat,
            accuracy_m=np.full(self._count, np.nan) if accuracy_m is None else accuracy_m,
            at_ms=self._at_ms(),
            platform=platforms(words["platform"], self._count),
            mocked=np.zeros(self._count, bool)
            if mocked is None
            else np.array([flag is True for flag in mocked], bool),
            apps=words["app"],
            ping_ids=words["ping_id"],
            faults=dict(sorted(self._faults.items())),
            warnings=warnings,
        )

    def _column(self, name: str, read: Callable[[Any], Any]) -> Any:
        if name not in self._table.column_names:
            return None
        column = self._table.column(name)
        if pa.types.is_null(column.type):
            return None  # nobody gave any, and so the writer knew no type
        try:
            return read(column)
        except pa.ArrowException as error:
            raise _wrong(name, f"it cannot be read: {_first_line(error)}") from error
        except BadColumn as error:
            wanted = f"it holds {column.type}, and should hold {error}"
            raise MalformedBody(
                f"The column '{name}' of the Arrow stream is wrong: {wanted}."
            ) from error

    def _place(self, name: str) -> Floats:
        column = self._table.column(name)
        degrees: Floats | None = self._column(name, numbers)
        if degrees is None:
            degrees = np.full(self._count, np.nan)
        if column.null_count:
            for row in np.flatnonzero(column.is_null().to_numpy()).tolist():
                self._faults.setdefault(row, f"Object missing required field `{name}`")
        return degrees

    def _at_ms(self) -> NDArray[np.int64]:
        found: tuple[NDArray[np.int64], NDArray[np.bool_]] | None = self._column("at", instants)
        if found is None:
            return np.full(self._count, self._now_ms, np.int64)
        at_ms, is_null = found
        at_ms = np.where(is_null, self._now_ms, at_ms)
        for row in np.flatnonzero((at_ms < FIRST_MS) | (at_ms > LAST_MS)).tolist():
            self._faults.setdefault(row, "Instant out of range - at `$.at`")
            at_ms[row] = self._now_ms
        return at_ms

    def _texts(self, name: str, length: int) -> list[str | None] | None:
        found: list[str | None] | None = self._column(name, texts)
        if found is None or found.count(None) == self._count:
            return None
        given = [text for text in found if text is not None]
        if max(map(len, given)) > length or "\0" in "".join(given):
            for row, text in enumerate(found):
                if text is not None and len(text) > length:
                    self._fault(row, f"Expected `str` of length <= {length} - at `$.{name}`")
                elif text is not None and "\0" in text:
                    self._fault(row, f"NUL character - at `$.{name}`")
        return found

    def _fault(self, row: int, why: str) -> None:
        self._faults.setdefault(row, why)

    def _consents(self) -> list[tuple[bool | None, bool | None, bool | None]] | None:
        """The fields of a struct column; a null says nothing."""
        if "consent" not in self._table.column_names:
            return None
        column = self._table.column("consent").combine_chunks()
        names = self._struct_names(column.type)
        valid = column.is_valid().to_pylist()
        parts = []
        for name in CONSENTS:
            said = [None] * self._count if name not in names else self._said(column.field(name))
            parts.append([word if there else None for word, there in zip(said, valid, strict=True)])
        return list(zip(*parts, strict=True))

    def _struct_names(self, kind: Any) -> list[str]:
        names = [kind.field(n).name for n in range(kind.num_fields)]
        if pa.types.is_struct(kind) and len(set(names)) == len(names):
            return names
        wanted = f"a struct of {', '.join(CONSENTS)}"
        raise _wrong("consent", f"it holds {kind}, and should hold {wanted}")

    def _said(self, column: Any) -> list[bool | None]:
        try:
            return flags(column)
        except BadColumn as error:
            raise _wrong("consent", f"a word holds {column.type}, not {error}") from error


def _wrong(name: str, why: str) -> MalformedBody:
    return MalformedBody(f"The column '{name}' of the Arrow stream is wrong: {why}.")
