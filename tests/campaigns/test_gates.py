"""Gates in their order; the first closed one is the reason (product C2, C5, C10, T1)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from campaigns.campaign.campaign import (
    Campaign,
    Channel,
    Frequency,
    HoursZone,
    Message,
    Targeting,
    to_ms,
)
from campaigns.campaign.life import State
from campaigns.deciding.gates import Reason, candidates, decide
from campaigns.deciding.snapshot import Snapshot
from geo.fences.fence import CircleShape, Fence, FenceVersion
from geo.fences.hours import WeeklyHours
from geo.matching.certainty import CertaintyPolicy
from geo.matching.index import FenceIndex
from geo.matching.presence import Cause, Kind, PresencePolicy, Transition

START = datetime(2026, 11, 23, tzinfo=UTC)  # a Monday, 09:00 in Seoul
START_MS = to_ms(START)
AD_ID = "38400000-8cf0-11bd-b23e-10b96e40000d"


def campaign(number=1, **more):
    return Campaign(
        **(
            {
                "id": number,
                "app_id": 1,
                "version": 1,
                "name": f"c{number}",
                "state": State.RUNNING,
                "targeting": Targeting(fence_ids=(1,)),
                "period_start": START,
                "period_end": START + timedelta(days=1),
                "time_zone": "Asia/Seoul",
                "message": Message(channel=Channel.INBOX, title="t", body="b"),
            }
            | more
        )
    )


def snapshot(*campaigns, hours=None, zone="Asia/Seoul", test_ids=None):
    fence = Fence(name="f", shape=CircleShape(lon=127.0, lat=37.5, radius_m=100.0), opening_hours=hours)
    version = FenceVersion(
        fence_id=1, version=1, live_from_ms=0, live_until_ms=2**62, time_zone=zone, fence=fence
    )
    return Snapshot(
        workspace_id=1,
        version=1,
        index=FenceIndex.build([version]),
        listeners={1: campaigns},
        test_ids={1: test_ids or {}},
        presence=PresencePolicy(),
        certainty=CertaintyPolicy(),
    )


def transition(minute=0.0, *, device=1, p=1.0, kind=Kind.ENTER, dwell_s=None, cause=Cause.FIX):
    at_ms = START_MS + round(minute * 60_000)
    return Transition(
        device=device,
        fence=0,
        fence_id=1,
        ping=0,
        kind=kind,
        at_ms=at_ms,
        seen_ms=at_ms,
        arrived_ms=at_ms,
        p=p,
        rim_m=-1.0,
        dwell_s=dwell_s,
        cause=cause,
    )


def decided(snap, *transitions, ad_id=None, taken=None, person=None):
    people = {t.device: (person or f"d:{t.device}", ad_id) for t in transitions}
    asked = candidates(snap, transitions, people, {0: START_MS, -1: START_MS}, app_id=1)
    return [
        (d.candidate.campaign.id, d.reason)
        for d in decide(snap, asked, taken if taken is not None else set())
    ]


def test_it_sends_once_to_a_person_and_to_each_person():
    snap = snapshot(campaign())
    taken = set()
    moves = [transition(0), transition(1), transition(2, device=2)]
    assert [r for _, r in decided(snap, *moves, taken=taken)] == [
        Reason.SENT,
        Reason.FREQUENCY_CAPPED,
        Reason.SENT,
    ]
    assert taken == {(1, "d:1", "period"), (1, "d:2", "period")}


def test_a_campaign_of_another_app_does_not_listen():
    assert decided(snapshot(campaign(app_id=2)), transition()) == []


def test_unlimited_takes_no_slot():
    snap = snapshot(campaign(frequency=Frequency.UNLIMITED))
    taken = set()
    assert [r for _, r in decided(snap, transition(0), transition(1), taken=taken)] == [Reason.SENT] * 2
    assert taken == set()


@pytest.mark.parametrize(
    ("minute", "sends"), [(-0.001, False), (0, True), (24 * 60 - 0.001, True), (24 * 60, False)]
)
def test_the_period_includes_its_start_and_not_its_end(minute, sends):
    assert bool(decided(snapshot(campaign()), transition(minute))) is sends


@pytest.mark.parametrize(
    ("hours", "minute", "reason"),
    [
        ({"mon": ["09:00-10:00"]}, 0, Reason.SENT),
        ({"mon": ["09:00-10:00"]}, 59.99, Reason.SENT),
        ({"mon": ["09:00-10:00"]}, 60, Reason.OUTSIDE_HOURS),
        ({"mon": ["08:00-09:00"]}, 0, Reason.OUTSIDE_HOURS),
        ({"tue": ["00:00-24:00"]}, 0, Reason.OUTSIDE_HOURS),
        ({"sun": ["22:00-10:00"]}, 0, Reason.SENT),
    ],
)
def test_hours_by_the_campaigns_clock(hours, minute, reason):
    snap = snapshot(campaign(hours=WeeklyHours.parse(hours)))
    assert decided(snap, transition(minute)) == [(1, reason)]


def test_hours_by_the_fences_clock():
    hours = WeeklyHours.parse({"mon": ["09:00-10:00"]})
    own, fence = campaign(1, hours=hours), campaign(2, hours=hours, hours_zone=HoursZone.FENCE)
    found = decided(snapshot(own, fence, zone="Europe/Berlin"), transition(0))
    assert found == [(1, Reason.SENT), (2, Reason.OUTSIDE_HOURS)]


def test_a_closed_store_comes_before_the_campaigns_hours():
    closed = WeeklyHours.parse({"tue": ["09:00-10:00"]})
    snap = snapshot(campaign(hours=closed), hours=closed)
    assert decided(snap, transition(0)) == [(1, Reason.FENCE_CLOSED)]


def test_confidence_comes_first():
    snap = snapshot(campaign(least_p=0.8, hours=WeeklyHours.parse({})))
    assert decided(snap, transition(0, p=0.7999)) == [(1, Reason.LOW_CONFIDENCE)]
    assert decided(snap, transition(0, p=0.8)) == [(1, Reason.OUTSIDE_HOURS)]


def test_the_audience_is_a_list_of_ad_ids():
    snap = snapshot(campaign(ad_ids=frozenset({AD_ID})))
    assert decided(snap, transition(), ad_id=AD_ID) == [(1, Reason.SENT)]
    assert decided(snap, transition(), ad_id=None) == [(1, Reason.NOT_IN_SEGMENT)]


def test_a_test_reaches_registered_ids_until_they_expire():
    snap = snapshot(campaign(state=State.TEST), test_ids={AD_ID: START_MS + 1})
    assert decided(snap, transition(), ad_id=AD_ID) == [(1, Reason.SENT_TEST)]
    assert decided(snap, transition(), ad_id="other") == []
    assert decided(snap, transition()) == []
    expired = snapshot(campaign(state=State.TEST), test_ids={AD_ID: START_MS})
    assert decided(expired, transition(), ad_id=AD_ID) == []


def test_counting_only_uses_up_the_frequency_like_a_message():
    snap = snapshot(campaign(message=Message(channel=Channel.NONE)))
    reasons = [r for _, r in decided(snap, transition(0), transition(1))]
    assert reasons == [Reason.COUNTED_ONLY, Reason.FREQUENCY_CAPPED]


def test_dwell_listens_to_its_own_threshold_and_enter_to_enters():
    snap = snapshot(campaign(1, trigger=Kind.DWELL, dwell_s=600), campaign(2))
    moves = [transition(kind=Kind.DWELL, dwell_s=300), transition(kind=Kind.DWELL, dwell_s=600)]
    assert decided(snap, *moves) == [(1, Reason.SENT)]
    assert decided(snap, transition()) == [(2, Reason.SENT)]


@pytest.mark.parametrize("cause", [Cause.SILENCE, Cause.FENCE_EDIT])
def test_what_no_fix_shows_never_sends(cause):
    assert decided(snapshot(campaign()), transition(cause=cause)) == []


def test_a_presumed_dwell_is_for_campaigns_that_opt_in_and_its_proof_for_the_others():
    opted = campaign(1, trigger=Kind.DWELL, dwell_s=600, presumed=True)
    plain = campaign(2, trigger=Kind.DWELL, dwell_s=600)
    snap = snapshot(opted, plain, campaign(3, trigger=Kind.DWELL, dwell_s=300, presumed=True))
    dwell = transition(kind=Kind.DWELL, dwell_s=600)
    presumed = replace(dwell, cause=Cause.PRESUMED, ping=-1)
    assert decided(snap, presumed) == [(1, Reason.SENT)]
    assert decided(snap, replace(dwell, again=True)) == [(2, Reason.SENT)]
    assert decided(snap, dwell) == [(1, Reason.SENT), (2, Reason.SENT)]  # nobody presumed it
    assert (snap.presumed_s(1), snap.presumed_s(2)) == ([300, 600], [])
    assert snap.presuming_fences == {1}
    assert snapshot(plain).presuming_fences == frozenset()


def test_an_inferred_crossing_is_refused_unless_the_campaign_opts_in():
    snap = snapshot(campaign(1), campaign(2, infer_crossings=True), campaign(3, least_p=0.9))
    crossed = transition(cause=Cause.CROSSING, p=0.5)
    assert decided(snap, crossed) == [
        (1, Reason.INFERRED_CROSSING_REFUSED),
        (2, Reason.SENT),
        (3, Reason.LOW_CONFIDENCE),  # this gate comes first
    ]
    shut = snapshot(campaign(1), hours=WeeklyHours.parse({"sun": ["09:00-10:00"]}))
    assert decided(shut, crossed) == [(1, Reason.INFERRED_CROSSING_REFUSED)]  # and this one later
    assert snap.crossing_fences == {1}
    only_dwells = campaign(1, infer_crossings=True, trigger=Kind.DWELL, dwell_s=60)
    assert snapshot(only_dwells).crossing_fences == frozenset()


def test_the_listeners_order_is_the_order_of_decisions():
    snap = snapshot(campaign(7, priority=5), campaign(3))
    assert [number for number, _ in decided(snap, transition())] == [7, 3]
