"""The life of a campaign: every pair of states, and what the clock does (product C3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.campaign.life import EDITABLE, LISTENING, MOVES, IllegalMove, State, move, move_by_clock

#: product C3, written out once more by hand
LEGAL = {
    ("draft", "test"),
    ("draft", "standby"),
    ("test", "draft"),
    ("test", "standby"),
    ("test", "running"),
    ("standby", "draft"),
    ("standby", "running"),
    ("running", "paused"),
    ("paused", "running"),
    ("running", "ended"),
    ("paused", "ended"),
    ("ended", "archived"),
}
START, END = 1_000, 2_000


@pytest.mark.parametrize("current", list(State))
@pytest.mark.parametrize("wanted", list(State))
def test_each_pair_of_states(current: State, wanted: State) -> None:
    if (current.value, wanted.value) in LEGAL:
        assert move(current, wanted) is wanted
    else:
        with pytest.raises(IllegalMove) as refused:
            move(current, wanted)
        assert refused.value.code == "illegal_move"
        assert set(refused.value.allowed) == {w for c, w in LEGAL if c == current.value}
        assert current.value in refused.value.message


def test_every_state_but_the_first_is_reached() -> None:
    reached = {wanted for ways in MOVES.values() for wanted in ways}

    assert reached == set(State)  # draft too: a test goes back to it


@pytest.mark.parametrize(
    ("state", "now_ms", "after"),
    [
        (State.STANDBY, START - 1, State.STANDBY),
        (State.STANDBY, START, State.RUNNING),
        (State.STANDBY, END - 1, State.RUNNING),
        (State.STANDBY, END, State.ENDED),  # nobody looked at it in all its period
        (State.RUNNING, START - 1, State.RUNNING),  # started by hand before its period
        (State.RUNNING, END - 1, State.RUNNING),
        (State.RUNNING, END, State.ENDED),
        (State.PAUSED, END - 1, State.PAUSED),
        (State.PAUSED, END, State.ENDED),
        (State.DRAFT, END, State.DRAFT),
        (State.TEST, END, State.TEST),
        (State.ENDED, START, State.ENDED),
        (State.ARCHIVED, START, State.ARCHIVED),
    ],
)
def test_what_the_clock_moves(state: State, now_ms: int, after: State) -> None:
    assert move_by_clock(state, now_ms=now_ms, start_ms=START, end_ms=END) is after


@given(st.sampled_from(State), st.lists(st.integers(0, 3_000), max_size=8))
def test_looking_more_often_leads_to_the_same_state(state: State, looks: list[int]) -> None:
    once = move_by_clock(state, now_ms=3_000, start_ms=START, end_ms=END)
    often = state
    for now_ms in [*sorted(looks), 3_000]:
        often = move_by_clock(often, now_ms=now_ms, start_ms=START, end_ms=END)

    assert often is once


def test_nothing_listens_or_changes_after_the_end() -> None:
    assert {State.ENDED, State.ARCHIVED}.isdisjoint(LISTENING | EDITABLE)
    assert sorted(LISTENING) == [State.RUNNING, State.TEST]
