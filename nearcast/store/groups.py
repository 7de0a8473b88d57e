"""Groups of fences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import sqlalchemy as sa

from nearcast.store.bulk import insert_many
from nearcast.store.engine import among, insert_new
from nearcast.store.tables import fence, fence_group, fence_group_member


def ensure(
    conn: sa.Connection, *, workspace_id: int, names: Iterable[str], now_ms: int
) -> dict[str, int]:
    """Name → serial of groups; those that did not exist are made."""
    wanted = sorted(set(names))
    if not wanted:
        return {}
    insert_new(
        conn,
        fence_group,
        [{"workspace_id": workspace_id, "name": name, "created_ms": now_ms} for name in wanted],
    )
    query = sa.select(fence_group.c.name, fence_group.c.id).where(
        fence_group.c.workspace_id == workspace_id, among(conn, fence_group.c.name, wanted)
    )
    return {row.name: row.id for row in conn.execute(query)}


def clear_fences(conn: sa.Connection, fence_ids: Sequence[int]) -> None:
    """Take fences out of all groups."""
    if fence_ids:
        conn.execute(
            sa.delete(fence_group_member).where(among(conn, fence_group_member.c.fence_id, fence_ids))
        )


def add_fences(conn: sa.Connection, groups_by_fence: Mapping[int, Iterable[int]]) -> None:
    """Put fences into groups that they are not in."""
    rows = [
        {"group_id": group, "fence_id": f} for f, groups in groups_by_fence.items() for group in groups
    ]
    insert_many(conn, fence_group_member, rows)


def listed(conn: sa.Connection, workspace_id: int) -> list[sa.RowMapping]:
    """The groups of a workspace by name, with the number of their living fences."""
    query = _counted().where(fence_group.c.workspace_id == workspace_id)
    return list(conn.execute(query.order_by(fence_group.c.name)).mappings())


def get(conn: sa.Connection, *, workspace_id: int, group_id: int) -> sa.RowMapping | None:
    """One group of a workspace, as `listed` gives it."""
    query = _counted().where(fence_group.c.workspace_id == workspace_id, fence_group.c.id == group_id)
    return conn.execute(query).mappings().first()


def delete(conn: sa.Connection, group_id: int) -> None:
    """Forget a group; its fences stay."""
    member = fence_group_member.c.group_id == group_id
    conn.execute(sa.delete(fence_group_member).where(member))
    conn.execute(sa.delete(fence_group).where(fence_group.c.id == group_id))


def members_of(workspace_id: int, group: str) -> sa.Select[int]:
    """The serials of a group's fences, deleted ones too, for use inside another query."""
    return _members(workspace_id, fence_group.c.name == group)


def members_of_any(conn: sa.Connection, workspace_id: int, names: Sequence[str]) -> sa.Select[int]:
    """`members_of` for several groups."""
    return _members(workspace_id, among(conn, fence_group.c.name, list(names)))


def _members(workspace_id: int, named: sa.ColumnElement[bool]) -> sa.Select[int]:
    return (
        sa.select(fence_group_member.c.fence_id)
        .join(fence_group, fence_group.c.id == fence_group_member.c.group_id)
        .where(fence_group.c.workspace_id == workspace_id, named)
    )


def names_of(conn: sa.Connection, fence_ids: Sequence[int]) -> set[str]:
    """The names of the groups that hold at least one of the fences."""
    query = (
        sa.select(fence_group.c.name)
        .distinct()
        .join(fence_group_member, fence_group.c.id == fence_group_member.c.group_id)
        .where(among(conn, fence_group_member.c.fence_id, list(fence_ids)))
    )
    return set(conn.execute(query).scalars())


def delete_empty(conn: sa.Connection, *, workspace_id: int, names: Sequence[str]) -> None:
    """Forget those of the groups that hold no living fence."""
    living = (
        sa.select(fence_group_member.c.group_id)
        .join(fence, fence.c.id == fence_group_member.c.fence_id)
        .where(fence.c.deleted_ms.is_(None))
    )
    query = sa.select(fence_group.c.id).where(
        fence_group.c.workspace_id == workspace_id,
        among(conn, fence_group.c.name, list(names)),
        fence_group.c.id.not_in(living),
    )
    for group_id in list(conn.execute(query).scalars()):
        delete(conn, group_id)


def _counted() -> sa.Select[*tuple[object, ...]]:
    alive = (fence.c.id == fence_group_member.c.fence_id) & fence.c.deleted_ms.is_(None)
    return (
        sa.select(fence_group, sa.func.count(fence.c.id).label("fences"))
        .outerjoin(fence_group_member, fence_group_member.c.group_id == fence_group.c.id)
        .outerjoin(fence, alive & fence.c.campaign_id.is_(None))
        .group_by(fence_group.c.id)
    )
