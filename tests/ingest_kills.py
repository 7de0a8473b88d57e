"""A server that dies while phones post, and what must be true of its database then.

Four clients post batches of their own devices and send each again until it is answered. The server is
a real process that dies at failpoints or by kill -9 and is started again. What is looked at:

- after each death: every acknowledged ping is in the log; the visits are those of the logged pings, by
  the O(n²) oracle; decisions and messages belong together, each once;
- at the end: log, visits, decisions and messages are those of all pings sent, and of a clean run.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from geo.matching.visits import visits_plain
from nearcast import failpoints
from nearcast.services import manage_workspace
from nearcast.services.clocks import ReplayClock, WallClock
from nearcast.store import ping_log, visits
from nearcast.store.engine import in_transaction, make_engine, reading
from nearcast.store.tables import decision, delivery, device, send_slot
from tests.server import Server
from tests.world import World, north

CLIENTS = 4
DEVICES = 6  # of each client
#: pings are of the minutes 5 to 1 before now: older than 10 they would not be told any more
BEGAN_AGO_MS, SPAN_MS = 5 * 60_000, 4 * 60_000
FOR_EVER_MS = 1 << 60
#: what a server prints first of all
LISTENS = "Nearcast listens at"
#: within 5 km of one another: the walk is so fast that farther moves would be suspect
PLACES = [(127.0276, 37.4979), (127.0402, 37.5045), (127.0236, 37.5103), (127.0502, 37.5133)]
GAP_MS = 30 * 60_000
WAIT_S = 120.0
#: period and time zone of a campaign whenever the test runs
ALWAYS = {"start": "2020-01-01T00:00:00+00:00", "end": "2099-01-01T00:00:00+00:00"}

Ping = tuple[str, int, int | None]  # device, instant, the place whose fence holds it
Visits = list[tuple[str, int, int, int, int, int]]  # device, place, arrived, left, fixes, p_sum


class Broken(AssertionError):
    """A promise of ingest does not hold."""


@dataclass(frozen=True)
class Batch:
    """A request body and the pings in it."""

    body: bytes
    pings: Sequence[Ping]


def streams(began_ms: int, rounds: int) -> list[list[Batch]]:
    """Per client its batches in time order: phones that walk from store to store, some pings twice."""
    step_ms = SPAN_MS // rounds
    return [
        [_batch(client, turn, began_ms, step_ms) for turn in range(rounds)] for client in range(CLIENTS)
    ]


def _batch(client: int, turn: int, began_ms: int, step_ms: int) -> Batch:
    pings, rows = [], []
    for n in range(DEVICES):
        again = turn > 0 and (turn + n) % 7 == 0  # the ping of the turn before once more
        ping, row = _ping(client, n, turn - again, began_ms, step_ms)
        pings.append(ping)
        rows.append(row)
    return Batch(json.dumps({"pings": rows}).encode(), pings)


def _ping(client: int, n: int, turn: int, began_ms: int, step_ms: int) -> tuple[Ping, dict[str, Any]]:
    at_ms = began_ms + turn * step_ms + n
    leg, beat = divmod(turn + 3 * n, 8)
    place = (leg + n) % len(PLACES)
    is_in = beat < 5
    # inside by 60 m and more, or outside by 200 m and more: nobody can be of two minds
    spot = north(PLACES[place], 5.0 * beat if is_in else 300.0 + 40.0 * beat)
    name = f"phone-{client}-{n}"
    row = {
        "device_id": name,
        "user_id": f"user-{client}-{n % 3}",
        # a step apart from one another: twenty phones on one spot would be suspect
        "lng": spot[0] + (client * DEVICES + n) * 1e-6,
        "lat": spot[1],
        "at": datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds"),
    }
    return (name, at_ms, place if is_in else None), row


def visits_by_oracle(pings: Iterable[Ping]) -> Visits:
    """The visits of a set of pings, by plain means."""
    evidence: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    for name, at_ms, place in pings:
        if place is not None:
            evidence[name, place].append((at_ms, 255))
    return sorted(
        (name, place, v.arrived_ms, v.left_ms, v.fixes, v.p_sum)
        for (name, place), listed in evidence.items()
        for v in visits_plain(listed, gap_ms=GAP_MS)
    )


@dataclass(frozen=True)
class Shop:
    """An installation with four stores and two campaigns."""

    engine: sa.Engine
    app_id: int
    key: str
    place_of: dict[int, int]  # fence id → its place

    @classmethod
    def founded(cls, url: str) -> Shop:
        # its fences are live since the beginning of time
        world = World(make_engine(url), ReplayClock(0))
        fences = [world.fence(f"매장 {n}", place, 100.0) for n, place in enumerate(PLACES)]
        for frequency in ("once_in_period", "unlimited"):
            world.campaign(targeting={"fence_ids": fences}, period=ALWAYS, frequency=frequency)
        key = in_transaction(
            world.engine,
            lambda conn: manage_workspace.create_key(
                conn,
                workspace_id=world.workspace_id,
                app_id=None,
                name="test",
                scopes=["ingest"],
                holds_location_consent=True,
                now_ms=0,
                actor="test",
            )[1],
        )
        return cls(world.engine, world.app_id, key, {fence: n for n, fence in enumerate(fences)})

    def seen(self) -> Seen:
        """All that ingest has left, as one moment of the database."""
        return reading(self.engine, self._seen)

    def _seen(self, conn: sa.Connection) -> Seen:
        names = {row.id: row.key for row in conn.execute(sa.select(device.c.id, device.c.key))}
        fixes = ping_log.read(conn, app_id=self.app_id, first_ms=0, last_ms=FOR_EVER_MS).fixes
        found = visits.visits(conn, app_id=self.app_id, from_ms=0, until_ms=FOR_EVER_MS)
        return Seen(
            logged=[
                (names.get(n, "nobody"), at)
                for n, at in zip(*(fixes[c].tolist() for c in ("device", "at_ms")), strict=True)
            ],
            visits=sorted(
                (v.device_key, self.place_of[v.fence_id], v.arrived_ms, v.left_ms, v.fixes, v.p_sum)
                for v in found
            ),
            decisions=sorted(self._keys(conn, decision, names, decision.c.reason)),
            messages=sorted(self._keys(conn, delivery, names, delivery.c.state)),
            slots=conn.execute(sa.select(sa.func.count()).select_from(send_slot)).scalar_one(),
        )

    def _keys(
        self, conn: sa.Connection, table: sa.Table, names: Mapping[int, str], said: sa.Column[str]
    ) -> Iterator[Told]:
        columns = (
            table.c[name] for name in ("campaign_id", "device_id", "fence_id", "kind", "trigger_ms")
        )
        for campaign, serial, fence, kind, at_ms, word in conn.execute(sa.select(*columns, said)):
            yield campaign, names.get(serial, "nobody"), self.place_of[fence], kind, at_ms, word


Told = tuple[int, str, int, str, int, str]  # campaign, device, place, kind, trigger instant, what


@dataclass(frozen=True)
class Seen:
    """What a database holds."""

    logged: list[tuple[str, int]]
    visits: Visits
    decisions: list[Told]
    messages: list[Told]
    slots: int

    def since(self, began_ms: int) -> dict[str, Any]:
        """The same, counted from an instant: what two runs must have in common."""
        return {
            "logged": sorted({(name, at - began_ms) for name, at in self.logged}),
            "visits": [(n, p, a - began_ms, b - began_ms, *rest) for n, p, a, b, *rest in self.visits],
            "decisions": [(*key, at - began_ms, word) for *key, at, word in self.decisions],
            "messages": [(*key, at - began_ms, word) for *key, at, word in self.messages],
            "slots": self.slots,
        }


class Crowd:
    """The clients: threads that send each batch until it is answered."""

    def __init__(self, url: str, key: str, sent: Sequence[Sequence[Batch]], pause_s: float) -> None:
        self._url, self._key, self._pause_s = url, key, pause_s
        self.known = {(name, at): place for own in sent for b in own for name, at, place in b.pings}
        self.acked: set[tuple[str, int]] = set()
        self.resent = 0
        self._faults: list[str] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=[own], daemon=True) for own in sent]
        for thread in self._threads:
            thread.start()

    def _work(self, own: Sequence[Batch]) -> None:
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        with httpx.Client(base_url=self._url, headers=headers, timeout=30) as client:
            for batch in own:
                while not self._over.is_set() and not self._posted(client, batch):
                    self.resent += 1
                    self._over.wait(0.02)
                self._over.wait(self._pause_s)

    def _posted(self, client: httpx.Client, batch: Batch) -> bool:
        try:
            answer = client.post("/v1/pings", content=batch.body)
        except httpx.TransportError:
            return False
        if answer.status_code == 503:  # it is just being started, or has too much to do
            return False
        counts = answer.json()["counts"] if answer.status_code == 200 else Counter()
        if counts["accepted"] + counts["duplicate"] != len(batch.pings):
            self._faults.append(f"{answer.status_code} {answer.text[:500]}")
            self._over.set()
        self.acked.update((name, at) for name, at, _ in batch.pings)
        return True

    @property
    def is_busy(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def wait(self, seconds: float) -> None:
        """Until all is answered.

        Raises:
            Broken: it takes longer, or an answer was wrong.
        """
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        self.look()
        _unless(not self.is_busy, f"{seconds} s were not enough to have everything answered")

    def look(self) -> None:
        """Raises:
        Broken: an answer was wrong.
        """
        _unless(not self._faults, f"an answer was wrong: {self._faults[:1]}")

    def stop(self) -> None:
        """Send no more."""
        self._over.set()
        for thread in self._threads:
            thread.join(30)

    def check(self, seen: Seen) -> None:
        """What holds at every moment, whoever died.

        Raises:
            Broken: names the promise.
        """
        logged = set(seen.logged)
        lost = self.acked - logged
        _unless(not lost, f"{len(lost)} acknowledged pings are not in the log")
        _unless(logged <= self.known.keys(), "the log holds pings that nobody sent")
        wanted = visits_by_oracle((*key, self.known[key]) for key in logged)
        _unless(seen.visits == wanted, "the visits are not those of the logged pings")
        sent = [(*key, at) for *key, at, reason in seen.decisions if reason == "sent"]
        told = [(*key, at) for *key, at, _ in seen.messages]
        _unless(len({*told}) == len(told), "a message stands in the outbox twice")
        _unless(sorted(sent) == sorted(told), "decisions and messages do not belong together")
        homeless = [d for d in seen.decisions if not _has_visit(d, seen.visits)]
        _unless(not homeless, f"{len(homeless)} decisions belong to no visit")


def _has_visit(told: Told, visits: Visits) -> bool:
    _, name, place, _, at_ms, _ = told
    return any((name, place) == (v[0], v[1]) and v[2] <= at_ms <= v[3] for v in visits)


def _unless(holds: bool, promise: str) -> None:
    if not holds:
        raise Broken(promise)


class DoomedServer(Server):
    """A server that may be told where to die, and with which bug it is served."""

    def __init__(self, url: str, folder: Path, *, bug: str | None = None, dies_at: str = "") -> None:
        self.dies_at, self._bug = dies_at, bug
        super().__init__(url, folder, module="tests.planted" if bug else "api.cli")

    @property
    def env(self) -> dict[str, str]:
        """With what is planted, and where to die."""
        more = {failpoints.VARIABLE: self.dies_at} if self.dies_at else {}
        return super().env | more | ({"NEARCAST_PLANTED": self._bug} if self._bug else {})

    def start(self) -> None:
        """As any server; phones may lead it to its death before it is asked whether it is ready."""
        try:
            super().start()
        except RuntimeError:
            if not self._has_died_there():
                raise

    def _has_died_there(self) -> bool:
        said = self.log().rpartition(LISTENS)[2]  # its lives write one log
        return bool(self.dies_at) and f"died at {self.dies_at.partition(':')[0]}\n" in said

    def restart(self, dies_at: str = "") -> None:
        """Begin another life."""
        self.kill()
        self.dies_at = dies_at
        self.start()

    def wait_for_death(self, crowd: Crowd) -> None:
        """Until the process has died where it was told to.

        Raises:
            Broken: it lives on although all is answered, or has died of something else.
        """
        until = time.monotonic() + WAIT_S
        while not self.has_ended(0.05):
            crowd.look()
            alive = crowd.is_busy and time.monotonic() < until
            _unless(alive, f"nobody came by {self.dies_at}")
        _unless(self._has_died_there(), f"it died of itself:\n{self.log()}")


@dataclass(frozen=True)
class End:
    """What one run came to."""

    seen: dict[str, Any]
    deaths: int
    resent: int


def run(
    url: str,
    folder: Path,
    *,
    dies_at: Sequence[str] = (),
    kills_after_s: Sequence[float] = (),
    bug: str | None = None,
    rounds: int = 48,
    pause_s: float = 0.0,
) -> End:
    """Post everything to a server that dies at these failpoints, then by kill -9 after so many seconds.

    Raises:
        Broken: a promise does not hold, after a death or at the end.
    """
    shop = Shop.founded(url)
    began_ms = WallClock().now_ms() - BEGAN_AGO_MS
    sent = streams(began_ms, rounds)
    server = DoomedServer(url, folder, bug=bug, dies_at=next(iter(dies_at), ""))
    crowd = Crowd(server.url, shop.key, sent, pause_s)
    deaths = 0
    try:
        for following in [*dies_at[1:], ""][: len(dies_at)]:
            server.wait_for_death(crowd)
            crowd.check(shop.seen())
            deaths += 1
            server.restart(following)
        for after_s in kills_after_s:
            time.sleep(after_s)
            deaths += crowd.is_busy
            server.kill()
            crowd.check(shop.seen())
            server.start()
        crowd.wait(WAIT_S)
        seen = shop.seen()
        crowd.check(seen)
        missing = crowd.known.keys() - set(seen.logged)
        _unless(not missing, f"{len(missing)} pings were answered and are not in the log")
        return End(seen.since(began_ms), deaths, crowd.resent)
    finally:
        crowd.stop()
        server.kill()
        shop.engine.dispose()
