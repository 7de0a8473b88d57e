"""The ping log: every ping that was taken, one packed row a transaction (architecture step 9).

A row commits with the effects of its pings, so log and database never disagree. A retry after a lost
answer may log a ping twice; readers join by (device, instant).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import IntFlag

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from geo.matching.pings import Admission, Outcome, PingReason, Pings
from nearcast.store.tables import ping_log

REASONS = tuple(PingReason)
_REASON_CODE = {reason: code for code, reason in enumerate(REASONS)}
_NO_REASON = -1


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
_ZERO, _MOCKED, _HELD = (np.uint8(flag) for flag in (0, Flag.MOCKED, Flag.HELD))
_COPIED = ("device", "at_ms", "now_ms", "lon", "lat", "accuracy_m", "platform")


@dataclass(frozen=True, kw_only=True)
class LoggedPings:
    """Pings read back, one row each, in the order in which they were taken.

    Attributes:
        fixes: structured array with the fields of `FIX`; `outcome` holds `Outcome` codes, `reason` an
            index into `REASONS` or -1.
        last_seq: the newest log row read, 0 when none was.
    """

    fixes: NDArray[np.void]
    last_seq: int

    def __len__(self) -> int:
        return len(self.fixes)


def append(
    conn: sa.Connection,
    *,
    app_id: int,
    pings: Pings,
    admission: Admission,
    flags: NDArray[np.uint8] | None = None,
) -> None:
    """Log the pings of one transaction; rejected ones leave no trace here, only in the answer.

    Args:
        flags: `Flag` bits of each ping; `MOCKED` and `HELD` are set here.
    """
    rows = np.flatnonzero(admission.outcome != Outcome.REJECTED)
    if not len(rows):
        return
    fixes = np.empty(len(rows), FIX)
    for name in _COPIED:
        fixes[name] = getattr(pings, name)[rows]
    fixes["outcome"] = admission.outcome[rows]
    fixes["reason"] = _reasons(admission, len(pings))[rows]
    own = np.where(pings.mocked, _MOCKED, _ZERO) | np.where(admission.held, _HELD, _ZERO)
    fixes["flags"] = (own if flags is None else own | flags)[rows]
    conn.execute(
        sa.insert(ping_log).values(
            app_id=app_id,
            pings=len(rows),
            held=int(np.count_nonzero(fixes["outcome"] == Outcome.QUARANTINED)),
            first_ms=int(fixes["at_ms"].min()),
            last_ms=int(fixes["at_ms"].max()),
            seen_ms=int(fixes["now_ms"].max()),
            body=fixes.tobytes(),
        )
    )


def read(
    conn: sa.Connection,
    *,
    app_id: int,
    first_ms: int,
    last_ms: int,
    device_id: int | None = None,
) -> LoggedPings:
    """The pings of an app taken in `[first_ms, last_ms]`, of one device if named."""
    rows = conn.execute(
        sa.select(ping_log.c.seq, ping_log.c.body)
        .where(
            ping_log.c.app_id == app_id,
            ping_log.c.last_ms >= first_ms,
            ping_log.c.first_ms <= last_ms,
        )
        .order_by(ping_log.c.seq)
    )
    logged = _unpack((seq, body) for seq, body in rows)
    at_ms = logged.fixes["at_ms"]
    wanted = (at_ms >= first_ms) & (at_ms <= last_ms)
    if device_id is not None:
        wanted &= logged.fixes["device"] == device_id
    return LoggedPings(fixes=logged.fixes[wanted], last_seq=logged.last_seq)


def since(
    conn: sa.Connection, *, seq: int, known: Collection[int], not_before_ms: int
) -> tuple[LoggedPings, list[int]]:
    """What all processes have logged after a row, leaving out what is older than an instant.

    Args:
        known: rows after `seq` that were read before.
    Returns:
        The pings, and the rows they stand in.
    """
    rows = conn.execute(
        sa.select(ping_log.c.seq, ping_log.c.body)
        .where(
            ping_log.c.seq > seq,
            ping_log.c.seq.not_in(known),
            ping_log.c.last_ms >= not_before_ms,
        )
        .order_by(ping_log.c.seq)
    ).all()
    return _unpack((row.seq, row.body) for row in rows), [row.seq for row in rows]


def newest_ms(conn: sa.Connection) -> int:
    """The newest instant ever logged, 0 before any: where a replay clock stands."""
    return conn.execute(sa.select(sa.func.max(ping_log.c.last_ms))).scalar() or 0


def count(conn: sa.Connection, *, workspace_apps: Iterable[int]) -> int:
    """How many pings the apps have logged."""
    query = sa.select(sa.func.sum(ping_log.c.pings)).where(ping_log.c.app_id.in_(list(workspace_apps)))
    return int(conn.execute(query).scalar() or 0)


def _unpack(rows: Iterable[tuple[int, bytes]]) -> LoggedPings:
    last_seq, parts = 0, [np.empty(0, FIX)]
    for seq, body in rows:
        last_seq = seq
        parts.append(np.frombuffer(body, FIX))
    return LoggedPings(fixes=np.concatenate(parts), last_seq=last_seq)


def _reasons(admission: Admission, pings: int) -> NDArray[np.int8]:
    """Code of each ping's reason; what has none, the most by far, costs nothing."""
    codes = np.full(pings, _NO_REASON, np.int8)
    told = admission.reason
    if told:
        rows = np.fromiter(told.keys(), np.int64, len(told))
        codes[rows] = [_REASON_CODE[reason] for reason in told.values()]
    return codes
