"""Loading layers: files in, areas kept, repairs reported."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa

from geo.areas import AreaLayer
from geo.frames import LayerUnreadable
from nearcast.services.edit_areas import Loaded, add_layer, delete_layer, read_layer
from nearcast.services.errors import AlreadyExists, Invalid, NotFound
from nearcast.store import areas
from nearcast.store.engine import in_transaction, reading
from nearcast.store.tables import audit
from tests.world import World

BOX = [[127.0, 37.4], [127.1, 37.4], [127.1, 37.5], [127.0, 37.5], [127.0, 37.4]]
CROSSED = [[127.0, 37.5], [127.02, 37.52], [127.02, 37.5], [127.0, 37.51], [127.0, 37.5]]


def _file(*rings: list[list[float]]) -> bytes:
    features = [
        {
            "type": "Feature",
            "properties": {"이름": f"a{n}", "code": n},
            "geometry": {"type": "Polygon", "coordinates": [ring]},
        }
        for n, ring in enumerate(rings)
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


def _add(world: World, data: bytes, *, name: str = "gu", kind: str = "region") -> Loaded:
    layer, repairs = read_layer(data, name_column="이름", code_column="code")
    return in_transaction(
        world.engine,
        lambda conn: add_layer(
            conn,
            layer,
            repairs,
            workspace_id=world.workspace_id,
            name=name,
            kind=kind,
            now_ms=3,
            actor="t",
        ),
    )


def test_a_file_becomes_a_layer_with_its_repairs(engine: sa.Engine) -> None:
    world = World(engine)
    loaded = _add(world, _file(BOX, CROSSED))
    layer, _ = reading(engine, lambda conn: areas.load(conn, world.workspace_id))

    assert loaded.areas == 2
    assert [(area.name, area.code) for area in layer.areas] == [("a0", "0"), ("a1", "1")]
    (repair,) = loaded.repairs
    assert (repair.name, repair.area_after_m2 > repair.area_before_m2) == ("a1", True)
    assert all(area.geometry.is_valid for area in layer.areas)


def test_a_layer_is_noted_and_shown_to_snapshots(sqlite_engine: sa.Engine) -> None:
    world = World(sqlite_engine)
    now_ms = world.clock.now_ms()
    before = world.snapshots.current(world.workspace_id, now_ms=now_ms).version
    loaded = _add(world, _file(BOX))

    assert world.snapshots.current(world.workspace_id, now_ms=now_ms).version == before + 1
    query = sa.select(audit.c.action, audit.c.object, audit.c.detail)
    lines = reading(sqlite_engine, lambda conn: conn.execute(query).all())
    assert ("area_layer.added", f"lay_{loaded.layer_id}", {"areas": 1}) in [tuple(r) for r in lines]


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"PK\x03\x04", b'{"type":"FeatureCollection","features":[]}']
)
def test_what_is_no_layer_is_unreadable(data: bytes) -> None:
    with pytest.raises(LayerUnreadable):
        read_layer(data, name_column="이름")


def test_kinds_and_names_are_checked(sqlite_engine: sa.Engine) -> None:
    world = World(sqlite_engine)
    with pytest.raises(Invalid) as refused:
        _add(world, _file(BOX), kind="planet")
    assert refused.value.errors[0].pointer == "/kind"

    _add(world, _file(BOX))
    with pytest.raises(AlreadyExists, match="gu"):
        _add(world, _file(BOX))
    _add(world, _file(BOX), name="t", kind="trade_area")
    listed = reading(sqlite_engine, lambda conn: areas.layers(conn, world.workspace_id))
    assert [row["name"] for row in listed] == ["gu", "t"]


def test_a_layer_of_nobodys_is_not_deleted(sqlite_engine: sa.Engine) -> None:
    world = World(sqlite_engine)
    layer_id = _add(world, _file(BOX)).layer_id

    def delete(workspace_id: int) -> None:
        in_transaction(
            sqlite_engine,
            lambda conn: delete_layer(conn, layer_id, workspace_id=workspace_id, now_ms=0, actor="t"),
        )

    with pytest.raises(NotFound):
        delete(world.workspace_id + 1)
    delete(world.workspace_id)
    with pytest.raises(NotFound):
        delete(world.workspace_id)
    layer, _ = reading(sqlite_engine, lambda conn: areas.load(conn, world.workspace_id))
    assert layer == AreaLayer(())
