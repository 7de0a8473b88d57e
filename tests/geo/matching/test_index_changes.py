"""One fence more, moved or less: the next index knows, the one before does not."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from geo.fences.fence import CircleShape, FenceVersion
from geo.matching import cells, index
from geo.matching.hits import Pairs
from geo.matching.index import FenceIndex
from geo.matching.plain import PlainIndex
from tests.strategies import version_of
from tests.worlds import World, pairs_of, world

THREADS = 8


def found(made: FenceIndex, drawn: World) -> set[tuple[int, int]]:
    return pairs_of(made.match(lon=drawn.lon, lat=drawn.lat, at_ms=drawn.at_ms))


def wanted(alive: dict[int, FenceVersion], drawn: World) -> set[tuple[int, int]]:
    rows = sorted(alive)
    plain = PlainIndex.build([alive[row] for row in rows])
    hits = plain.match(lon=drawn.lon, lat=drawn.lat, at_ms=drawn.at_ms)
    return {(ping, rows[fence]) for ping, fence in pairs_of(hits)}


@pytest.mark.slow
@pytest.mark.parametrize("compact_always", [False, True])
def test_after_every_change_as_brute_force_and_the_versions_before_stay(
    compact_always: bool, monkeypatch: pytest.MonkeyPatch
):
    if compact_always:
        monkeypatch.setattr(cells, "_WASTE", 0.1)
        monkeypatch.setattr(cells, "_WASTE_WORDS", 100)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        drawn = world(seed, fences=12, pings=120)
        made = FenceIndex.build(drawn.versions[:4]).compile()
        alive = dict(enumerate(drawn.versions[:4]))
        before = []
        for _ in range(8):
            added = [drawn.versions[i] for i in rng.integers(0, 12, rng.integers(0, 3))]
            gone = rng.choice(sorted(alive), min(len(alive), int(rng.integers(0, 3))), replace=False)
            before.append((made, found(made, drawn)))
            made = made.changed(added=added, removed=gone.tolist())
            for row in gone.tolist():
                del alive[row]
            alive |= dict(enumerate(added, start=len(made) - len(added)))
            assert found(made, drawn) == wanted(alive, drawn)
            assert made.engine == "cells"
            for version in drawn.versions:
                rows = [row for row, v in alive.items() if v.fence_id == version.fence_id]
                assert sorted(made.rows_of(version.fence_id)) == sorted(rows)
        for old, pairs in before:
            assert found(old, drawn) == pairs


@pytest.mark.slow
def test_boxes_and_candidates_know_of_changes():
    drawn = world(3, fences=10, pings=100)
    made = FenceIndex.build(drawn.versions[:5]).compile()
    made = made.changed(added=drawn.versions[5:], removed=[0, 2])
    alive = {row: v for row, v in enumerate(drawn.versions) if row not in (0, 2)}
    fresh = FenceIndex.build(list(alive.values()))
    rows = np.array(list(alive))
    accuracy = np.full(len(drawn.lon), 800.0)
    here = made.candidates(lon=drawn.lon, lat=drawn.lat, at_ms=None, accuracy_m=accuracy)
    there = fresh.candidates(lon=drawn.lon, lat=drawn.lat, at_ms=None, accuracy_m=accuracy)
    assert pairs_of(here) <= {(ping, int(rows[row])) for ping, row in pairs_of(there)}
    assert pairs_of(made.match(lon=drawn.lon, lat=drawn.lat)) <= pairs_of(here)
    for lon, lat in zip(drawn.lon, drawn.lat, strict=True):
        box = lon - 1, max(lat - 1, -90), lon + 1, min(lat + 1, 90)
        assert made.in_box(*box) == rows[fresh.in_box(*box)].tolist()


def test_an_index_by_rtree_is_built_anew():
    drawn = world(5)
    made = FenceIndex.build(drawn.versions[:4]).changed(added=drawn.versions[4:], removed=[1])
    assert made.engine == "rtree"
    assert len(made) == len(drawn.versions) - 1


def test_two_changes_of_one_index_do_not_mix():
    drawn = world(6)
    base = FenceIndex.build(drawn.versions[:4]).compile()
    one = base.changed(added=drawn.versions[4:6])
    other = base.changed(added=drawn.versions[6:8])
    assert found(one, drawn) == wanted(dict(enumerate(drawn.versions[:6])), drawn)
    assert found(other, drawn) == wanted(
        dict(enumerate([*drawn.versions[:4], *drawn.versions[6:8]])), drawn
    )


def test_what_is_gone_is_given_back(monkeypatch: pytest.MonkeyPatch):
    """Thousands of changes do not make the index grow for ever."""
    monkeypatch.setattr(index, "_CHANGES_MOST", 50)
    monkeypatch.setattr(cells, "_WASTE_WORDS", 10_000)
    circle = version_of(CircleShape(lon=127.0, lat=37.5, radius_m=900.0))
    made = FenceIndex.build([circle] * 3).compile()
    sizes = []
    for _ in range(600):
        made = made.changed(added=[circle], removed=[next(iter(made.rows_of(1)))])
        sizes.append(made._cells.used_bytes)
        assert len(made.match_one(127.0, 37.5)) == 3
    assert max(sizes[300:]) < 1.2 * max(sizes[:150])


@pytest.mark.parametrize("seconds", [2.0, pytest.param(60.0, marks=pytest.mark.prove)])
def test_eight_threads_match_while_the_index_changes(seconds: float, proof):
    """Every 100 ms a fence moves: each match shows it at exactly one of its places."""
    places = [(127.0 + step * 0.003, 37.5) for step in range(12)]
    crowd = [
        version_of(CircleShape(lon=127.0 + x, lat=37.5 + y, radius_m=700.0), fence_id=2)
        for x, y in np.random.default_rng(1).uniform(-0.03, 0.03, (300, 2))
    ]
    mover = [version_of(CircleShape(lon=x, lat=y, radius_m=120.0), fence_id=1) for x, y in places]
    shown = FenceIndex.build([*crowd, mover[0]]).compile()
    lon, lat = (np.repeat(c, 40) for c in np.array(places).T)
    crowded = FenceIndex.build(crowd).match(lon=lon, lat=lat)
    until = time.monotonic() + seconds
    wrong: list[str] = []
    rounds = [0] * THREADS

    def read(number: int) -> None:
        while time.monotonic() < until and not wrong:
            now = shown
            hits = now.match(lon=lon, lat=lat)
            standing = hits.fence >= len(crowd)
            there = np.unique(hits.ping[standing] // 40)
            if len(there) != 1 or standing.sum() != 40:
                wrong.append(f"a moving fence at {there.tolist()}")
            if not np.array_equal(hits.ping[~standing], crowded.ping):
                wrong.append("the crowd differs")
            x, y = places[int(there[0])]
            if [row for row in now.match_one(x, y) if row >= len(crowd)] != [
                int(hits.fence[standing][0])
            ]:
                wrong.append("one ping differs")
            rounds[number] += 1

    threads = [threading.Thread(target=read, args=[number]) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    step = 0
    while time.monotonic() < until and not wrong:
        step += 1
        (row,) = shown.rows_of(1)
        shown = shown.changed(added=[mover[step % len(mover)]], removed=[row])
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    assert wrong == []
    assert min(rounds) > 0
    assert step > 5 * seconds
    proof("P2: batches matched by 8 threads while a fence moves every 100 ms: none wrong", sum(rounds))


def test_losing_some_pairs_is_leaving_them_out():
    rng = np.random.default_rng(3)
    for _ in range(300):
        counts = rng.integers(0, 4, rng.integers(1, 30))
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        fence = np.concatenate([np.sort(rng.permutation(9)[:n]) for n in counts]).astype(np.int32)
        ping = np.repeat(np.arange(len(counts)), counts)
        gone = np.flatnonzero(rng.random(len(fence)) < rng.choice([0.0, 0.1, 0.9, 1.0]))
        kept = np.setdiff1d(np.arange(len(fence)), gone)
        wanted = list(zip(ping[kept].tolist(), fence[kept].tolist(), strict=True))
        left = Pairs(offsets=offsets, fence=fence).losing(ping[gone], fence[gone].astype(np.int64))
        assert pairs_of(left.hits()) == set(wanted)
        assert len(left) == len(wanted)
