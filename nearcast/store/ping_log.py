"""The ping log: every ping that was taken, one packed row a transaction (architecture step 9).

A row commits with the effects of its pings, so log and database never disagree. Rows are sealed to
files later (`ping_files.py`); whoever reads here gets both. A retry after a lost answer may log a ping
twice; `read` gives it once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from geo.matching.pings import Admission, Bools, Ints, Outcome, Pings
from nearcast.store import ping_seals
from nearcast.store.columns import rows_of, select_rows
from nearcast.store.ping_files import PingFiles, SealedFixes
from nearcast.store.ping_fixes import FIX, NO_REASON, Flag
from nearcast.store.ping_fixes import REASONS as REASONS
from nearcast.store.tables import ping_file, ping_log

_REASON_CODE = {reason: code for code, reason in enumerate(REASONS)}
_ZERO, _MOCKED, _HELD = (np.uint8(flag) for flag in (0, Flag.MOCKED, Flag.HELD))
_COPIED = ("device", "at_ms", "now_ms", "lon", "lat", "accuracy_m", "platform")
#: rows of the log in memory at once
_FETCH = 64
Devices = Collection[int] | range


@dataclass(frozen=True, kw_only=True)
class LoggedPings:
    """Pings read back, one row each, in the order in which they were taken.

    Attributes:
        fixes: structured array with the fields of `FIX`; `outcome` holds `Outcome` codes, `reason` an
            index into `REASONS` or -1, `flags` bits of `Flag`.
        seq: the row of the log that each was taken with.
        last_seq: the newest log row read, 0 when none was.
    """

    fixes: NDArray[np.void]
    seq: Ints
    last_seq: int

    def __len__(self) -> int:
        return len(self.fixes)


class Logged(NamedTuple):
    """A row of the log as it was written: its number and the pings in it, as `FIX`."""

    seq: int
    fixes: NDArray[np.void]


def append(
    conn: sa.Connection,
    *,
    app_id: int,
    pings: Pings,
    admission: Admission,
    flags: NDArray[np.uint8] | None = None,
) -> Logged | None:
    """Log the pings of one transaction; rejected ones leave no trace here, only in the answer.

    Args:
        flags: `Flag` bits of each ping; `MOCKED` and `HELD` are set here.
    Returns:
        What was written; None where every ping was rejected.
    """
    rows = np.flatnonzero(admission.outcome != Outcome.REJECTED)
    if not len(rows):
        return None
    fixes = np.empty(len(rows), FIX)
    for name in _COPIED:
        fixes[name] = getattr(pings, name)[rows]
    fixes["outcome"] = admission.outcome[rows]
    fixes["reason"] = _reasons(admission, len(pings))[rows]
    own = np.where(pings.mocked, _MOCKED, _ZERO) | np.where(admission.held, _HELD, _ZERO)
    fixes["flags"] = (own if flags is None else own | flags)[rows]
    ((seq,),) = rows_of(
        conn,
        _APPEND,
        app_id,
        len(rows),
        int(np.count_nonzero(fixes["outcome"] == Outcome.QUARANTINED)),
        int(fixes["at_ms"].min()),
        int(fixes["at_ms"].max()),
        int(fixes["now_ms"].max()),
        fixes.tobytes(),
    )
    return Logged(int(seq), fixes)


_APPEND = """
insert into ping_log (app_id, pings, held, first_ms, last_ms, seen_ms, body)
values (?, ?, ?, ?, ?, ?, ?) returning seq
"""


def read(
    conn: sa.Connection,
    *,
    app_id: int,
    first_ms: int,
    last_ms: int,
    devices: Devices | None = None,
    files: PingFiles | None = None,
) -> LoggedPings:
    """The pings of an app taken in `[first_ms, last_ms]`, each once, the first time it was logged.

    Args:
        devices: only of these serials.
        files: where sealed pings are; without it only what is not sealed yet is read.
    """
    wanted = each(conn, app_id=app_id, first_ms=first_ms, last_ms=last_ms, devices=devices, files=files)
    found = _joined(wanted)
    once = _first_logged(found.fixes)
    last_seq = int(found.seq.max(initial=0))
    return LoggedPings(fixes=found.fixes[once], seq=found.seq[once], last_seq=last_seq)


def each(
    conn: sa.Connection,
    *,
    app_id: int,
    first_ms: int,
    last_ms: int,
    devices: Devices | None = None,
    files: PingFiles | None = None,
    held_only: bool = False,
) -> Iterator[SealedFixes]:
    """The pings of an app taken in `[first_ms, last_ms]`, piece by piece, repeats and all.

    Args:
        held_only: pass over pieces in which nothing is quarantined.
    """
    if devices is not None and not len(devices):
        return
    # the log before the files: what is sealed between the two is seen in both, not in none
    query = sa.select(ping_log.c.seq).where(
        ping_log.c.app_id == app_id, ping_log.c.last_ms >= first_ms, ping_log.c.first_ms <= last_ms
    )
    if held_only:
        query = query.where(ping_log.c.held > 0)
    seen = list(conn.execute(query.order_by(ping_log.c.seq)).scalars())
    for first in range(0, len(seen), _FETCH):
        seqs = seen[first : first + _FETCH]
        bodies = conn.execute(
            sa.select(ping_log.c.seq, ping_log.c.body)
            .where(ping_log.c.seq.in_(seqs))
            .order_by(ping_log.c.seq)
        )
        yield _within(unpacked((row.seq, row.body) for row in bodies), first_ms, last_ms, devices)
    if files is None:
        return
    for file in ping_seals.of_time(
        conn, app_id=app_id, first_ms=first_ms, last_ms=last_ms, held_only=held_only
    ):
        sealed = files.read(file.names, first_ms=first_ms, last_ms=last_ms, devices=devices)
        yield _without(sealed, seen)


def since(
    conn: sa.Connection,
    *,
    seq: int,
    known: Collection[int],
    not_before_ms: int,
    files: PingFiles | None = None,
) -> tuple[LoggedPings, list[int]]:
    """What all processes have logged after a row, leaving out what is older than an instant.

    Args:
        known: rows after `seq` that were read before.
        files: where sealed pings are; without it only what is not sealed yet is read.
    Returns:
        The pings, and the rows they stand in.
    """
    seqs = [row[0] for row in rows_of(conn, _AFTER, seq, not_before_ms) if row[0] not in known]
    parts = [
        unpacked((n, bytes(body)) for n, body in (select_rows(conn, _BODIES, seqs) if seqs else ()))
    ]
    ((sealed_seq,),) = rows_of(conn, _SEALED)
    if files is not None and (sealed_seq or 0) > max(known, default=seq):  # before they were read here
        for file in ping_seals.after(conn, seq=seq, not_before_ms=not_before_ms):
            sealed = files.read(file.names, first_ms=not_before_ms, last_ms=file.last_ms, after_seq=seq)
            parts.append(_without(sealed, [*seqs, *known]))
    found = _joined(parts)
    last_seq = int(found.seq.max(initial=0))
    logged = LoggedPings(fixes=found.fixes, seq=found.seq, last_seq=last_seq)
    return logged, np.unique(found.seq).tolist()


_AFTER = "select seq from ping_log where seq > ? and last_ms >= ? order by seq"
_SEALED = "select max(last_seq) from ping_file"
_BODIES = "select seq, body from ping_log where seq in (select k0 from :listed) order by seq"


def newest_ms(conn: sa.Connection) -> int:
    """The newest instant ever logged, 0 before any: where a replay clock stands."""
    tables = (ping_log, ping_file)
    found = (conn.execute(sa.select(sa.func.max(table.c.last_ms))).scalar() for table in tables)
    return max(newest or 0 for newest in found)


def span_ms(conn: sa.Connection, app_id: int) -> tuple[int, int] | None:
    """The oldest and the newest instant of which an app's pings are kept; None without any."""
    found = []
    for table in (ping_log, ping_file):
        query = sa.select(sa.func.min(table.c.first_ms), sa.func.max(table.c.last_ms))
        found.append(conn.execute(query.where(table.c.app_id == app_id)).one())
    ends = [(first, last) for first, last in found if first is not None]
    return (min(first for first, _ in ends), max(last for _, last in ends)) if ends else None


