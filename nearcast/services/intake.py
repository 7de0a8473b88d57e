"""Group commit: requests that wait at the same time share one transaction and one `fsync`.

There is no thread for it. The first request that comes leads: it takes what waits along, commits it and
wakes the others with their part; whoever came meanwhile is led by one of themselves. A lone request
pays nothing for this, sixty-four share one commit.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import sqlalchemy as sa

from campaigns.deciding.snapshot import Snapshot
from nearcast import failpoints, stages
from nearcast.services.clocks import Clock
from nearcast.services.match_pings import Near, joined_near, near
from nearcast.services.memory import Memory
from nearcast.services.raw_pings import RawPings, joined
from nearcast.services.take_pings import Batch, Receipt, take_pings
from nearcast.store.engine import in_transaction, passes
from nearcast.store.held import Held
from nearcast.store.ping_files import PingFiles

#: a group takes whole requests until it has so many pings: then the commit is cheap against the work
MAX_GROUP = 20_000
#: a request this small is matched with its group: one call of the kernels for all
MATCHED_ALONE = 5_000


@dataclass(frozen=True, kw_only=True)
class AppPings:
    """The pings of one app in a request.

    Attributes:
        key_holds_consent: the API key's declaration that its backend holds location consents.
        backfill: history: visits only; nothing is told, nothing is sent (product P11).
    """

    app_id: int
    raw: RawPings
    snapshot: Snapshot
    key_holds_consent: bool
    backfill: bool = False


@dataclass
class _Job:
    """A request that waits: its parts, what was matched of them, and in the end its receipts."""

    parts: Sequence[AppPings]
    nears: list[Near | None]
    woken: threading.Lock = field(default_factory=threading.Lock)
    receipts: list[Receipt] | None = None
    error: BaseException | None = None

    @property
    def pings(self) -> int:
        return sum(len(part.raw) for part in self.parts)

    @property
    def is_backfill(self) -> bool:
        """Whether it loads history."""
        return any(part.backfill for part in self.parts)

    @property
    def is_done(self) -> bool:
        return self.receipts is not None or self.error is not None


class Intake:
    """Takes the pings of all requests of a process; safe to call from any thread.

    Args:
        files: where sealed pings are, for a process that starts anew.
    """

    def __init__(self, engine: sa.Engine, clock: Clock, *, files: PingFiles | None = None) -> None:
        self._engine = engine
        self._clock = clock
        self._memory = Memory(files)
        self._waiting: deque[_Job] = deque()
        self._mutex = threading.Lock()
        self._led = False
        self._held = Held(engine)

    def take(self, parts: Sequence[AppPings]) -> list[Receipt]:
        """Take a request whole or not at all; it is durable when this returns.

        Args:
            parts: its pings, one part an app.
        Returns:
            A receipt a part, whose rows are those of the part.
        Raises:
            what the database or a fault in this request raises; its neighbours do not see it.
        """
        lap = stages.started()
        job = _Job(parts=parts, nears=[_near(part) for part in parts])
        lap("match")
        job.woken.acquire()
        with self._mutex:
            self._waiting.append(job)
            leads, self._led = not self._led, True
        if not leads:
            job.woken.acquire()  # until a leader has taken it along, or made it the next leader
        if not job.is_done:
            self._lead()
        if job.error is not None:
            raise job.error
        assert job.receipts is not None
        return job.receipts

    def _lead(self) -> None:
        """Take what waits, the own request among it, and leave the lead to the next that waits."""
        with self._mutex:
            group = self._next_group()
        try:
            self._take_group(group)
        finally:
            with self._mutex:
                following = self._waiting[0] if self._waiting else None
                self._led = following is not None
            for job in (*group[1:], *([following] if following else [])):
                job.woken.release()

    def _next_group(self) -> list[_Job]:
        """Requests of today, or of history: an app comes once in a transaction."""
        group = [self._waiting.popleft()]
        pings = group[0].pings
        while self._waiting:
            following = self._waiting[0]
            too_many = pings + following.pings > MAX_GROUP
            if too_many or following.is_backfill != group[0].is_backfill:
                break
            group.append(self._waiting.popleft())
            pings += following.pings
        return group

    def _take_group(self, group: list[_Job]) -> None:
        """All in one transaction; if that fails, one by one, so that nobody fails for a neighbour."""
        try:
            if self._committed(group) or len(group) == 1:
                return
            for job in group:
                job.error = None
                self._committed([job])
        except BaseException as error:  # the process is ending: nobody may wait for ever
            for job in group:
                if not job.is_done:
                    job.error = error
            raise

    def _committed(self, group: Sequence[_Job]) -> bool:
        """Whether to go on: all is taken, or what is wrong is wrong for everybody."""
        try:
            self._commit(group)
        except Exception as error:  # noqa: BLE001 - raised again by the requests that it belongs to
            for job in group:
                job.error = error
            return passes(error)  # the database is away: it would be for each alone
        return True

    def _commit(self, group: Sequence[_Job]) -> None:
        lap = stages.started()
        batches = _batches(group)
        lap("join")
        gap_ms = max((batch.snapshot.presence.gap_s for batch, _ in batches), default=0) * 1000

        def verb(conn: sa.Connection) -> list[Receipt]:
            lap("begin")
            self._memory.begin(conn, gap_ms=gap_ms)
            lap("catch up")
            taken = [take_pings(conn, batch, self._memory) for batch, _ in batches]
            lap("whole line")
            return taken

        try:
            taken = in_transaction(self._engine, verb, held=self._held.connection())
        except sa.exc.DBAPIError as error:
            self._held.drop()
            if not error.connection_invalidated:
                raise
            # the server was started anew, say; whatever became of the commit, twice has its effect once
            taken = in_transaction(self._engine, verb, held=self._held.connection())
        failpoints.hit("ingest.after_commit")
        lap("commit")
        self._memory.learn()
        receipts: dict[tuple[int, int], Receipt] = {}
        for (batch, places), receipt in zip(batches, taken, strict=True):
            counted_ms = batch.raw.at_ms[receipt.admission.counts]
            if len(counted_ms):
                self._clock.saw(int(counted_ms.max()))
            sizes = [len(group[job].parts[part].raw) for job, part in places]
            receipts |= zip(places, receipt.split(sizes), strict=True)
        lap("learn")
        for number, job in enumerate(group):
            job.receipts = [receipts[number, part] for part in range(len(job.parts))]


def _near(part: AppPings) -> Near | None:
    if len(part.raw) < MATCHED_ALONE:
        return None
    return near(part.snapshot, part.raw, backfill=part.backfill)


def _batches(group: Sequence[_Job]) -> list[tuple[Batch, list[tuple[int, int]]]]:
    """The parts of a group by app, each with the (job, part) that its rows come from, in their order."""
    newest: dict[int, Snapshot] = {}
    by_app: dict[tuple[int, bool], list[tuple[int, int]]] = {}
    for number, job in enumerate(group):
        for place, part in enumerate(job.parts):
            by_app.setdefault((part.app_id, part.backfill), []).append((number, place))
            before = newest.get(part.snapshot.workspace_id, part.snapshot)
            newest[before.workspace_id] = max(before, part.snapshot, key=lambda held: held.version)
    found = []
    # in one order, so that two processes do not wait for each other
    for (app_id, backfill), places in sorted(by_app.items()):
        parts = [group[job].parts[part] for job, part in places]
        nears = [group[job].nears[part] for job, part in places]
        snapshot = newest[parts[0].snapshot.workspace_id]
        raw = joined([part.raw for part in parts])
        held_by = [np.full(len(part.raw), part.key_holds_consent) for part in parts]
        batch = Batch(
            app_id=app_id,
            raw=raw,
            snapshot=snapshot,
            near=joined_near(snapshot, raw, nears, [len(p.raw) for p in parts], backfill=backfill),
            key_holds_consent=np.concatenate(held_by),
            backfill=backfill,
        )
        found.append((batch, places))
    return found
