"""Admission: outcomes, reasons and their precedence (product P1, P8)."""

from __future__ import annotations

import numpy as np
import pytest

from geo.matching.pings import Outcome, PingReason, Pings, admit, refuse

NOW = 1_800_000_000_000
DAY = 86_400_000
STALE = 600_000


def pings(**columns):
    row = {
        "device": 1,
        "lon": 127.0,
        "lat": 37.5,
        "accuracy_m": 10.0,
        "at_ms": NOW,
        "now_ms": NOW,
        "platform": 0,
        "mocked": False,
    } | columns
    kinds = {
        "device": np.int64,
        "at_ms": np.int64,
        "now_ms": np.int64,
        "platform": np.int8,
        "mocked": bool,
    }
    return Pings(**{k: np.array([v], kinds.get(k, np.float64)) for k, v in row.items()})


def judged(*, repeated=False, refused=None, is_test=False, **columns):
    admission = admit(
        pings(**columns),
        refused=refuse(
            pings(**columns), refused={0: refused} if refused else {}, amend_horizon_ms=7 * DAY
        ),
        repeated=np.array([repeated]),
        is_test=np.array([is_test]),
        staleness_ms=STALE,
    )
    return Outcome(admission.outcome[0]), admission.reason.get(0)


@pytest.mark.parametrize(
    ("columns", "outcome", "reason"),
    [
        ({}, Outcome.ACCEPTED, None),
        ({"accuracy_m": np.nan}, Outcome.ACCEPTED, None),
        ({"accuracy_m": 0.0}, Outcome.ACCEPTED, None),
        ({"accuracy_m": 10_000.0}, Outcome.ACCEPTED, None),
        ({"accuracy_m": 10_000.1}, Outcome.QUARANTINED, PingReason.ACCURACY_TOO_LOW),
        ({"accuracy_m": -0.1}, Outcome.REJECTED, PingReason.NEGATIVE_ACCURACY),
        ({"accuracy_m": np.inf}, Outcome.REJECTED, PingReason.NOT_FINITE),
        ({"lat": np.nan}, Outcome.REJECTED, PingReason.NOT_FINITE),
        ({"lat": 90.0}, Outcome.ACCEPTED, None),
        ({"lat": 90.001}, Outcome.REJECTED, PingReason.OUT_OF_RANGE),
        ({"lon": -180.0}, Outcome.ACCEPTED, None),
        ({"lon": 180.001}, Outcome.REJECTED, PingReason.OUT_OF_RANGE),
        ({"lon": 0.0, "lat": 0.0}, Outcome.QUARANTINED, PingReason.NULL_ISLAND),
        ({"lon": 0.0, "lat": 0.0001}, Outcome.ACCEPTED, None),
        ({"mocked": True}, Outcome.QUARANTINED, PingReason.MOCKED),
        ({"at_ms": NOW + 300_000}, Outcome.ACCEPTED, None),
        ({"at_ms": NOW + 300_001}, Outcome.REJECTED, PingReason.IN_FUTURE),
        ({"at_ms": NOW - STALE}, Outcome.ACCEPTED, None),
        ({"at_ms": NOW - STALE - 1}, Outcome.LATE, None),
        ({"at_ms": NOW - 7 * DAY}, Outcome.LATE, None),
        ({"at_ms": NOW - 7 * DAY - 1}, Outcome.REJECTED, PingReason.TOO_OLD),
        ({"repeated": True, "at_ms": NOW - STALE - 1}, Outcome.DUPLICATE, None),
        ({"repeated": True, "mocked": True}, Outcome.DUPLICATE, None),
        ({"is_test": True, "mocked": True}, Outcome.ACCEPTED, None),
        ({"is_test": True, "lat": 91.0}, Outcome.REJECTED, PingReason.OUT_OF_RANGE),
        ({"repeated": True, "lat": 91.0}, Outcome.REJECTED, PingReason.OUT_OF_RANGE),
        ({"mocked": True, "at_ms": NOW - STALE - 1}, Outcome.QUARANTINED, PingReason.MOCKED),
        ({"refused": PingReason.NO_IDENTITY, "lat": 91.0}, Outcome.REJECTED, PingReason.NO_IDENTITY),
    ],
)
def test_outcome_and_reason(columns, outcome, reason):
    assert judged(**columns) == (outcome, reason)
