"""Worked-out reasons: which one comes first, and that each can be said in both languages."""

from __future__ import annotations

import string
from typing import Any

import pytest

from campaigns.campaign.life import State
from campaigns.deciding.explain import (
    Because,
    Case,
    Explanation,
    SeenFix,
    SeenStay,
    Worked,
    of_decision,
    work_out,
)
from campaigns.deciding.explain_words import _CLOSED, _SENT, _WORKED_OUT, told
from campaigns.deciding.gates import Reason
from geo.matching.certainty import Verdict
from geo.matching.presence import Kind

MIN = 60_000
DAY = 1_440 * MIN
NOON = 1_795_402_800_000  # 2026-11-23 12:00 in Seoul


def _fix(minute: float = -1, **changes: Any) -> SeenFix:
    """A fix inside 강남점, minutes after noon, that came at once."""
    at_ms = NOON + round(minute * MIN)
    whole = {
        "at_ms": at_ms,
        "seen_ms": at_ms + round(changes.pop("late_min", 0) * MIN),
        "held": None,
        "fence_id": 1,
        "fence_name": "강남점",
        "fence_version": 2,
        "live": True,
        "verdict": Verdict.IN,
        "p": 0.98,
        "rim_m": -40.0,
    }
    return SeenFix(**(whole | changes))


def _out(minute: float = -1, rim_m: float = 312.4, **changes: Any) -> SeenFix:
    return _fix(minute, verdict=Verdict.OUT, p=0.0, rim_m=rim_m, **changes)


def _stay(arrived: float, left: float = 0, **changes: Any) -> SeenStay:
    return SeenStay(
        fence_id=1,
        fence_name="강남점",
        arrived_ms=NOON + round(arrived * MIN),
        left_ms=NOON + round(left * MIN),
        **changes,
    )


def _why(**changes: Any) -> Explanation:
    """A running campaign, asked about at noon; nothing known of the person."""
    whole: dict[str, Any] = {
        "at_ms": NOON,
        "time_zone": "Asia/Seoul",
        "state": State.RUNNING,
        "since_ms": NOON - DAY,
        "period_ms": (NOON - 2 * DAY, NOON + DAY),
        "trigger": Kind.ENTER,
        "dwell_s": None,
        "is_test_id": False,
        "knows_device": True,
        "fences": 1,
        "fixes": [],
        "stays": [],
        "look_back_ms": 180 * MIN,
        "staleness_ms": 10 * MIN,
        "enter_p": 0.5,
    }
    return work_out(Case(**(whole | changes)))


def _brief(why: Explanation) -> tuple[str, str | None, str | None]:
    return why.reason, why.value, why.bound


def test_no_ping() -> None:
    why = _why()
    assert _brief(why) == (Worked.NO_TRIGGER, None, "3 h")
    assert why.sentence.en == "No ping for 3 h"
    assert why.sentence.ko == "3시간 동안 위치가 오지 않았어요"


def test_the_nearest_fix_was_too_far_off() -> None:
    why = _why(fixes=[_out(-1, 900.0), _out(-30, 312.4), _out(-60, 2_000.0)])
    assert _brief(why) == (Worked.NO_TRIGGER, "312 m", "0 m")
    assert why.because is Because.OUTSIDE
    assert why.sentence.en == "The nearest fix, of 11:30, was 312 m off 강남점"


def test_an_undecided_fix_says_more_than_a_far_one() -> None:
    unsure = _fix(-20, verdict=Verdict.UNDECIDED, p=0.31, rim_m=20.0)
    why = _why(fixes=[_out(), unsure, _fix(-30, verdict=Verdict.UNDECIDED, p=0.2)])
    assert _brief(why) == (Worked.NO_TRIGGER, "0.31", "0.50")
    assert why.fix == unsure


@pytest.mark.parametrize(
    "state", [State.DRAFT, State.PAUSED, State.STANDBY, State.ENDED, State.ARCHIVED]
)
def test_a_campaign_that_does_not_run(state: State) -> None:
    why = _why(state=state, fixes=[_fix()])
    assert _brief(why) == (Worked.CAMPAIGN_NOT_RUNNING, state.value, "running")
    assert why.sentence.en == f"The campaign was not running: '{state}' since 11-22 12:00"


