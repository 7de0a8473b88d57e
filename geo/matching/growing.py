"""Arrays that grow at their end and never change where somebody may read; rows that are gone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Growing:
    """An array with room behind its end. `whole` may be kept by readers: what it holds stays.

    Attributes:
        whole: everything, with what is not used yet; another array after it had to grow.
        used: rows in use.
    """

    def __init__(self, values: NDArray[Any], *, room: int = 0) -> None:
        self.used = len(values)
        self.whole = np.ascontiguousarray(values)
        if room > self.used:
            self._move(room)

    def append(self, values: NDArray[Any]) -> None:
        """Add rows at the end."""
        self.reserve(len(values))
        self.whole[self.used : self.used + len(values)] = values
        self.used += len(values)

    def reserve(self, more: int) -> None:
        """Make room for more rows, twice as much where there is too little."""
        if self.used + more > len(self.whole):
            self._move(max(2 * len(self.whole), self.used + more))

    def _move(self, room: int) -> None:
        # memory that is asked for and not written costs nothing
        larger = np.empty((room, *self.whole.shape[1:]), self.whole.dtype)
        larger[: self.used] = self.whole[: self.used]
        self.whole = larger


class Gone:
    """The rows that an index does not find any more; indexes of one line share the column behind it.

    The column says by which change a row left. An index looks at the changes up to its own only, so
    a later one may write to the same column.

    Attributes:
        count: how many rows are gone.
        change: number of the change that made the index.
    """

    def __init__(self, left_at: NDArray[np.int64], change: int, count: int) -> None:
        self._left_at = left_at
        self.change = change
        self.count = count

    @classmethod
    def none(cls, rows: int) -> Gone:
        """All rows are there."""
        return cls(np.full(rows, _NEVER), 0, 0)

    def __contains__(self, row: int) -> bool:
        return bool(self._left_at[row] <= self.change)

    def among(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """A flag for each of these rows."""
        return np.asarray(self._left_at[rows] <= self.change)


class Leaving:
    """The column behind `Gone`, and the one who writes it."""

    def __init__(self, gone: Gone, rows: int) -> None:
        self._left_at = Growing(gone._left_at[:rows])  # noqa: SLF001 - the other half of it

    def after(self, gone: Gone, removed: NDArray[np.int64], added: int) -> Gone:
        """What is gone when these rows, which were not, leave by one more change."""
        change = gone.change + 1
        self._left_at.append(np.full(added, _NEVER))
        self._left_at.whole[removed] = change
        return Gone(self._left_at.whole, change, gone.count + len(removed))


_NEVER = np.iinfo(np.int64).max


def larger(column: NDArray[Any]) -> NDArray[Any]:
    """A column of twice the length that begins with what is there."""
    larger = np.zeros((2 * len(column), *column.shape[1:]), column.dtype)
    larger[: len(column)] = column
    return larger
