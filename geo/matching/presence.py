"""Live transitions: enter, dwell and exit of a device at a fence (product P3, P4), said plainly.

Transitions are messages about now: they look at fixes younger than the staleness bound, in the order
in which they come. Visits (`visits.py`) do not depend on any order; both read the same verdicts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from geo.fences.fence import PresenceRules
from geo.matching.tables import Floats, Ints


class Kind(StrEnum):
    """What happened between a device and a fence."""

    ENTER = "enter"
    DWELL = "dwell"
    EXIT = "exit"


class Cause(StrEnum):
    """Why a transition is known."""

    FIX = "fix"
    SILENCE = "silence"
    FENCE_EDIT = "fence_edit"
    PRESUMED = "presumed"
    CROSSING = "crossing"


#: codes in columns of events: the place in these
KINDS = tuple(Kind)
CAUSES = tuple(Cause)

#: the dwell thresholds (seconds) somebody listens to, by row of the fence version in the index
DwellsOf = Callable[[int], Sequence[int]]


def no_dwells(fence: int) -> Sequence[int]:
    """Nobody listens to any dwell."""
    return ()


@dataclass(frozen=True, kw_only=True)
class PresencePolicy:
    """How evidence becomes visits and verdicts become transitions; all are settings of a workspace.

    Attributes:
        gap_s: evidence no further apart belongs to one visit (product P6).
        min_visit_s: a shorter stay is a pass-by.
        staleness_s: older fixes never send (product P4).
        amend_horizon_s: older pings are refused (product P5); at least a day.
        exit_fixes, exit_span_s: an exit needs so many out fixes over so long (product P3).
        far_sigma, far_m: two out fixes in a row as far as the greater of both leave at once.
    """

    gap_s: int = 30 * 60
    min_visit_s: int = 5 * 60
    staleness_s: int = 10 * 60
    amend_horizon_s: int = 7 * 24 * 3600
    exit_fixes: int = 2
    exit_span_s: int = 300
    far_sigma: float = 4.0
    far_m: float = 100.0


@dataclass(frozen=True, kw_only=True)
class ExitRules:
    """When out fixes become an exit, as columns: one row a fence version (product P3).

    Attributes: as in `PresencePolicy`, spans in ms.
    """

    fixes: Ints
    span_ms: Ints
    far_sigma: Floats
    far_m: Floats

    @classmethod
    def of(cls, policy: PresencePolicy, rows: int, own: Mapping[int, PresenceRules]) -> ExitRules:
        """The policy's for so many rows, but for what some have of their own."""
        rules = cls(
            fixes=np.full(rows, policy.exit_fixes, np.int64),
            span_ms=np.full(rows, policy.exit_span_s * 1000, np.int64),
            far_sigma=np.full(rows, policy.far_sigma, np.float64),
            far_m=np.full(rows, policy.far_m, np.float64),
        )
        for row, its in own.items():
            if its.exit_fixes is not None:
                rules.fixes[row] = its.exit_fixes
            if its.exit_span_s is not None:
                rules.span_ms[row] = its.exit_span_s * 1000
            if its.far_sigma is not None:
                rules.far_sigma[row] = its.far_sigma
            if its.far_m is not None:
                rules.far_m[row] = its.far_m
        return rules

    def take(self, rows: Ints) -> ExitRules:
        """The rules of these fence rows, in that order."""
        return ExitRules(
            fixes=self.fixes[rows],
            span_ms=self.span_ms[rows],
            far_sigma=self.far_sigma[rows],
            far_m=self.far_m[rows],
        )

    def policy_at(self, fence: int, policy: PresencePolicy) -> PresencePolicy:
        """The policy with this fence row's own rules in place of the workspace's."""
        return replace(
            policy,
            exit_fixes=int(self.fixes[fence]),
            exit_span_s=int(self.span_ms[fence]) // 1000,
            far_sigma=float(self.far_sigma[fence]),
            far_m=float(self.far_m[fence]),
        )


class Fix(NamedTuple):
    """One judged fix of a device at one fence; a tuple, because a batch makes thousands.

    Attributes:
        ping: its row in the batch.
        verdict: 1 in, 0 undecided, -1 out (`certainty.Verdict`).
        rim_m: signed metres to the rim, negative inside.
        fresh: young enough to send.
    """

    ping: int
    at_ms: int
    verdict: int
    p: float
    rim_m: float
    sigma_m: float
    lon: float
    lat: float
    fresh: bool
    fence: int = 0  # row of the fence version that is live at its instant


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """The unbroken run of out fixes since the newest in fix; empty when `fixes` is 0."""

    first_ms: int = 0
    last_ms: int = 0
    fixes: int = 0
    far: int = 0
    lon: float = 0.0
    lat: float = 0.0


NO_RUN = Run()


@dataclass(frozen=True, kw_only=True, slots=True)
class Live:
    """Where the live machine of one device at one fence stands.

    Attributes:
        inside: entered (or silently returned) and not exited.
        arrived_ms, left_ms: first and last in fix of the newest visit.
        told_ms: the longest dwell of this visit that a fresh fix has shown; -1 while none has, so
            that its enter is still to come.
        presumed_ms: the longest dwell of this visit that was presumed without a fix; -1: none.
    """

    inside: bool
    arrived_ms: int
    left_ms: int
    told_ms: int
    presumed_ms: int = -1
    run: Run = NO_RUN


