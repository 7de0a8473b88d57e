"""`explain` over what really happened: decisions, the ping log, fences and visits."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from campaigns.campaign.life import State
from campaigns.deciding.explain import Because, Worked
from nearcast.services import run_campaigns
from nearcast.services.errors import Invalid, NotFound
from nearcast.services.explain import Explained, explain
from nearcast.store import workspaces
from nearcast.store.engine import in_transaction, reading
from tests.world import GANGNAM, MIN, OUTSIDE, START_MS, YEOKSAM, World, north

HOUR = 60


class Desk:
    """A campaign at 강남점, and somebody who asks why."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.world = World(engine)
        self.fence_id = self.world.fence("강남점", GANGNAM)

    def campaign(self, *, aim: dict[str, Any] | None = None, **body: Any) -> int:
        return self.world.campaign(targeting=aim or {"fence_ids": [self.fence_id]}, **body)

    def ping(self, minute: float, place: tuple[float, float] = GANGNAM, **more: Any) -> None:
        self.world.post([{"who": "a", "at": place, "min": minute} | more])

    def pass_time(self, minute: float) -> None:
        self.world.clock.saw(START_MS + round(minute * MIN))

    def ask(self, campaign_id: int, at: float | None = None, **who: str) -> Explained:
        def verb(conn: sa.Connection) -> Explained:
            return explain(
                conn,
                run_campaigns.load(conn, app_ids=[self.world.app_id], campaign_id=campaign_id),
                **(who or {"device_id": "a"}),
                at_ms=None if at is None else START_MS + round(at * MIN),
                now_ms=self.world.clock.now_ms(),
            )

        return reading(self.engine, verb)

    def why(self, campaign_id: int, at: float | None = None, **who: str) -> tuple[str, Because | None]:
        found = self.ask(campaign_id, at, **who).explanation
        return found.reason, found.because


@pytest.fixture
def desk(sqlite_engine: sa.Engine) -> Desk:
    return Desk(sqlite_engine)


def test_a_decision_explains_itself(engine: sa.Engine) -> None:
    desk = Desk(engine)  # on both databases
    campaign_id = desk.campaign()
    desk.ping(3, accuracy_m=10.0, ad_id="ab-1", user_id="u-1")
    for who in ({"device_id": "a"}, {"ad_id": "AB-1"}, {"user_id": "u-1"}):
        found = desk.ask(campaign_id, **who)
        assert found.explanation.reason == "sent"
        assert found.explanation.sentence.en == "Sent at 09:03: entered 강남점 (P 1.00)"
        assert found.decision is not None
        assert found.decision["campaign_version"] == 1


def test_the_decision_nearest_before_the_instant_answers(desk: Desk) -> None:
    campaign_id = desk.campaign()
    desk.ping(0)
    desk.ping(30, OUTSIDE)
    desk.ping(2 * HOUR)
    desk.pass_time(4 * HOUR)
    assert desk.why(campaign_id)[0] == "frequency_capped"
    assert desk.why(campaign_id, at=HOUR)[0] == "sent"
    assert desk.why(campaign_id, at=2 * HOUR)[0] == "frequency_capped"
    # "09:03" as a sentence tells it means the whole minute
    assert desk.why(campaign_id, at=2 * HOUR - 0.9)[0] == "frequency_capped"
    assert desk.why(campaign_id, at=2 * HOUR - 1)[0] == "sent"


def test_a_decision_of_the_day_before_is_another_story(desk: Desk) -> None:
    campaign_id = desk.campaign()
    desk.ping(0)
    desk.pass_time(40 * HOUR)
    assert desk.why(campaign_id, at=24 * HOUR)[0] == "sent"
    assert desk.why(campaign_id, at=24 * HOUR + 1) == (Worked.NO_TRIGGER, Because.NO_PING)
    assert desk.why(campaign_id)[0] == "sent"  # nobody asked about an instant


def test_no_ping_for_three_hours(desk: Desk) -> None:
    campaign_id = desk.campaign()
    desk.ping(0, OUTSIDE)
    desk.pass_time(5 * HOUR)
    assert desk.why(campaign_id, at=3 * HOUR) == (Worked.NO_TRIGGER, Because.OUTSIDE)
    assert desk.why(campaign_id, at=3 * HOUR + 1) == (Worked.NO_TRIGGER, Because.NO_PING)
    assert desk.why(campaign_id) == (Worked.NO_TRIGGER, Because.NO_PING)


