"""What a process remembers between groups of pings; no promise rests on it.

Everything in here comes from committed rows, is bounded, and may be forgotten at any time: then the
database is asked again.
"""

from __future__ import annotations

import sqlalchemy as sa

from nearcast.services.device_book import DeviceBook, Settled
from nearcast.services.recent_log import RecentLog
from nearcast.store.ping_files import PingFiles
from nearcast.store.ping_log import Logged
from nearcast.store.stays import StayBook


class Memory:
    """Devices, their newest fixes and their stays; used by one transaction at a time.

    Attributes:
        devices: who is known.
        log: their newest fixes, as of the last `begin`, and who shares places.
        stays: presence rows.
    """

    def __init__(self, files: PingFiles | None = None) -> None:
        self.devices = DeviceBook()
        self.stays = StayBook()
        self.log = RecentLog(files)
        self._settled: list[Settled] = []
        self._logged: list[Logged] = []
        self._is_open = False

    def begin(self, conn: sa.Connection, *, gap_ms: int) -> None:
        """A transaction begins; if the one before did not come to `learn`, it was rolled back.

        Args:
            gap_ms: the longest gap that its pings ask for.
        """
        if self._is_open:
            self.stays.forget()
        self._settled, self._logged, self._is_open = [], [], True
        self.log.catch_up(conn, gap_ms=gap_ms)

    def wrote(self, settled: Settled, logged: Logged | None) -> None:
        """Keep what is to be learned once the transaction is committed."""
        self._settled.append(settled)
        if logged is not None:
            self._logged.append(logged)

    def learn(self) -> None:
        """The transaction is committed."""
        self._is_open = False
        for settled in self._settled:
            self.devices.learn(settled)
        for logged in self._logged:
            self.log.learn(logged)
