"""Which pings lie in which fences, as two columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Hits:
    """Pairs of a ping and a fence, sorted by (ping, fence), each pair once.

    Attributes:
        ping: rows of the batch (int64).
        fence: rows of the index, positions in `FenceIndex.versions` (int64); as long as `ping`.
    """

    ping: NDArray[np.int64]
    fence: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ping)

    @classmethod
    def sorted_from(
        cls, ping: NDArray[np.int64], fence: NDArray[np.int64], *, fences: int, unique: bool = False
    ) -> Hits:
        """Sort pairs that come in any order.

        Args:
            fences: number of rows in the index; every `fence` is below it.
            unique: set where a pair may come twice.
        """
        # one integer per pair sorts several times faster than a lexsort of two columns
        key = ping * max(fences, 1) + fence
        key.sort()
        if unique:
            key = key[np.diff(key, prepend=-1) > 0]
        ping = key // max(fences, 1)
        return cls(ping=ping, fence=key - ping * max(fences, 1))
