"""The memory of recent fixes."""

from __future__ import annotations

import numpy as np

from geo.matching.pings import Pings
from geo.matching.recent import FIXES_A_DEVICE, RecentFixes, SeenFix


def batch(rows):
    device, at_ms, lon = (np.array(column) for column in zip(*rows, strict=True))
    n = len(rows)
    return Pings(
        device=device.astype(np.int64),
        lon=lon.astype(float),
        lat=np.zeros(n),
        accuracy_m=np.ones(n),
        at_ms=at_ms.astype(np.int64),
        now_ms=at_ms.astype(np.int64),
        platform=np.zeros(n, np.int8),
        mocked=np.zeros(n, bool),
    )


def test_a_ping_is_repeated_when_device_instant_and_place_are_the_same():
    recent = RecentFixes(keep_ms=1000)
    recent.remember([1], [10], [127.0], [0.0])
    rows = [
        (1, 10, 127.0),
        (1, 10, 127.1),
        (2, 10, 127.0),
        (1, 11, 127.0),
        (2, 10, 127.0),
        (-1, 5, 1),
        (-1, 5, 1),
    ]
    assert recent.repeated(batch(rows)).tolist() == [True, False, False, False, True, False, False]


def test_remembering_twice_changes_nothing_and_order_does_not_matter():
    recent = RecentFixes(keep_ms=1000)
    for _ in range(2):
        recent.remember([1, 1, 1], [30, 10, 20], [3.0, 1.0, 2.0], [0.0, 0.0, 0.0])
    assert recent.before(1, 31) == SeenFix(30, 3.0, 0.0)
    assert recent.before(1, 30) == SeenFix(20, 2.0, 0.0)
    assert recent.before(1, 10) is None
    assert recent.before(2, 10) is None


def test_only_the_newest_fixes_of_a_device_are_kept():
    recent = RecentFixes(keep_ms=1000)
    n = FIXES_A_DEVICE + 5
    recent.remember([1] * n, list(range(n)), [0.0] * n, [0.0] * n)
    assert recent.repeated(batch([(1, 4, 0.0), (1, 5, 0.0)])).tolist() == [False, True]
