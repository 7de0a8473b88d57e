"""Tables of columns: dataclasses whose fields are arrays of one length, and lists of packed bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Codes = NDArray[np.int8]

#: what a column holds, by its annotation; packed bytes stand in a list
_KINDS: dict[str, Any] = {
    "Ints": np.int64,
    "Floats": np.float64,
    "Bools": np.bool_,
    "Codes": np.int8,
    "list[bytes]": None,
}
#: shared by all empty tables
_NOTHING = {kind: np.empty(0, kind) for kind in _KINDS.values() if kind is not None}


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of a table hang together by place: row 7 of every column speaks of the same thing."""

    def __len__(self) -> int:
        return len(getattr(self, _shape(type(self))[0][0]))

    @classmethod
    def names(cls) -> Sequence[str]:
        """The names of the columns, in their order."""
        return [name for name, _ in _shape(cls)]

    def columns(self) -> list[Any]:
        """The columns, in their order."""
        return [getattr(self, name) for name in self.names()]

    def take(self, rows: Ints | Bools) -> Self:
        """The rows chosen by an index or mask, in that order."""
        at = np.asarray(np.flatnonzero(rows) if rows.dtype == np.bool_ else rows, np.int64)
        return self._of(_taken(column, at) for column in self.columns())

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """The rows as tuples of plain values, the columns in their order."""
        return zip(*map(_plain, self.columns()), strict=True)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The rows of some tables, one after the other."""
        filled = [part for part in parts if len(part)]
        if len(filled) < 2:
            return filled[0] if filled else cls.empty()
        return cls._of(map(_joined, zip(*(part.columns() for part in filled), strict=True)))

    @classmethod
    def empty(cls) -> Self:
        """No row."""
        return cls(**{name: [] if kind is None else _NOTHING[kind] for name, kind in _shape(cls)})

    @classmethod
    def from_rows(cls, rows: Iterable[Sequence[Any]]) -> Self:
        """A table from rows that give the columns in their order."""
        listed = list(rows)
        if not listed:
            return cls.empty()
        return cls._of(
            list(values) if kind is None else np.array(values, kind)
            for (_, kind), values in zip(_shape(cls), zip(*listed, strict=True), strict=True)
        )

    @classmethod
    def _of(cls, columns: Iterable[Any]) -> Self:
        return cls(**dict(zip(cls.names(), columns, strict=True)))


_SHAPES: dict[type[Any], list[tuple[str, Any]]] = {}


def _shape(table: type[Any]) -> list[tuple[str, Any]]:
    """Name and kind of each column; asked for so often that it is remembered."""
    if table not in _SHAPES:
        _SHAPES[table] = [(field.name, _KINDS[str(field.type)]) for field in fields(table)]
    return _SHAPES[table]


def _taken(column: Any, at: Ints) -> Any:
    return [column[row] for row in at.tolist()] if isinstance(column, list) else column[at]


def _joined(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], list):
        return [packed for part in parts for packed in part]
    return np.concatenate(parts)


def _plain(column: Any) -> list[Any]:
    return column if isinstance(column, list) else column.tolist()
