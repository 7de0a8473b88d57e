"""What time it is: the wall's, or the newest instant a ping has shown (product P11)."""

from __future__ import annotations

import time
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Clock(Protocol):
    """The time of a running service, ms since the epoch."""

    def now_ms(self) -> int:
        """The present instant."""

    def as_seen(self, at_ms: Ints) -> Ints:
        """For each ping in order of arrival, what the clock says when it is seen."""

    def saw(self, at_ms: int) -> None:
        """A ping of this instant was committed."""


class WallClock:
    """The machine's clock; pings do not move it."""

    def now_ms(self) -> int:
        """The present instant."""
        return time.time_ns() // 1_000_000

    def as_seen(self, at_ms: Ints) -> Ints:
        """The same instant for all pings of a batch."""
        return np.full(len(at_ms), self.now_ms(), np.int64)

    def saw(self, at_ms: int) -> None:
        """Nothing: the wall goes by itself."""


class ReplayClock:
    """Stands at the newest instant seen in committed pings and never falls.

    Before any ping it stands at 0, the beginning of time, so that whatever is set up before a replay
    is older than its first ping.
    """

    def __init__(self, newest_ms: int = 0) -> None:
        self._newest_ms = newest_ms

    def now_ms(self) -> int:
        """The newest instant seen."""
        return self._newest_ms

    def as_seen(self, at_ms: Ints) -> Ints:
        """The running maximum: each ping moves the clock for those after it."""
        if not len(at_ms):
            return at_ms
        return np.maximum(np.maximum.accumulate(at_ms), self._newest_ms)

    def saw(self, at_ms: int) -> None:
        """Move on to this instant unless the clock is past it."""
        self._newest_ms = max(self._newest_ms, at_ms)
