"""Days of pings that are posted in every order there is, and their visits by plain means.

All days share one installation, one set of fences and its edits; each day and each order has phones of
its own names, so that many orders fit into one database, and a request holds a part of several days.
Half of the days end now, the others lie at the edge of the amend horizon: their first hours are too old
to be taken.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path

import httpx
import numpy as np
import sqlalchemy as sa

from geo.fences.fence import Fence
from geo.fences.shapes import read_form
from geo.matching.certainty import judge
from geo.matching.presence import PresencePolicy
from geo.matching.visits import visits_plain
from nearcast.services import manage_workspace
from nearcast.services.clocks import ReplayClock, WallClock
from nearcast.store import visits
from nearcast.store.engine import in_transaction, make_engine, reading
from tests.server import Server
from tests.world import MIN, World, north

HOUR = 60 * MIN
GAP_MS = PresencePolicy().gap_s * 1000
HORIZON_MS = PresencePolicy().amend_horizon_s * 1000
#: no ping is as near to the horizon's edge as a test may take
MARGIN_MS = 12 * MIN
PHONES, FIXES = 5, 24  # of a day: fixes of each phone
CENTRES = [(127.0276, 37.4979), (127.0301, 37.4979), (127.0502, 37.5045), (126.9236, 37.5563)]
#: of two fixes of one phone; the gap itself still bridges
STEPS_MS = [1, 30_000, MIN, 5 * MIN, GAP_MS - 1, GAP_MS, GAP_MS + 1, 2 * HOUR]
TOGETHER = 10  # days side by side
ORDERS = ("in time", "reversed", "shuffled", "split", "twice", "three clients")

Ping = dict[str, object]
Visits = list[tuple[str, int, int, int, int, int]]  # phone, fence, arrived, left, fixes, p_sum


@dataclass(frozen=True)
class Place:
    """The fixes of a day as columns; `phone` is a number."""

    phone: np.ndarray
    at_ms: np.ndarray
    lon: np.ndarray
    lat: np.ndarray
    accuracy_m: np.ndarray


class City:
    """An installation whose fences were moved, shrunk and switched off in the week before now."""

    def __init__(self, url: str) -> None:
        self.now_ms = WallClock().now_ms()
        clock = ReplayClock(0)
        self.world = World(make_engine(url), clock)
        fences = [self.world.fence(f"가게 {n}", place, 100.0) for n, place in enumerate(CENTRES)]
        for ago_ms in (HORIZON_MS - 6 * HOUR, 9 * HOUR):
            # moved by 90 m, shrunk, and off for two hours
            clock.saw(self.now_ms - ago_ms)
            self._edit(fences[0], north(CENTRES[0], 90.0 if ago_ms > 9 * HOUR else 180.0), 100.0)
            self._edit(fences[1], CENTRES[1], 60.0)
            self._edit(fences[2], CENTRES[2], 100.0, enabled=False)
            clock.saw(self.now_ms - ago_ms + 2 * HOUR)
            self._edit(fences[1], CENTRES[1], 140.0)
            self._edit(fences[2], CENTRES[2], 120.0)
        self.key = in_transaction(
            self.world.engine,
            lambda conn: manage_workspace.create_key(
                conn,
                workspace_id=self.world.workspace_id,
                app_id=None,
                name="test",
                scopes=["ingest"],
                holds_location_consent=True,
                now_ms=0,
                actor="test",
            )[1],
        )
        self.snapshot = self.world.snapshots.current(self.world.workspace_id, now_ms=self.now_ms)

    def _edit(self, fence_id: int, place: tuple[float, float], radius_m: float, **more: bool) -> None:
        form = read_form(lat=place[1], lng=place[0], radius_m=radius_m)
        edited = Fence(name=f"가게 {fence_id}", shape=form.shape, **more)
        self.world.save(edited, form.area_km2, fence_id)

    def day(self, seed: int) -> Day:
        """A day drawn from rims, edges of edits, gaps and the horizon."""
        rng = np.random.default_rng(seed)
        at_horizon = seed % 2 == 1
        ends_ms = self.now_ms - (HORIZON_MS - 14 * HOUR if at_horizon else 5 * MIN)
        columns = [self._walk(rng, phone, ends_ms) for phone in range(PHONES)]
        place = Place(*(np.concatenate(parts) for parts in zip(*columns, strict=True)))
        near_edge = np.abs(self.now_ms - place.at_ms - HORIZON_MS) < MARGIN_MS
        keep = ~near_edge
        return Day(self, seed, Place(*(column[keep] for column in vars(place).values())))

    def _walk(self, rng: np.random.Generator, phone: int, ends_ms: int) -> tuple[np.ndarray, ...]:
        """Backwards from the day's end; some instants bear two fixes, some steps are jumps."""
        steps_ms = rng.choice(STEPS_MS, FIXES)
        steps_ms[rng.random(FIXES) < 0.1] = 0
        at_ms = ends_ms - np.cumsum(steps_ms)
        home = rng.integers(0, len(CENTRES))
        spots = []
        for _ in range(FIXES):
            if rng.random() < 0.2:
                home = rng.integers(0, len(CENTRES))  # from one end of the city to the other at once
            away_m = rng.choice([0.0, 40.0, 59.9, 60.1, 99.9, 100.1, 139.0, 141.0, 250.0, 900.0])
            spots.append(north(CENTRES[home], away_m))
        accuracy_m = rng.choice([np.nan, 0.0, 8.0, 35.0, 130.0], FIXES)
        lon, lat = np.array(spots).T
        return np.full(FIXES, phone), at_ms, lon, lat, accuracy_m

    def visits(self) -> dict[str, Visits]:
        """By day and order: what readers see."""
        found: dict[str, Visits] = {}
        listed = reading(self.world.engine, self._read)
        for v in listed:
            run, _, phone = v.device_key.rpartition("/")
            row = (phone, v.fence_id, v.arrived_ms, v.left_ms, v.fixes, v.p_sum)
            found.setdefault(run, []).append(row)
        return {run: sorted(rows) for run, rows in found.items()}

    def _read(self, conn: sa.Connection) -> list[visits.StoredVisit]:
        return visits.visits(conn, app_id=self.world.app_id, from_ms=0, until_ms=1 << 60)

    def close(self) -> None:
        self.world.engine.dispose()


