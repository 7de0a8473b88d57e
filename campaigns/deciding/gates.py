"""Who gets which message: gates in a fixed order; the first closed one is the reason (product C10)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from campaigns.campaign.campaign import Campaign, Channel, Frequency
from campaigns.campaign.life import State
from campaigns.deciding.snapshot import Snapshot
from geo.matching.presence import Cause, Kind, Transition


class Reason(StrEnum):
    """What was decided, and which gate was closed; the order is that of the gates (api.md)."""

    SUSPECT_FIX = "suspect_fix"
    LOW_CONFIDENCE = "low_confidence"
    INFERRED_CROSSING_REFUSED = "inferred_crossing_refused"
    FENCE_CLOSED = "fence_closed"
    OUTSIDE_HOURS = "outside_hours"
    NOT_IN_SEGMENT = "not_in_segment"
    FREQUENCY_CAPPED = "frequency_capped"
    SENT = "sent"
    SENT_TEST = "sent_test"
    COUNTED_ONLY = "counted_only"


#: decided before the person was looked at: such a person is no target of the campaign (product R1)
BEFORE_AUDIENCE = frozenset(
    {
        Reason.SUSPECT_FIX,
        Reason.LOW_CONFIDENCE,
        Reason.INFERRED_CROSSING_REFUSED,
        Reason.FENCE_CLOSED,
        Reason.OUTSIDE_HOURS,
        Reason.NOT_IN_SEGMENT,
    }
)
SENDS = frozenset({Reason.SENT, Reason.SENT_TEST})
POSITIVE = SENDS | {Reason.COUNTED_ONLY}


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A transition, a campaign that listens to it, and the person it is about."""

    transition: Transition
    campaign: Campaign
    person: str
    ad_id: str | None
    now_ms: int


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What became of one candidate.

    Attributes:
        value, bound: what the closed gate saw and what it asks for, as text; None where it sends.
        window: the frequency slot it took, None where the campaign is unlimited or it does not send.
    """

    candidate: Candidate
    reason: Reason
    is_test: bool
    value: str | None = None
    bound: str | None = None
    window: str | None = None


@dataclass(frozen=True, slots=True)
class _Closed:
    reason: Reason
    value: str
    bound: str


Slot = tuple[int, str, str]

_MAY_SEND = frozenset({Cause.FIX, Cause.PRESUMED, Cause.CROSSING})


def candidates(
    snapshot: Snapshot,
    transitions: Iterable[Transition],
    people: Mapping[int, tuple[str, str | None]],
    now_ms: Mapping[int, int],
    *,
    app_id: int,
) -> Iterator[Candidate]:
    """Every transition × the app's campaigns that listen to its fence and kind, in the period.

    Args:
        people: device → (person, ad id).
        now_ms: ping row → the clock when it was seen.
    """
    for transition in transitions:
        if transition.cause not in _MAY_SEND:
            continue  # an exit by silence and a fence drawn over somebody never send (product P4)
        person, ad_id = people[transition.device]
        for campaign in snapshot.listeners.get(transition.fence_id, ()):
            start_ms, end_ms = campaign.period_ms
            if campaign.app_id != app_id:
                continue  # fences are the workspace's, campaigns an app's (product W2)
            if _listens(campaign, transition) and start_ms <= transition.at_ms < end_ms:
                candidate = Candidate(
                    transition=transition,
                    campaign=campaign,
                    person=person,
                    ad_id=ad_id,
                    now_ms=now_ms[transition.ping],
                )
                if campaign.state is State.RUNNING or _is_test_id(snapshot, candidate):
                    yield candidate


def slot_of(candidate: Candidate) -> Slot | None:
    """The frequency slot this candidate would use up: (campaign, person, window)."""
    campaign = candidate.campaign
    if campaign.state is State.TEST or campaign.frequency is Frequency.UNLIMITED:
        return None
    return campaign.id, candidate.person, "period"


def decide(snapshot: Snapshot, asked: Iterable[Candidate], taken: set[Slot]) -> list[Decision]:
    """Pass every candidate through the gates, in the order given.

    Args:
        taken: the frequency slots used up before; those that this call uses are added.
    """
    return [_decide_one(snapshot, candidate, taken) for candidate in asked]


def _decide_one(snapshot: Snapshot, candidate: Candidate, taken: set[Slot]) -> Decision:
    is_test = candidate.campaign.state is State.TEST
    closed = next(filter(None, (gate(snapshot, candidate) for gate in _GATES)), None)
    slot = slot_of(candidate)
    if closed is None and slot in taken:
        closed = _Closed(Reason.FREQUENCY_CAPPED, "1", "1 in the period")
    if closed is not None:
        return Decision(
            candidate=candidate,
            reason=closed.reason,
            is_test=is_test,
            value=closed.value,
            bound=closed.bound,
        )
    if slot is not None:
        taken.add(slot)
    return Decision(
        candidate=candidate,
        reason=_positive(candidate.campaign),
        is_test=is_test,
        window=slot[2] if slot else None,
    )


def _positive(campaign: Campaign) -> Reason:
    if campaign.message.channel is Channel.NONE:
        return Reason.COUNTED_ONLY
    return Reason.SENT_TEST if campaign.state is State.TEST else Reason.SENT


def _listens(campaign: Campaign, transition: Transition) -> bool:
    if campaign.trigger is not transition.kind:
        return False
    if transition.kind is not Kind.DWELL:
        return True
    if campaign.presumed:  # one that was told of it when it was presumed is not told again
        return campaign.dwell_s == transition.dwell_s and not transition.again
    return campaign.dwell_s == transition.dwell_s and transition.cause is not Cause.PRESUMED


def _is_test_id(snapshot: Snapshot, candidate: Candidate) -> bool:
    if candidate.ad_id is None:
        return False
    known = snapshot.test_ids.get(candidate.campaign.app_id, {})
    return candidate.now_ms < known.get(candidate.ad_id, 0)


def _confidence(_: Snapshot, candidate: Candidate) -> _Closed | None:
    p, least = candidate.transition.p, candidate.campaign.least_p
    return _Closed(Reason.LOW_CONFIDENCE, f"{p:.3f}", f"{least:.3f}") if p < least else None


def _crossing(_: Snapshot, candidate: Candidate) -> _Closed | None:
    if candidate.transition.cause is not Cause.CROSSING or candidate.campaign.infer_crossings:
        return None
    return _Closed(Reason.INFERRED_CROSSING_REFUSED, Cause.CROSSING.value, Cause.FIX.value)


def _opening_hours(snapshot: Snapshot, candidate: Candidate) -> _Closed | None:
    version = snapshot.index.versions[candidate.transition.fence]
    hours = version.fence.opening_hours
    if hours is None:
        return None
    local = _instant(candidate).astimezone(ZoneInfo(version.time_zone))
    if hours.hold(local):
        return None
    return _Closed(Reason.FENCE_CLOSED, f"{local:%a %H:%M}", str(hours.to_json()))


def _hours(snapshot: Snapshot, candidate: Candidate) -> _Closed | None:
    campaign = candidate.campaign
    zone = snapshot.index.versions[candidate.transition.fence].time_zone
    at = _instant(candidate)
    if campaign.hours is None or campaign.in_hours(at, zone):
        return None
    local = at.astimezone(ZoneInfo(campaign.time_zone))
    return _Closed(Reason.OUTSIDE_HOURS, f"{local:%a %H:%M}", str(campaign.hours.to_json()))


def _audience(_: Snapshot, candidate: Candidate) -> _Closed | None:
    audience = candidate.campaign.ad_ids
    is_test = candidate.campaign.state is State.TEST  # only test ids come this far
    if is_test or audience is None or candidate.ad_id in audience:
        return None
    return _Closed(Reason.NOT_IN_SEGMENT, candidate.ad_id or "no ad id", f"{len(audience)} ad ids")


def _instant(candidate: Candidate) -> datetime:
    return datetime.fromtimestamp(candidate.transition.at_ms / 1000, UTC)


_GATES = (_confidence, _crossing, _opening_hours, _hours, _audience)
