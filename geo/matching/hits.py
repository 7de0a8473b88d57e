"""Which pings lie in which fences, as two columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: what is known of a pair: the fence holds the ping and its rim is far, or near; or it lies beside
SURE, CLOSE, BESIDE = 1, 2, 3


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


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """The same pairs by ping, without a column for it: half the memory, and how the cells write them.

    Attributes:
        offsets: (pings + 1) int64; ping i has fence[offsets[i] : offsets[i + 1]].
        fence: rows of the index (int32), ascending per ping.
    """

    offsets: NDArray[np.int64]
    fence: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.fence)

    @property
    def ping(self) -> NDArray[np.int64]:
        """The row of the batch that each pair belongs to."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def hits(self) -> Hits:
        """As two columns."""
        return Hits(ping=self.ping, fence=self.fence.astype(np.int64))

    @classmethod
    def of(cls, hits: Hits, *, pings: int) -> Pairs:
        """From sorted pairs of a batch of so many pings."""
        return cls(
            offsets=np.searchsorted(hits.ping, np.arange(pings + 1)).astype(np.int64),
            fence=hits.fence.astype(np.int32),
        )

    def places_of(self, ping: NDArray[np.int64], fence: NDArray[np.int64]) -> list[int]:
        """Where these pairs stand, a few of which each is there once."""
        return [
            start + int(np.searchsorted(self.fence[start:end], row))
            for start, end, row in zip(
                self.offsets[ping].tolist(), self.offsets[ping + 1].tolist(), fence, strict=True
            )
        ]

    def losing(self, ping: NDArray[np.int64], fence: NDArray[np.int64]) -> Pairs:
        """Without these pairs, a few of which each is there once, in ascending order of ping and fence.

        The arrays are written over: only for pairs that nobody else holds. What stands before the first
        of them is not touched, and what comes after moves once, so that a handful costs next to nothing
        in a batch of a million.
        """
        if not len(ping):
            return self
        place = self.places_of(ping, fence)
        next_place, next_ping = [*place[1:], len(self.fence)], [*ping.tolist()[1:], len(self.offsets)]
        for n, at in enumerate(place):
            self.fence[at - n : next_place[n] - n - 1] = self.fence[at + 1 : next_place[n]]
            self.offsets[ping[n] + 1 : next_ping[n] + 1] -= n + 1
        return Pairs(offsets=self.offsets, fence=self.fence[: len(self.fence) - len(place)])

    def with_others(
        self, ping: NDArray[np.int64], fence: NDArray[np.int64]
    ) -> tuple[Pairs, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """With these pairs too, in any order, some of which may be there already.

        Returns:
            All of them; and for each new one, ascending, its place among the old ones (as `np.insert`
            takes it), its ping and its fence.
        """
        if not len(ping):
            return self, np.zeros(0, np.int64), ping, fence
        key = np.unique(ping << 32 | fence)
        ping, fence = key >> 32, key & 0xFFFFFFFF
        # only the few pings that get a pair are looked at, not all pairs
        first = self.offsets[ping]
        many = self.offsets[ping + 1] - first
        of = np.repeat(np.arange(len(key)), many)
        old = self.fence[np.arange(len(of)) + np.repeat(first - (np.cumsum(many) - many), many)]
        fresh = np.bincount(of[old == fence[of]], minlength=len(key)) == 0
        place = first + np.bincount(of[old < fence[of]], minlength=len(key))
        ping, fence, place = ping[fresh], fence[fresh], place[fresh]
        more = np.cumsum(np.bincount(ping + 1, minlength=len(self.offsets)))
        both = np.insert(self.fence, place, fence.astype(np.int32))
        return Pairs(offsets=self.offsets + more, fence=both), place, ping, fence

    @classmethod
    def joined(cls, parts: Sequence[Pairs]) -> Pairs:
        """Of batches one after the other."""
        if len(parts) == 1:
            return parts[0]
        before = np.cumsum([0, *(len(part) for part in parts)])
        offsets = [part.offsets[1:] + first for part, first in zip(parts, before, strict=False)]
        return cls(
            offsets=np.concatenate([np.zeros(1, np.int64), *offsets]),
            fence=np.concatenate([part.fence for part in parts]),
        )


@dataclass(frozen=True, kw_only=True)
class Around:
    """Pairs of places and fences that hold them or lie beside, and what is known of them.

    Attributes:
        pairs: by place.
        state: of each pair (int8): `SURE`, `CLOSE` or `BESIDE`.
        asked, asked_by: positions of the pairs that are not sure, ascending, and their places (int64).
    """

    pairs: Pairs
    state: NDArray[np.int8]
    asked: NDArray[np.int64]
    asked_by: NDArray[np.int64]

    @classmethod
    def of(cls, pairs: Pairs, state: NDArray[np.int8]) -> Around:
        """With what follows from the states."""
        asked = np.flatnonzero(state != SURE)
        by = np.searchsorted(pairs.offsets, asked, side="right") - 1
        return cls(pairs=pairs, state=state, asked=asked, asked_by=by)

    def losing(self, ping: NDArray[np.int64], fence: NDArray[np.int64]) -> Around:
        """Without these pairs, see `Pairs.losing`."""
        places = self.pairs.places_of(ping, fence)
        return Around.of(self.pairs.losing(ping, fence), np.delete(self.state, places))

    def with_beside(self, ping: NDArray[np.int64], fence: NDArray[np.int64]) -> Around:
        """With these pairs of fences that lie beside, in any order; some may be there already."""
        pairs, places, _, _ = self.pairs.with_others(ping, fence)
        return Around.of(pairs, np.insert(self.state, places, BESIDE)) if len(places) else self