@dataclass(frozen=True)
class Day:
    """The pings of a day."""

    city: City
    seed: int
    fixes: Place

    def name(self, order: str) -> str:
        """What the phones of this day in this order are called, up to their number."""
        return f"{self.seed}/{order}"

    def pings(self, order: str) -> list[Ping]:
        """All of them in time order."""
        columns = (column.tolist() for column in vars(self.fixes).values())
        found = []
        for phone, at_ms, lon, lat, accuracy_m in sorted(
            zip(*columns, strict=True), key=lambda row: row[1]
        ):
            at = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
            device = f"{self.name(order)}/{phone}"
            ping: Ping = {"device_id": device, "lng": lon, "lat": lat, "at": at}
            if accuracy_m == accuracy_m:
                ping["accuracy_m"] = accuracy_m
            found.append(ping)
        return found

    @property
    def too_old(self) -> np.ndarray:
        """The fixes beyond the horizon."""
        return self.city.now_ms - self.fixes.at_ms > HORIZON_MS

    def wanted(self) -> Visits:
        """By plain means: each fix at each version that was live at its instant, then the O(n²) cut."""
        taken = ~self.too_old
        fixes = Place(*(column[taken] for column in vars(self.fixes).values()))
        index = self.city.snapshot.index
        evidence: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for fence in range(len(index.versions)):
            judged = judge(
                index,
                lon=fixes.lon,
                lat=fixes.lat,
                accuracy_m=fixes.accuracy_m,
                platform=np.zeros(len(fixes.lon), np.int8),
                ping=np.arange(len(fixes.lon)),
                fence=np.full(len(fixes.lon), fence),
                policy=self.city.snapshot.certainty,
            )
            live = (index.live_from_ms[fence] <= fixes.at_ms) & (
                fixes.at_ms < index.live_until_ms[fence]
            )
            for row in np.flatnonzero(live & (judged.verdict > 0)).tolist():
                key = (int(fixes.phone[row]), int(index.fence_id[fence]))
                p = round(float(judged.p[row]) * 255)
                evidence.setdefault(key, []).append((int(fixes.at_ms[row]), p))
        return sorted(
            (str(phone), fence_id, v.arrived_ms, v.left_ms, v.fixes, v.p_sum)
            for (phone, fence_id), listed in evidence.items()
            for v in visits_plain(listed, gap_ms=GAP_MS)
        )

    def streams(self, order: str) -> list[list[list[Ping]]]:
        """Per client its batches."""
        rng = np.random.default_rng(self.seed)
        pings = self.pings(order)
        if order == "reversed":
            pings.reverse()
        elif order != "in time" and order != "twice":
            pings = [pings[n] for n in rng.permutation(len(pings))]
        if order == "twice":
            pings += [pings[n] for n in rng.permutation(len(pings))]
        if order == "three clients":  # each ping is sent by two of them
            shares = [[p for n, p in enumerate(pings) if n % 3 != client] for client in range(3)]
            return [list(_cut(rng, share, 25)) for share in shares]
        return [list(_cut(rng, pings, 12 if order == "split" else 60))]


