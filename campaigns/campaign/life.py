"""The life of a campaign: its states and the moves between them (product C3)."""

from __future__ import annotations

from enum import StrEnum

from geo.errors import NearcastError


class State(StrEnum):
    """Where a campaign stands."""

    DRAFT = "draft"
    TEST = "test"
    STANDBY = "standby"
    RUNNING = "running"
    PAUSED = "paused"
    ENDED = "ended"
    ARCHIVED = "archived"


#: what a person may ask for; source: product C3
MOVES: dict[State, tuple[State, ...]] = {
    State.DRAFT: (State.TEST, State.STANDBY),
    State.TEST: (State.DRAFT, State.STANDBY, State.RUNNING),
    State.STANDBY: (State.DRAFT, State.RUNNING),
    State.RUNNING: (State.PAUSED, State.ENDED),
    State.PAUSED: (State.RUNNING, State.ENDED),
    State.ENDED: (State.ARCHIVED,),
    State.ARCHIVED: (),
}

#: states in which a campaign listens to pings
LISTENING = frozenset({State.TEST, State.RUNNING})
EDITABLE = frozenset({State.DRAFT, State.TEST, State.STANDBY, State.RUNNING, State.PAUSED})


class IllegalMove(NearcastError):
    """The campaign cannot go there from its present state."""

    code = "illegal_move"

    def __init__(self, current: State, wanted: State) -> None:
        self.allowed = MOVES[current]
        ways = ", ".join(self.allowed) or "none: it is the last state"
        super().__init__(f"A campaign in '{current}' cannot become '{wanted}'. Allowed: {ways}.")


def move(current: State, wanted: State) -> State:
    """The new state, or `IllegalMove` with the moves that are allowed."""
    if wanted not in MOVES[current]:
        raise IllegalMove(current, wanted)
    return wanted


def move_by_clock(state: State, *, now_ms: int, start_ms: int, end_ms: int) -> State:
    """The state that the clock makes of this one: standby runs at the start, all end at the end.

    The period is `[start, end)`. Source: product C3.
    """
    if state in (State.RUNNING, State.PAUSED, State.STANDBY) and now_ms >= end_ms:
        return State.ENDED
    if state is State.STANDBY and now_ms >= start_ms:
        return State.RUNNING
    return state
