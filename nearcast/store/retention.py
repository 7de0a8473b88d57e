"""Delete what is older than it may be, some rows at a time, and keep a report of it (product P10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import sqlalchemy as sa

from nearcast.store.engine import among, delete_keys
from nearcast.store.ping_seals import SealedFile, listed
from nearcast.store.tables import (
    app,
    device,
    evidence_chunk,
    fence,
    night,
    ping_file,
    ping_log,
    presence,
    retention_report,
    visit,
)

Place = tuple[int, int, int]  # device, fence, first_ms of a chunk


@dataclass(frozen=True, kw_only=True)
class Gone:
    """What was deleted: how many rows, and the oldest and newest instant they were about."""

    rows: int
    from_ms: int = 0
    until_ms: int = 0


NOTHING = Gone(rows=0)


def report(
    conn: sa.Connection,
    *,
    report_id: int | None,
    workspace_id: int,
    what: str,
    gone: Gone,
    now_ms: int,
) -> int | None:
    """Note what was deleted, in the transaction that deletes it.

    Args:
        report_id: a line of the same pass to add to; a new one is made without.
    Returns:
        The line's serial; None where nothing was deleted and there is no line yet.
    """
    if not gone.rows:
        return report_id
    if report_id is None:
        values = {"workspace_id": workspace_id, "at_ms": now_ms, "what": what, "rows": gone.rows}
        made = sa.insert(retention_report).values(**values, from_ms=gone.from_ms, until_ms=gone.until_ms)
        return int(conn.execute(made.returning(retention_report.c.id)).scalar_one())
    own = retention_report.c
    line = conn.execute(sa.select(own.from_ms, own.until_ms).where(own.id == report_id)).one()
    conn.execute(
        sa.update(retention_report)
        .where(own.id == report_id)
        .values(
            rows=own.rows + gone.rows,
            from_ms=min(line.from_ms, gone.from_ms),
            until_ms=max(line.until_ms, gone.until_ms),
        )
    )
    return report_id


def reports(
    conn: sa.Connection, *, workspace_id: int, before: int | None, limit: int
) -> tuple[list[sa.RowMapping], int]:
    """The newest lines of a workspace's report behind a place, and how many lines there are."""
    own = retention_report.c.workspace_id == workspace_id
    total = conn.execute(sa.select(sa.func.count()).select_from(retention_report).where(own))
    query = sa.select(retention_report).where(own).order_by(retention_report.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(retention_report.c.id < before)
    return list(conn.execute(query).mappings()), total.scalar_one()


def newest(conn: sa.Connection) -> sa.RowMapping | None:
    """The newest line of all workspaces' reports."""
    query = sa.select(retention_report).order_by(retention_report.c.id.desc()).limit(1)
    return conn.execute(query).mappings().first()


# --- raw pings --------------------------------------------------------------------------------------


def going(conn: sa.Connection, workspace_id: int) -> list[SealedFile]:
    """The files of a workspace that nobody reads any more, still to be deleted."""
    return listed(conn, _files(workspace_id).where(ping_file.c.going))


def let_go(conn: sa.Connection, *, workspace_id: int, before_ms: int) -> int:
    """Mark the files whose every ping is older than an instant; how many there were."""
    old = _files(workspace_id).with_only_columns(ping_file.c.id)
    old = old.where(ping_file.c.last_ms < before_ms, sa.not_(ping_file.c.going))
    marked = sa.update(ping_file).where(ping_file.c.id.in_(old)).values(going=True)
    return conn.execute(marked).rowcount


def forget_file(conn: sa.Connection, file: SealedFile) -> Gone:
    """A file was deleted: its row goes, too."""
    gone = conn.execute(sa.delete(ping_file).where(ping_file.c.id == file.id)).rowcount
    if not gone:
        return NOTHING  # another process was here first
    return Gone(rows=file.pings, from_ms=file.first_ms, until_ms=file.last_ms)


def forget_log_before(conn: sa.Connection, *, workspace_id: int, before_ms: int, most: int) -> Gone:
    """Delete rows of the log whose every ping is older than an instant and that were never sealed."""
    query = (
        sa.select(
            ping_log.c.seq, ping_log.c.pings.label("rows"), ping_log.c.first_ms, ping_log.c.last_ms
        )
        .join(app, app.c.id == ping_log.c.app_id)
        .where(app.c.workspace_id == workspace_id, ping_log.c.last_ms < before_ms)
        .order_by(ping_log.c.seq)
        .limit(most)
    )
    rows = conn.execute(query).all()
    seqs = [row.seq for row in rows]
    conn.execute(sa.delete(ping_log).where(among(conn, ping_log.c.seq, seqs)))
    if not rows:
        return NOTHING
    return Gone(
        rows=sum(row[1] for row in rows),
        from_ms=min(row.first_ms for row in rows),
        until_ms=max(row.last_ms for row in rows),
    )


def _files(workspace_id: int) -> sa.Select[Any]:
    apps = sa.select(app.c.id).where(app.c.workspace_id == workspace_id)
    return sa.select(ping_file).where(ping_file.c.app_id.in_(apps))


# --- evidence, visits, nights -----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class OldChunks:
    """Some chunks that may go, and where the search goes on; None at the end."""

    keys: Sequence[dict[str, Any]]
    gone: Gone
    behind: Place | None


def chunks_before(
    conn: sa.Connection, *, workspace_id: int, before_ms: int, behind: Place | None, most: int
) -> OldChunks:
    """Look at so many chunks that begin before an instant, for those that also end before it."""
    place = sa.tuple_(evidence_chunk.c.device_id, evidence_chunk.c.fence_id, evidence_chunk.c.first_ms)
    query = (
        sa.select(evidence_chunk)
        .join(fence, fence.c.id == evidence_chunk.c.fence_id)
        .where(fence.c.workspace_id == workspace_id, evidence_chunk.c.first_ms < before_ms)
        .order_by(*place)
        .limit(most)
    )
    if behind is not None:
        query = query.where(place > sa.tuple_(*behind))
    rows = list(conn.execute(query).mappings())
    last = [int(np.frombuffer(row["evidence"][-8:], "<i8")[0]) >> 8 for row in rows]
    old = [(row, end) for row, end in zip(rows, last, strict=True) if end < before_ms]
    names = ("device_id", "fence_id", "first_ms", "evidence")
    return OldChunks(
        # with their evidence: one that grows meanwhile stays
        keys=[{name: row[name] for name in names} for row, _ in old],
        gone=Gone(
            rows=len(old),
            from_ms=min((row["first_ms"] for row, _ in old), default=0),
            until_ms=max((end for _, end in old), default=0),
        ),
        behind=tuple(rows[-1][name] for name in names[:3]) if len(rows) == most else None,
    )


def forget_chunks(conn: sa.Connection, old: OldChunks) -> Gone:
    """Delete chunks that no late ping can touch any more; visits stand without them."""
    columns = ("device_id", "fence_id", "first_ms", "evidence")
    own = (evidence_chunk.c[name] == sa.bindparam(f"k_{name}") for name in columns)
    keys = [{f"k_{name}": value for name, value in key.items()} for key in old.keys]
    return replace(old.gone, rows=conn.execute(sa.delete(evidence_chunk).where(*own), keys).rowcount)


def forget_visits_before(conn: sa.Connection, *, workspace_id: int, before_ms: int, most: int) -> Gone:
    """Delete visits that ended before an instant; one that may still grow stays."""
    growing = sa.exists().where(
        presence.c.device_id == visit.c.device_id,
        presence.c.fence_id == visit.c.fence_id,
        presence.c.arrived_ms == visit.c.arrived_ms,
    )
    query = (
        sa.select(visit.c.device_id, visit.c.fence_id, visit.c.arrived_ms, visit.c.left_ms)
        .join(fence, fence.c.id == visit.c.fence_id)
        .where(
            fence.c.workspace_id == workspace_id,
            visit.c.arrived_ms < before_ms,  # what the index knows
            visit.c.left_ms < before_ms,
            sa.not_(growing),
        )
        .limit(most)
    )
    rows = conn.execute(query).all()
    names = ("device_id", "fence_id", "arrived_ms")
    delete_keys(conn, visit, [dict(zip(names, row[:3], strict=True)) for row in rows])
    return _between([row.arrived_ms for row in rows], [row.left_ms for row in rows])


def forget_nights_before(conn: sa.Connection, *, workspace_id: int, before: date, most: int) -> Gone:
    """Delete nights of days before one."""
    query = (
        sa.select(night.c.device_id, night.c.day)
        .join(device, device.c.id == night.c.device_id)
        .join(app, app.c.id == device.c.app_id)
        .where(app.c.workspace_id == workspace_id, night.c.day < before)
        .limit(most)
    )
    rows = conn.execute(query).all()
    for day in {row.day for row in rows}:
        ids = [row.device_id for row in rows if row.day == day]
        conn.execute(sa.delete(night).where(night.c.day == day, among(conn, night.c.device_id, ids)))
    days = [_midnight_ms(row.day) for row in rows]
    return _between(days, days)


def _between(first: Sequence[int], last: Sequence[int]) -> Gone:
    if not first:
        return NOTHING
    return Gone(rows=len(first), from_ms=min(first), until_ms=max(last))


def _midnight_ms(day: date) -> int:
    return (day - date(1970, 1, 1)).days * 86_400_000
