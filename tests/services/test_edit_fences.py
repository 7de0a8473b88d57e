"""Saving fences: versions, keys, groups, areas, many at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import shapely
import sqlalchemy as sa

from campaigns.campaign.plans import Plan
from geo.areas import Area, AreaLayer
from geo.fences.fence import CircleShape, Fence, PolygonShape
from nearcast.services import edit_areas, edit_fences, group_fences
from nearcast.services.edit_fences import Change, Saved, Wanted, save_fences, time_zone_of
from nearcast.services.errors import AlreadyExists, Invalid, NotAllowedNow, PlanRequired
from nearcast.services.find_fences import Near, find_fences
from nearcast.store import areas, fences, workspaces
from nearcast.store.engine import in_transaction, reading
from nearcast.store.fences import Filter, StoredFence
from tests.world import GANGNAM, World


def _circle(name: str, lon: float = 127.0276, lat: float = 37.4979, **more: Any) -> Fence:
    return Fence(name=name, shape=CircleShape(lon=lon, lat=lat, radius_m=100.0), **more)


def _save(
    world: World, *wanted: Fence | Wanted, plan: Plan = Plan.PREMIUM, now_ms: int = 0
) -> list[Saved]:
    items = [w if isinstance(w, Wanted) else Wanted(fence=w, area_km2=0.03) for w in wanted]
    return in_transaction(
        world.engine,
        lambda conn: save_fences(
            conn, items, workspace_id=world.workspace_id, plan=plan, now_ms=now_ms, actor="t"
        ),
    )


def _stored(world: World, fence_id: int) -> StoredFence:
    wanted = {"workspace_id": world.workspace_id, "fence_ids": [fence_id]}
    return reading(world.engine, lambda conn: fences.get(conn, **wanted))[fence_id]


def _version(world: World) -> int:
    return reading(world.engine, lambda conn: workspaces.version(conn, world.workspace_id))


def test_many_new_changed_and_same_in_one_call(engine: sa.Engine) -> None:
    world = World(engine)
    first = _save(world, *(_circle(f"f{n}", external_id=f"{n}") for n in range(6)))
    stored = [_stored(world, saved.fence_id) for saved in first]
    mixed = [
        Wanted(fence=stored[0].fence, area_km2=0.03, before=stored[0]),
        Wanted(fence=_circle("new"), area_km2=0.03),
        Wanted(fence=replace(stored[2].fence, name="other"), area_km2=0.03, before=stored[2]),
        Wanted(fence=_circle("newer"), area_km2=0.03),
    ]
    saved = _save(world, *mixed, now_ms=9)

    assert [s.change for s in first] == [Change.NEW] * 6
    assert [s.change for s in saved] == [Change.SAME, Change.NEW, Change.CHANGED, Change.NEW]
    assert [s.version for s in saved] == [1, 1, 2, 1]
    assert [_stored(world, s.fence_id).fence.name for s in saved] == ["f0", "new", "other", "newer"]


def test_saying_nothing_new_tells_nobody(sqlite_engine: sa.Engine) -> None:
    world = World(sqlite_engine)
    stored = _stored(world, _save(world, _circle("a", tags=("x",)))[0].fence_id)
    before = _version(world)
    _save(world, Wanted(fence=stored.fence, area_km2=stored.area_km2, before=stored), now_ms=5)

    assert _version(world) == before
    _save(world, Wanted(fence=replace(stored.fence, tags=()), area_km2=0.03, before=stored))
    assert _version(world) == before + 1


def test_a_polygon_drawn_from_another_corner_is_the_same(sqlite_engine: sa.Engine) -> None:
    world = World(sqlite_engine)
    ring = [(127.0, 37.0), (127.1, 37.0), (127.1, 37.1), (127.0, 37.1)]
    drawn = [
        Fence(name="p", shape=PolygonShape(geometry=shapely.Polygon(r)))
        for r in (ring, ring[2:] + ring[:2])
    ]
    stored = _stored(world, _save(world, drawn[0])[0].fence_id)

    (again,) = _save(world, Wanted(fence=drawn[1], area_km2=1.0, before=stored))
    assert again.change is Change.SAME


def test_a_batch_with_a_fault_saves_nothing(engine: sa.Engine) -> None:
    world = World(engine)
    _save(world, _circle("a", external_id="taken"))
    for wanted, refusal in (
        ([_circle("b"), _circle("")], Invalid),
        ([_circle("b"), _circle("x" * 201)], Invalid),
        ([_circle("b"), _circle("c", metadata={str(n): "" for n in range(17)})], Invalid),
        ([_circle("b"), _circle("c", dwell_after_s=0)], Invalid),
        ([_circle("b"), _circle("c", external_id="taken")], AlreadyExists),
        ([_circle("b", external_id="k"), _circle("c", external_id="k")], AlreadyExists),
    ):
        with pytest.raises(refusal):
            _save(world, *wanted)
    listed = reading(
        engine,
        lambda c: fences.listed(c, workspace_id=world.workspace_id, after_id=0, limit=9),
    )
    assert [stored.fence.name for stored in listed[0]] == ["a"]


def test_groups_are_made_as_they_are_named_and_need_their_plan(engine: sa.Engine) -> None:
    world = World(engine)
    _save(world, _circle("a", groups=("g", "h")), _circle("b", groups=("h",)))
    in_group = reading(engine, lambda c: fences.of_group(c, workspace_id=world.workspace_id, group="h"))

    assert [stored.fence.name for stored in in_group] == ["a", "b"]
    with pytest.raises(PlanRequired, match="Basic"):
        _save(world, _circle("c", groups=("g",)), plan=Plan.LITE)
    assert _save(world, _circle("c"), plan=Plan.LITE)[0].change is Change.NEW


def test_leaving_a_group_is_a_version_that_the_snapshot_shows(sqlite_engine: sa.Engine) -> None:
    world = World(sqlite_engine)
    fence_id = _save(world, _circle("a", groups=("g",)))[0].fence_id
    author = world.author()

    def verb(conn: sa.Connection) -> None:
        group_fences.remove_members(conn, 1, [fence_id], author=author)

    in_transaction(sqlite_engine, verb)
    snapshot = world.snapshots.current(world.workspace_id, now_ms=author.now_ms)
    newest = max(snapshot.index.versions, key=lambda version: version.version)

    assert (newest.version, newest.fence.groups) == (2, ())


@pytest.mark.parametrize(
    ("lon", "lat", "zone"),
    [
        (127.0, 37.5, "Asia/Seoul"),
        (-74.0, 40.7, "America/New_York"),
        (179.9, -17.0, "Pacific/Fiji"),
        (0.0, 90.0, None),
        (-30.0, 30.0, None),  # the open sea
    ],
)
def test_each_fence_has_the_clock_of_its_place(lon: float, lat: float, zone: str | None) -> None:
    found = time_zone_of(CircleShape(lon=lon, lat=lat, radius_m=100.0))

    assert found == zone if zone else found.startswith(("Etc/", "UTC", "Arctic/", "Antarctica/"))


def test_a_fence_across_180_lies_in_the_box_of_both_sides(engine: sa.Engine) -> None:
    world = World(engine)
    halves = shapely.MultiPolygon(
        [shapely.box(179.9, -17, 180, -16.9), shapely.box(-180, -17, -179.9, -16.9)]
    )
    polygon = Fence(name="split", shape=PolygonShape(geometry=halves))
    _save(world, polygon, _circle("circle", lon=179.9995, lat=-16.0))

    def found(box: tuple[float, float, float, float]) -> list[str]:
        listed, _ = reading(
            engine,
            lambda c: fences.listed(
                c, workspace_id=world.workspace_id, after_id=0, limit=9, only=Filter(box=box)
            ),
        )
        return [stored.fence.name for stored in listed]

    assert found((179.0, -18.0, 179.95, -15.0)) == ["split"]
    assert found((-180.0, -18.0, -179.9999, -15.0)) == ["split", "circle"]
    assert found((-179.95, -18.0, -179.0, -15.0)) == ["split"]
    assert found((-170.0, -18.0, 170.0, -15.0)) == []


def test_near_reaches_circles_and_polygons_across_180_and_counts_the_inside(
    sqlite_engine: sa.Engine,
) -> None:
    world = World(sqlite_engine)
    polygon = Fence(name="p", shape=PolygonShape(geometry=shapely.box(127.0, 37.5, 127.1, 37.6)))
    _save(world, polygon, _circle("c", lon=179.9999, lat=0.0))

    def near(lon: float, lat: float, radius_m: float) -> list[str]:
        found, total = reading(
            sqlite_engine,
            lambda c: find_fences(
                c,
                workspace_id=world.workspace_id,
                only=Filter(),
                near=Near(lon=lon, lat=lat, radius_m=radius_m),
                after_id=0,
                limit=9,
            ),
        )
        assert total == len(found)
        return [stored.fence.name for stored in found]

    assert near(127.05, 37.55, 1.0) == ["p"]  # far from its rim, but inside
    assert near(127.05, 37.4991, 101.0) == ["p"]  # 100 m south of it
    assert near(127.05, 37.4991, 99.0) == []
    assert near(-179.999, 0.0, 25.0) == ["c"]  # 122 m from the centre across 180°, 22 m from the rim
    assert near(-179.999, 0.0, 20.0) == []


def test_a_deleted_fence_leaves_at_once_and_a_used_one_stays(engine: sa.Engine) -> None:
    world = World(engine)
    free, used = (world.fence(name, GANGNAM) for name in ("free", "used"))
    campaign_id = world.campaign(targeting={"fence_ids": [used]})

    def delete(fence_id: int) -> None:
        in_transaction(
            engine,
            lambda conn: edit_fences.delete_fences(
                conn,
                [_stored(world, fence_id)],
                workspace_id=world.workspace_id,
                now_ms=world.clock.now_ms(),
                actor="t",
            ),
        )

    before = _version(world)
    delete(free)
    assert _version(world) == before + 1
    with pytest.raises(NotAllowedNow, match=f"cmp_{campaign_id}"):
        delete(used)


def test_areas_are_learned_at_each_save_and_by_other_workspaces_not(engine: sa.Engine) -> None:
    world = World(engine)
    layer = AreaLayer((Area(name="강남구", code=None, geometry=shapely.box(127.0, 37.4, 127.1, 37.6)),))

    def add(conn: sa.Connection) -> int:
        return edit_areas.add_layer(
            conn,
            layer,
            [],
            workspace_id=world.workspace_id,
            name="gu",
            kind="region",
            now_ms=0,
            actor="t",
        ).layer_id

    before = _save(world, _circle("before"))[0].fence_id
    layer_id = in_transaction(engine, add)
    inside, away = (s.fence_id for s in _save(world, _circle("in"), _circle("out", lon=128.0)))

    def names(fence_id: int) -> list[str]:
        found = reading(engine, lambda conn: areas.names_of_fences(conn, [fence_id]))
        return [name for _, name in found[fence_id]]

    assert [names(f) for f in (before, inside, away)] == [["강남구"], ["강남구"], []]
    stored = _stored(world, inside)
    moved = replace(stored.fence, shape=replace(stored.fence.shape, lon=128.0))
    _save(world, Wanted(fence=moved, area_km2=0.03, before=stored))
    assert names(inside) == []

    def drop(conn: sa.Connection) -> None:
        edit_areas.delete_layer(conn, layer_id, workspace_id=world.workspace_id, now_ms=0, actor="t")

    in_transaction(engine, drop)
    assert names(before) == []
    again = _save(world, _circle("after"))[0].fence_id
    assert names(again) == []
