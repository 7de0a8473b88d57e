"""Decisions read back: by campaign for lists, by device for explanations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from nearcast.store.engine import among
from nearcast.store.tables import decision, device, fence

Place = tuple[int, int, int, str]  # trigger_ms, device, fence, kind


def listed(
    conn: sa.Connection,
    *,
    campaign_id: int,
    device_ids: Sequence[int] | None = None,
    reason: str | None = None,
    before: Place | None = None,
    limit: int,
) -> tuple[list[sa.RowMapping], int]:
    """A page of a campaign's decisions, the newest trigger first, and how many there are in all.

    Tests are among them; each row says so.

    Args:
        device_ids: only these; None is all.
        before: go on behind this one, the last of the page before.
    """
    wanted: sa.ColumnElement[bool] = decision.c.campaign_id == campaign_id
    if device_ids is not None:
        wanted &= among(conn, decision.c.device_id, list(device_ids))
    if reason is not None:
        wanted &= decision.c.reason == reason
    total = conn.execute(sa.select(sa.func.count()).select_from(decision).where(wanted)).scalar_one()
    place = (decision.c.trigger_ms, decision.c.device_id, decision.c.fence_id, decision.c.kind)
    query = _named().where(wanted).order_by(*(column.desc() for column in place)).limit(limit)
    if before is not None:
        query = query.where(sa.tuple_(*place) < sa.tuple_(*before))
    return list(conn.execute(query).mappings()), total


def last(
    conn: sa.Connection,
    *,
    campaign_id: int,
    device_ids: Sequence[int],
    from_ms: int,
    until_ms: int,
) -> sa.RowMapping | None:
    """The newest decision about some devices whose trigger lies in `[from, until]`, both included."""
    if not device_ids:
        return None
    query = (
        _named()
        .where(
            decision.c.campaign_id == campaign_id,
            among(conn, decision.c.device_id, list(device_ids)),
            decision.c.trigger_ms.between(from_ms, until_ms),
        )
        .order_by(decision.c.trigger_ms.desc(), decision.c.decided_ms.desc(), decision.c.fence_id)
        .limit(1)
    )
    return conn.execute(query).mappings().first()


def _named() -> sa.Select[Any]:
    return (
        sa.select(
            decision,
            device.c.key.label("device_key"),
            fence.c.external_id.label("fence_external_id"),
            fence.c.name.label("fence_name"),
        )
        .join(device, device.c.id == decision.c.device_id)
        .join(fence, fence.c.id == decision.c.fence_id)
    )
