"""What a process remembers of the newest pings, fed from the ping log alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from geo.matching.recent import RecentFixes
from geo.matching.suspects import Suspects
from nearcast.store import ping_log
from nearcast.store.ping_files import PingFiles, PingFilesUnreachable
from nearcast.store.ping_fixes import Flag

KEEP_MS = 30 * 60_000  # the gap after which an enter is initial (product P4)
#: rows of other processes may become visible out of order: so many are looked for again
LOOK_BACK = 64
_PLACED = ("device", "at_ms", "lon", "lat")


class RecentLog:
    """Recent fixes of all devices, up to date with the log as a transaction sees it.

    Only committed rows are remembered, so a transaction that is rolled back leaves nothing behind.

    Attributes:
        fixes: the newest of each device.
        suspects: who shares places.
    """

    def __init__(self, files: PingFiles | None = None) -> None:
        self._files = files  # where sealed pings are
        self._keep_ms = KEEP_MS
        self.fixes = RecentFixes(keep_ms=KEEP_MS)
        self.suspects = Suspects()
        self._rows: set[int] = set()

    def catch_up(self, conn: sa.Connection, *, gap_ms: int = KEEP_MS) -> None:
        """Read what others have logged since; a process that starts reads the last half hour.

        To be called once a transaction, before it logs anything itself.

        Args:
            gap_ms: the longest gap that anybody asks for; where it is longer than before, so much is
                read again.
        """
        if gap_ms > self._keep_ms:
            self._keep_ms, self._rows = gap_ms, set()
            self.fixes = RecentFixes(keep_ms=gap_ms)
        newest = max(self._rows, default=0)
        oldest_ms = 0 if newest else ping_log.newest_ms(conn) - self._keep_ms
        logged, rows = self._since(conn, newest - LOOK_BACK, oldest_ms)
        if len(logged):
            self._remember(logged.fixes)
            fixes = logged.fixes[logged.fixes["flags"] & Flag.HELD == 0]
            places = {name: np.ascontiguousarray(fixes[name]) for name in _PLACED}
            self.suspects.remember(**places)
        self._read(rows)

    def learn(self, logged: ping_log.Logged) -> None:
        """What this process has logged, once it is committed."""
        self._remember(logged.fixes)
        self._read([logged.seq])

    def _remember(self, fixes: NDArray[np.void]) -> None:
        columns = {name: np.ascontiguousarray(fixes[name]) for name in (*_PLACED, "accuracy_m")}
        held = fixes["flags"] & Flag.HELD != 0
        self.fixes.remember(**columns, gap_ms=self._keep_ms, held=held)

    def _read(self, rows: Sequence[int]) -> None:
        newest = max(self._rows, default=0)
        newest = max(newest, *rows, 0)
        self._rows = {row for row in (*self._rows, *rows) if row > newest - LOOK_BACK}

    def _since(
        self, conn: sa.Connection, seq: int, oldest_ms: int
    ) -> tuple[ping_log.LoggedPings, list[int]]:
        """Pings must be taken while the folder of sealed ones is away: then the log alone is read."""
        since = partial(ping_log.since, conn, seq=seq, known=self._rows, not_before_ms=oldest_ms)
        try:
            return since(files=self._files)
        except PingFilesUnreachable:
            return since()