def test_the_fix_was_so_far_off(engine: sa.Engine) -> None:
    desk = Desk(engine)  # on both databases
    far = desk.world.fence("역삼점", YEOKSAM)
    campaign_id = desk.campaign(aim={"fence_ids": [desk.fence_id, far]})
    desk.ping(0, north(GANGNAM, 412), accuracy_m=10.0)
    desk.ping(5, OUTSIDE, accuracy_m=10.0)
    found = desk.ask(campaign_id)
    assert found.explanation.sentence.en == "The nearest fix, of 09:00, was 312 m off 강남점"
    assert found.explanation.fix is not None
    assert found.explanation.fix.fence_id == desk.fence_id


def test_a_polygons_rim_is_what_counts(desk: Desk) -> None:
    ring = [(127.1, 37.5), (127.2, 37.5), (127.2, 37.501), (127.1, 37.501), (127.1, 37.5)]
    strip = desk.world.polygon("긴 길", ring)
    campaign_id = desk.campaign(aim={"fence_ids": [strip]})
    desk.ping(0, north((127.12, 37.501), 250))
    found = desk.ask(campaign_id).explanation
    assert (found.because, found.value) == (Because.OUTSIDE, "250 m")


def test_a_fix_too_coarse_to_tell(desk: Desk) -> None:
    campaign_id = desk.campaign()
    desk.ping(0, north(GANGNAM, 90), accuracy_m=300.0)
    found = desk.ask(campaign_id).explanation
    assert found.because is Because.UNDECIDED
    assert 0 < float(found.value or "0") < 0.5


def test_inside_since_before_the_campaign_ran(desk: Desk) -> None:
    desk.ping(-48)
    desk.ping(-25)
    desk.ping(-1)
    campaign_id = desk.campaign()
    desk.ping(10)
    found = desk.ask(campaign_id).explanation
    assert (found.reason, found.because) == (Worked.NO_TRIGGER, Because.INSIDE_BEFORE)
    assert found.sentence.en == "Inside 강남점 since 08:12, before the campaign listened"


def test_a_dwell_that_is_not_long_enough_yet(desk: Desk) -> None:
    campaign_id = desk.campaign(trigger={"kind": "dwell", "after_s": 600})
    desk.ping(0)
    desk.ping(9)
    found = desk.ask(campaign_id).explanation
    assert (found.because, found.value, found.bound) == (Because.DWELL_TOO_SHORT, "9 min", "10 min")
    desk.ping(10)
    assert desk.why(campaign_id)[0] == "sent"


def test_a_ping_that_came_too_late(desk: Desk) -> None:
    campaign_id = desk.campaign()
    desk.ping(30, OUTSIDE)
    desk.ping(0)
    assert desk.why(campaign_id, at=0) == (Worked.STALE_PING, Because.LATE_FIX)
    assert desk.ask(campaign_id, at=0).explanation.value == "30 min"


def test_a_quarantined_ping(desk: Desk) -> None:
    campaign_id = desk.campaign()
    desk.ping(0, mocked=True)
    desk.pass_time(1)  # such a ping does not move the replay clock
    found = desk.ask(campaign_id).explanation
    assert (found.reason, found.value) == (Worked.QUARANTINED, "mocked")


def test_a_fence_switched_off_and_one_drawn_later(desk: Desk) -> None:
    off = desk.world.fence("꺼진 곳", YEOKSAM, enabled=False)
    campaign_id = desk.campaign(aim={"fence_ids": [off]})
    desk.ping(0, YEOKSAM)
    assert desk.why(campaign_id) == (Worked.FENCE_DISABLED, Because.FENCE_OFF)
    desk.ping(60, OUTSIDE)
    new = desk.world.fence("새 곳", OUTSIDE)
    campaign_id = desk.campaign(aim={"fence_ids": [new]})
    assert desk.why(campaign_id, at=30)[0] in (Worked.CAMPAIGN_NOT_RUNNING, Worked.FENCE_DISABLED)
    desk.ping(61, OUTSIDE)
    # it stood there when the fence was drawn: no enter was sent
    assert desk.why(campaign_id) == (Worked.NO_TRIGGER, Because.FENCE_EDIT)


