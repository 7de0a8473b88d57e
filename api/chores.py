"""What the worker does beside sending: seal pings, work out nights, delete what is too old."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from nearcast.services.forget_old import forget_old, retention_policy
from nearcast.services.nights import work_out_nights
from nearcast.services.seal_pings import seal_pings
from nearcast.store.engine import reading
from nearcast.store.ping_files import PingFilesUnreachable

if TYPE_CHECKING:
    from api.wiring import House

SEAL_S = 60.0
#: late pings make last night due again with each sealing: so often is it worked out anew
NIGHTS_S = 900.0
FORGET_S = 3_600.0


@dataclass(kw_only=True)
class Chores:
    """The chores of one worker, one at a time in a thread of their own: messages do not wait for them.

    Several workers may do the same at once: what one has done the other finds done.
    """

    house: House
    log: Any
    pool: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="chores")
    )
    done: dict[str, float] = field(default_factory=dict)
    running: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pool.shutdown()

    def look(self) -> None:
        """Begin what is due, unless something is still being done. Raises what went wrong in it."""
        if self.running is not None:
            if not self.running.done():
                return
            ended, self.running = self.running, None
            ended.result()
        if self._is_due("seal", SEAL_S):
            self.running = self.pool.submit(self.do)

    def do(self) -> None:
        """Do all that is due now; what needs the folder of sealed pings waits while it is away."""
        self.done["seal"] = time.monotonic()
        for chore in (self._seal, self._work_out_nights, self._forget):
            try:
                chore()
            except PingFilesUnreachable as error:  # the log keeps what cannot be sealed
                self.log.error("ping_files_unreachable", detail=error.message)

    def _seal(self) -> None:
        house = self.house
        sealed = seal_pings(house.engine, house.ping_files, now_ms=house.clock.now_ms())
        if sealed.pings:
            self.log.info("sealed", pings=sealed.pings, files=sealed.files)

    def _work_out_nights(self) -> None:
        house = self.house
        if self._begins("nights", NIGHTS_S):
            worked = work_out_nights(
                house.engine,
                house.ping_files,
                now_ms=house.clock.now_ms(),
                whole_since_ms=self._whole_since_ms,
            )
            if worked:
                self.log.info("nights", nights=worked)

    def _forget(self) -> None:
        house = self.house
        # under the replay clock years pass in minutes
        if house.settings.clock != "replay" and self._begins("forget", FORGET_S):
            gone = forget_old(house.engine, house.ping_files, now_ms=house.clock.now_ms())
            if gone:
                self.log.info("forgotten", **gone)

    def _whole_since_ms(self, workspace_id: int) -> int:
        if self.house.settings.clock == "replay":
            return 0  # nothing is deleted
        policy = reading(self.house.engine, lambda conn: retention_policy(conn, workspace_id))
        return policy.raw_before_ms(self.house.clock.now_ms())

    def _is_due(self, what: str, every_s: float) -> bool:
        return time.monotonic() - self.done.get(what, -every_s) >= every_s

    def _begins(self, what: str, every_s: float) -> bool:
        due = self._is_due(what, every_s)
        if due:
            self.done[what] = time.monotonic()
        return due
