"""Visits as readers see them (product P6): the newest one of a pair takes its end from `presence`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from nearcast.store.engine import among
from nearcast.store.tables import device, fence, presence, visit

#: the visit that may still grow: its row in `visit` was written when it began
_NEWEST = (
    (presence.c.device_id == visit.c.device_id)
    & (presence.c.fence_id == visit.c.fence_id)
    & (presence.c.arrived_ms == visit.c.arrived_ms)
)
#: to be used below `joined()`
LEFT_MS: sa.ColumnElement[int] = sa.func.coalesce(presence.c.left_ms, visit.c.left_ms)
FIXES: sa.ColumnElement[int] = sa.func.coalesce(presence.c.fixes, visit.c.fixes)
P_SUM: sa.ColumnElement[int] = sa.func.coalesce(presence.c.p_sum, visit.c.p_sum)


_COLUMNS = (
    visit.c.device_id,
    device.c.key.label("device_key"),
    visit.c.fence_id,
    fence.c.external_id.label("fence_external_id"),
    fence.c.name.label("fence_name"),
    visit.c.arrived_ms,
    LEFT_MS.label("left_ms"),
    FIXES.label("fixes"),
    P_SUM.label("p_sum"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredVisit:
    """A stay of a device at a fence.

    Attributes:
        device_key: the app's own name of the device.
        p_sum: sum of P in 1/255 over its fixes.
    """

    device_id: int
    device_key: str
    fence_id: int
    fence_external_id: str | None
    fence_name: str
    arrived_ms: int
    left_ms: int
    fixes: int
    p_sum: int


Place = tuple[int, int, int]  # arrived_ms, device, fence


def joined() -> sa.Join:
    """Visits with what may stand for their end: select `LEFT_MS`, `FIXES`, `P_SUM` from it."""
    return visit.outerjoin(presence, _NEWEST)


def visits(
    conn: sa.Connection,
    *,
    app_id: int,
    from_ms: int,
    until_ms: int,
    fence_ids: Sequence[int] | None = None,
    device_ids: Sequence[int] | None = None,
    before: Place | None = None,
    limit: int | None = None,
) -> list[StoredVisit]:
    """Visits of an app that arrived in `[from, until)`, the newest first.

    Args:
        fence_ids, device_ids: only these; None is all of the app.
        before: go on behind this one, the last of the page before.
    """
    query = (
        sa.select(*_COLUMNS)
        .select_from(_of_app())
        .where(_wanted(conn, app_id, from_ms, until_ms, fence_ids, device_ids))
        .order_by(visit.c.arrived_ms.desc(), visit.c.device_id.desc(), visit.c.fence_id.desc())
    )
    if before is not None:
        place = sa.tuple_(visit.c.arrived_ms, visit.c.device_id, visit.c.fence_id)
        query = query.where(place < sa.tuple_(*before))
    if limit is not None:
        query = query.limit(limit)
    return [StoredVisit(**row) for row in conn.execute(query).mappings()]


def count(
    conn: sa.Connection,
    *,
    app_id: int,
    from_ms: int,
    until_ms: int,
    fence_ids: Sequence[int] | None = None,
    device_ids: Sequence[int] | None = None,
) -> int:
    """How many visits `visits` would give without a limit."""
    wanted = _wanted(conn, app_id, from_ms, until_ms, fence_ids, device_ids)
    query = sa.select(sa.func.count()).select_from(visit.join(device, device.c.id == visit.c.device_id))
    return conn.execute(query.where(wanted)).scalar_one()


def around(
    conn: sa.Connection, *, device_ids: Sequence[int], fence_ids: Sequence[int], at_ms: int
) -> list[StoredVisit]:
    """The last visits of some devices at some fences that had begun by an instant, newest first."""
    if not device_ids or not fence_ids:
        return []
    newest = (
        sa.select(
            visit.c.device_id, visit.c.fence_id, sa.func.max(visit.c.arrived_ms).label("arrived_ms")
        )
        .where(
            among(conn, visit.c.device_id, list(device_ids)),
            among(conn, visit.c.fence_id, list(fence_ids)),
            visit.c.arrived_ms <= at_ms,
        )
        .group_by(visit.c.device_id, visit.c.fence_id)
        .subquery()
    )
    same = sa.and_(
        *(newest.c[name] == visit.c[name] for name in ("device_id", "fence_id", "arrived_ms"))
    )
    query = (
        sa.select(*_COLUMNS)
        .select_from(_of_app().join(newest, same))
        .order_by(visit.c.arrived_ms.desc())
    )
    return [StoredVisit(**row) for row in conn.execute(query).mappings()]


def _of_app() -> sa.Join:
    return (
        joined()
        .join(device, device.c.id == visit.c.device_id)
        .join(fence, fence.c.id == visit.c.fence_id)
    )


def _wanted(
    conn: sa.Connection,
    app_id: int,
    from_ms: int,
    until_ms: int,
    fence_ids: Sequence[int] | None,
    device_ids: Sequence[int] | None,
) -> sa.ColumnElement[bool]:
    wanted: sa.ColumnElement[bool] = device.c.app_id == app_id
    wanted &= (visit.c.arrived_ms >= from_ms) & (visit.c.arrived_ms < until_ms)
    if fence_ids is not None:
        wanted &= among(conn, visit.c.fence_id, list(fence_ids))
    if device_ids is not None:
        wanted &= among(conn, visit.c.device_id, list(device_ids))
    return wanted
