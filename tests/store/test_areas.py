"""Area layers: over both databases."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
import sqlalchemy as sa

from geo.areas import Area
from nearcast.store import areas, workspaces
from nearcast.store.engine import in_transaction, reading
from nearcast.store.tables import area, fence, fence_area

WEST = Area(name="서초구", code="11650", geometry=shapely.box(126.9, 37.4, 127.0, 37.5))
EAST = Area(name="강남구", code=None, geometry=shapely.box(127.0, 37.4, 127.1, 37.5))


@pytest.fixture
def workspace_id(engine: sa.Engine) -> int:
    return in_transaction(
        engine,
        lambda c: workspaces.add(c, name="W", plan="premium", time_zone="Asia/Seoul", now_ms=0),
    )


def _add(
    engine: sa.Engine, workspace_id: int, *listed: Area, name: str = "gu", kind: str = "region"
) -> int:
    return in_transaction(
        engine,
        lambda c: areas.add(c, workspace_id=workspace_id, name=name, kind=kind, areas=listed, now_ms=1),
    )


def _fence(engine: sa.Engine, workspace_id: int) -> int:
    values = {"workspace_id": workspace_id, "name": "f", "version": 1, "area_km2": 1.0}
    box = {"west": 0.0, "south": 0.0, "east": 0.0, "north": 0.0, "created_ms": 0, "updated_ms": 0}
    statement = sa.insert(fence).values(**values, **box).returning(fence.c.id)
    return in_transaction(engine, lambda conn: conn.execute(statement).scalar_one())


def test_a_layer_comes_back_as_it_was_added(engine: sa.Engine, workspace_id: int) -> None:
    layer_id = _add(engine, workspace_id, WEST, EAST)
    (row,) = reading(engine, lambda conn: areas.layers(conn, workspace_id))
    layer, serials = reading(engine, lambda conn: areas.load(conn, workspace_id))
    point, held = layer.holding(lon=np.array([127.0, 126.95, 0.0]), lat=np.array([37.45, 37.45, 0.0]))

    assert (row["id"], row["name"], row["kind"], row["areas"]) == (layer_id, "gu", "region", 2)
    assert layer.areas == (WEST, EAST)
    assert len(set(serials)) == 2
    assert list(zip(point.tolist(), held.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 0)]


def test_the_version_changes_with_every_layer(engine: sa.Engine, workspace_id: int) -> None:
    def version() -> object:
        return reading(engine, lambda conn: areas.version(conn, workspace_id))

    none = version()
    first = _add(engine, workspace_id, WEST)
    one = version()
    _add(engine, workspace_id, EAST, name="t", kind="trade_area")
    two = version()
    in_transaction(engine, lambda conn: areas.delete(conn, first))

    assert none == ()
    assert len({none, one, two, version()}) == 4


def test_a_layers_name_is_given_once_a_workspace(engine: sa.Engine, workspace_id: int) -> None:
    _add(engine, workspace_id, WEST)

    with pytest.raises(sa.exc.IntegrityError), engine.begin() as conn:
        areas.add(conn, workspace_id=workspace_id, name="gu", kind="region", areas=[], now_ms=1)


def test_fences_know_their_areas_until_the_layer_goes(engine: sa.Engine, workspace_id: int) -> None:
    layer_id = _add(engine, workspace_id, WEST, EAST)
    _add(engine, workspace_id, EAST, name="t", kind="trade_area")
    _, serials = reading(engine, lambda conn: areas.load(conn, workspace_id))
    one, other = _fence(engine, workspace_id), _fence(engine, workspace_id)

    def names() -> dict[int, list[tuple[str, str]]]:
        return reading(engine, lambda conn: areas.names_of_fences(conn, [one, other]))

    in_transaction(engine, lambda c: areas.add_fences(c, {one: serials, other: serials[:1]}))
    assert names() == {
        one: [("region", "서초구"), ("region", "강남구"), ("trade_area", "강남구")],
        other: [("region", "서초구")],
    }
    in_transaction(engine, lambda c: areas.clear_fences(c, [one]))
    in_transaction(engine, lambda c: areas.add_fences(c, {one: serials[1:2]}))
    assert names() == {one: [("region", "강남구")], other: [("region", "서초구")]}

    in_transaction(engine, lambda conn: areas.delete(conn, layer_id))
    assert names() == {one: [], other: []}
    left = sa.select(sa.func.count()).select_from(area)
    linked = sa.select(sa.func.count()).select_from(fence_area)
    assert reading(engine, lambda conn: conn.execute(left).scalar_one()) == 1
    assert reading(engine, lambda conn: conn.execute(linked).scalar_one()) == 0


def test_another_workspaces_layers_are_not_there(engine: sa.Engine, workspace_id: int) -> None:
    _add(engine, workspace_id, WEST)
    layer, serials = reading(engine, lambda conn: areas.load(conn, workspace_id + 1))

    assert (layer.areas, serials) == ((), [])
    assert reading(engine, lambda conn: areas.layers(conn, workspace_id + 1)) == []
