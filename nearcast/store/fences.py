"""Fences and their versions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import shapely
import sqlalchemy as sa

from geo.fences.fence import CircleShape, Fence, FenceVersion, PolygonShape, PresenceRules, Shape
from geo.fences.hours import WeeklyHours
from nearcast.store import bulk
from nearcast.store import groups as group_store
from nearcast.store.engine import Conflict, among
from nearcast.store.tables import fence, fence_version

MAX_MS = 2**62  # the end of what is not over

_DECODED_AT_ONCE = 5_000  # rows that are held beside what is made of them
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
        "presence": _own_rules(value),
        "disabled": not value.enabled,
    }
    return {name: kept for name, kept in found.items() if kept not in (None, [], {}, False)}


def _own_rules(value: Fence) -> dict[str, Any]:
    own = asdict(value.presence) if value.presence else {}
    return {name: rule for name, rule in own.items() if rule is not None}


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
        presence=PresenceRules(**attributes["presence"]) if "presence" in attributes else None,
    )


def take_serials(conn: sa.Connection, count: int) -> list[int]:
    """Serials for new fences."""
    return bulk.take_serials(conn, fence, count)


def insert(conn: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """New fences, each with its serial."""
    bulk.insert_many(conn, fence, rows)


def update(conn: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Overwrite the current columns of living fences; each row names its `id`.

    Raises:
        Conflict: one of them was deleted meanwhile.
    """
    if rows:
        columns: dict[str, Any] = {name: sa.bindparam(f"v_{name}") for name in rows[0] if name != "id"}
        living = (fence.c.id == sa.bindparam("v_id")) & fence.c.deleted_ms.is_(None)
        done = conn.execute(
            sa.update(fence).where(living).values(**columns),
            [{f"v_{name}": value for name, value in row.items()} for row in rows],
        )
        if done.rowcount != len(rows):
            raise Conflict


def add_versions(
    conn: sa.Connection, rows: Sequence[Mapping[str, Any]], *, ended: Sequence[int], now_ms: int
) -> None:
    """New versions from now on; those that the `ended` fences had end now.

    Of two writers that made the same version at once, one gets an `IntegrityError` and begins again.
    """
    end_versions(conn, ended, now_ms=now_ms)
    bulk.insert_many(conn, fence_version, rows)


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


def newest(conn: sa.Connection, fence_ids: Collection[int]) -> dict[int, FenceVersion]:
    """Serial → the newest version of a fence, of deleted ones too."""
    query = sa.select(fence_version).select_from(_CURRENT)
    rows = conn.execute(query.where(among(conn, fence.c.id, sorted(fence_ids)))).mappings().all()
    return {found.fence_id: found for found in _decode_versions(rows)}


def at_versions(conn: sa.Connection, wanted: Sequence[tuple[int, int]]) -> dict[int, Fence]:
    """Serial → the fence as it was in a version, for pairs of serial and version."""
    by_version: dict[int, list[int]] = {}
    for fence_id, version in wanted:
        by_version.setdefault(version, []).append(fence_id)
    found: dict[int, Fence] = {}
    for version, fence_ids in by_version.items():
        of_these = among(conn, fence_version.c.fence_id, fence_ids)
        query = sa.select(fence_version).where(of_these, fence_version.c.version == version)
        rows = conn.execute(query).mappings().all()
        found |= {old.fence_id: old.fence for old in _decode_versions(rows)}
    return {fence_id: found[fence_id] for fence_id, _ in wanted}


def revive(conn: sa.Connection, fence_ids: Sequence[int]) -> None:
    """Deleted fences are there again; the caller gives them a new version."""
    if fence_ids:
        conn.execute(
            sa.update(fence).where(among(conn, fence.c.id, list(fence_ids))).values(deleted_ms=None)
        )


def of_group(conn: sa.Connection, *, workspace_id: int, group: str) -> list[StoredFence]:
    """Living fences of a group, by name."""
    members = group_store.members_of(workspace_id, group)
    return _stored(conn, fence.c.id.in_(members) & fence.c.deleted_ms.is_(None))


