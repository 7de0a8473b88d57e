"""Which slot a key has, for many keys at once.

A dictionary of a hundred thousand keys costs some 0.6 µs a look, nearly all of it waiting for memory: an
index, an entry, the key it holds and the number it leads to lie apart. Here a look is a hash and one
place in a table of numbers, and the processor waits for many of them together: 0.1 µs.

The price: keys are told apart by Python's 64-bit hash alone, which is keyed by a secret of the process.
Of two million keys and a new one, that takes it for a known one once in 10^13.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

_LEAST = 1 << 12
_EMPTY = 0


class KeySlots:
    """Keys numbered from 0 in the order in which they came."""

    def __init__(self) -> None:
        self._count = 0
        self._clear(_LEAST)

    def __len__(self) -> int:
        return self._count

    @property
    def used_bytes(self) -> int:
        """Memory of the table."""
        return self._hash.nbytes + self._slot.nbytes

    def of(self, keys: Sequence[str | None]) -> Ints:
        """The slot of each key, -1 for one that has none."""
        return self._found(_hashes(keys))

    def opened(self, keys: Sequence[str]) -> Ints:
        """The slot of each key; those that have none get the next ones."""
        hashes = _hashes(keys)
        slot = self._found(hashes)
        new, first = np.unique(hashes[slot < 0], return_index=True)
        if not len(new):
            return slot
        new = new[np.argsort(first)]  # in the order in which they came
        slots = np.arange(self._count, self._count + len(new))
        self._count += len(new)
        if 3 * self._count > len(self._hash):  # few keys stand far from their place
            held = self._hash != _EMPTY
            hashes_held, slots_held = self._hash[held], self._slot[held].astype(np.int64)
            self._clear(1 << int(6 * self._count).bit_length())
            self._put(hashes_held, slots_held)
        self._put(new, slots)
        return self._found(hashes)

    def _clear(self, places: int) -> None:
        self._hash = np.full(places, _EMPTY, np.int64)
        self._slot = np.zeros(places, np.int32)

    def _found(self, hashes: Ints) -> Ints:
        last = len(self._hash) - 1
        place = hashes & last
        there = self._hash.take(place)
        hit = there == hashes
        slot = np.where(hit, self._slot.take(place), -1).astype(np.int64)
        left = np.flatnonzero(~hit & (there != _EMPTY))
        place = place[left]
        while len(left):  # one place on, for those that met others
            place = (place + 1) & last
            there = self._hash.take(place)
            hit = there == hashes[left]
            slot[left[hit]] = self._slot.take(place[hit])
            on = ~hit & (there != _EMPTY)
            left, place = left[on], place[on]
        return slot

    def _put(self, hashes: Ints, slots: Ints) -> None:
        """Put in hashes that are not there, each once; of those that meet, one goes on."""
        last = len(self._hash) - 1
        place = hashes & last
        while len(hashes):
            free = np.flatnonzero(self._hash[place] == _EMPTY)
            self._hash[place[free]] = hashes[free]
            self._slot[place[free]] = slots[free]
            left = self._hash[place] != hashes
            hashes, slots, place = hashes[left], slots[left], (place[left] + 1) & last


def _hashes(keys: Sequence[str | None]) -> Ints:
    found = np.fromiter(map(hash, keys), np.int64, len(keys))
    found[found == _EMPTY] = 1
    return found