def test_a_test_reaches_test_ids_only() -> None:
    why = _why(state=State.TEST, fixes=[_fix()])
    assert (why.reason, why.because) == (Worked.CAMPAIGN_NOT_RUNNING, Because.NO_TEST_ID)
    why = _why(state=State.TEST, is_test_id=True, fixes=[_fix()], stays=[_stay(-1)])
    assert why.because is Because.INSIDE_SINCE


@pytest.mark.parametrize(
    ("at_ms", "state", "because"),
    [
        (NOON - 2 * DAY - 1, State.RUNNING, Because.BEFORE_PERIOD),
        (NOON - 2 * DAY - 1, State.STANDBY, Because.BEFORE_PERIOD),
        (NOON - 2 * DAY - 1, State.DRAFT, Because.STATE),
        (NOON - 2 * DAY, State.RUNNING, Because.NO_PING),
        (NOON + DAY - 1, State.RUNNING, Because.NO_PING),
        (NOON + DAY, State.RUNNING, Because.AFTER_PERIOD),
        (NOON + DAY, State.ENDED, Because.AFTER_PERIOD),
        (NOON + DAY, State.DRAFT, Because.STATE),
        (NOON + DAY - 1, State.ENDED, Because.STATE),
    ],
)
def test_the_period_has_its_start_and_not_its_end(at_ms: int, state: State, because: Because) -> None:
    assert _why(at_ms=at_ms, state=state).because is because


def test_another_app_knows_the_device() -> None:
    assert _why(knows_device=False, state=State.DRAFT).reason is Worked.APP_MISMATCH


def test_a_campaign_that_aims_at_nothing() -> None:
    assert _why(fences=0, fixes=[_fix()]).because is Because.NO_FENCE
    nowhere = _out(rim_m=float("inf"), fence_id=-1, live=False)
    assert _why(fixes=[nowhere]).because is Because.NO_FENCE


def test_a_fence_that_is_switched_off() -> None:
    why = _why(fixes=[_out(), _fix(-5, live=False)])
    assert (why.reason, why.because) == (Worked.FENCE_DISABLED, Because.FENCE_OFF)
    assert why.fix is not None
    assert why.fix.at_ms == NOON - 5 * MIN


def test_a_quarantined_fix_inside_is_the_reason() -> None:
    why = _why(fixes=[_out(), _fix(-5, held="mocked")])
    assert _brief(why) == (Worked.QUARANTINED, "mocked", None)
    assert why.sentence.en == "The fix of 11:55 was quarantined: mocked"


def test_nothing_but_quarantined_fixes() -> None:
    why = _why(fixes=[_out(-1, held="accuracy_too_low"), _out(-9, held="mocked")])
    assert _brief(why) == (Worked.QUARANTINED, "accuracy_too_low", None)


def test_a_quarantined_fix_far_away_explains_nothing() -> None:
    assert _why(fixes=[_out(-1), _out(-5, held="mocked")]).because is Because.OUTSIDE


def test_a_fix_inside_that_came_too_late() -> None:
    why = _why(fixes=[_fix(-30, late_min=25.5)], stays=[_stay(-30, -30)])
    assert _brief(why) == (Worked.STALE_PING, "25.5 min", "10 min")
    assert why.sentence.ko.endswith("위치가 25.5분 늦게 왔어요. 10분보다 늦으면 보내지 않아요")
    assert _why(fixes=[_fix(-30, late_min=10)], stays=[_stay(-30, -30)]).because is Because.INSIDE_SINCE


def test_inside_since_before_the_campaign_listened() -> None:
    stays = [_stay(-228)]
    why = _why(fixes=[_fix()], stays=stays, since_ms=NOON - 60 * MIN)
    assert (why.reason, why.because) == (Worked.NO_TRIGGER, Because.INSIDE_BEFORE)
    assert why.sentence.en == "Inside 강남점 since 08:12, before the campaign listened"
    assert why.stay == stays[0]
    # it may have been started long before its period began
    why = _why(fixes=[_fix()], stays=stays, period_ms=(NOON - 60 * MIN, NOON + DAY))
    assert why.because is Because.INSIDE_BEFORE


