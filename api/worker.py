"""The worker: sends what waits in the outbox and lets the clock move campaigns and stays.

Several workers may run; the leases keep them apart. Nothing here needs Flask or pydantic.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
import structlog

from api.chores import Chores
from nearcast.channels.base import Channel
from nearcast.channels.webhook import WebhookChannel
from nearcast.services import run_campaigns, send_messages
from nearcast.services.answer_once import forget_answers
from nearcast.services.send_messages import Lease
from nearcast.services.watch_stays import Watch
from nearcast.services.work_uploads import any_due
from nearcast.store import campaigns, notices, ping_log, uploads
from nearcast.store.engine import Conflict, in_transaction, reading
from nearcast.store.outbox import Attempt, DeliveryState

if TYPE_CHECKING:
    from api.wiring import House

THREADS = 16
#: waiting for a thread and sending together stay well below the lease of 60 s
MAX_IN_FLIGHT = 2 * THREADS
#: to one endpoint at once; one that did not answer the last time gets a single letter until it does,
#: so that endpoints which hang until the time-out leave threads to the others
MAX_PER_ENDPOINT = THREADS // 2
MAX_TO_SILENT = 1
IDLE_S = 0.25
TICK_S = 1.0
TIDY_S = 3_600.0  # answers kept for repeated keys go after a day, uploads after 90
#: an upload that nobody touched for so long goes, and can no longer be undone; its fences stay
UPLOADS_KEPT_MS = 90 * 24 * 3_600_000
#: what endpoints were told can be asked for again so long
NOTICES_KEPT_MS = 30 * 24 * 3_600_000
NOTICES_A_TIME = 2_000  # pings do not wait long for the tidying
#: how long to leave the database alone when it does not answer
DATABASE_PAUSE_S = 2.0


def run(
    house: House, *, stop: threading.Event, once: bool = False, channel: Channel | None = None
) -> int:
    """Work until told to stop; returns how many messages were handed over.

    Args:
        stop: set by a signal handler. What is in flight is finished and recorded first.
        once: stop by itself when nothing is due any more.
        channel: the way out for webhooks; made from the settings if not given.
    """
    way_out = channel or WebhookChannel(allow_private=house.settings.allow_private_targets)
    try:
        with (
            Chores(house=house, log=json_log()) as chores,
            ThreadPoolExecutor(THREADS, thread_name_prefix="send") as pool,
            watching(house, once=once),
        ):
            if once:
                chores.do()
            return _Round(house=house, channel=way_out, pool=pool, chores=chores).work(stop, once=once)
    finally:
        if channel is None:
            way_out.close()


@contextmanager
def watching(house: House, *, once: bool = False) -> Iterator[None]:
    """Let the timers of stays run aside meanwhile: what they do never holds up a message.

    Args:
        once: a single look, done before anything else.
    """
    watch, over = Watch(house.engine, house.snapshots, house.clock), threading.Event()
    if once:
        watch.look()
        yield
        return
    log = json_log()
    thread = threading.Thread(
        target=watch.keep_looking,
        args=(over, lambda fault: log.error("database_unavailable", error=fault)),
        name="stays",
    )
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@dataclass(kw_only=True)
class _Round:
    """One worker's state: what is in flight, and when the clock was last looked at."""

    house: House
    channel: Channel
    pool: ThreadPoolExecutor
    chores: Chores
    flying: dict[Future[Attempt], Lease] = field(default_factory=dict)
    silent: set[int] = field(default_factory=set)  # endpoints whose last attempt got no answer
    ticked: float = 0.0
    tidied: float = -TIDY_S
    sent: int = 0
    log: Any = field(default_factory=lambda: json_log())

    def work(self, stop: threading.Event, *, once: bool) -> int:
        while True:
            try:
                leased = 0 if stop.is_set() else self._take_more()
                back = self._take_stock(wait_s=0.0 if leased else IDLE_S)
                # what has come back has made room for others that are due
                if (stop.is_set() or (once and not leased and not back)) and not self.flying:
                    return self.sent
                if not leased and not self.flying:
                    stop.wait(IDLE_S)
            except (sa.exc.OperationalError, Conflict) as error:
                # leases run out by themselves; nothing is lost by waiting
                self.log.error("database_unavailable", error=type(error).__name__)
                if once:
                    raise
                stop.wait(DATABASE_PAUSE_S)

    def _take_more(self) -> int:
        """Move campaigns by the clock, then lease as many as there is room for.

        Both look first and write only where there is something to write: an idle worker never stands
        in the way of pings.
        """
        engine = self.house.engine
        self.chores.look()
        if time.monotonic() - self.ticked >= TICK_S:
            self.ticked = time.monotonic()
            self._tick()
        if time.monotonic() - self.tidied >= TIDY_S:
            self.tidied = time.monotonic()
            wall_ms = time.time_ns() // 1_000_000
            in_transaction(engine, lambda conn: forget_answers(conn, now_ms=wall_ms))
            if self.house.settings.clock != "replay":  # there years pass in minutes
                before_ms = self.house.clock.now_ms() - UPLOADS_KEPT_MS
                in_transaction(engine, lambda conn: uploads.forget_before(conn, before_ms))
                self._forget_notices()
        now_ms = self.house.clock.now_ms()
        limit, room = MAX_IN_FLIGHT - len(self.flying), self._room()
        if limit <= 0 or not reading(engine, lambda conn: send_messages.any_due(conn, now_ms, room)):
            return 0
        leased = in_transaction(
            engine, lambda conn: send_messages.lease(conn, now_ms=now_ms, limit=limit, room=room)
        )
        for held in leased:
            self.flying[self.pool.submit(self._send, held)] = held
        return len(leased)

    def _tick(self) -> None:
        engine, clock = self.house.engine, self.house.clock
        if self.house.settings.clock == "replay":
            clock.saw(reading(engine, ping_log.newest_ms))  # pings of other processes move it
        if any_due(engine):
            self.house.aside.wake()  # whoever began it may have died
        now_ms = clock.now_ms()
        if not reading(engine, lambda conn: campaigns.due(conn, now_ms)):
            return
        for campaign_id, state in in_transaction(engine, lambda conn: run_campaigns.tick(conn, now_ms)):
            self.log.info("campaign_moved", campaign=campaign_id, to=state.value)

    def _forget_notices(self) -> None:
        before_ms = self.house.clock.now_ms() - NOTICES_KEPT_MS
        while in_transaction(
            self.house.engine,
            lambda conn: notices.forget_before(conn, before_ms, limit=NOTICES_A_TIME),
        ):
            pass

    def _room(self) -> Callable[[int], int]:
        """How many more letters an endpoint may get now."""
        flying = Counter(held.webhook_id for held in self.flying.values())
        most = dict.fromkeys(self.silent, MAX_TO_SILENT)
        return lambda webhook_id: most.get(webhook_id, MAX_PER_ENDPOINT) - flying[webhook_id]

    def _send(self, held: Lease) -> Attempt:
        return send_messages.hand_over(
            held,
            self.channel,
            now_ms=self.house.clock.now_ms(),
            link_secret=self.house.link_secret,
            public_url=self.house.settings.public_url,
        )

    def _take_stock(self, *, wait_s: float) -> int:
        """Record whatever has come back, in one transaction; returns how many did."""
        if not self.flying:
            return 0
        back, _ = wait(self.flying, timeout=wait_s, return_when=FIRST_COMPLETED)
        if not back:
            return 0
        done = [(self.flying[future], future.result()) for future in back]
        in_transaction(self.house.engine, lambda conn: send_messages.record(conn, done))
        for future in back:
            del self.flying[future]
        for held, attempt in done:
            answered = attempt.status is not None or attempt.state is DeliveryState.CANCELLED
            (self.silent.discard if answered else self.silent.add)(held.webhook_id)
        handed_over = sum(attempt.ok for _, attempt in done)
        self.sent += handed_over
        states: dict[str, int] = {}
        for _, attempt in done:
            states[attempt.state.value] = states.get(attempt.state.value, 0) + 1
        self.log.info("batch", attempts=len(done), handed_over=handed_over, **states)
        return len(back)


def json_log() -> Any:
    """One JSON object a line on the standard error; no ad ids, no coordinates (quality Q13)."""
    return structlog.wrap_logger(
        structlog.WriteLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        name="nearcast.worker",
    )