@dataclass(frozen=True, kw_only=True, slots=True)
class Transition:
    """Something that happened, to be sent on.

    Attributes:
        fence: row of the fence version in the index.
        ping: the batch row that shows it, -1 where none does.
        at_ms: the trigger instant: the in fix of an enter or dwell, the first out fix of an exit,
            the last in fix of an exit by silence.
        seen_ms: the instant of the fix that showed it.
        arrived_ms: arrival of the visit it belongs to.
        dwell_s: the threshold that a dwell has passed, else None.
        initial: an enter of a device that was not seen within the gap before.
        again: a proven dwell that was presumed before; who was told then is not told again.
        suspect: shown by a fix that cannot be true: decided about, told to nobody (product P8).
    """

    device: int
    fence: int
    fence_id: int
    ping: int
    kind: Kind
    at_ms: int
    seen_ms: int
    arrived_ms: int
    p: float
    rim_m: float
    dwell_s: int | None = None
    initial: bool = False
    cause: Cause = Cause.FIX
    again: bool = False
    suspect: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """A step of the live machine before it is addressed: what, by which fix, dated when.

    `again`: a dwell that was presumed before it was proven; who was told then is not told again.
    """

    kind: Kind
    fix: Fix
    at_ms: int
    arrived_ms: int
    dwell_s: int | None = None
    cause: Cause = Cause.FIX
    again: bool = False


def step(
    live: Live | None,
    fixes: Sequence[Fix],
    *,
    policy: PresencePolicy,
    dwells_s: DwellsOf = no_dwells,
    rules: ExitRules | None = None,
) -> tuple[Live | None, list[Event]]:
    """Advance one device at one fence by its judged fixes: the plain twin of `stay_rounds`.

    Args:
        live: where the machine stands; None: this device has no evidence here.
        fixes: in time order; in fixes newer than `live.left_ms`, others than `newest_ms(live)`.
        dwells_s: thresholds somebody listens to, by fence row.
        rules: exit rules by fence row; None: the policy's everywhere.
    Returns:
        The new state (None while no in fix was seen) and the events in time order; a stale fix
        changes the state and makes no event. An enter that a stale fix could not fire is fired by
        the first fresh in fix of the same visit.
    Source: product P3, P4; notes/certainty.md §6 (policy e2).
    """
    events: list[Event] = []
    for fix in fixes:
        if fix.verdict > 0:
            live = _go_in(live, fix, policy, dwells_s, events)
        elif live is not None and live.inside:
            here = policy if rules is None else rules.policy_at(fix.fence, policy)
            live = _go_out(live, fix, here, events)
    return live, events


def newest_ms(live: Live) -> int:
    """The newest instant the machine has taken account of; older out fixes pass it by."""
    return max(live.left_ms, live.run.last_ms)


def _go_in(
    live: Live | None, fix: Fix, policy: PresencePolicy, dwells_s: DwellsOf, events: list[Event]
) -> Live:
    if live is not None and fix.at_ms - live.left_ms <= policy.gap_s * 1000:
        arrived_ms, told_ms, presumed_ms = live.arrived_ms, live.told_ms, live.presumed_ms
    else:
        if live is not None and live.inside and live.told_ms >= 0 and fix.fresh:
            events.append(Event(Kind.EXIT, fix, live.left_ms, live.arrived_ms, cause=Cause.SILENCE))
        arrived_ms, told_ms, presumed_ms = fix.at_ms, -1, -1
    dwell_ms = fix.at_ms - arrived_ms
    if fix.fresh:
        if told_ms < 0:
            events.append(Event(Kind.ENTER, fix, fix.at_ms, arrived_ms))
        events += [
            Event(Kind.DWELL, fix, fix.at_ms, arrived_ms, dwell_s=n, again=n * 1000 <= presumed_ms)
            for n in sorted(set(dwells_s(fix.fence)))
            if told_ms < n * 1000 <= dwell_ms
        ]
        told_ms = max(told_ms, dwell_ms)
    return Live(
        inside=True,
        arrived_ms=arrived_ms,
        left_ms=fix.at_ms,
        told_ms=told_ms,
        presumed_ms=presumed_ms,
    )


def _go_out(live: Live, fix: Fix, policy: PresencePolicy, events: list[Event]) -> Live:
    heard_ms = max(live.left_ms, live.run.last_ms if live.run.fixes else 0)
    if fix.at_ms - heard_ms > policy.gap_s * 1000:  # undecided fixes bridge no silence
        if fix.fresh and live.told_ms >= 0:
            silent = Event(Kind.EXIT, fix, live.left_ms, live.arrived_ms, cause=Cause.SILENCE)
            events.append(silent)
        return replace(live, inside=False, run=_broken(fix))
    run = _extend(live.run, fix, policy) if fix.verdict < 0 else _broken(fix)
    span_ms = run.last_ms - run.first_ms
    left = run.far >= 2 or (run.fixes >= policy.exit_fixes and span_ms >= policy.exit_span_s * 1000)
    if left and fix.fresh and live.told_ms >= 0:
        events.append(Event(Kind.EXIT, fix, run.first_ms, live.arrived_ms))
    return replace(live, inside=not left, run=run)


def _broken(fix: Fix) -> Run:
    """An undecided fix ends the run; it stays known as seen."""
    return Run(last_ms=fix.at_ms)


def _extend(run: Run, fix: Fix, policy: PresencePolicy) -> Run:
    if run.fixes and (run.lon, run.lat) == (fix.lon, fix.lat):
        # a cached fix sent again says nothing new (product P8); it counts once
        return replace(run, last_ms=fix.at_ms)
    is_far = fix.rim_m >= max(policy.far_sigma * fix.sigma_m, policy.far_m)
    return Run(
        first_ms=run.first_ms if run.fixes else fix.at_ms,
        last_ms=fix.at_ms,
        fixes=run.fixes + 1,
        far=run.far + 1 if is_far else 0,
        lon=fix.lon,
        lat=fix.lat,
    )
