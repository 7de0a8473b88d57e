"""Make groups of fences, and put fences into them and take them out by hand (product F6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sqlalchemy as sa

from campaigns.campaign.plans import Feature
from nearcast.services.edit_fences import require_plan, save_fences, with_groups
from nearcast.services.errors import AlreadyExists, FieldError, Invalid, NotAllowedNow, NotFound
from nearcast.services.ids import public
from nearcast.services.run_campaigns import Author
from nearcast.store import campaigns, fences, groups, workspaces
from nearcast.store.fences import StoredFence


def add_group(conn: sa.Connection, name: str, *, fence_ids: Sequence[int], author: Author) -> int:
    """A new group with these fences in it; returns its serial."""
    require_plan(author.plan, Feature.FENCE_GROUPS)
    if any(row["name"] == name for row in groups.listed(conn, author.workspace_id)):
        raise AlreadyExists(f"There is a group '{name}' already.")
    made = groups.ensure(conn, workspace_id=author.workspace_id, names=[name], now_ms=author.now_ms)
    _note(conn, author, "fence_group.created", made[name])
    add_members(conn, made[name], fence_ids, author=author)
    return made[name]


def add_members(conn: sa.Connection, group_id: int, fence_ids: Sequence[int], *, author: Author) -> None:
    """Put fences into a group; those that are in it stay."""
    name = load(conn, group_id, author=author)["name"]
    found = _fences(conn, fence_ids, author)
    _regroup(conn, found, lambda before: (*before, name), author)


def remove_members(
    conn: sa.Connection, group_id: int, fence_ids: Sequence[int], *, author: Author
) -> None:
    """Take fences out of a group; the fences stay."""
    name = load(conn, group_id, author=author)["name"]
    found = _fences(conn, fence_ids, author)
    _regroup(conn, found, lambda before: [group for group in before if group != name], author)


def delete_group(conn: sa.Connection, group_id: int, *, author: Author) -> None:
    """Forget a group; its fences stay. One that a living campaign names is kept."""
    name = load(conn, group_id, author=author)["name"]
    users = campaigns.using_group(conn, workspace_id=author.workspace_id, group=name)
    if users:
        names = ", ".join(f"{public('cmp', row['id'])} ({row['name']})" for row in users)
        raise NotAllowedNow(f"Used by {names}. End the campaign, or take the group out of it.")
    found = fences.of_group(conn, workspace_id=author.workspace_id, group=name)
    _regroup(conn, found, lambda before: [group for group in before if group != name], author)
    groups.delete(conn, group_id)
    _note(conn, author, "fence_group.deleted", group_id)


def load(conn: sa.Connection, group_id: int, *, author: Author) -> sa.RowMapping:
    """A group's row; groups need Basic or Premium, to read them none."""
    row = groups.get(conn, workspace_id=author.workspace_id, group_id=group_id)
    if row is None:
        raise NotFound(f"There is no fence group '{public('grp', group_id)}'.")
    return row


def _regroup(
    conn: sa.Connection,
    found: Sequence[StoredFence],
    change: Callable[[Sequence[str]], Sequence[str]],
    author: Author,
) -> None:
    require_plan(author.plan, Feature.FENCE_GROUPS)
    save_fences(
        conn,
        [with_groups(stored, change(stored.fence.groups)) for stored in found],
        workspace_id=author.workspace_id,
        plan=author.plan,
        now_ms=author.now_ms,
        actor=author.actor,
    )


def _fences(conn: sa.Connection, fence_ids: Sequence[int], author: Author) -> list[StoredFence]:
    found = fences.get(conn, workspace_id=author.workspace_id, fence_ids=fence_ids)
    missing = [
        FieldError(
            pointer=f"/fence_ids/{n}",
            code="not_found",
            message=f"There is no fence {public('fnc', fence_id)}.",
        )
        for n, fence_id in enumerate(fence_ids)
        if fence_id not in found
    ]
    if missing:
        raise Invalid(errors=missing)
    return list(found.values())


def _note(conn: sa.Connection, author: Author, action: str, group_id: int) -> None:
    workspaces.note(
        conn,
        workspace_id=author.workspace_id,
        at_ms=author.now_ms,
        actor=author.actor,
        action=action,
        what=public("grp", group_id),
    )
