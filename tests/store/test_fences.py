"""Fences and their versions: over both databases."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import shapely
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from geo.fences.fence import CircleShape, Fence, PolygonShape
from geo.fences.hours import WeeklyHours
from nearcast.store import fences, workspaces
from nearcast.store.engine import Conflict, in_transaction, reading
from nearcast.store.fences import MAX_MS, Filter

CIRCLE = CircleShape(lon=127.0276, lat=37.4979, radius_m=150.0)
HOLED = PolygonShape(
    geometry=shapely.MultiPolygon(
        [
            shapely.Polygon(
                [(127, 37), (127.1, 37), (127.1, 37.1), (127, 37.1)],
                [[(127.02, 37.02), (127.02, 37.03), (127.03, 37.03)]],
            ),
            shapely.box(128, 37, 128.1, 37.1),
        ]
    )
)


@pytest.fixture
def workspace_id(engine: sa.Engine) -> int:
    return in_transaction(
        engine,
        lambda conn: workspaces.add(conn, name="W", plan="premium", time_zone="Asia/Seoul", now_ms=0),
    )


def _row(workspace_id: int, fence: Fence, **more: Any) -> dict[str, Any]:
    return {
        "workspace_id": workspace_id,
        "external_id": fence.external_id,
        "name": fence.name,
        "version": 1,
        "campaign_id": None,
        "area_km2": 1.0,
        "west": 127.0,
        "south": 37.0,
        "east": 127.1,
        "north": 37.1,
        "created_ms": 0,
        "updated_ms": 0,
    } | more


def _save(
    engine: sa.Engine, workspace_id: int, *saved: Fence, now_ms: int = 0, **more: Any
) -> list[int]:
    def verb(conn: sa.Connection) -> list[int]:
        ids = fences.take_serials(conn, len(saved))
        numbered = zip(ids, saved, strict=True)
        fences.insert(conn, [_row(workspace_id, fence, id=n, **more) for n, fence in numbered])
        _add_versions(conn, dict(zip(ids, saved, strict=True)), 1, now_ms)
        return ids

    return in_transaction(engine, verb)


def _add_versions(conn: sa.Connection, saved: dict[int, Fence], version: int, now_ms: int) -> None:
    rows = [
        fences.version_row(
            fence_id=fence_id,
            version=version,
            value=fence,
            time_zone="Asia/Seoul",
            now_ms=now_ms,
            actor="test",
        )
        for fence_id, fence in saved.items()
    ]
    fences.add_versions(conn, rows, ended=list(saved), now_ms=now_ms)


def _live(engine: sa.Engine, workspace_id: int, since_ms: int = -1) -> list[tuple[int, int, int]]:
    versions = reading(engine, lambda conn: fences.live_versions(conn, workspace_id, since_ms))
    return [(v.version, v.live_from_ms, v.live_until_ms) for v in versions]


def test_a_fence_comes_back_as_it_was_saved(engine: sa.Engine, workspace_id: int) -> None:
    full = Fence(
        name="강남점 'x' \"y\"",
        shape=HOLED,
        external_id="s/1",
        groups=("g",),
        tags=("t", "커피"),
        brand="Kepi",
        category="cafe",
        store="1",
        address="서울",
        metadata={"floor": "2"},
        enabled=False,
        opening_hours=WeeklyHours.parse({"fri": ["22:00-02:00"]}),
        valid_from=datetime(2026, 1, 1, tzinfo=UTC),
        valid_until=datetime(2027, 1, 1, tzinfo=UTC),
        dwell_after_s=60,
    )
    bare = Fence(name="bare", shape=CIRCLE)
    ids = _save(engine, workspace_id, full, bare)
    found = reading(engine, lambda c: fences.get(c, workspace_id=workspace_id, fence_ids=ids))

    assert [found[n].fence for n in ids] == [full, bare]
    assert found[ids[0]].fence.shape.geometry.equals_exact(HOLED.geometry, 0.0)
    by_key = reading(
        engine,
        lambda c: fences.by_external(c, workspace_id=workspace_id, external_ids=["s/1", "no"]),
    )
    assert {key: stored.id for key, stored in by_key.items()} == {"s/1": ids[0]}


def test_serials_come_in_the_order_given(engine: sa.Engine, workspace_id: int) -> None:
    names = [f"n{n}" for n in range(2_500)]
    ids = _save(engine, workspace_id, *(Fence(name=name, shape=CIRCLE) for name in names))
    found = reading(engine, lambda c: fences.get(c, workspace_id=workspace_id, fence_ids=ids))

    assert [found[n].fence.name for n in ids] == names


def test_a_new_version_ends_the_one_before(engine: sa.Engine, workspace_id: int) -> None:
    (fence_id,) = _save(engine, workspace_id, Fence(name="a", shape=CIRCLE), now_ms=100)
    in_transaction(
        engine, lambda conn: _add_versions(conn, {fence_id: Fence(name="b", shape=HOLED)}, 2, 250)
    )

    assert _live(engine, workspace_id) == [(1, 100, 250), (2, 250, MAX_MS)]
    assert _live(engine, workspace_id, since_ms=249) == [(1, 100, 250), (2, 250, MAX_MS)]
    assert _live(engine, workspace_id, since_ms=250) == [(2, 250, MAX_MS)]  # [from, until)
    newest, oldest = reading(engine, lambda conn: fences.versions_of(conn, fence_id))
    assert (newest["until_ms"], oldest["until_ms"]) == (MAX_MS, 250)
    assert fences.shape_of(oldest) == CIRCLE
    assert fences.shape_of(newest) == HOLED


def test_two_writers_of_one_version_are_not_both_believed(engine: sa.Engine, workspace_id: int) -> None:
    (fence_id,) = _save(engine, workspace_id, Fence(name="a", shape=CIRCLE))
    other = {fence_id: Fence(name="b", shape=CIRCLE)}
    in_transaction(engine, lambda conn: _add_versions(conn, other, 2, 5))

    with pytest.raises(sa.exc.IntegrityError), engine.begin() as conn:
        _add_versions(conn, other, 2, 6)
    assert _live(engine, workspace_id)[-1] == (2, 5, MAX_MS)


def test_the_live_time_is_cut_to_validity_and_empty_when_disabled(
    engine: sa.Engine, workspace_id: int
) -> None:
    for n, (more, live) in enumerate(
        (
            ({}, (1_000, MAX_MS)),
            ({"enabled": False}, None),
            ({"valid_from": datetime.fromtimestamp(2, UTC)}, (2_000, MAX_MS)),
            ({"valid_from": datetime.fromtimestamp(0, UTC)}, (1_000, MAX_MS)),
            ({"valid_until": datetime.fromtimestamp(3, UTC)}, (1_000, 3_000)),
            ({"valid_until": datetime.fromtimestamp(1, UTC)}, None),
            ({"valid_until": datetime.fromtimestamp(0, UTC)}, None),
        )
    ):
        _save(engine, workspace_id, Fence(name=f"{n}", shape=CIRCLE, **more), now_ms=1_000)
        versions = reading(engine, lambda conn: fences.live_versions(conn, workspace_id, -1))
        times = {v.fence.name: (v.live_from_ms, v.live_until_ms) for v in versions}
        assert times.get(f"{n}") == live, more


def test_a_deleted_fence_is_out_of_lists_but_late_pings_still_find_it(
    engine: sa.Engine, workspace_id: int
) -> None:
    (fence_id,) = _save(engine, workspace_id, Fence(name="a", shape=CIRCLE, external_id="k"))
    in_transaction(engine, lambda conn: fences.mark_deleted(conn, [fence_id], now_ms=500))

    assert _live(engine, workspace_id, since_ms=499) == [(1, 0, 500)]
    assert _live(engine, workspace_id, since_ms=500) == []
    wanted = {"workspace_id": workspace_id, "fence_ids": [fence_id]}
    assert reading(engine, lambda conn: fences.get(conn, **wanted)) == {}
    assert _save(engine, workspace_id, Fence(name="b", shape=CIRCLE, external_id="k")) != [fence_id]


def test_one_living_fence_a_key_and_workspace(engine: sa.Engine, workspace_id: int) -> None:
    other = in_transaction(
        engine,
        lambda c: workspaces.add(c, name="O", plan="lite", time_zone="Asia/Seoul", now_ms=0),
    )
    keyed = Fence(name="a", shape=CIRCLE, external_id="k")
    _save(engine, workspace_id, keyed)
    _save(engine, other, keyed)
    _save(engine, workspace_id, Fence(name="n", shape=CIRCLE), Fence(name="n", shape=CIRCLE))

    with pytest.raises((sa.exc.IntegrityError, Conflict)), engine.begin() as conn:
        fences.insert(conn, [_row(workspace_id, keyed, id=fences.take_serials(conn, 1)[0])])


def test_another_workspaces_fences_are_not_there(engine: sa.Engine, workspace_id: int) -> None:
    (fence_id,) = _save(engine, workspace_id, Fence(name="a", shape=CIRCLE, external_id="k"))
    other = workspace_id + 1

    def found(conn: sa.Connection) -> list[Any]:
        return [
            fences.get(conn, workspace_id=other, fence_ids=[fence_id]),
            fences.by_external(conn, workspace_id=other, external_ids=["k"]),
            fences.listed(conn, workspace_id=other, after_id=0, limit=9),
            fences.live_versions(conn, other, -1),
        ]

    assert reading(engine, found) == [{}, {}, ([], 0), []]


def test_fences_of_campaigns_are_matched_but_not_listed(engine: sa.Engine, workspace_id: int) -> None:
    _save(engine, workspace_id, Fence(name="a", shape=CIRCLE), campaign_id=7)

    listed = reading(engine, lambda c: fences.listed(c, workspace_id=workspace_id, after_id=0, limit=9))
    assert listed == ([], 0)
    assert len(_live(engine, workspace_id)) == 1


# --- lists ------------------------------------------------------------------------------------------


def _names(engine: sa.Engine, workspace_id: int, only: Filter) -> list[str]:
    found, total = reading(
        engine,
        lambda c: fences.listed(c, workspace_id=workspace_id, after_id=0, limit=99, only=only),
    )
    shapes = reading(engine, lambda c: fences.shapes(c, workspace_id=workspace_id, only=only))
    assert total == len(found) == len(shapes)
    assert [version.fence_id for version in shapes] == [stored.id for stored in found]
    return [stored.fence.name for stored in found]


def test_filters_hold_together(engine: sa.Engine, workspace_id: int) -> None:
    ids = _save(
        engine,
        workspace_id,
        Fence(name="Cafe_1", shape=CIRCLE, tags=("a", "b"), brand="X"),
        Fence(name="cafe 2", shape=CIRCLE, tags=("b",), brand="Y"),
        Fence(name="100%", shape=CIRCLE),
    )

    assert _names(engine, workspace_id, Filter(tag="b")) == ["Cafe_1", "cafe 2"]
    assert _names(engine, workspace_id, Filter(tag="b", brand="Y")) == ["cafe 2"]
    assert _names(engine, workspace_id, Filter(name_part="CAFE")) == ["Cafe_1", "cafe 2"]
    assert _names(engine, workspace_id, Filter(name_part="e_1")) == ["Cafe_1"]
    assert _names(engine, workspace_id, Filter(name_part="%")) == ["100%"]
    assert _names(engine, workspace_id, Filter(fence_ids=[ids[2], 999])) == ["100%"]
    assert _names(engine, workspace_id, Filter(fence_ids=[])) == []
    assert _names(engine, workspace_id, Filter(tag='"b"')) == []


def test_boxes_meet_across_180(engine: sa.Engine, workspace_id: int) -> None:
    _save(engine, workspace_id, Fence(name="seoul", shape=CIRCLE))
    fiji = {"west": 179.5, "south": -17.0, "east": 180.5, "north": -16.5}
    _save(engine, workspace_id, Fence(name="fiji", shape=CIRCLE), **fiji)

    for box, found in (
        ((127.1, 37.1, 128.0, 38.0), ["seoul"]),  # they touch: the rim belongs to both
        ((127.1001, 37.0, 128.0, 38.0), []),
        ((179.0, -18.0, 180.0, -16.0), ["fiji"]),
        ((-180.0, -18.0, -179.5, -16.0), ["fiji"]),
        ((-179.4, -18.0, -179.0, -16.0), []),
        ((170.0, -18.0, 190.0, -16.0), ["fiji"]),
        ((-180.0, -90.0, 180.0, 90.0), ["seoul", "fiji"]),
        ((0.0, 37.2, 360.0, 90.0), []),
    ):
        assert _names(engine, workspace_id, Filter(box=box)) == found, box


def test_pages_hold_every_fence_once(engine: sa.Engine, workspace_id: int) -> None:
    ids = _save(engine, workspace_id, *(Fence(name=f"{n}", shape=CIRCLE) for n in range(7)))

    def page(after_id: int) -> list[int]:
        found, total = reading(
            engine,
            lambda c: fences.listed(c, workspace_id=workspace_id, after_id=after_id, limit=3),
        )
        assert total == 7
        return [stored.id for stored in found]

    assert [page(after_id) for after_id in (0, ids[2], ids[5], ids[6])] == [
        ids[:3],
        ids[3:6],
        ids[6:],
        [],
    ]


@given(
    st.builds(
        Fence,
        name=st.text(min_size=1).filter(lambda t: "\0" not in t),
        shape=st.just(CIRCLE),
        tags=st.lists(st.text(), max_size=3).map(tuple),
        metadata=st.dictionaries(st.text(), st.text(), max_size=3),
        enabled=st.booleans(),
        dwell_after_s=st.none() | st.integers(1, 10**6),
        valid_from=st.none() | st.datetimes(timezones=st.just(UTC)),
    )
)
def test_attributes_survive_json(fence: Fence) -> None:
    assert fences.fence_of(fences.attributes_of(fence), CIRCLE) == fence


def test_ten_thousand_versions_are_read_in_one_go(engine: sa.Engine, workspace_id: int) -> None:
    _save(engine, workspace_id, *(Fence(name=f"{n}", shape=CIRCLE) for n in range(10_000)))
    statements: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *a: statements.append(a[2]))
    found = reading(engine, lambda conn: fences.live_versions(conn, workspace_id, 0))

    assert len(found) == 10_000
    assert len([s for s in statements if s.lower().startswith("select")]) == 1