def all_of(conn: sa.Connection, *, workspace_id: int, only: Filter | None = None) -> list[StoredFence]:
    """Every living fence that a list would show, in order of their serials."""
    return _stored(conn, _wanted(conn, workspace_id, only or Filter()))


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which fences a list shows; what is None does not matter.

    Attributes:
        box: (west, south, east, north) in degrees, west < east, east may pass 180; fences are kept
            whose own box meets it.
        name_part: some part of the name, in any case.
    """

    fence_ids: Sequence[int] | None = None
    box: tuple[float, float, float, float] | None = None
    group: str | None = None
    tag: str | None = None
    brand: str | None = None
    name_part: str | None = None


def listed(
    conn: sa.Connection,
    *,
    workspace_id: int,
    after_id: int,
    limit: int,
    only: Filter | None = None,
) -> tuple[list[StoredFence], int]:
    """A page of living fences in order of their serials, and how many there are in all.

    Fences given inside a campaign are not listed.
    """
    wanted = _wanted(conn, workspace_id, only or Filter())
    count = sa.select(sa.func.count()).select_from(_CURRENT).where(wanted)
    total = conn.execute(count).scalar_one()
    page = sa.select(fence.c.id).select_from(_CURRENT).where(wanted, fence.c.id > after_id)
    ids = list(conn.execute(page.order_by(fence.c.id).limit(limit)).scalars())
    return _stored(conn, among(conn, fence.c.id, ids)) if ids else [], total


def shapes(conn: sa.Connection, *, workspace_id: int, only: Filter) -> list[FenceVersion]:
    """The shapes of all fences that a list would show, as they are now."""
    query = (
        sa.select(fence_version)
        .select_from(_CURRENT)
        .where(_wanted(conn, workspace_id, only))
        .order_by(fence.c.id)
    )
    return _decode_versions(conn.execute(query).mappings().all())


def _wanted(conn: sa.Connection, workspace_id: int, only: Filter) -> sa.ColumnElement[bool]:
    wanted = [
        fence.c.workspace_id == workspace_id,
        fence.c.deleted_ms.is_(None),
        fence.c.campaign_id.is_(None),
    ]
    if only.fence_ids is not None:
        wanted.append(among(conn, fence.c.id, list(only.fence_ids)))
    if only.box is not None:
        wanted.append(_meets(*only.box))
    if only.group is not None:
        wanted.append(fence.c.id.in_(group_store.members_of(workspace_id, only.group)))
    if only.tag is not None:
        wanted.append(_has_tag(conn, only.tag))
    if only.brand is not None:
        wanted.append(fence_version.c.attributes["brand"].as_string() == only.brand)
    if only.name_part:
        wanted.append(fence.c.name.icontains(only.name_part, autoescape=True))
    return sa.and_(*wanted)


def _meets(west: float, south: float, east: float, north: float) -> sa.ColumnElement[bool]:
    """Fences' boxes reach from -180 to beyond 180: the wanted box is tried a turn to either side."""
    in_latitude = (fence.c.south <= north) & (fence.c.north >= south)
    in_longitude = [
        (fence.c.west <= east + turn) & (fence.c.east >= west + turn) for turn in (-360.0, 0.0, 360.0)
    ]
    return in_latitude & sa.or_(*in_longitude)


def _has_tag(conn: sa.Connection, tag: str) -> sa.ColumnElement[bool]:
    attributes = fence_version.c.attributes
    if conn.dialect.name == "postgresql":
        tags = sa.func.json_array_elements_text(attributes["tags"]).column_valued("tag_of_fence")
        return sa.exists(sa.select(sa.literal(1)).where(tags == tag))
    each = sa.func.json_each(attributes, "$.tags").table_valued("value", name="tag_of_fence")
    return sa.exists(sa.select(sa.literal(1)).where(each.c.value == tag))


def mark_deleted(conn: sa.Connection, fence_ids: Sequence[int], *, now_ms: int) -> None:
    """Delete fences: their versions end, their history stays."""
    end_versions(conn, fence_ids, now_ms=now_ms)
    conn.execute(
        sa.update(fence).where(among(conn, fence.c.id, list(fence_ids))).values(deleted_ms=now_ms)
    )


def _versions() -> sa.Select[Any]:
    return sa.select(fence_version, fence.c.external_id).join(
        fence, fence.c.id == fence_version.c.fence_id
    )


def _stored(conn: sa.Connection, wanted: sa.ColumnElement[bool]) -> list[StoredFence]:
    query = (
        sa.select(fence_version, *(fence.c[name] for name in _OF_FENCE))
        .select_from(_CURRENT)
        .where(wanted)
        .order_by(fence.c.id)
    )
    found: list[StoredFence] = []
    for rows in conn.execute(query).mappings().partitions(_DECODED_AT_ONCE):
        found += [
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
    return found


#: every fence with its newest version
_CURRENT = fence.join(
    fence_version,
    (fence.c.id == fence_version.c.fence_id) & (fence.c.version == fence_version.c.version),
)
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


def shape_of(row: sa.RowMapping) -> Shape:
    """The shape of a version's row."""
    return _shape(row, shapely.from_wkb(row["wkb"]))


def _shape(row: sa.RowMapping, geometry: Any) -> Shape:
    if geometry is None:
        return CircleShape(lon=row["lon"], lat=row["lat"], radius_m=row["radius_m"])
    return PolygonShape(geometry=geometry)


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _ms(at: datetime | None, otherwise: int) -> int:
    return otherwise if at is None else round(at.astimezone(UTC).timestamp() * 1000)
