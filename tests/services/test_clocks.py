"""The replay clock: each ping sees the newest instant before it, however a recording is cut (0004)."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearcast.services.clocks import ReplayClock, WallClock

WALK = st.lists(st.integers(0, 2**41), min_size=1, max_size=300)


def _plain(at_ms: list[int], newest_ms: int) -> list[int]:
    return [max([newest_ms, *at_ms[: n + 1]]) for n in range(len(at_ms))]


@given(WALK, st.sampled_from([1, 7, 300]), st.sampled_from([0, 2**40]))
def test_the_cut_into_batches_changes_nothing(at_ms: list[int], batch: int, newest_ms: int) -> None:
    clock = ReplayClock(newest_ms)
    seen: list[int] = []
    for first in range(0, len(at_ms), batch):
        part = at_ms[first : first + batch]
        seen += clock.as_seen(np.array(part, np.int64)).tolist()
        clock.saw(max(part))
    assert seen == _plain(at_ms, newest_ms)
    assert clock.now_ms() == max([newest_ms, *at_ms])


def test_it_stands_at_the_beginning_before_any_ping() -> None:
    assert ReplayClock().now_ms() == 0


def test_it_never_falls_and_a_look_ahead_does_not_move_it() -> None:
    clock = ReplayClock(100)
    assert clock.as_seen(np.array([50, 200, 150], np.int64)).tolist() == [100, 200, 200]
    assert clock.now_ms() == 100, "a batch that is rolled back leaves the clock where it was"
    clock.saw(90)
    assert clock.now_ms() == 100


@pytest.mark.parametrize("clock", [ReplayClock(5), WallClock()])
def test_no_pings_are_seen_at_no_time(clock: ReplayClock | WallClock) -> None:
    assert clock.as_seen(np.empty(0, np.int64)).tolist() == []


def test_the_wall_is_not_moved_by_pings() -> None:
    clock = WallClock()
    clock.saw(2**41)
    assert abs(clock.now_ms() - time.time() * 1000) < 5_000
    assert len(set(clock.as_seen(np.array([1, 2**41], np.int64)).tolist())) == 1
