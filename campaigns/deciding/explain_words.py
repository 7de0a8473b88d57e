"""The short sentences of an explanation, in English and Korean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FAR_MS = 200 * 366 * 86_400_000


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """One sentence in both languages."""

    en: str
    ko: str


#: decision reason → what was done
_SENT: dict[str, tuple[str, str]] = {
    "sent": ("Sent at {at}: {event} (P {p})", "{at}에 보냈어요: {event} (P {p})"),
    "sent_test": (
        "Sent as a test at {at}: {event} (P {p})",
        "{at}에 테스트로 보냈어요: {event} (P {p})",
    ),
    "counted_only": (
        "Counted at {at}: {event} (P {p}); this campaign only counts",
        "{at}에 세기만 했어요: {event} (P {p})",
    ),
}

#: decision reason → why it was not sent
_CLOSED: dict[str, tuple[str, str]] = {
    "suspect_fix": ("the position is suspect", "위치가 의심스러워요"),
    "low_confidence": (
        "P {value} is below the campaign's {bound}",
        "P {value}, 캠페인의 기준 {bound}보다 낮아요",
    ),
    "inferred_crossing_refused": (
        "no fix lay inside, the crossing is inferred, and the campaign takes no such",
        "위치가 안에 찍히지 않은 추정 통과예요. 이 캠페인은 추정한 통과를 쓰지 않아요",
    ),
    "fence_closed": ("the place is closed ({value})", "영업시간이 아니에요 ({value})"),
    "outside_hours": (
        "it is outside the campaign's hours ({value})",
        "캠페인 시간이 아니에요 ({value})",
    ),
    "not_in_segment": ("not in the audience ({value})", "대상이 아니에요 ({value})"),
    "frequency_capped": ("had it already ({bound})", "이미 받았어요 (빈도 제한)"),
}
_EVENT: dict[str, tuple[str, str]] = {
    "enter": ("entered {fence}", "{fence}에 들어왔어요"),
    "dwell": ("stayed at {fence}", "{fence}에 머물렀어요"),
    "exit": ("left {fence}", "{fence}에서 나갔어요"),
}

#: `explain.Because` → what kept the campaign from being a candidate
_WORKED_OUT: dict[str, tuple[str, str]] = {
    "never_seen_here": (
        "Only another app of this workspace knows this device; the campaign belongs to this app",
        "이 워크스페이스의 다른 앱에서만 본 기기예요. 캠페인은 이 앱의 것이에요",
    ),
    "state": (
        "The campaign was not running: '{state}' since {since}",
        "캠페인이 진행 중이 아니었어요: {since}부터 '{state}'",
    ),
    "no_test_id": (
        "The campaign was in test, and this device is no registered test id",
        "캠페인이 테스트 중이었고, 이 기기는 등록된 테스트 기기가 아니에요",
    ),
    "before_period": ("The campaign's period begins at {start}", "캠페인 기간이 {start}에 시작해요"),
    "after_period": ("The campaign's period ended at {end}", "캠페인 기간이 {end}에 끝났어요"),
    "no_fence": (
        "The campaign aimed at no fence that existed then",
        "그때 캠페인이 겨냥한 지오펜스가 없었어요",
    ),
    "no_ping": ("No ping for {bound}", "{bound} 동안 위치가 오지 않았어요"),
    "held_fix": (
        "The fix of {fix} was quarantined: {value}",
        "{fix}의 위치는 격리됐어요: {value}",
    ),
    "fence_off": (
        "Inside {fence} at {fix}, but the fence was switched off or not valid then",
        "{fix}에 {fence} 안에 있었지만, 지오펜스가 꺼져 있거나 유효 기간이 아니었어요",
    ),
    "late_fix": (
        "The fix inside {fence} of {fix} came {value} late; after {bound} nothing is sent",
        "{fix}에 {fence} 안에 있던 위치가 {value} 늦게 왔어요. {bound}보다 늦으면 보내지 않아요",
    ),
    "undecided": (
        "Undecided at {fix}: P {value} of being inside {fence}, {bound} needed",
        "{fix}에 {fence} 안인지 확실하지 않았어요: P {value}, {bound} 이상이어야 해요",
    ),
    "outside": (
        "The nearest fix, of {fix}, was {value} off {fence}",
        "가장 가까운 위치({fix})가 {fence}에서 {value} 떨어져 있었어요",
    ),
    "fence_edit": (
        "{fence} was drawn or moved over the device while it stood there; that never sends",
        "머무는 동안 {fence} 지오펜스가 그려지거나 옮겨졌어요. 그때는 보내지 않아요",
    ),
    "dwell_too_short": (
        "At {fence} since {arrived}: {value} so far at {fix}, {bound} needed",
        "{arrived}부터 {fence}에 있어요: {fix}까지 {value}, {bound} 이상이어야 해요",
    ),
    "inside_before": (
        "Inside {fence} since {arrived}, before the campaign listened",
        "캠페인이 시작되기 전인 {arrived}부터 {fence} 안에 있었어요",
    ),
    "inside_since": (
        "Inside {fence} since {arrived}; a visit triggers only once",
        "{arrived}부터 {fence} 안에 있어요. 한 번 방문에 한 번만 알려요",
    ),
}


def decision_words(
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
) -> Sentence:
    """A decision in a sentence: `Sent at 12:03: entered 강남점 (P 0.98)`."""
    names = {
        "at": told(trigger_ms, time_zone, asked_ms),
        "p": f"{p:.2f}",
        "value": value or "",
        "bound": bound or "",
    }
    en, ko = (text.format(fence=fence_name) for text in _EVENT.get(kind, (kind, kind)))
    if reason in _SENT:
        said_en, said_ko = _SENT[reason]
        return Sentence(en=said_en.format(event=en, **names), ko=said_ko.format(event=ko, **names))
    why_en, why_ko = (text.format(**names) for text in _CLOSED.get(reason, (reason, reason)))
    return Sentence(
        en=f"Not sent at {names['at']} ({en}): {why_en}",
        ko=f"{names['at']}에 보내지 않았어요 ({ko}): {why_ko}",
    )


def worked_out_words(
    because: str, names: Mapping[str, str | int], time_zone: str, asked_ms: int
) -> Sentence:
    """A worked-out reason in a sentence; names that end in `_ms` are told as times without it."""
    shown = {
        name.removesuffix("_ms"): told(value, time_zone, asked_ms) if isinstance(value, int) else value
        for name, value in names.items()
    }
    en, ko = _WORKED_OUT[because]
    spans = {name: _in_korean(str(shown[name])) for name in ("value", "bound")}
    return Sentence(en=en.format(**shown), ko=ko.format(**shown | spans))


def _in_korean(span: str) -> str:
    """`25.5 min` → `25.5분`; anything else as it is."""
    number, _, unit = span.partition(" ")
    return number + {"min": "분", "h": "시간"}[unit] if unit in ("min", "h") else span


def told(at_ms: int, time_zone: str, asked_ms: int) -> str:
    """`12:03` on the day that is asked about, `11-22 12:03` in its year, else with the year."""
    if not 0 <= at_ms < _FAR_MS:
        return "–"  # a draft without a period
    zone = ZoneInfo(time_zone)
    at, asked = (
        (_EPOCH + timedelta(milliseconds=ms)).astimezone(zone) for ms in (at_ms, min(asked_ms, _FAR_MS))
    )
    if at.date() == asked.date():
        return f"{at:%H:%M}"
    return f"{at:%m-%d %H:%M}" if at.year == asked.year else f"{at:%Y-%m-%d %H:%M}"
