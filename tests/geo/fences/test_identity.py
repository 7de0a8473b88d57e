"""Rows matched with fences that are there, and laid over them."""

from dataclasses import replace
from types import MappingProxyType

import pytest

from geo.fences.fence import CircleShape, Fence
from geo.fences.hours import WeeklyHours
from geo.fences.identity import Identity, conflict_keys, laid_over, review_fences
from geo.sheets.changes import State

HERE = CircleShape(lon=127.0, lat=37.0, radius_m=100.0)
THERE = CircleShape(lon=128.0, lat=37.0, radius_m=100.0)
ALL = frozenset({"name", "shape", "external_id", "groups", "tags", "brand", "address", "metadata"})


def _fence(name: str, **kwargs: object) -> Fence:
    return Fence(name=name, **{"shape": HERE, "groups": ("g",), **kwargs})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("row", "existing", "state"),
    [
        (_fence("a"), _fence("a"), State.SAME),
        (_fence("a", shape=THERE), _fence("a"), State.CHANGED),
        (_fence("b", external_id="1"), _fence("a", external_id="1"), State.CHANGED),
        (_fence("a", external_id="1"), _fence("a", external_id="2"), State.NEW),
        (_fence("a", external_id="1"), _fence("a"), State.CHANGED),  # a code given later
        (_fence("a"), _fence("a", external_id="1"), State.SAME),  # an empty cell takes none away
        (_fence("a", address="y"), _fence("a", address="x"), State.CHANGED),  # moved, not doubled
        (_fence("a", groups=("h",)), _fence("a"), State.NEW),
        (_fence("a", groups=("h",)), _fence("a", groups=("g", "h")), State.SAME),
        (_fence("a"), _fence(" a\u00a0"), State.SAME),
    ],
)
def test_which_fence_a_row_means(row: Fence, existing: Fence, state: State) -> None:
    review = review_fences([(2, row)], [existing], given=ALL, scope=frozenset())
    assert [change.state for change in review.changes] == [state]


def test_two_of_a_name_are_told_apart_by_address() -> None:
    existing = [_fence("a", address="x"), _fence("a", address="y")]
    rows = [(2, _fence("a", address="y", brand="b")), (3, _fence("a", address="z"))]
    review = review_fences(rows, existing, given=ALL)
    # row 2 is the one at y; row 3 is then the only other of its name, moved from x to z
    assert [(c.state, c.place) for c in review.changes] == [(State.CHANGED, 1), (State.CHANGED, 0)]


def test_missing_are_those_of_the_files_groups_that_no_row_names() -> None:
    existing = [
        _fence("gone"),
        _fence("elsewhere", groups=("h",)),
        _fence("refused", external_id="9"),
        _fence("kept"),
    ]
    review = review_fences(
        [(2, _fence("kept"))],
        existing,
        given=ALL,
        refused={3: Identity(name=None, external_id="9")},
    )
    assert [(c.state, c.before and c.before.name) for c in review.changes] == [
        (State.SAME, "kept"),
        (State.MISSING, "gone"),
    ]


def test_laying_over_touches_only_what_the_file_speaks_about() -> None:
    before = _fence(
        "a",
        brand="old",
        groups=("g", "by hand"),
        tags=("t",),
        opening_hours=WeeklyHours.parse({"mon": ["09:00-18:00"]}),
        metadata=MappingProxyType({"floor": "3", "memo": "old"}),
        enabled=False,
        dwell_after_s=60,
    )
    after = _fence("b", brand=None, groups=("new", "g"), shape=THERE)
    assert laid_over(before, after, given=frozenset({"shape"})) == replace(before, shape=THERE)
    assert laid_over(before, after, given=ALL) == replace(
        before,
        name="b",
        brand=None,
        shape=THERE,
        groups=("g", "by hand", "new"),
        tags=(),
        metadata={"floor": "3"},
    )


def test_conflict_keys() -> None:
    one = Identity(name="a", external_id="7", groups=("g", "h"), address="x")
    assert conflict_keys(one) == (
        ("external_id", "7"),
        ("name", "g", "a", "x", "7"),
        ("name", "h", "a", "x", "7"),
    )
    assert conflict_keys(Identity(name="a")) == (("name", None, "a", None, None),)
