"""The reviewed change: pairing, states, what is missing."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo.sheets.changes import RowState, pair, review
from geo.sheets.problems import Problem

Thing = tuple[str, str | None, int]  # name, id, value


def _by_id(thing: Thing) -> Iterable[str]:
    return () if thing[1] is None else (thing[1],)


def _by_name(thing: Thing) -> Iterable[str]:
    return (thing[0],)


def _fits(row: Thing, there: Thing) -> bool:
    return None in (row[1], there[1]) or row[1] == there[1]


LEVELS = (_by_id, _by_name)


@pytest.mark.parametrize(
    ("incoming", "existing", "pairs"),
    [
        ([("a", None, 1)], [("a", None, 2)], [0]),
        ([("a", "1", 1)], [("b", "1", 2), ("a", "2", 3)], [0]),  # the id wins
        ([("a", "1", 1)], [("a", "2", 3)], [None]),  # other ids are others
        ([("a", "1", 1)], [("a", None, 3)], [0]),  # a code given later
        ([("a", None, 1)], [("a", "7", 3)], [0]),
        ([("a", None, 1), ("a", None, 2)], [("a", None, 3)], [None, None]),  # ambiguous
        ([("a", None, 1)], [("a", None, 3), ("a", None, 4)], [None]),
        ([("a", "1", 1), ("a", None, 2)], [("x", "1", 3), ("a", None, 4)], [0, 1]),
        ([], [("a", None, 1)], []),
    ],
)
def test_pairing(incoming: list[Thing], existing: list[Thing], pairs: list[int | None]) -> None:
    assert pair(incoming, existing, levels=LEVELS, fits=_fits) == pairs


THINGS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([None, "1", "2"]), st.integers(0, 2)),
    max_size=5,
)


@given(THINGS, THINGS)
def test_each_thing_is_paired_once_and_only_with_what_fits(
    incoming: list[Thing], existing: list[Thing]
) -> None:
    pairs = pair(incoming, existing, levels=LEVELS, fits=_fits)
    taken = [place for place in pairs if place is not None]
    assert len(taken) == len(set(taken))
    for row, place in zip(incoming, pairs, strict=True):
        if place is not None:
            there = existing[place]
            assert _fits(row, there)
            assert row[0] == there[0] or row[1] == there[1]


def _problem(row: int, sheet: str | None = None) -> Problem:
    return Problem(
        sheet=sheet, row=row, heading=None, cell=None, code="c", message_en="e", message_ko="k"
    )


def test_states_and_order() -> None:
    existing = [("same", None, 1), ("changed", None, 1), ("gone", None, 1), ("spared", None, 1)]
    rows = [(2, ("same", None, 1)), (4, ("changed", None, 9)), (5, ("new", None, 1))]
    found = review(
        rows,
        existing,
        pairs=[0, 1, None],
        merge=lambda _n, _before, after: after,
        problems=[_problem(3), _problem(3), _problem(6)],
        spared=frozenset({3}),
    )
    assert [(c.state, c.row, c.place) for c in found.changes] == [
        (RowState.SAME, 2, 0),
        (RowState.REFUSED, 3, None),
        (RowState.CHANGED, 4, 1),
        (RowState.NEW, 5, None),
        (RowState.REFUSED, 6, None),
        (RowState.MISSING, None, 2),
    ]
    assert len(found.changes[1].problems) == 2
    assert (found.changes[2].before, found.changes[2].after) == (existing[1], rows[1][1])
    assert found.counts == {
        RowState.NEW: 1,
        RowState.CHANGED: 1,
        RowState.SAME: 1,
        RowState.REFUSED: 2,
        RowState.MISSING: 1,
    }


def test_merging_decides_what_is_the_same() -> None:
    found = review(
        [(2, ("a", None, 5))],
        [("a", "7", 1)],
        pairs=[0],
        merge=lambda _n, before, _after: before,
    )
    assert found.changes[0].state is RowState.SAME


def test_rows_of_several_sheets_do_not_hide_each_other() -> None:
    found = review(
        [(2, ("a", None, 1)), (2, ("b", None, 1))],
        [],
        pairs=[None, None],
        merge=lambda _n, _before, after: after,
        problems=[_problem(3, "가"), _problem(2, "다")],
        sheets=["가", "나"],
    )
    assert [(c.sheet, c.row, c.state) for c in found.changes] == [
        ("가", 2, RowState.NEW),
        ("가", 3, RowState.REFUSED),
        ("나", 2, RowState.NEW),
        ("다", 2, RowState.REFUSED),
    ]


def test_what_is_out_of_scope_is_not_missing() -> None:
    found = review(
        [],
        [("a", None, 1), ("b", None, 1)],
        pairs=[],
        merge=lambda _n, _before, after: after,
        in_scope=lambda thing: thing[0] == "b",
    )
    assert [c.before for c in found.changes] == [("b", None, 1)]


KEYED = st.lists(st.lists(st.integers(0, 4), max_size=3), max_size=6)


def _paired_plainly(incoming, existing, levels, fits):
    """As the promise of `pair` reads: level by level, keys that one free thing on either side has."""
    paired: list[int | None] = [None] * len(incoming)
    for level in levels:
        free_in = [n for n in range(len(incoming)) if paired[n] is None]
        free_there = [n for n in range(len(existing)) if n not in paired]
        keys = dict.fromkeys(key for n in free_in for key in level(incoming[n]))
        for key in keys:
            askers = [n for n in free_in if key in level(incoming[n])]
            found = [n for n in free_there if key in level(existing[n])]
            if len(askers) != 1 or len(found) != 1:
                continue
            free = paired[askers[0]] is None and found[0] not in paired
            if free and fits(incoming[askers[0]], existing[found[0]]):
                paired[askers[0]] = found[0]
    return paired


@given(KEYED, KEYED)
def test_pairing_is_what_it_says(incoming, existing):
    levels = (lambda keys: keys[:1], lambda keys: keys[1:])

    def fits(one, other):
        return len(one) != 3 or len(other) != 2

    found = pair(incoming, existing, levels=levels, fits=fits)
    assert found == _paired_plainly(incoming, existing, levels, fits)


def test_same_is_told_by_value_not_by_identity():
    review_of = review(
        [(2, [1]), (3, [2])], [[1], [3]], pairs=[0, 1], merge=lambda _n, _before, after: list(after)
    )
    assert [change.state for change in review_of.changes] == [RowState.SAME, RowState.CHANGED]


def test_refused_rows_stand_where_they_stand_in_the_sheet():
    problem = Problem(
        sheet=None, row=3, heading=None, cell=None, code="x", message_en="x", message_ko="x"
    )
    found = review([(2, "a"), (4, "b")], [], pairs=[None, None], merge=_never, problems=[problem])
    assert [(c.row, c.state) for c in found.changes] == [
        (2, RowState.NEW), (3, RowState.REFUSED), (4, RowState.NEW),
    ]  # fmt: skip


def _never(_n, _before, _after):
    raise AssertionError("nothing is there to be merged")
