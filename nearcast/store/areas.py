"""Area layers: regions and trade areas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import shapely
import sqlalchemy as sa

from geo.areas import Area, AreaLayer
from nearcast.store.bulk import insert_many
from nearcast.store.engine import among, insert_new
from nearcast.store.tables import area, area_layer, fence_area


def add(
    conn: sa.Connection, *, workspace_id: int, name: str, kind: str, areas: Sequence[Area], now_ms: int
) -> int:
    """Keep a layer with its areas; returns its serial."""
    statement = sa.insert(area_layer).values(
        workspace_id=workspace_id, name=name, kind=kind, created_ms=now_ms
    )
    layer_id = int(conn.execute(statement.returning(area_layer.c.id)).scalar_one())
    rows = [
        {"layer_id": layer_id, "name": a.name, "code": a.code, "wkb": shapely.to_wkb(a.geometry)}
        for a in areas
    ]
    insert_new(conn, area, rows)
    return layer_id


def layers(conn: sa.Connection, workspace_id: int) -> list[sa.RowMapping]:
    """The layers of a workspace with the number of their areas."""
    query = (
        sa.select(area_layer, sa.func.count(area.c.id).label("areas"))
        .outerjoin(area, area.c.layer_id == area_layer.c.id)
        .where(area_layer.c.workspace_id == workspace_id)
        .group_by(area_layer.c.id)
        .order_by(area_layer.c.id)
    )
    return list(conn.execute(query).mappings())


def version(conn: sa.Connection, workspace_id: int) -> tuple[tuple[int, str, int, int], ...]:
    """What tells whether the layers are those that were loaded before; () where there are none."""
    return tuple(
        (row["id"], row["name"], row["created_ms"], row["areas"]) for row in layers(conn, workspace_id)
    )


def load(conn: sa.Connection, workspace_id: int) -> tuple[AreaLayer, list[int]]:
    """All areas of a workspace's layers as one layer, and their serials, row by row."""
    query = (
        sa.select(area.c.id, area.c.name, area.c.code, area.c.wkb)
        .join(area_layer, area_layer.c.id == area.c.layer_id)
        .where(area_layer.c.workspace_id == workspace_id)
        .order_by(area.c.id)
    )
    rows = conn.execute(query).all()
    geometries = shapely.from_wkb([row.wkb for row in rows])
    areas = tuple(
        Area(name=row.name, code=row.code, geometry=geometry)
        for row, geometry in zip(rows, geometries, strict=True)
    )
    return AreaLayer(areas), [row.id for row in rows]


def clear_fences(conn: sa.Connection, fence_ids: Sequence[int]) -> None:
    """Forget which areas hold these fences."""
    if fence_ids:
        conn.execute(sa.delete(fence_area).where(among(conn, fence_area.c.fence_id, fence_ids)))


def add_fences(conn: sa.Connection, areas_by_fence: Mapping[int, Iterable[int]]) -> None:
    """Note areas that hold the fences' representative points."""
    rows = [{"fence_id": f, "area_id": area_id} for f, ids in areas_by_fence.items() for area_id in ids]
    insert_many(conn, fence_area, rows)


def names_of_fences(conn: sa.Connection, fence_ids: Sequence[int]) -> dict[int, list[tuple[str, str]]]:
    """Fence → the (kind, name) of the areas that hold it, in the order in which they were loaded."""
    query = (
        sa.select(fence_area.c.fence_id, area_layer.c.kind, area.c.name)
        .join(area, area.c.id == fence_area.c.area_id)
        .join(area_layer, area_layer.c.id == area.c.layer_id)
        .where(among(conn, fence_area.c.fence_id, list(fence_ids)))
        .order_by(area.c.id)
    )
    found: dict[int, list[tuple[str, str]]] = {fence_id: [] for fence_id in fence_ids}
    for row in conn.execute(query):
        found[row.fence_id].append((row.kind, row.name))
    return found


def delete(conn: sa.Connection, layer_id: int) -> None:
    """Forget a layer, its areas and who lies in them."""
    own = sa.select(area.c.id).where(area.c.layer_id == layer_id)
    conn.execute(sa.delete(fence_area).where(fence_area.c.area_id.in_(own)))
    conn.execute(sa.delete(area).where(area.c.layer_id == layer_id))
    conn.execute(sa.delete(area_layer).where(area_layer.c.id == layer_id))