def count(conn: sa.Connection, *, workspace_apps: Iterable[int] | None = None) -> int:
    """How many pings are kept of some apps, or of all: in the log and in files."""
    total = 0
    for table in (ping_log, ping_file):
        query = sa.select(sa.func.sum(table.c.pings))
        if workspace_apps is not None:
            query = query.where(table.c.app_id.in_(list(workspace_apps)))
        total += int(conn.execute(query).scalar() or 0)
    return total


def unpacked(rows: Iterable[tuple[int, bytes]]) -> SealedFixes:
    """The pings of some rows of the log, each with the row it stands in."""
    listed = list(rows)
    sizes = np.array([len(body) // FIX.itemsize for _, body in listed], np.int64)
    seqs = np.array([seq for seq, _ in listed], np.int64)
    fixes = np.frombuffer(b"".join(body for _, body in listed), FIX)
    return SealedFixes(fixes=fixes, seq=np.repeat(seqs, sizes))


def _joined(parts: Iterable[SealedFixes]) -> SealedFixes:
    """Some pieces as one, in the order in which the pings were logged."""
    listed = [SealedFixes(fixes=np.empty(0, FIX), seq=np.zeros(0, np.int64)), *parts]
    fixes, seq = np.concatenate([p.fixes for p in listed]), np.concatenate([p.seq for p in listed])
    order = np.argsort(seq, kind="stable")
    return SealedFixes(fixes=fixes[order], seq=seq[order])


def _within(found: SealedFixes, first_ms: int, last_ms: int, devices: Devices | None) -> SealedFixes:
    at_ms, device = found.fixes["at_ms"], found.fixes["device"]
    wanted = (at_ms >= first_ms) & (at_ms <= last_ms)
    if isinstance(devices, range):
        wanted &= (device >= devices.start) & (device < devices.stop)
    elif devices is not None:
        wanted &= np.isin(device, np.array(list(devices), np.int64))
    return SealedFixes(fixes=found.fixes[wanted], seq=found.seq[wanted])


def _without(found: SealedFixes, seqs: Collection[int]) -> SealedFixes:
    if not seqs:
        return found
    other = ~np.isin(found.seq, np.array(list(seqs), np.int64))
    return SealedFixes(fixes=found.fixes[other], seq=found.seq[other])


def _first_logged(fixes: NDArray[np.void]) -> Bools:
    """The first of each device, instant and place."""
    columns = [fixes[name] for name in ("lat", "lon", "at_ms", "device")]
    order: Ints = np.lexsort(columns)  # stable: the first logged comes first of its like
    new = np.ones(len(fixes), bool)
    new[1:] = np.any([column[order][1:] != column[order][:-1] for column in columns], axis=0)
    once = np.zeros(len(fixes), bool)
    once[order[new]] = True
    return once


def _reasons(admission: Admission, pings: int) -> NDArray[np.int8]:
    """Code of each ping's reason; what has none, the most by far, costs nothing."""
    codes = np.full(pings, NO_REASON, np.int8)
    told = admission.reason
    if told:
        rows = np.fromiter(told.keys(), np.int64, len(told))
        codes[rows] = [_REASON_CODE[reason] for reason in told.values()]
    return codes
