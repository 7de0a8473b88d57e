"""One upload in the hands of a process: its lease, and how far the work is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from geo.fences.limits import MAX_RADIUS_M
from nearcast.services.clocks import Clock, ReplayClock
from nearcast.services.upload_options import UploadOptions
from nearcast.store import ping_log, uploads
from nearcast.store.engine import in_transaction, reading
from nearcast.store.uploads import LeaseLost

#: a dead process's work is taken over after this (quality Q9)
LEASE_MS = 30_000
HEARTBEAT_S = 8.0
#: how often progress is written
TELL_EVERY_S = 0.3

#: upload's serial, stage, share of the work done
Told = Callable[[int, str, float], None]


@dataclass(kw_only=True)
class Job:
    """One upload in the hands of this process.

    Attributes:
        row: the upload as it was leased.
        max_radius_m: the largest radius that is taken.
        told: hears of progress as well, in the same process: a bar on a terminal.
    """

    engine: sa.Engine
    clock: Clock
    row: sa.RowMapping
    holder: str
    max_radius_m: float = MAX_RADIUS_M
    told: Told | None = None
    stage: str = "waiting"
    progress: float = 0.0
    _written_s: float = field(default=0.0)

    @property
    def id(self) -> int:
        """The upload's serial."""
        return int(self.row["id"])

    @property
    def workspace_id(self) -> int:
        """The workspace the fences belong to."""
        return int(self.row["workspace_id"])

    @property
    def options(self) -> UploadOptions:
        """What the user says about the file."""
        return UploadOptions.from_json(self.row["options"])

    def say(self, stage: str, progress: float) -> None:
        """Note how far the work is; written at most every 0.3 s. Raises `LeaseLost`."""
        self.stage, self.progress = stage, progress
        if self.told is not None:
            self.told(self.id, stage, progress)
        if time.monotonic() - self._written_s >= TELL_EVERY_S:
            self._written_s = time.monotonic()
            self.beat()

    def look_at_clock(self) -> None:
        """Let a replay clock see the pings that other processes committed; the wall goes by itself."""
        if isinstance(self.clock, ReplayClock):
            self.clock.saw(reading(self.engine, ping_log.newest_ms))

    def beat(self) -> None:
        """Keep the lease. Raises `LeaseLost`."""
        in_transaction(
            self.engine,
            lambda conn: uploads.say(
                conn,
                self.id,
                holder=self.holder,
                stage=self.stage,
                progress=self.progress,
                until_ms=wall_ms() + LEASE_MS,
            ),
        )

    def finish(self, conn: sa.Connection, **values: Any) -> None:
        """End the step in a transaction. Raises `LeaseLost`, which undoes it."""
        now_ms = self.clock.now_ms()
        uploads.finish(conn, self.id, holder=self.holder, now_ms=now_ms, **values)


@contextmanager
def kept_alive(job: Job) -> Iterator[None]:
    """Keep the lease while a step says nothing: reading a file may take a minute."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(HEARTBEAT_S):
            try:
                job.beat()
            except LeaseLost:
                return  # the step itself finds out when it ends
            except sa.exc.SQLAlchemyError:
                continue  # the lease outlives two beats that were missed

    thread = threading.Thread(target=beat, name=f"upload-{job.id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def wall_ms() -> int:
    """The wall's time, which leases go by."""
    return time.time_ns() // 1_000_000
