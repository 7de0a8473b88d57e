"""The snapshot answers by R-tree at once, and by cells when their kernels are ready."""

from __future__ import annotations

import numpy as np
import pytest
import sqlalchemy as sa

from geo.fences.fence import CircleShape, Fence
from geo.matching.index import FenceIndex
from tests.world import GANGNAM, YEOKSAM, World


def names_at(world: World, place: tuple[float, float]) -> set[str]:
    snapshot = world.snapshots.current(world.workspace_id, now_ms=world.clock.now_ms())
    index = snapshot.index
    rows = index.match(
        lon=np.array([place[0]]), lat=np.array([place[1]]), at_ms=np.array([world.clock.now_ms()])
    ).fence
    return {index.versions[row].fence.name for row in rows.tolist()}


def test_the_switch_from_rtree_to_cells(engine: sa.Engine):
    world = World(engine)
    world.fence("강남", GANGNAM)
    assert names_at(world, GANGNAM) == {"강남"}
    assert world.snapshots.engine_of(world.workspace_id) == "rtree"
    told: list[str] = []
    world.snapshots.compile_aside(told.append).join()
    assert world.snapshots.engine_of(world.workspace_id) == "cells"
    assert len(told) == 1
    assert names_at(world, GANGNAM) == {"강남"}


def test_edits_change_the_blocks_of_the_edited_fence_only(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
):
    world = World(engine)
    first = world.fence("강남", GANGNAM)
    world.snapshots.compile_aside(lambda _: None).join()
    assert names_at(world, GANGNAM) == {"강남"}

    def never(*_args: object, **_columns: object) -> FenceIndex:
        raise AssertionError("built anew")

    monkeypatch.setattr(FenceIndex, "build", never)
    world.fence("역삼", YEOKSAM)
    assert names_at(world, YEOKSAM) == {"역삼"}
    world.clock.saw(world.clock.now_ms() + 60_000)
    moved = CircleShape(lon=YEOKSAM[0], lat=YEOKSAM[1], radius_m=100.0)
    world.save(Fence(name="강남, 옮김", shape=moved), 0.03, first)
    assert "강남, 옮김" in names_at(world, YEOKSAM)
    assert world.snapshots.engine_of(world.workspace_id) == "cells"
