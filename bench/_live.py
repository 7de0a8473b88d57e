"""What the index does besides matching columns: changes while it is read, verdicts, P on demand."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from bench._child import median_s, percentiles
from bench._nearcast import version, versions_of
from bench._workload import Fences, Pings, make_fences
from geo.fences.fence import CircleShape, FenceVersion
from geo.matching.certainty import CertaintyPolicy, decide, judge
from geo.matching.index import FenceIndex

CHANGES = 300
BULK = 100_000
BATCH = 10_000
#: seconds of load, alone and changing, for each run that a median is of
LOAD_S = 0.4
EVERY_S = 0.1
#: so wide that a batch has pings in it
TWIN_RADIUS_M = 2_000.0
JUDGED = 200_000
SMALL_CORNERS = 100


def changes(index: FenceIndex, fences: Fences) -> tuple[FenceIndex, dict[str, float]]:
    """One fence comes, one goes, each looked for by the next match; the last index is returned too.

    By the wall; the first change, which copies columns, among them.
    """
    others = versions_of(make_fences(min(max(len(fences), CHANGES), BULK), seed=9), first_id=1 << 40)
    insert, remove = [], []
    for one in others[:CHANGES]:
        place = _inside(one)
        begun = time.perf_counter()
        index = index.changed(added=[one])
        insert.append(time.perf_counter() - begun)
        row = _last_row(index, one)
        if row not in index.match_one(*place):
            raise AssertionError("A fence that was added is not found.")
        begun = time.perf_counter()
        index = index.changed(removed=[row])
        remove.append(time.perf_counter() - begun)
        if row in index.match_one(*place):
            raise AssertionError("A fence that was removed is still found.")
    told: dict[str, float] = {"first_insert_ms": round(insert[0] * 1e3, 2)}
    for way, took in (("insert", insert), ("remove", remove)):
        told[f"{way}_p50_ms"], told[f"{way}_p99_ms"] = percentiles(took, 1e3, 3)
    return index, told


def bulk(index: FenceIndex, fences: Fences) -> dict[str, float]:
    """As many fences again, 100,000 at most, applied at once; by the wall until they are found."""
    more = versions_of(make_fences(min(len(fences), BULK), seed=10), first_id=1 << 41)
    begun = time.perf_counter()
    index = index.changed(added=more)
    found = index.match_one(*_inside(more[-1]))
    took = time.perf_counter() - begun
    if _last_row(index, more[-1]) not in found:
        raise AssertionError("A fence that was applied is not found.")
    return {"bulk_fences": len(more), "bulk_apply_s": round(took, 2)}


def under_load(index: FenceIndex, pings: Pings, runs: int) -> dict[str, float]:
    """Two threads match batches: alone, then while two equal fences come and go ten times a second.

    A ping that finds one of the two without the other saw half a change; a pair of the old fences that
    is not as before is a wrong answer.
    """
    shown = _Shown(index, pings.head(BATCH))
    alone = shown.read(runs * LOAD_S, changing=False)
    loaded = shown.read(runs * LOAD_S, changing=True)
    p50, p99 = percentiles(shown.took, 1e3)
    return {
        "readers_alone_pings_per_s": round(alone),
        "readers_under_changes_pings_per_s": round(loaded),
        "changes_under_load": len(shown.took),
        "change_under_load_p50_ms": p50,
        "change_under_load_p99_ms": p99,
        "half_changes_seen": shown.half,
        "wrong_batches_under_load": shown.wrong,
        "changes_seen_by_readers": shown.seen,
    }


class _Shown:
    """The index that readers see, and what they saw."""

    def __init__(self, index: FenceIndex, pings: Pings) -> None:
        self.index, self.pings = index, pings
        self.first_new = len(index)
        self.before = index.pairs(lon=pings.lon, lat=pings.lat).hits()
        centre = float(pings.lon[0]), float(pings.lat[0])
        shape = CircleShape(lon=centre[0], lat=centre[1], radius_m=TWIN_RADIUS_M)
        self.twins = [version((1 << 42) + n, shape) for n in range(2)]
        self.took: list[float] = []
        self.half = self.wrong = self.seen = 0

    def read(self, seconds: float, *, changing: bool) -> float:
        """Pings a second of both threads together."""
        stop = threading.Event()
        counts = [0, 0]
        threads = [threading.Thread(target=self._read, args=(stop, counts, n)) for n in range(2)]
        begun = time.perf_counter()
        for thread in threads:
            thread.start()
        try:
            while time.perf_counter() - begun < seconds:
                if changing:
                    self._change()
                time.sleep(EVERY_S)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        return sum(counts) * len(self.pings) / (time.perf_counter() - begun)

    def _change(self) -> None:
        begun = time.perf_counter()
        rows = range(len(self.index) - 2, len(self.index))
        here = len(self.index) > self.first_new and not any(row in self.index.gone for row in rows)
        self.index = (
            self.index.changed(removed=list(rows)) if here else self.index.changed(added=self.twins)
        )
        self.took.append(time.perf_counter() - begun)

    def _read(self, stop: threading.Event, counts: list[int], number: int) -> None:
        while not stop.is_set():
            hits = self.index.pairs(lon=self.pings.lon, lat=self.pings.lat).hits()
            old = hits.fence < self.first_new
            same = np.array_equal(hits.fence[old], self.before.fence)
            self.wrong += not (same and np.array_equal(hits.ping[old], self.before.ping))
            new = np.bincount(hits.ping[~old])
            self.half += int((new == 1).sum())
            self.seen += bool(len(new))
            counts[number] += 1


def verdicts(index: FenceIndex, pings: Pings, runs: int) -> dict[str, float]:
    """All verdicts against the plain match of the same pings; P of pairs by kind of shape; CPU time."""
    clock = time.process_time
    places: dict[str, Any] = {"lon": pings.lon, "lat": pings.lat}
    fixes = places | {"accuracy_m": pings.accuracy_m, "platform": np.zeros(len(pings), np.int8)}
    policy = CertaintyPolicy()
    plain_s, found = median_s(lambda: index.pairs(**places), runs, clock)
    whole_s, decided = median_s(lambda: decide(index, **fixes, policy=policy), runs, clock)
    told: dict[str, float] = {
        "verdict_cost": round(whole_s / plain_s, 2),
        "verdict_pings_per_s": round(len(pings) / whole_s),
        "verdict_pairs": len(decided.verdict),
    }
    fence = found.fence.astype(np.int64)
    round_ = index.is_circle[fence]
    small = ~round_ & (index.polygons.count[fence] < SMALL_CORNERS)
    for name, chosen in (("circle", round_), ("small_polygon", small)):
        some = np.flatnonzero(chosen)[:JUDGED]
        if len(some):
            pairs = {"ping": found.ping[some], "fence": fence[some]}
            took, _ = median_s(lambda p=pairs: judge(index, **fixes, **p, policy=policy), runs, clock)
            told[f"p_of_{name}_us"] = round(took / len(some) * 1e6, 3)
    return told


def _inside(one: FenceVersion) -> tuple[float, float]:
    shape = one.fence.shape
    if isinstance(shape, CircleShape):
        return shape.lon, shape.lat
    place = shape.geometry.representative_point()
    return place.x, place.y


def _last_row(index: FenceIndex, one: FenceVersion) -> int:
    """Rows keep their numbers but where an index is built anew: so it is asked."""
    rows: Sequence[int] = index.rows_of(one.fence_id)
    return rows[-1]
