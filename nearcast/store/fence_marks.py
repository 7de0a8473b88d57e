"""Where fences stand, without reading them: which version, deleted or not, who has a key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from nearcast.store import groups as group_store
from nearcast.store.engine import among
from nearcast.store.tables import fence


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Which version a fence has now, and whether it was deleted."""

    version: int
    deleted: bool
    name: str
    external_id: str | None


def marks_of(conn: sa.Connection, fence_ids: Sequence[int]) -> dict[int, Mark]:
    """Where fences stand, deleted ones too."""
    query = sa.select(
        fence.c.id, fence.c.version, fence.c.deleted_ms, fence.c.name, fence.c.external_id
    ).where(among(conn, fence.c.id, list(fence_ids)))
    return {
        row.id: Mark(
            version=row.version,
            deleted=row.deleted_ms is not None,
            name=row.name,
            external_id=row.external_id,
        )
        for row in conn.execute(query)
    }


def marks_meant(
    conn: sa.Connection, *, workspace_id: int, groups: Sequence[str], external_ids: Sequence[str]
) -> dict[int, int]:
    """Serial → version of the living fences that are in one of the groups or have one of the keys."""
    own = (fence.c.workspace_id == workspace_id) & fence.c.deleted_ms.is_(None)
    members = group_store.members_of_any(conn, workspace_id, groups)
    found: dict[int, int] = {}
    for meant in (fence.c.id.in_(members), among(conn, fence.c.external_id, list(external_ids))):
        for row in conn.execute(sa.select(fence.c.id, fence.c.version).where(own, meant)):
            found[row.id] = row.version
    return found


def owners_of(conn: sa.Connection, *, workspace_id: int, external_ids: Sequence[str]) -> dict[str, int]:
    """External id → serial of the living fence that has it."""
    query = sa.select(fence.c.external_id, fence.c.id).where(
        fence.c.workspace_id == workspace_id,
        fence.c.deleted_ms.is_(None),
        among(conn, fence.c.external_id, list(external_ids)),
    )
    return {row.external_id: row.id for row in conn.execute(query)}
