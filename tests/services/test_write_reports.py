"""A report's numbers, each from a story told by pings and clicks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from typing import Any

import pytest
import sqlalchemy as sa

from campaigns.campaign.life import State
from campaigns.measuring.reports import Report
from nearcast.services import run_campaigns, write_reports
from nearcast.services.errors import NotFound
from nearcast.services.take_clicks import take_click
from nearcast.store.engine import in_transaction, reading
from nearcast.store.tables import delivery
from tests.world import GANGNAM, MIN, OUTSIDE, START_MS, YEOKSAM, World

HOUR = 60
DAY = 24 * HOUR
Place = tuple[float, float]


class Story:
    """People who come and go; what a campaign's report makes of it."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.world = World(engine)
        self.gangnam = self.world.fence("강남점", GANGNAM, external_id="123", brand="소담결")
        self.yeoksam = self.world.fence("역삼점", YEOKSAM)
        self.planned: list[dict[str, Any]] = []

    def campaign(self, *fences: int, **body: Any) -> int:
        return self.world.campaign(targeting={"fence_ids": list(fences)}, **body)

    def stay(self, who: str, place: Place, *, arrive: float, minutes: float = 10, **more: Any) -> None:
        """Fixes every 5 min from an arrival on, minutes after START, then one outside."""
        steps = [arrive + 5 * n for n in range(int(minutes // 5) + 1)]
        pings = [{"who": who, "at": place, "min": at} | more for at in steps]
        pings.append({"who": who, "at": OUTSIDE, "min": steps[-1] + 20} | more)
        self.planned += pings

    def happen(self) -> None:
        """Everybody's pings in the order of time; a late one would not send."""
        for ping in sorted(self.planned, key=lambda p: p["min"]):
            self.world.post([ping])
        self.planned.clear()

    def click(self, campaign_id: int, who: str, at: float) -> None:
        """Click the newest message of a campaign to a device."""
        self.happen()
        query = sa.text(
            "select max(d.id) from delivery d join device v on v.id = d.device_id"
            " where d.campaign_id = :campaign and v.key = :who"
        ).bindparams(campaign=campaign_id, who=who)
        serial = reading(self.engine, lambda conn: conn.execute(query).scalar_one())
        at_ms = START_MS + round(at * MIN)
        in_transaction(self.engine, lambda conn: take_click(conn, serial, now_ms=at_ms))

    def report(self, campaign_id: int, **period: float) -> Report:
        self.happen()
        given = {f"{name}_ms": START_MS + round(at * MIN) for name, at in period.items()}
        return reading(
            self.engine,
            lambda conn: write_reports.report(
                conn, campaign_id, now_ms=self.world.clock.now_ms(), **given
            ),
        )


@pytest.fixture
def story(sqlite_engine: sa.Engine) -> Story:
    return Story(sqlite_engine)


def _funnel(report: Report) -> tuple[int, int, int, int]:
    totals = report.totals
    return totals.targets, totals.receivers, totals.clickers, totals.visitors


def test_a_person_is_meant_reached_answers_and_comes_back(engine: sa.Engine) -> None:
    story = Story(engine)  # on both databases
    campaign_id = story.campaign(story.gangnam)
    story.stay("a", GANGNAM, arrive=0)
    story.stay("b", GANGNAM, arrive=1)
    story.stay("c", YEOKSAM, arrive=2)
    story.click(campaign_id, "a", 3)
    story.click(campaign_id, "a", 4)
    story.stay("a", GANGNAM, arrive=3 * HOUR)
    report = story.report(campaign_id)
    assert _funnel(report) == (2, 2, 1, 1)
    totals = report.totals
    assert (totals.triggers, totals.messages, totals.clicked, totals.visits) == (3, 2, 1, 1)
    assert totals.response_rate == 0.5
    assert {(r.code, r.count, r.persons) for r in report.reasons} == {
        ("sent", 2, 2),
        ("frequency_capped", 1, 1),
    }
    assert report.decisions == 3


def test_the_visit_that_brought_the_message_does_not_count(story: Story) -> None:
    campaign_id = story.campaign(story.gangnam)
    story.stay("a", GANGNAM, arrive=0, minutes=60)
    assert story.report(campaign_id).totals.visits == 0
    story.stay("a", GANGNAM, arrive=2 * HOUR)
    assert story.report(campaign_id).totals.visits == 1


def test_only_stays_long_enough_are_visits(story: Story) -> None:
    campaign_id = story.campaign(story.gangnam)
    story.stay("a", GANGNAM, arrive=0)
    story.happen()
    story.world.post([{"who": "a", "at": GANGNAM, "min": 2 * HOUR}])
    story.world.post([{"who": "a", "at": GANGNAM, "min": 4 * HOUR}])
    story.world.post([{"who": "a", "at": GANGNAM, "min": 4 * HOUR + 4.9}])
    assert story.report(campaign_id).totals.visits == 0
    story.world.post([{"who": "a", "at": GANGNAM, "min": 4 * HOUR + 5}])
    # the visit is still open: its end stands in presence
    assert story.report(campaign_id).totals.visits == 1


def test_a_visit_elsewhere_or_by_somebody_else_is_not_the_campaigns(story: Story) -> None:
    campaign_id = story.campaign(story.gangnam)
    story.stay("a", GANGNAM, arrive=0)
    story.stay("a", YEOKSAM, arrive=2 * HOUR)
    story.happen()
    story.world.clock.saw(START_MS + 3 * HOUR * MIN)
    assert story.report(campaign_id).totals.visits == 0


def test_a_message_nobody_fetched_or_that_failed_reaches_nobody(story: Story) -> None:
    campaign_id = story.campaign(story.gangnam)
    for who in "abcd":
        story.stay(who, GANGNAM, arrive=0)
    story.happen()
    rows = reading(
        story.engine,
        lambda conn: list(conn.execute(sa.select(delivery.c.id).order_by(delivery.c.id)).scalars()),
    )

    def spoil(conn: sa.Connection) -> None:
        for serial, values in zip(
            rows,
            (
                {"fetched_ms": None},
                {"state": "failed"},
                {"state": "cancelled"},
            ),
            strict=False,
        ):
            conn.execute(sa.update(delivery).where(delivery.c.id == serial).values(**values))

    in_transaction(story.engine, spoil)
    assert _funnel(story.report(campaign_id)) == (4, 1, 0, 0)


def test_a_webhooks_message_counts_from_its_hand_over(story: Story) -> None:
    campaign_id = story.campaign(story.gangnam)
    story.stay("a", GANGNAM, arrive=0)
    story.stay("a", GANGNAM, arrive=2 * HOUR)
    story.happen()

    def hand_over_at(minute: int, state: str) -> None:
        values = {
            "channel": "webhook",
            "state": state,
            "fetched_ms": None,
            "handed_ms": START_MS + minute * MIN,
        }
        in_transaction(story.engine, lambda conn: conn.execute(sa.update(delivery).values(**values)))

    hand_over_at(5, "sent")
    assert _funnel(story.report(campaign_id)) == (1, 1, 0, 1)
    hand_over_at(2 * HOUR, "sent")  # the very instant of the arrival is not before it
    assert _funnel(story.report(campaign_id)) == (1, 1, 0, 0)
    for state in ("queued", "leased", "uncertain", "dead", "expired"):
        hand_over_at(5, state)
        assert _funnel(story.report(campaign_id)) == (1, 0, 0, 0)


def test_a_count_only_campaign_has_targets_and_no_receivers(story: Story) -> None:
    campaign_id = story.campaign(story.gangnam, message={"channel": "none"})
    story.stay("a", GANGNAM, arrive=0)
    report = story.report(campaign_id)
    assert _funnel(report) == (1, 0, 0, 0)
    assert report.totals.response_rate is None


def test_a_test_is_counted_nowhere(story: Story) -> None:
    campaign_id = story.campaign(story.gangnam, state=State.TEST)
    story.world.test_device("ab-1")
    story.stay("a", GANGNAM, arrive=0, ad_id="ab-1")
    story.click(campaign_id, "a", 3)
    story.stay("a", GANGNAM, arrive=2 * HOUR, ad_id="ab-1")
    report = story.report(campaign_id)
    assert _funnel(report) == (0, 0, 0, 0)
    assert report.reasons == ()
    assert report.per_fence == ()
    stats = reading(
        story.engine,
        lambda conn: write_reports.stats(conn, campaign_id, now_ms=START_MS + DAY * MIN),
    )
    assert (stats.deliveries, dict(stats.reasons)) == ({}, {})


def test_people_whom_the_audience_leaves_out_are_no_targets(story: Story) -> None:
    campaign_id = story.campaign(story.gangnam, ad_ids=["ab-1"])
    story.stay("a", GANGNAM, arrive=0, ad_id="ab-1")
    story.stay("b", GANGNAM, arrive=0, ad_id="ab-2")
    report = story.report(campaign_id)
    assert _funnel(report) == (1, 1, 0, 0)
    assert {r.code: r.count for r in report.reasons} == {"sent": 1, "not_in_segment": 1}


def test_two_phones_of_one_user_are_one_person(story: Story) -> None:
    campaign_id = story.campaign(story.gangnam)
    story.stay("phone", GANGNAM, arrive=0, user_id="u-1")
    story.stay("tablet", GANGNAM, arrive=1, user_id="u-1")
    story.stay("tablet", GANGNAM, arrive=3 * HOUR, user_id="u-1")
    report = story.report(campaign_id)
    # told on the phone, came with the tablet; the tablet's first stay began after the message, too
    assert _funnel(report) == (1, 1, 0, 1)
    assert report.totals.visits == 2


def test_a_later_login_links_the_device_to_the_user(story: Story) -> None:
    campaign_id = story.campaign(story.gangnam)
    story.stay("phone", GANGNAM, arrive=0)
    story.stay("phone", GANGNAM, arrive=2 * HOUR, user_id="u-1")
    report = story.report(campaign_id)
    # decided once as the device and once as the user; the visit is owed to the first message
    assert (report.totals.targets, report.totals.receivers, report.totals.visits) == (2, 2, 1)


def test_a_visit_is_owed_to_the_last_message_only(story: Story) -> None:
    first = story.campaign(story.gangnam)
    second = story.campaign(story.gangnam, story.yeoksam, trigger={"kind": "dwell", "after_s": 600})
    story.stay("a", GANGNAM, arrive=0, minutes=15)
    story.stay("a", GANGNAM, arrive=3 * HOUR)
    assert (story.report(first).totals.visits, story.report(second).totals.visits) == (0, 1)
    story.click(first, "a", 2 * HOUR)  # the first one is looked at again later
    assert (story.report(first).totals.visits, story.report(second).totals.visits) == (1, 0)


def test_of_messages_of_one_instant_the_higher_priority_has_the_visit(story: Story) -> None:
    low = story.campaign(story.gangnam, priority=0)
    high = story.campaign(story.gangnam, priority=5)
    story.stay("a", GANGNAM, arrive=0)
    story.stay("a", GANGNAM, arrive=3 * HOUR)
    assert (story.report(low).totals.visits, story.report(high).totals.visits) == (0, 1)


def test_days_are_the_campaigns_own(engine: sa.Engine) -> None:
    """START is 09:00 in Seoul; a trigger 15 h later lies on the next day there."""
    story = Story(engine)
    period = {"start": "2026-11-23T00:00:00+00:00", "end": "2026-11-25T00:00:00+00:00"}
    campaign_id = story.campaign(story.gangnam, period=period)
    story.stay("a", GANGNAM, arrive=15 * HOUR - 1)
    story.stay("b", GANGNAM, arrive=15 * HOUR)
    story.stay("a", GANGNAM, arrive=18 * HOUR)
    report = story.report(campaign_id)
    assert [(row.day, row.receivers, row.visits) for row in report.per_day] == [
        (date(2026, 11, 23), 1, 0),
        (date(2026, 11, 24), 1, 1),
    ]
    story.world.clock.saw(START_MS + 3 * DAY * MIN)
    # the last day runs to 09:00 of the 25th
    assert [row.day.day for row in story.report(campaign_id).per_day] == [23, 24, 25]


def test_days_over_the_end_of_summer_time(engine: sa.Engine) -> None:
    """In Lord Howe the clocks go forward by half an hour on 2026-10-04: +10:30, then +11."""
    story = Story(engine)
    period = {"start": "2026-09-01T00:00:00+00:00", "end": "2026-12-25T00:00:00+00:00"}
    campaign_id = story.campaign(story.gangnam, period=period, time_zone="Australia/Lord_Howe")
    story.stay("a", GANGNAM, arrive=13 * HOUR - 1)
    story.stay("b", GANGNAM, arrive=13 * HOUR)
    rows = [(row.day.day, row.receivers) for row in story.report(campaign_id).per_day if row.receivers]
    assert rows == [(23, 1), (24, 1)]


def test_fences_have_their_own_rows(story: Story) -> None:
    campaign_id = story.campaign(story.gangnam, story.yeoksam)
    story.stay("a", GANGNAM, arrive=0)
    story.stay("b", YEOKSAM, arrive=0)
    story.stay("a", YEOKSAM, arrive=3 * HOUR)
    report = story.report(campaign_id)
    rows = {row.fence_id: row for row in report.per_fence}
    assert list(rows) == [story.yeoksam, story.gangnam]
    assert (rows[story.gangnam].receivers, rows[story.gangnam].visits) == (1, 0)
    assert (rows[story.yeoksam].receivers, rows[story.yeoksam].visits) == (1, 1)
    assert (rows[story.gangnam].name, rows[story.gangnam].external_id) == ("강남점", "123")
    assert rows[story.gangnam].brand == "소담결"
    assert report.fences_total == 2


def test_visits_count_for_the_additional_days_and_no_longer(story: Story) -> None:
    period = {"start": "2026-11-23T00:00:00+00:00", "end": "2026-11-24T00:00:00+00:00"}
    campaign_id = story.campaign(story.gangnam, period=period, additional_days=1)
    for who in "ab":
        story.stay(who, GANGNAM, arrive=0)
    story.stay("a", GANGNAM, arrive=2 * DAY - 1)
    story.stay("b", GANGNAM, arrive=2 * DAY)
    report = story.report(campaign_id)
    assert (report.totals.visits, report.totals.visitors) == (1, 1)
    assert report.visits_until_ms == START_MS + 2 * DAY * MIN
    # a part of the period that does not reach its end has no additional days
    assert story.report(campaign_id, until=DAY - 1).totals.visits == 0


def test_the_parts_of_a_period_add_up_to_the_whole(story: Story) -> None:
    campaign_id = story.campaign(story.gangnam, frequency="unlimited")
    for day in range(4):
        story.stay("a", GANGNAM, arrive=day * DAY)
        story.stay("b", GANGNAM, arrive=day * DAY + 2 * HOUR)
    whole = story.report(campaign_id)
    cuts: Sequence[float] = [-DAY, DAY, DAY + 2 * HOUR, 2 * DAY + 1, 29 * DAY]
    parts = [story.report(campaign_id, **{"from": a, "until": b}) for a, b in pairwise(cuts)]
    for name in ("triggers", "messages", "visits"):
        assert sum(getattr(part.totals, name) for part in parts) == getattr(whole.totals, name)
    assert whole.totals.messages == 8
    assert whole.totals.visits == 6


def test_a_draft_without_anything_has_an_empty_report(story: Story) -> None:
    def draft(conn: sa.Connection) -> int:
        return run_campaigns.create(
            conn, {}, app_id=story.world.app_id, name="빈 것", in_place=None, author=story.world.author()
        )

    campaign_id = in_transaction(story.engine, draft)
    report = story.report(campaign_id)
    assert _funnel(report) == (0, 0, 0, 0)
    assert (report.state, report.per_fence, report.reasons) == ("draft", (), ())
    assert [(row.day, row.triggers) for row in report.per_day] == [(date(2026, 11, 23), 0)]


def test_a_campaign_that_is_not_there(story: Story) -> None:
    with pytest.raises(NotFound, match="cmp_99"):
        story.report(99)


def test_a_plan_without_visit_performance_shows_none(story: Story) -> None:
    campaign_id = story.campaign(story.gangnam)
    story.stay("a", GANGNAM, arrive=0)
    story.stay("a", GANGNAM, arrive=3 * HOUR)
    story.happen()
    report = reading(
        story.engine,
        lambda conn: write_reports.report(
            conn, campaign_id, now_ms=story.world.clock.now_ms(), with_visits=False
        ),
    )
    assert (report.has_visits, report.totals.visits, report.totals.receivers) == (False, 0, 1)


def test_live_counts_are_the_reports(story: Story) -> None:
    campaign_id = story.campaign(story.gangnam)
    story.stay("a", GANGNAM, arrive=0)
    story.click(campaign_id, "a", 1)
    stats = reading(
        story.engine,
        lambda conn: write_reports.stats(conn, campaign_id, now_ms=story.world.clock.now_ms()),
    )
    assert (stats.totals.targets, stats.totals.receivers, stats.totals.clickers) == (1, 1, 1)
    assert (dict(stats.deliveries), dict(stats.reasons)) == ({"delivered": 1}, {"sent": 1})
    assert stats.state == "running"
