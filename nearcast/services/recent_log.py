"""What a process remembers of the newest pings, fed from the ping log alone."""

from __future__ import annotations

import threading
from functools import partial

import sqlalchemy as sa

from geo.matching.recent import RecentFixes
from nearcast.store import ping_log
from nearcast.store.ping_files import NeedsArrow, PingFiles, PingFilesUnreachable

KEEP_MS = 30 * 60_000  # the gap after which an enter is initial (product P4)
#: rows of other processes may become visible out of order: so many are looked for again
LOOK_BACK = 64


class RecentLog:
    """Recent fixes of all devices, up to date with the log as a transaction sees it.

    Only committed rows are read, so a transaction that is rolled back leaves nothing behind: call it
    once, before the transaction logs anything itself.
    """

    def __init__(self, files: PingFiles | None = None) -> None:
        self._files = files  # where sealed pings are
        self._fixes = RecentFixes(keep_ms=KEEP_MS)
        self._rows: set[int] = set()
        self._lock = threading.Lock()

    def catch_up(self, conn: sa.Connection) -> RecentFixes:
        """Read what was logged since the last call; a process that starts reads the last half hour."""
        with self._lock:
            newest = max(self._rows, default=0)
            oldest_ms = 0 if newest else ping_log.newest_ms(conn) - KEEP_MS
            logged, rows = self._since(conn, newest - LOOK_BACK, oldest_ms)
            fixes = logged.fixes
            self._fixes.remember(*(fixes[name].tolist() for name in ("device", "at_ms", "lon", "lat")))
            newest = max(newest, *rows, 0)
            self._rows = {row for row in (*self._rows, *rows) if row > newest - LOOK_BACK}
            return self._fixes

    def _since(
        self, conn: sa.Connection, seq: int, oldest_ms: int
    ) -> tuple[ping_log.LoggedPings, list[int]]:
        """Pings must be taken while the folder of sealed ones is away: then the log alone is read."""
        since = partial(ping_log.since, conn, seq=seq, known=self._rows, not_before_ms=oldest_ms)
        try:
            return since(files=self._files)
        except (NeedsArrow, PingFilesUnreachable):
            return since()
