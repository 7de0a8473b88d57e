"""Fences, their versions, groups and areas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import shapely
import sqlalchemy as sa

from geo.fences.fence import CircleShape, Fence, FenceVersion, PolygonShape, Shape
from geo.fences.hours import WeeklyHours
from nearcast.store.engine import among, delete_keys, insert_new
from nearcast.store.tables import area, fence, fence_area, fence_group, fence_group_member, fence_version

MAX_MS = 2**62  # the end of what is not over

#: what an attribute column holds; the shape and the external id have columns of their own
_TEXTS = ("name", "brand", "category", "store", "address")


@dataclass(frozen=True, kw_only=True)
class StoredFence:
    """A fence as it is now."""

    id: int
    version: int
    fence: Fence
    area_km2: float
    time_zone: str
    created_ms: int
    updated_ms: int
    campaign_id: int | None
    deleted: bool


def attributes_of(value: Fence) -> dict[str, Any]:
    """A fence's JSON attributes, without what is absent."""
    found: dict[str, Any] = {name: getattr(value, name) for name in _TEXTS}
    found |= {
        "external_id": value.external_id,
        "groups": list(value.groups),
        "tags": list(value.tags),
        "metadata": dict(value.metadata),
        "opening_hours": value.opening_hours.to_json() if value.opening_hours else None,
        "valid_from": value.valid_from.isoformat() if value.valid_from else None,
        "valid_until": value.valid_until.isoformat() if value.valid_until else None,
        "dwell_after_s": value.dwell_after_s,
        "disabled": not value.enabled,
    }
    return {name: kept for name, kept in found.items() if kept not in (None, [], {}, False)}


def fence_of(attributes: Mapping[str, Any], shape: Shape) -> Fence:
    """A fence from its JSON attributes and its shape."""
    hours = attributes.get("opening_hours")
    return Fence(
        shape=shape,
        name=attributes["name"],
        external_id=attributes.get("external_id"),
        groups=tuple(attributes.get("groups", ())),
        tags=tuple(attributes.get("tags", ())),
        brand=attributes.get("brand"),
        category=attributes.get("category"),
        store=attributes.get("store"),
        address=attributes.get("address"),
        metadata=dict(attributes.get("metadata", {})),
        enabled=not attributes.get("disabled", False),
        opening_hours=WeeklyHours.parse(hours) if hours else None,
        valid_from=_instant(attributes.get("valid_from")),
        valid_until=_instant(attributes.get("valid_until")),
        dwell_after_s=attributes.get("dwell_after_s"),
    )


