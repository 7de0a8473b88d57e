"""64-bit hashes of columns of numbers, one a row; no secret, the same in every process."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]


def hashes(*columns: NDArray[np.int64] | NDArray[np.float64]) -> Hashes:
    """A hash of each row, never 0: two different rows share one once in 10^19.

    Numbers count to the last bit, but 0.0 and -0.0 are one.
    """
    mixed = np.full(1, 0x9E3779B97F4A7C15, np.uint64)
    for column in columns:
        # adding 0 makes -0.0 the other zero, and the column one of its own
        mixed = _mix(mixed ^ (column + column.dtype.type(0)).view(np.uint64))
    return mixed | np.uint64(1)


def _mix(value: Hashes) -> Hashes:
    """Every bit moves every other (the finalizer of SplitMix64; Steele, Lea and Flood 2014)."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value ^= value >> np.uint64(30)
    value *= np.uint64(0xBF58476D1CE4E5B9)
    value ^= value >> np.uint64(27)
    value *= np.uint64(0x94D049BB133111EB)
    value ^= value >> np.uint64(31)
    return value
