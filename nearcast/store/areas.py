"""Area layers: regions and trade areas."""

from __future__ import annotations

from collections.abc import Sequence

import shapely
import sqlalchemy as sa

from geo.areas import Area, AreaLayer
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


def names(conn: sa.Connection, area_ids: Sequence[int]) -> dict[int, tuple[str, str]]:
    """Area → its layer's kind and its own name."""
    query = (
        sa.select(area.c.id, area_layer.c.kind, area.c.name)
        .join(area_layer, area_layer.c.id == area.c.layer_id)
        .where(among(conn, area.c.id, list(area_ids)))
    )
    return {row.id: (row.kind, row.name) for row in conn.execute(query)}


def delete(conn: sa.Connection, layer_id: int) -> None:
    """Forget a layer, its areas and who lies in them."""
    own = sa.select(area.c.id).where(area.c.layer_id == layer_id)
    conn.execute(sa.delete(fence_area).where(fence_area.c.area_id.in_(own)))
    conn.execute(sa.delete(area).where(area.c.layer_id == layer_id))
    conn.execute(sa.delete(area_layer).where(area_layer.c.id == layer_id))