def insert(conn: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """New fences; returns their serials in the order given."""
    if not rows:
        return []
    statement = sa.insert(fence).returning(fence.c.id, sort_by_parameter_order=True)
    return [row.id for row in conn.execute(statement, [dict(row) for row in rows])]


def update(conn: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Overwrite the current columns of fences; each row names its `id`."""
    if rows:
        columns = {name: sa.bindparam(f"v_{name}") for name in rows[0] if name != "id"}
        conn.execute(
            sa.update(fence).where(fence.c.id == sa.bindparam("v_id")).values(**columns),
            [{f"v_{name}": value for name, value in row.items()} for row in rows],
        )


def add_versions(conn: sa.Connection, rows: Sequence[Mapping[str, Any]], *, now_ms: int) -> None:
    """New versions from now on; the ones before them end now."""
    fence_ids = [row["fence_id"] for row in rows]
    end_versions(conn, fence_ids, now_ms=now_ms)
    insert_new(conn, fence_version, rows)


def end_versions(conn: sa.Connection, fence_ids: Sequence[int], *, now_ms: int) -> None:
    """The newest versions of these fences end now."""
    if not fence_ids:
        return
    newest = among(conn, fence_version.c.fence_id, list(fence_ids)) & (
        fence_version.c.until_ms == MAX_MS
    )
    ends = sa.case((fence_version.c.live_until_ms < now_ms, fence_version.c.live_until_ms), else_=now_ms)
    conn.execute(sa.update(fence_version).where(newest).values(until_ms=now_ms, live_until_ms=ends))


def version_row(
    *, fence_id: int, version: int, value: Fence, time_zone: str, now_ms: int, actor: str
) -> dict[str, Any]:
    """A version's row; a disabled fence is live at no time."""
    starts = _ms(value.valid_from, now_ms)
    live_from_ms = max(now_ms, starts)
    live_until_ms = _ms(value.valid_until, MAX_MS) if value.enabled else live_from_ms
    shape = value.shape
    circle = shape if isinstance(shape, CircleShape) else None
    return {
        "fence_id": fence_id,
        "version": version,
        "from_ms": now_ms,
        "until_ms": MAX_MS,
        "live_from_ms": live_from_ms,
        "live_until_ms": max(live_until_ms, live_from_ms),
        "time_zone": time_zone,
        "lon": circle.lon if circle else None,
        "lat": circle.lat if circle else None,
        "radius_m": circle.radius_m if circle else None,
        "wkb": None if isinstance(shape, CircleShape) else shapely.to_wkb(shape.geometry),
        "attributes": attributes_of(value),
        "actor": actor,
    }


def live_versions(conn: sa.Connection, workspace_id: int, since_ms: int) -> list[FenceVersion]:
    """Every version that was live after an instant, of deleted fences too: late pings ask for them."""
    query = (
        _versions()
        .where(
            fence.c.workspace_id == workspace_id,
            fence_version.c.live_until_ms > since_ms,
            fence_version.c.live_until_ms > fence_version.c.live_from_ms,
        )
        .order_by(fence_version.c.fence_id, fence_version.c.version)
    )
    return _decode_versions(conn.execute(query).mappings().all())


def versions_of(conn: sa.Connection, fence_id: int) -> list[sa.RowMapping]:
    """The versions of a fence as they were written, the newest first."""
    query = sa.select(fence_version).where(fence_version.c.fence_id == fence_id)
    return list(conn.execute(query.order_by(fence_version.c.version.desc())).mappings())


def get(conn: sa.Connection, *, workspace_id: int, fence_ids: Sequence[int]) -> dict[int, StoredFence]:
    """Living fences of a workspace by serial."""
    return {
        found.id: found
        for found in _stored(
            conn,
            (fence.c.workspace_id == workspace_id)
            & fence.c.deleted_ms.is_(None)
            & among(conn, fence.c.id, list(fence_ids)),
        )
    }


def by_external(
    conn: sa.Connection, *, workspace_id: int, external_ids: Sequence[str]
) -> dict[str, StoredFence]:
    """Living fences of a workspace by the user's own key."""
    wanted = (
        (fence.c.workspace_id == workspace_id)
        & fence.c.deleted_ms.is_(None)
        & among(conn, fence.c.external_id, list(external_ids))
    )
    return {str(found.fence.external_id): found for found in _stored(conn, wanted)}


def of_group(conn: sa.Connection, *, workspace_id: int, group: str) -> list[StoredFence]:
    """Living fences of a group, by name."""
    members = (
        sa.select(fence_group_member.c.fence_id)
        .join(fence_group, fence_group.c.id == fence_group_member.c.group_id)
        .where(fence_group.c.workspace_id == workspace_id, fence_group.c.name == group)
    )
    return _stored(conn, fence.c.id.in_(members) & fence.c.deleted_ms.is_(None))


def listed(
    conn: sa.Connection,
    *,
    workspace_id: int,
    after_id: int,
    limit: int,
    fence_ids: Sequence[int] | None = None,
    group: str | None = None,
    name_part: str | None = None,
) -> tuple[list[StoredFence], int]:
    """A page of living fences in order of their serials, and how many there are in all.

    Fences given inside a campaign are not listed.
    """
    wanted = (
        (fence.c.workspace_id == workspace_id)
        & fence.c.deleted_ms.is_(None)
        & fence.c.campaign_id.is_(None)
    )
    if fence_ids is not None:
        wanted &= among(conn, fence.c.id, list(fence_ids))
    if name_part:
        wanted &= fence.c.name.icontains(name_part, autoescape=True)
    if group:
        wanted &= fence.c.id.in_(_members_of(workspace_id, group))
    total = conn.execute(sa.select(sa.func.count()).select_from(fence).where(wanted)).scalar_one()
    page = sa.select(fence.c.id).where(wanted, fence.c.id > after_id).order_by(fence.c.id).limit(limit)
    ids = list(conn.execute(page).scalars())
    return _stored(conn, among(conn, fence.c.id, ids)) if ids else [], total


def mark_deleted(conn: sa.Connection, fence_ids: Sequence[int], *, now_ms: int) -> None:
    """Delete fences: their versions end, their history stays."""
    end_versions(conn, fence_ids, now_ms=now_ms)
    conn.execute(
        sa.update(fence).where(among(conn, fence.c.id, list(fence_ids))).values(deleted_ms=now_ms)
    )


# --- groups and areas -------------------------------------------------------------------------------


def ensure_groups(
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


def set_groups(conn: sa.Connection, groups_by_fence: Mapping[int, Iterable[int]]) -> None:
    """Make these the groups of the fences."""
    delete_keys(conn, fence_group_member, [{"fence_id": f} for f in groups_by_fence])
    rows = [
        {"group_id": group, "fence_id": f} for f, groups in groups_by_fence.items() for group in groups
    ]
    insert_new(conn, fence_group_member, rows)


def groups(conn: sa.Connection, workspace_id: int) -> list[sa.RowMapping]:
    """The groups of a workspace with the number of their living fences."""
    alive = sa.func.count(fence.c.id).label("fences")
    query = (
        sa.select(fence_group, alive)
        .outerjoin(fence_group_member, fence_group_member.c.group_id == fence_group.c.id)
        .outerjoin(
            fence,
            (fence.c.id == fence_group_member.c.fence_id) & fence.c.deleted_ms.is_(None),
        )
        .where(fence_group.c.workspace_id == workspace_id)
        .group_by(fence_group.c.id)
        .order_by(fence_group.c.name)
    )
    return list(conn.execute(query).mappings())


def set_areas(conn: sa.Connection, areas_by_fence: Mapping[int, Iterable[int]]) -> None:
    """Make these the areas that hold the fences' representative points."""
    delete_keys(conn, fence_area, [{"fence_id": f} for f in areas_by_fence])
    rows = [{"fence_id": f, "area_id": area_id} for f, ids in areas_by_fence.items() for area_id in ids]
    insert_new(conn, fence_area, rows)


def areas_of(conn: sa.Connection, fence_ids: Sequence[int]) -> dict[int, list[int]]:
    """Fence → the areas that hold it."""
    query = sa.select(fence_area).where(among(conn, fence_area.c.fence_id, list(fence_ids)))
    found: dict[int, list[int]] = {fence_id: [] for fence_id in fence_ids}
    for row in conn.execute(query.join(area, area.c.id == fence_area.c.area_id).order_by(area.c.id)):
        found[row.fence_id].append(row.area_id)
    return found


def _members_of(workspace_id: int, group: str) -> sa.Select[tuple[int]]:
    return (
        sa.select(fence_group_member.c.fence_id)
        .join(fence_group, fence_group.c.id == fence_group_member.c.group_id)
        .where(fence_group.c.workspace_id == workspace_id, fence_group.c.name == group)
    )


def _versions() -> sa.Select[Any]:
    return sa.select(fence_version, fence.c.external_id).join(
        fence, fence.c.id == fence_version.c.fence_id
    )


def _stored(conn: sa.Connection, wanted: sa.ColumnElement[bool]) -> list[StoredFence]:
    query = (
        sa.select(fence_version, *(fence.c[name] for name in _OF_FENCE))
        .join(
            fence,
            (fence.c.id == fence_version.c.fence_id) & (fence.c.version == fence_version.c.version),
        )
        .where(wanted)
        .order_by(fence.c.id)
    )
    rows = conn.execute(query).mappings().all()
    return [
        StoredFence(
            id=row["fence_id"],
            version=row["version"],
            fence=decoded.fence,
            area_km2=row["area_km2"],
            time_zone=row["time_zone"],
            created_ms=row["created_ms"],
            updated_ms=row["updated_ms"],
            campaign_id=row["campaign_id"],
            deleted=row["deleted_ms"] is not None,
        )
        for row, decoded in zip(rows, _decode_versions(rows), strict=True)
    ]


_OF_FENCE = ("area_km2", "created_ms", "updated_ms", "campaign_id", "deleted_ms")


def _decode_versions(rows: Sequence[sa.RowMapping]) -> list[FenceVersion]:
    geometries = shapely.from_wkb(np.array([row["wkb"] for row in rows], object))
    return [
        FenceVersion(
            fence_id=row["fence_id"],
            version=row["version"],
            live_from_ms=row["live_from_ms"],
            live_until_ms=row["live_until_ms"],
            time_zone=row["time_zone"],
            fence=fence_of(row["attributes"], _shape(row, geometry)),
        )
        for row, geometry in zip(rows, geometries, strict=True)
    ]


def _shape(row: sa.RowMapping, geometry: Any) -> Shape:
    if geometry is None:
        return CircleShape(lon=row["lon"], lat=row["lat"], radius_m=row["radius_m"])
    return PolygonShape(geometry=geometry)


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _ms(at: datetime | None, otherwise: int) -> int:
    return otherwise if at is None else round(at.astimezone(UTC).timestamp() * 1000)
