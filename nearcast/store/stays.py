"""Stays, evidence chunks and visits as columns (notes/spine.md §3).

PostgreSQL gives the stays of a batch's devices under row locks. SQLite has one writer at a time, so a
process keeps what it has read or written for as long as nobody else writes stays: `meta` names who did
last.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import sqlalchemy as sa

from geo.matching.stay_columns import (
    Changes,
    ChunkKeys,
    Chunks,
    History,
    Key,
    Span,
    Stays,
    VisitKeys,
    Visits,
)
from geo.matching.visits import Visit
from nearcast.store.columns import (
    Column,
    delete_columns,
    insert_columns,
    rows_of,
    select_rows,
    update_columns,
    upsert_columns,
)
from nearcast.store.engine import Conflict, upsert
from nearcast.store.kept_stays import KeptStays
from nearcast.store.tables import evidence_chunk, meta, presence, visit

#: who wrote stays last; a process that finds another name there forgets what it kept
WRITER = "presence_writer"
#: stays kept in memory, some 700 bytes each; beyond it all are forgotten and read again as they come
MAX_KEPT = 1_000_000

_NAMES = {"device": "device_id"}  # a column's name in the database where it is another one
_STAY = ", ".join(_NAMES.get(f.name, f.name) for f in fields(Stays))
_READ = f"select {_STAY} from presence where device_id in (select k0 from :listed)"
_LOCKED = f"{_READ} order by device_id, fence_id for update"
_AROUND = """
select device_id, fence_id, {what} from :listed cross join {table}
where device_id = k0 and fence_id = k1 and {first} <= k3 and {last} >= k2
"""
_VISITS = _AROUND.format(
    what="arrived_ms, left_ms, fixes, p_sum, told_ms", table="visit", first="arrived_ms", last="left_ms"
)
_CHUNKS = _AROUND.format(
    what="first_ms, evidence", table="evidence_chunk", first="first_ms", last="last_ms"
)
_META = "select value from meta where key = ?"
_LOCK_DEVICES = "select id from device where id in (select k0 from :listed) order by id for update"
_OPENED = "select 1 from :listed cross join presence where device_id = k0 and fence_id = k1 limit 1"
_Rows = Stays | Visits | VisitKeys | Chunks | ChunkKeys


class StayBook:
    """The stays of devices as a transaction sees them, and what it writes of them.

    On SQLite one book serves one process: call it under its writer's lock only.
    """

    def __init__(self) -> None:
        self._name = secrets.token_hex(8)
        self._kept = KeptStays()

    def of_devices(self, conn: sa.Connection, devices: np.ndarray[tuple[int], Any]) -> Stays:
        """All stays of these devices, by (device, fence), which nobody else changes till the end.

        Args:
            devices: serials, ascending and unique.
        """
        if conn.dialect.name == "postgresql":
            return Stays.from_rows(select_rows(conn, _LOCKED, devices))
        if writer(conn) != self._name:
            self.forget()
            wrote(conn, self._name)
        elif len(self._kept) > MAX_KEPT:
            self.forget()
        missing = self._kept.missing(devices)
        if len(missing):
            self._kept.add(Stays.from_rows(select_rows(conn, _READ, missing)))
            self._kept.know(missing)
        return self._kept.of_devices(devices)

    def save(self, conn: sa.Connection, changes: Changes) -> None:
        """Write what a batch changed, as a few statements over many rows.

        Raises:
            Conflict: another process has opened one of the new stays in the meantime.
        """
        save(conn, changes)
        if conn.dialect.name == "sqlite":
            self._kept.add(changes.opened)
            self._kept.move(changes.moved)

    def forget(self) -> None:
        """Keep nothing: after a transaction that was rolled back, what it wrote never was."""
        self._kept = KeptStays()


def save(conn: sa.Connection, changes: Changes) -> None:
    """Write changes; a caller other than a `StayBook` says so with `wrote`.

    Raises:
        Conflict: another process has opened one of the new stays or visits in the meantime.
    """
    for table, gone in (
        (presence, changes.gone),
        (visit, changes.visits_gone),
        (evidence_chunk, changes.chunks_gone),
    ):
        if len(gone):
            keys = {column.name for column in table.primary_key}
            delete_columns(conn, table, {n: c for n, c in _columns(gone).items() if n in keys})
    for table, new in ((presence, changes.opened), (visit, changes.visits_new)):
        if len(new) and insert_columns(conn, table, _columns(new)) != len(new):
            raise Conflict
    for table, changed in ((presence, changes.moved), (visit, changes.visits_over)):
        if len(changed):
            update_columns(conn, table, _columns(changed))
    if len(changes.chunks):
        upsert_columns(conn, evidence_chunk, _columns(changes.chunks))


def histories(conn: sa.Connection, spans: Sequence[Span], stays: Stays) -> Mapping[Key, History]:
    """What amendments must see: the visits and the chunks that touch the spans.

    Args:
        stays: those of the batch's devices. PostgreSQL has them locked; of a pair without one the device
            is locked here, so that nobody else joins late evidence to it meanwhile.
    Raises:
        Conflict: a stay of such a pair has been opened since.
    """
    if conn.dialect.name == "postgresql":
        _lock_without_stay(conn, spans, stays)
    devices, fences = ([span.key[n] for span in spans] for n in (0, 1))
    around = [span.first_ms for span in spans], [span.last_ms for span in spans]
    visits: dict[Key, dict[int, Visit]] = {span.key: {} for span in spans}
    for device, fence, *values in select_rows(conn, _VISITS, devices, fences, *around):
        names = ("arrived_ms", "left_ms", "fixes", "p_sum", "told_ms")
        visits[device, fence][values[0]] = Visit(**dict(zip(names, values, strict=True)))
    chunks: dict[Key, dict[int, bytes]] = {span.key: {} for span in spans}
    for device, fence, first_ms, packed in select_rows(conn, _CHUNKS, devices, fences, *around):
        chunks[device, fence][first_ms] = bytes(packed)
    return {
        key: History(visits=list(visits[key].values()), chunks=list(chunks[key].values()))
        for key in visits
    }


def _lock_without_stay(conn: sa.Connection, spans: Sequence[Span], stays: Stays) -> None:
    have = set(zip(stays.device.tolist(), stays.fence_id.tolist(), strict=True))
    bare = sorted({span.key for span in spans} - have)
    if not bare:
        return
    devices, fences = ([key[n] for key in bare] for n in (0, 1))
    select_rows(conn, _LOCK_DEVICES, sorted(set(devices)))
    if select_rows(conn, _OPENED, devices, fences):
        raise Conflict


def swept_ms(conn: sa.Connection, workspace_id: int) -> int:
    """The newest cut of a workspace's sweeps, 0 before the first.

    PostgreSQL: to be read after the stays, so that a sweep that removed one of them is seen.
    """
    found = rows_of(conn, _META, swept_key(workspace_id))
    return int(found[0][0]) if found else 0


def swept_key(workspace_id: int) -> str:
    """Where the newest cut of a workspace's sweeps stands."""
    return f"swept_ms:{workspace_id}"


def writer(conn: sa.Connection) -> str | None:
    """Who wrote stays last."""
    found = rows_of(conn, _META, WRITER)
    return str(found[0][0]) if found else None


def wrote(conn: sa.Connection, name: str | None = None) -> None:
    """Say that stays are written in this transaction, by a book or (no name) by somebody else."""
    upsert(conn, meta, [{"key": WRITER, "value": name or secrets.token_hex(8)}])


def _columns(table: _Rows) -> dict[str, Column]:
    return {_NAMES.get(f.name, f.name): getattr(table, f.name) for f in fields(table)}
