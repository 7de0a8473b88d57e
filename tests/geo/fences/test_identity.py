"""Rows matched with fences that are there, and laid over them."""

from dataclasses import replace
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo.fences.fence import CircleShape, Fence
from geo.fences.hours import WeeklyHours
from geo.fences.identity import (
    Identity,
    _by_external_id,
    _by_name,
    _by_name_and_address,
    _may_be_same,
    conflict_keys,
    identity_of,
    laid_over,
    review_fences,
)
from geo.sheets.changes import RowState, pair

HERE = CircleShape(lon=127.0, lat=37.0, radius_m=100.0)
THERE = CircleShape(lon=128.0, lat=37.0, radius_m=100.0)
ALL = frozenset({"name", "shape", "external_id", "groups", "tags", "brand", "address", "metadata"})


def _fence(name: str, **kwargs: object) -> Fence:
    return Fence(name=name, **{"shape": HERE, "groups": ("g",), **kwargs})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("row", "existing", "state"),
    [
        (_fence("a"), _fence("a"), RowState.SAME),
        (_fence("a", shape=THERE), _fence("a"), RowState.CHANGED),
        (_fence("b", external_id="1"), _fence("a", external_id="1"), RowState.CHANGED),
        (_fence("a", external_id="1"), _fence("a", external_id="2"), RowState.NEW),
        (_fence("a", external_id="1"), _fence("a"), RowState.CHANGED),  # a code given later
        (_fence("a"), _fence("a", external_id="1"), RowState.SAME),  # an empty cell takes none away
        (_fence("a", address="y"), _fence("a", address="x"), RowState.CHANGED),  # moved, not doubled
        (_fence("a", groups=("h",)), _fence("a"), RowState.NEW),
        (_fence("a", groups=("h",)), _fence("a", groups=("g", "h")), RowState.SAME),
        (_fence("a"), _fence(" a\u00a0"), RowState.SAME),
    ],
)
def test_which_fence_a_row_means(row: Fence, existing: Fence, state: RowState) -> None:
    review = review_fences([(2, row)], [existing], given=ALL, scope=frozenset())
    assert [change.state for change in review.changes] == [state]


def test_two_of_a_name_are_told_apart_by_address() -> None:
    existing = [_fence("a", address="x"), _fence("a", address="y")]
    rows = [(2, _fence("a", address="y", brand="b")), (3, _fence("a", address="z"))]
    review = review_fences(rows, existing, given=ALL)
    # row 2 is the one at y; row 3 is then the only other of its name, moved from x to z
    assert [(c.state, c.place) for c in review.changes] == [(RowState.CHANGED, 1), (RowState.CHANGED, 0)]


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
        (RowState.SAME, "kept"),
        (RowState.MISSING, "gone"),
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


SOME = st.builds(
    _fence,
    st.sampled_from(["a", "b", "c"]),
    external_id=st.sampled_from([None, "1", "2"]),
    groups=st.sampled_from([(), ("g",), ("g", "h")]),
    address=st.sampled_from([None, "x", "y"]),
)


@given(st.lists(SOME, max_size=5), st.lists(SOME, max_size=5), st.lists(SOME, max_size=2))
def test_rows_that_meet_nothing_are_rightly_passed_over(rows, existing, refused):
    """The pairing of all rows with all that is there, without leaving any out."""
    asked = [identity_of(fence) for fence in (*rows, *refused)]
    there = [identity_of(fence) for fence in existing]
    levels = (_by_external_id, _by_name_and_address, _by_name)
    pairs = pair(asked, there, levels=levels, fits=_may_be_same)
    found = review_fences(
        list(enumerate(rows, 2)),
        existing,
        given=ALL,
        refused=dict(enumerate(map(identity_of, refused), 90)),
        scope=frozenset({"g", "h"}),
    )
    assert [c.place for c in found.changes if c.row is not None] == pairs[: len(rows)]
    missing = [c.place for c in found.changes if c.state is RowState.MISSING]
    assert missing == [n for n, f in enumerate(existing) if n not in pairs and f.groups]


def test_nothing_new_leaves_the_very_same_fence():
    before = _fence(" a", tags=("t ",), metadata=MappingProxyType({"memo": "m", "floor": "3"}))
    after = _fence("a", tags=("t",), metadata=MappingProxyType({"memo": "m"}))
    assert laid_over(before, after, given=ALL) is before