def test_a_visit_triggers_once() -> None:
    why = _why(fixes=[_fix()], stays=[_stay(-228)])
    assert (why.because, why.sentence.ko) == (
        Because.INSIDE_SINCE,
        "08:12부터 강남점 안에 있어요. 한 번 방문에 한 번만 알려요",
    )


def test_a_stay_too_short_for_a_dwell() -> None:
    dwell = {"trigger": Kind.DWELL, "dwell_s": 600}
    why = _why(fixes=[_fix(-1)], stays=[_stay(-10)], **dwell)
    assert _brief(why) == (Worked.NO_TRIGGER, "9 min", "10 min")
    assert _why(fixes=[_fix(0)], stays=[_stay(-10)], **dwell).because is Because.INSIDE_SINCE


def test_a_fence_drawn_over_somebody_never_sends() -> None:
    why = _why(fixes=[_fix()], stays=[_stay(-5, drawn_over=True)])
    assert (why.reason, why.because) == (Worked.NO_TRIGGER, Because.FENCE_EDIT)


def test_a_fix_inside_without_a_visit_yet() -> None:
    assert _why(fixes=[_fix(-3)]).stay == _stay(-3, -3)


# --- words ------------------------------------------------------------------------------------------


def test_every_reason_of_a_decision_has_its_words() -> None:
    assert set(_SENT) | set(_CLOSED) == {reason.value for reason in Reason}


def test_every_worked_out_reason_has_its_words() -> None:
    assert set(_WORKED_OUT) == {because.value for because in Because}


@pytest.mark.parametrize("words", [*_SENT.values(), *_CLOSED.values(), *_WORKED_OUT.values()])
def test_both_languages_name_things_that_exist(words: tuple[str, str]) -> None:
    known = {"at", "event", "p", "value", "bound", "start", "end", "since", "state"}
    known |= {"fence", "fix", "arrived"}
    en, ko = ({name for _, name, _, _ in string.Formatter().parse(text) if name} for text in words)
    assert en | ko <= known
    assert any("가" <= letter <= "힣" for letter in words[1])


def _said(reason: str, **changes: Any) -> Explanation:
    whole: dict[str, Any] = {
        "reason": reason,
        "kind": "enter",
        "fence_name": "강남점 {0}",
        "trigger_ms": NOON + 3 * MIN,
        "p": 0.984,
        "value": None,
        "bound": None,
        "time_zone": "Asia/Seoul",
        "asked_ms": NOON + 60 * MIN,
    }
    return of_decision(**(whole | changes))


def test_a_decision_is_told_in_both_languages() -> None:
    sentence = _said("sent").sentence
    assert sentence.en == "Sent at 12:03: entered 강남점 {0} (P 0.98)"
    assert sentence.ko == "12:03에 보냈어요: 강남점 {0}에 들어왔어요 (P 0.98)"


def test_a_refusal_says_what_the_gate_saw() -> None:
    why = _said("low_confidence", value="0.700", bound="0.900", kind="dwell")
    assert why.sentence.en == (
        "Not sent at 12:03 (stayed at 강남점 {0}): P 0.700 is below the campaign's 0.900"
    )
    assert (why.value, why.bound) == ("0.700", "0.900")


@pytest.mark.parametrize(
    ("at_ms", "text"),
    [
        (NOON, "12:00"),
        (NOON - 12 * 60 * MIN, "00:00"),
        (NOON - 12 * 60 * MIN - 1, "11-22 23:59"),
        (NOON - 365 * DAY, "2025-11-23 12:00"),
        (2**62, "–"),
    ],
)
def test_times_are_told_by_the_campaigns_clock(at_ms: int, text: str) -> None:
    assert told(at_ms, "Asia/Seoul", NOON) == text