def test_a_campaign_that_was_paused_and_runs_again(desk: Desk) -> None:
    campaign_id = desk.campaign()

    def move(state: State) -> None:
        def verb(conn: sa.Connection) -> None:
            row = run_campaigns.load(conn, app_ids=[desk.world.app_id], campaign_id=campaign_id)
            run_campaigns.go(conn, row, state, author=desk.world.author())

        in_transaction(desk.engine, verb)

    desk.pass_time(-10)
    move(State.PAUSED)
    desk.ping(0)
    desk.pass_time(30)
    move(State.RUNNING)
    assert desk.why(campaign_id, at=0) == (Worked.CAMPAIGN_NOT_RUNNING, Because.STATE)
    sentence = desk.ask(campaign_id, at=0).explanation.sentence
    assert sentence.en == "The campaign was not running: 'paused' since 08:50"
    assert desk.why(campaign_id) == (Worked.NO_TRIGGER, Because.INSIDE_BEFORE)


def test_the_period(desk: Desk) -> None:
    period = {"start": "2026-11-23T01:00:00+00:00", "end": "2026-11-23T02:00:00+00:00"}
    campaign_id = desk.campaign(period=period)
    desk.ping(30)
    assert desk.why(campaign_id) == (Worked.OUTSIDE_PERIOD, Because.BEFORE_PERIOD)
    desk.ping(2 * HOUR + 5)
    assert desk.why(campaign_id) == (Worked.OUTSIDE_PERIOD, Because.AFTER_PERIOD)


def test_a_test_and_a_stranger(desk: Desk) -> None:
    campaign_id = desk.campaign(state=State.TEST)
    desk.ping(0, ad_id="ab-1")
    assert desk.why(campaign_id) == (Worked.CAMPAIGN_NOT_RUNNING, Because.NO_TEST_ID)
    desk.world.test_device("ab-1")
    desk.ping(60, OUTSIDE, ad_id="ab-1")
    desk.ping(120, ad_id="ab-1")
    assert desk.why(campaign_id)[0] == "sent_test"


def test_another_app_of_the_workspace_knows_the_device(desk: Desk) -> None:
    campaign_id = desk.campaign()
    other = in_transaction(
        desk.engine,
        lambda conn: workspaces.add_app(
            conn,
            workspace_id=desk.world.workspace_id,
            name="Other",
            bundle_id="kr.example.other",
            time_zone="Asia/Seoul",
            now_ms=0,
        ),
    )
    own, desk.world.app_id = desk.world.app_id, other
    desk.ping(0)
    desk.world.app_id = own
    assert desk.why(campaign_id) == (Worked.APP_MISMATCH, Because.NEVER_SEEN_HERE)


def test_a_user_is_all_of_his_devices(desk: Desk) -> None:
    campaign_id = desk.campaign()
    desk.ping(0, OUTSIDE, who="phone", user_id="u-1")
    desk.ping(1, north(GANGNAM, 200), who="tablet", user_id="u-1")
    found = desk.ask(campaign_id, user_id="u-1")
    assert {device.key for device in found.devices} == {"phone", "tablet"}
    assert found.explanation.value == "100 m"


def test_a_stranger_is_not_found(desk: Desk) -> None:
    with pytest.raises(NotFound, match="nobody"):
        desk.ask(desk.campaign(), device_id="nobody")


@pytest.mark.parametrize("who", [{"device_id": " "}, {"device_id": "a", "user_id": "u-1"}])
def test_exactly_one_is_asked_about(desk: Desk, who: dict[str, str]) -> None:
    with pytest.raises(Invalid, match="exactly one"):
        desk.ask(desk.campaign(), **who)


def test_a_draft_can_be_asked_about(desk: Desk) -> None:
    def draft(conn: sa.Connection) -> int:
        return run_campaigns.create(
            conn, {}, app_id=desk.world.app_id, name="빈 것", in_place=None, author=desk.world.author()
        )

    campaign_id = in_transaction(desk.engine, draft)
    desk.ping(0)
    assert desk.why(campaign_id) == (Worked.CAMPAIGN_NOT_RUNNING, Because.STATE)