def _cut(rng: np.random.Generator, pings: Sequence[Ping], most: int) -> Iterator[list[Ping]]:
    at = 0
    while at < len(pings):
        size = int(rng.integers(1, most + 1))
        yield list(pings[at : at + size])
        at += size


def _side_by_side(streams: Sequence[list[list[Ping]]]) -> Iterator[list[Ping]]:
    """The first batches of all days as one, then the second ones."""
    for batches in zip_longest(*streams, fillvalue=[]):
        yield [ping for batch in batches for ping in batch]


class Poster:
    """Posts to any of some servers; remembers what was refused."""

    def __init__(self, urls: Sequence[str], key: str) -> None:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._clients = [httpx.Client(base_url=url, headers=headers, timeout=60) for url in urls]
        self._next = 0
        self._lock = threading.Lock()
        self.faults: list[str] = []

    def post(self, pings: Sequence[Ping]) -> int:
        """Post a batch to the server whose turn it is; how many pings were too old."""
        with self._lock:
            self._next += 1
            client = self._clients[self._next % len(self._clients)]
        answer = client.post("/v1/pings", content=json.dumps({"pings": pings}))
        if answer.status_code != 200:
            self.faults.append(f"{answer.status_code} {answer.text[:300]}")
            return 0
        refused = [out for out in answer.json()["outcomes"] if out["outcome"] == "rejected"]
        self.faults += [str(out) for out in refused if out["reason"] != "too_old"]
        return len(refused)

    def post_days(self, days: Sequence[Day], order: str) -> None:
        """Post days side by side in an order; its clients at once."""
        streams = [
            list(_side_by_side(own)) for own in zip(*(d.streams(order) for d in days), strict=True)
        ]
        refused = [0] * len(streams)

        def work(client: int) -> None:
            refused[client] = sum(map(self.post, streams[client]))

        threads = [threading.Thread(target=work, args=[n]) for n in range(len(streams))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        times = 2 if order in ("twice", "three clients") else 1
        if sum(refused) != times * sum(int(day.too_old.sum()) for day in days):
            self.faults.append(f"{order}: {sum(refused)} pings were refused as too old")

    def close(self) -> None:
        for client in self._clients:
            client.close()


def check(url: str, folder: Path, seeds: Sequence[int], *, servers: int) -> int:
    """Post days in all orders to so many servers of one database; how many visits were compared."""
    city = City(url)
    with ExitStack() as stack:
        stack.callback(city.close)
        urls = [stack.enter_context(Server(url, folder)).url for _ in range(servers)]
        poster = Poster(urls, city.key)
        stack.callback(poster.close)
        days = [city.day(seed) for seed in seeds]
        for order in ORDERS:
            for start in range(0, len(days), TOGETHER):
                poster.post_days(days[start : start + TOGETHER], order)
        assert poster.faults == []
        found = city.visits()
        count = 0
        for day in days:
            wanted = day.wanted()
            for order in ORDERS:
                assert found.get(day.name(order), []) == wanted, f"day {day.seed}, {order}"
                count += len(wanted)
        assert any(day.too_old.any() for day in days)
    return count
