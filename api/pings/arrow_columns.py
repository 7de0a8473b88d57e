"""One Arrow column to NumPy or to texts, by its type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: units of a timestamp in a millisecond, or milliseconds in a unit
_PER_MS = {"us": 1_000, "ns": 1_000_000}
_MS_PER = {"s": 1_000, "ms": 1}
#: seconds beyond this are no date of anybody's; multiplied they would pass 64 bits
_MOST_SECONDS = 1 << 40


class BadColumn(ValueError):
    """A column has a type that it may not have; says what it should hold."""


def numbers(column: Any) -> Floats:
    """Floats and integers as float64, NaN where null; float64 without nulls is not copied."""
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise BadColumn("float64")
    if column.null_count:
        column = column.cast("float64", safe=False)  # whole numbers have no NaN
    return np.asarray(column.to_numpy(), np.float64)


def instants(column: Any) -> tuple[Ints, Bools]:
    """Milliseconds since 1970, finer times cut off downwards, and which rows are null (0 there).

    A timestamp needs a zone: without one it could stand anywhere. int64 counts milliseconds.
    """
    kind = column.type
    unit = "ms"
    if pa.types.is_timestamp(kind) and kind.tz:
        unit, column = kind.unit, column.cast(pa.int64())
    elif not pa.types.is_int64(kind):
        raise BadColumn("timestamps with a zone, or int64 milliseconds since 1970")
    is_null = column.is_null().to_numpy()
    count = column.fill_null(0).to_numpy()
    if unit in _PER_MS:
        return count // _PER_MS[unit], is_null
    return np.clip(count, -_MOST_SECONDS * 1000, _MOST_SECONDS * 1000) * _MS_PER[unit], is_null


def texts(column: Any) -> list[str | None]:
    """Texts of any layout, also by dictionary; None where null."""
    if pa.types.is_dictionary(column.type) and _is_text(column.type.value_type):
        return [text for chunk in column.chunks for text in _by_dictionary(chunk)]
    if not _is_text(column.type):
        raise BadColumn("text (string, large_string, string_view or a dictionary of one)")
    found: list[str | None] = column.to_numpy().tolist()
    return found


def _by_dictionary(chunk: Any) -> list[str | None]:
    words = [*chunk.dictionary.to_pylist(), None]
    rows = chunk.indices.cast("int64").fill_null(len(words) - 1).to_numpy(zero_copy_only=False)
    return [words[row] for row in rows.tolist()]


def _is_text(kind: Any) -> bool:
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(is_one(kind) for is_one in kinds)


def flags(column: Any) -> list[bool | None]:
    """Booleans; None where null."""
    if not pa.types.is_boolean(column.type):
        raise BadColumn("booleans")
    found: list[bool | None] = column.to_pylist()
    return found
