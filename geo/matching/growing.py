"""Arrays that grow at their end and never change where somebody may read."""

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
