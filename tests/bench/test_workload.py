"""The benchmark's world is the same for all, and as crowded as it says."""

import numpy as np
import shapely

from bench import _workload
from bench.rivals import _shapes


def test_the_same_numbers_give_the_same_world() -> None:
    one, two = (_workload.make_fences(500) for _ in range(2))
    for name in _workload.Fences.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert not np.array_equal(one.lon, _workload.make_fences(500, seed=1).lon)


def test_a_saved_world_is_read_as_it_was(tmp_path) -> None:
    fences, pings = _workload.make_fences(50), _workload.make_pings(100)
    _workload.save(tmp_path / "w.npz", fences, pings)
    again, fixes = _workload.load(tmp_path / "w.npz")
    np.testing.assert_array_equal(again.vertex, fences.vertex)
    np.testing.assert_array_equal(again.first, fences.first)
    np.testing.assert_array_equal(fixes.accuracy_m, pings.accuracy_m)


def test_shares_and_sizes_are_those_of_the_specification() -> None:
    fences = _workload.make_fences(10_000)
    radius_m = fences.radius_m[fences.is_circle]
    corners = np.diff(fences.first)[~fences.is_circle]
    assert 0.28 < np.mean(~fences.is_circle) < 0.32
    assert radius_m.min() >= 50
    assert radius_m.max() <= 30_000
    assert np.sum(radius_m > 5_500) >= 50  # besides the 60 large ones few are
    assert corners.min() >= 5
    assert 500 < corners.max() < 2_000


def test_boxes_hold_their_shapes() -> None:
    fences = _workload.make_fences(300)
    boxes = shapely.box(*fences.boxes().T)
    assert shapely.covers(boxes, _shapes.drawn(fences)).all()


def test_polygons_are_valid_rings_of_their_own_vertices() -> None:
    fences = _workload.make_fences(300)
    polygons = _shapes.polygons(fences)
    assert [p is None for p in polygons] == fences.is_circle.tolist()
    some = polygons[~fences.is_circle]
    assert shapely.is_valid(some).mean() > 0.99
    counts = shapely.get_num_coordinates(some) - 1
    np.testing.assert_array_equal(counts, np.diff(fences.first)[~fences.is_circle])
