"""What a process remembers between groups of pings; no promise rests on it.

Everything in here comes from committed rows, is bounded, and may be forgotten at any time: then the
database is asked again.
"""

from __future__ import annotations

import sqlalchemy as sa

from geo.matching.recent_columns import RecentFixes
from nearcast.services.device_book import DeviceBook, Settled
from nearcast.services.recent_log import RecentLog
from nearcast.store.ping_files import PingFiles
from nearcast.store.stays import StayBook


class Memory:
    """Devices, their newest fixes and their stays; used by one transaction at a time.

    Attributes:
        devices: who is known.
        recent: the newest fixes of all devices, as of the last `begin`.
        stays: presence rows.
    """

    def __init__(self, files: PingFiles | None = None) -> None:
        self.devices = DeviceBook()
        self.stays = StayBook()
        self.recent: RecentFixes
        self._log = RecentLog(files)
        self._settled: list[Settled] = []
        self._is_open = False

    def begin(self, conn: sa.Connection, *, gap_ms: int) -> None:
        """A transaction begins; if the one before did not come to `learn`, it was rolled back.

        Args:
            gap_ms: the longest gap that its pings ask for.
        """
        if self._is_open:
            self.stays.forget()
        self._settled, self._is_open = [], True
        self.recent = self._log.catch_up(conn, gap_ms=gap_ms)

    def settled(self, settled: Settled) -> None:
        """Keep what is to be learned of devices once the transaction is committed."""
        self._settled.append(settled)

    def learn(self) -> None:
        """The transaction is committed."""
        self._is_open = False
        for settled in self._settled:
            self.devices.learn(settled)
