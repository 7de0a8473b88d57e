"""Why somebody did, or did not, get a campaign's message at an instant (product C10).

A candidate leaves a decision, which says why by itself. Where nothing triggered there is no record:
the reason is worked out here from what is known of the campaign, the fixes and the visits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from campaigns.campaign.life import LISTENING, State
from campaigns.deciding.explain_words import Sentence, decision_words, worked_out_words
from geo.matching.certainty import Verdict
from geo.matching.presence import Kind


class Worked(StrEnum):
    """A reason that no decision records, because there was no candidate (api.md)."""

    NO_TRIGGER = "no_trigger"
    STALE_PING = "stale_ping"
    CAMPAIGN_NOT_RUNNING = "campaign_not_running"
    OUTSIDE_PERIOD = "outside_period"
    APP_MISMATCH = "app_mismatch"
    FENCE_DISABLED = "fence_disabled"
    QUARANTINED = "quarantined"


class Because(StrEnum):
    """What stands behind a worked-out reason."""

    NEVER_SEEN_HERE = "never_seen_here"
    STATE = "state"
    NO_TEST_ID = "no_test_id"
    BEFORE_PERIOD = "before_period"
    AFTER_PERIOD = "after_period"
    NO_FENCE = "no_fence"
    NO_PING = "no_ping"
    HELD_FIX = "held_fix"
    FENCE_OFF = "fence_off"
    LATE_FIX = "late_fix"
    UNDECIDED = "undecided"
    OUTSIDE = "outside"
    FENCE_EDIT = "fence_edit"
    DWELL_TOO_SHORT = "dwell_too_short"
    INSIDE_BEFORE = "inside_before"
    INSIDE_SINCE = "inside_since"


@dataclass(frozen=True, kw_only=True)
class SeenFix:
    """A logged fix, judged at the fence of the campaign where it says most.

    Attributes:
        seen_ms: the service's clock when it came.
        held: why it was quarantined, None where it was not.
        live: whether the fence version was live at the instant of the fix.
        verdict: `Verdict` code; p, rim_m: P(inside), metres to the rim, negative inside. A fix of a
            time when the campaign aimed at nothing is out, infinitely far from no fence (-1).
    """

    at_ms: int
    seen_ms: int
    held: str | None
    fence_id: int
    fence_name: str
    fence_version: int
    live: bool
    verdict: int
    p: float
    rim_m: float


@dataclass(frozen=True, kw_only=True)
class SeenStay:
    """A visit at one of the campaign's fences.

    Attributes:
        drawn_over: the fence was drawn or moved over the device while it stood there.
    """

    fence_id: int
    fence_name: str
    arrived_ms: int
    left_ms: int
    drawn_over: bool = False


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is known about one person, one campaign and one instant.

    Attributes:
        time_zone: of the campaign; sentences tell times by it.
        state, since_ms: where the campaign stood at the instant, and since when.
        is_test_id: the person's ad id was registered for tests then.
        knows_device: False where only another app of the workspace knows the person.
        fences: how many fences the campaign aims at.
        fixes, stays: the newest first; none after the instant.
        look_back_ms: how far the fixes reach back.
    """

    at_ms: int
    time_zone: str
    state: State
    since_ms: int
    period_ms: tuple[int, int]
    trigger: Kind
    dwell_s: int | None
    is_test_id: bool
    knows_device: bool
    fences: int
    fixes: Sequence[SeenFix]
    stays: Sequence[SeenStay]
    look_back_ms: int
    staleness_ms: int
    enter_p: float


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A reason with what it rests on.

    Attributes:
        reason: a `gates.Reason` where a decision was made, else a `Worked`.
        value, bound: what was found and what would have been needed, as text.
    """

    reason: str
    sentence: Sentence
    because: Because | None = None
    value: str | None = None
    bound: str | None = None
    fix: SeenFix | None = None
    stay: SeenStay | None = None


@dataclass(frozen=True, slots=True)
class _Found:
    reason: Worked
    because: Because
    value: str | None = None
    bound: str | None = None
    fix: SeenFix | None = None
    stay: SeenStay | None = None


def of_decision(
    *,
    reason: str,
    kind: str,
    fence_name: str,
    trigger_ms: int,
    p: float,
    value: str | None,
    bound: str | None,
    time_zone: str,
    asked_ms: int,
) -> Explanation:
    """The explanation that a decision gives by itself."""
    sentence = decision_words(
        reason=reason,
        kind=kind,
        fence_name=fence_name,
        trigger_ms=trigger_ms,
        p=p,
        value=value,
        bound=bound,
        time_zone=time_zone,
        asked_ms=asked_ms,
    )
    return Explanation(reason=reason, sentence=sentence, value=value, bound=bound)


def work_out(case: Case) -> Explanation:
    """Why there was no candidate. The first that applies, from the campaign down to the single fix."""
    found = _campaign(case) or _held_or_far(case) or _inside(case)
    return Explanation(
        reason=found.reason,
        because=found.because,
        value=found.value,
        bound=found.bound,
        fix=found.fix,
        stay=found.stay,
        sentence=worked_out_words(found.because, _words(case, found), case.time_zone, case.at_ms),
    )


# --- the campaign -----------------------------------------------------------------------------------


def _campaign(case: Case) -> _Found | None:
    start_ms, end_ms = case.period_ms
    if not case.knows_device:
        return _Found(Worked.APP_MISMATCH, Because.NEVER_SEEN_HERE)
    if case.at_ms < start_ms and case.state in (State.STANDBY, *LISTENING):
        return _Found(Worked.OUTSIDE_PERIOD, Because.BEFORE_PERIOD)
    if case.at_ms >= end_ms and case.state is not State.DRAFT:
        return _Found(Worked.OUTSIDE_PERIOD, Because.AFTER_PERIOD)
    if case.state not in LISTENING:
        return _Found(Worked.CAMPAIGN_NOT_RUNNING, Because.STATE, value=case.state, bound="running")
    if case.state is State.TEST and not case.is_test_id:
        return _Found(Worked.CAMPAIGN_NOT_RUNNING, Because.NO_TEST_ID, value=case.state)
    if not case.fences:
        return _Found(Worked.FENCE_DISABLED, Because.NO_FENCE)
    return None


# --- the fixes --------------------------------------------------------------------------------------


def _held_or_far(case: Case) -> _Found | None:
    """What keeps every fix from being one inside a live fence; None where one is."""
    usable = [fix for fix in case.fixes if fix.held is None]
    if any(fix.live and fix.verdict == Verdict.IN for fix in usable):
        return None
    if not case.fixes:
        return _Found(Worked.NO_TRIGGER, Because.NO_PING, bound=f"{case.look_back_ms // 3_600_000} h")
    held = next((fix for fix in case.fixes if fix.held and fix.verdict == Verdict.IN and fix.live), None)
    if held is None and not usable:
        held = case.fixes[0]
    if held is not None:
        return _Found(Worked.QUARANTINED, Because.HELD_FIX, value=held.held, fix=held)
    off = next((fix for fix in usable if fix.verdict == Verdict.IN), None)
    if off is not None:
        return _Found(Worked.FENCE_DISABLED, Because.FENCE_OFF, fix=off)
    return _far(case, [fix for fix in usable if fix.live] or usable)


def _far(case: Case, fixes: Sequence[SeenFix]) -> _Found:
    unsure = max(
        (fix for fix in fixes if fix.verdict == Verdict.UNDECIDED), key=lambda fix: fix.p, default=None
    )
    if unsure is not None:
        value, bound = f"{unsure.p:.2f}", f"{case.enter_p:.2f}"
        return _Found(Worked.NO_TRIGGER, Because.UNDECIDED, value=value, bound=bound, fix=unsure)
    nearest = min(fixes, key=lambda fix: fix.rim_m)
    if nearest.rim_m == float("inf"):
        return _Found(Worked.FENCE_DISABLED, Because.NO_FENCE)
    value = f"{max(nearest.rim_m, 0.0):.0f} m"
    return _Found(Worked.NO_TRIGGER, Because.OUTSIDE, value=value, bound="0 m", fix=nearest)


def _inside(case: Case) -> _Found:
    """There was a fix inside, and still no candidate."""
    inside = [f for f in case.fixes if f.held is None and f.live and f.verdict == Verdict.IN]
    newest = inside[0]
    if all(fix.seen_ms - fix.at_ms > case.staleness_ms for fix in inside):
        value = _minutes(newest.seen_ms - newest.at_ms)
        bound = _minutes(case.staleness_ms)
        return _Found(Worked.STALE_PING, Because.LATE_FIX, value=value, bound=bound, fix=newest)
    stay = next(
        (
            s
            for s in case.stays
            if s.fence_id == newest.fence_id and s.arrived_ms <= newest.at_ms <= s.left_ms
        ),
        SeenStay(
            fence_id=newest.fence_id,
            fence_name=newest.fence_name,
            arrived_ms=newest.at_ms,
            left_ms=newest.at_ms,
        ),
    )
    return _staying(case, newest, stay)


def _staying(case: Case, fix: SeenFix, stay: SeenStay) -> _Found:
    listens_since_ms = max(case.since_ms, case.period_ms[0])
    so_far_ms = fix.at_ms - stay.arrived_ms
    if stay.drawn_over:
        return _Found(Worked.NO_TRIGGER, Because.FENCE_EDIT, fix=fix, stay=stay)
    if case.trigger is Kind.DWELL and so_far_ms < (case.dwell_s or 0) * 1000:
        value, bound = _minutes(so_far_ms), _minutes((case.dwell_s or 0) * 1000)
        return _Found(Worked.NO_TRIGGER, Because.DWELL_TOO_SHORT, value, bound, fix, stay)
    if stay.arrived_ms < listens_since_ms:
        return _Found(Worked.NO_TRIGGER, Because.INSIDE_BEFORE, fix=fix, stay=stay)
    return _Found(Worked.NO_TRIGGER, Because.INSIDE_SINCE, fix=fix, stay=stay)


# --- words ------------------------------------------------------------------------------------------


def _words(case: Case, found: _Found) -> Mapping[str, str | int]:
    """What a sentence may name; instants (`…_ms`) are told by the campaign's clock."""
    names: dict[str, str | int] = {
        "value": found.value or "",
        "bound": found.bound or "",
        "start_ms": case.period_ms[0],
        "end_ms": case.period_ms[1],
        "since_ms": case.since_ms,
        "state": case.state.value,
    }
    if found.fix is not None:
        names |= {"fence": found.fix.fence_name, "fix_ms": found.fix.at_ms, "p": f"{found.fix.p:.2f}"}
    if found.stay is not None:
        names |= {"arrived_ms": found.stay.arrived_ms}
    return names


def _minutes(span_ms: int) -> str:
    return f"{span_ms / 60_000:.1f}".removesuffix(".0") + " min"
