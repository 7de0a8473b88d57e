"""One ping as it is packed in the log, and what its codes mean."""

from __future__ import annotations

from enum import IntFlag

import numpy as np

from geo.matching.pings import PingReason

#: index → reason; the order is stored, so new ones come last
REASONS = tuple(PingReason)
NO_REASON = -1


class Flag(IntFlag):
    """What else was known of a fix when it was taken (product P8)."""

    SUSPECT_SPEED = 1
    SUSPECT_PLACE = 2
    CACHED = 4
    TEST = 8
    BACKFILLED = 16
    MOCKED = 32
    HELD = 64  # kept apart, also where the outcome says that it came again


#: 52 bytes a ping, little-endian. Full doubles: a replay must judge as the first time.
FIX = np.dtype(
    [
        ("device", "<i8"),
        ("at_ms", "<i8"),
        ("now_ms", "<i8"),
        ("lon", "<f8"),
        ("lat", "<f8"),
        ("accuracy_m", "<f8"),
        ("platform", "i1"),
        ("outcome", "i1"),
        ("reason", "i1"),
        ("flags", "u1"),
    ]
)
