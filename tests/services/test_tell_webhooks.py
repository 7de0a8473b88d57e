"""What endpoints are told without a campaign: signed, once a thing, in order, again on request."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from standardwebhooks import Webhook

from campaigns.messages.events import WebhookEvent
from geo.matching.presence import PresencePolicy
from geo.matching.visits import Visit
from nearcast.channels.webhook import WebhookChannel
from nearcast.services import manage_workspace, send_messages
from nearcast.services.send_messages import LEASE_MS
from nearcast.services.take_pings import Receipt
from nearcast.services.tell_webhooks import ToldVisit, Who, tell
from nearcast.store import notices, outbox, workspaces
from nearcast.store.engine import in_transaction, reading
from nearcast.store.outbox import ORDERED_ATTEMPTS, Attempt
from nearcast.store.tables import attempt, device, notice
from tests.receiver import Receiver, receiving, status
from tests.world import GANGNAM, MIN, OUTSIDE, START_MS, YEOKSAM, World, north

DAY_MS = 24 * 3_600_000
FENCES = (WebhookEvent.FENCE_ENTERED, WebhookEvent.FENCE_DWELLED, WebhookEvent.FENCE_EXITED)
VISITS = (WebhookEvent.VISIT_CLOSED, WebhookEvent.VISIT_AMENDED)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as there:
        yield there


@pytest.fixture
def channel() -> Iterator[WebhookChannel]:
    opened = WebhookChannel(allow_private=True, max_seconds=2)
    yield opened
    opened.close()


class Line:
    """A fence, an endpoint that listens to it, and the worker's three steps one by one."""

    def __init__(self, engine: sa.Engine, channel: WebhookChannel | None = None) -> None:
        self.engine = engine
        self.world = World(engine)
        self.channel = channel
        self.fence_id = self.world.fence(
            "강남점", GANGNAM, external_id="123", tags=("cafe",), dwell_after_s=600
        )

    def endpoint(
        self, events: Sequence[WebhookEvent], url: str = "http://127.0.0.1/"
    ) -> tuple[int, str]:
        return in_transaction(
            self.engine,
            lambda conn: manage_workspace.add_webhook(
                conn,
                app_id=self.world.app_id,
                workspace_id=self.world.workspace_id,
                name="crm",
                url=url,
                events=events,
                allow_http=True,
                now_ms=START_MS,
                actor="test",
            ),
        )

    def post(self, *pings: tuple[str, tuple[float, float], float], **more: Any) -> int:
        """Take pings, which tells what they led to; returns how many notices are new."""
        before = len(self.states())
        self.world.post([{"who": w, "at": at, "min": m, **more} for w, at, m in pings])
        return len(self.states()) - before

    def tell(self, receipt: Receipt | None = None, **more: Any) -> int:
        world, now_ms = self.world, self.world.clock.now_ms()
        snapshot = world.snapshots.current(world.workspace_id, now_ms=now_ms)
        said: dict[str, Any] = {
            "app_id": world.app_id,
            "webhooks": snapshot.webhooks,
            "now_ms": now_ms,
            "fences": snapshot.index.versions,
            "policy": snapshot.presence,
            "transitions": receipt.transitions if receipt else (),
        }
        return in_transaction(self.engine, lambda conn: tell(conn, **(said | more)))

    def visit(self, arrived: float, left: float, fixes: int = 3, **more: Any) -> ToldVisit:
        device_id = reading(self.engine, lambda c: c.execute(sa.select(device.c.id)).scalar_one())
        stay = visit(arrived, left, fixes)
        return ToldVisit(device=device_id, fence_id=self.fence_id, fence=0, visit=stay, **more)

    def lease(self, minute: float, limit: int = 10) -> list[send_messages.Lease]:
        now_ms = START_MS + round(minute * MIN)
        return in_transaction(
            self.engine, lambda conn: send_messages.lease(conn, now_ms=now_ms, limit=limit)
        )

    def work(self, minute: float) -> list[Attempt]:
        """Lease, send, record, at a minute after START."""
        assert self.channel
        now_ms, way = START_MS + round(minute * MIN), self.channel
        keys = {"now_ms": now_ms, "link_secret": b"x" * 32, "public_url": "http://n.test"}
        done = [(h, send_messages.hand_over(h, way, **keys)) for h in self.lease(minute)]
        in_transaction(self.engine, lambda conn: send_messages.record(conn, done))
        return [made for _, made in done]

    def states(self) -> list[tuple[str, str | None]]:
        query = sa.select(notice.c.state, notice.c.state_reason).order_by(notice.c.id)
        return [tuple(row) for row in reading(self.engine, lambda conn: conn.execute(query).all())]

    def again(self, webhook_id: int, *, since: float, until: float, limit: int = 100) -> Any:
        return in_transaction(
            self.engine,
            lambda conn: notices.tell_again(
                conn,
                webhook_id,
                since_ms=START_MS + round(since * MIN),
                until_ms=START_MS + round(until * MIN),
                now_ms=self.world.clock.now_ms(),
                limit=limit,
            ),
        )


def visit(arrived: float, left: float, fixes: int = 3) -> Visit:
    at_ms = (START_MS + round(arrived * MIN), START_MS + round(left * MIN))
    return Visit(arrived_ms=at_ms[0], left_ms=at_ms[1], fixes=fixes, p_sum=fixes * 255)


def told(receiver: Receiver) -> list[tuple[str, str]]:
    bodies = [json.loads(body) for _, body, _ in receiver.got]
    return [(body["type"], body["data"]["device_id"]) for body in bodies]


def test_an_enter_reaches_the_endpoint_signed_and_complete(
    engine: sa.Engine, channel: WebhookChannel, receiver: Receiver
) -> None:
    line = Line(engine, channel)
    webhook_id, secret = line.endpoint(FENCES, receiver.url)
    assert line.post(("phone-1", GANGNAM, 0), user_id="u-1", accuracy_m=10) == 1
    [done] = line.work(0)
    assert (done.ok, line.states()) == (True, [("sent", None)])
    headers, body, _ = receiver.got[0]
    said = Webhook(secret).verify(body, headers)
    data = said["data"]
    assert (data.pop("probability"), data.pop("distance_m")) == (1.0, -100.0)
    assert said == {
        "type": "fence.entered",
        "timestamp": "2026-11-23T00:00:00.000Z",
        "data": {
            "device_id": "phone-1",
            "user_id": "u-1",
            "fence": {
                "id": f"fnc_{line.fence_id}",
                "external_id": "123",
                "name": "강남점",
                "tags": ["cafe"],
                "version": 1,
            },
            "at": "2026-11-23T00:00:00.000Z",
            "seen_at": "2026-11-23T00:00:00.000Z",
            "arrived": "2026-11-23T00:00:00.000Z",
            "dwell_s": 0.0,
            "after_s": None,
            "by": "fix",
            "initial": True,
        },
    }
    assert headers["webhook-id"].startswith("evt_")
    tried = reading(engine, lambda conn: outbox.attempts_at(conn, webhook_id, limit=5))
    assert [(t["key"], t["ok"], t["status"]) for t in tried] == [(headers["webhook-id"], True, 200)]


def test_visits_are_told_with_what_they_were(
    engine: sa.Engine, channel: WebhookChannel, receiver: Receiver
) -> None:
    line = Line(engine, channel)
    line.endpoint(VISITS, receiver.url)
    line.post(("phone-1", GANGNAM, 0))
    line.world.clock.saw(START_MS + 60 * MIN)
    closed = line.visit(0, 4)
    amended = line.visit(0, 20, fixes=9, replaces_ms=(START_MS + 10 * MIN,))
    assert line.tell(visits_closed=[closed], visits_amended=[amended]) == 2
    line.work(60)
    line.work(60)
    first, second = (json.loads(body) for _, body, _ in receiver.got)
    assert (first["type"], first["timestamp"]) == ("visit.closed", "2026-11-23T00:34:00.000Z")
    assert first["data"]["visit"] == {
        "arrived": "2026-11-23T00:00:00.000Z",
        "left": "2026-11-23T00:04:00.000Z",
        "dwell_s": 240.0,
        "fixes": 3,
        "confidence": 1.0,
        "class": "pass_by",
    }
    assert (second["type"], second["data"]["visit"]["class"]) == ("visit.amended", "visit")
    assert second["data"]["replaces"] == ["2026-11-23T00:10:00.000Z"]


def test_where_nobody_listens_the_database_is_not_asked(engine: sa.Engine) -> None:
    line = Line(engine)
    line.endpoint(VISITS)
    receipt = line.world.post([{"who": "phone", "at": GANGNAM, "min": 0}])
    asked: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *event: asked.append(event[2]))
    assert len(receipt.transitions) == 1
    assert line.tell(receipt, webhooks=(), now_ms=0) == 0
    world = line.world
    listening = world.snapshots.current(world.workspace_id, now_ms=world.clock.now_ms()).webhooks
    asked.clear()
    assert line.tell(receipt, webhooks=listening) == 0  # to visits, not to fences
    assert [text for text in asked if "device" in text or "notice" in text] == []


def test_whoever_is_known_is_not_looked_up(sqlite_engine: sa.Engine) -> None:
    line = Line(sqlite_engine)
    receipt = line.world.post([{"who": "phone", "at": GANGNAM, "min": 0, "user_id": "now"}])
    line.endpoint(FENCES)
    people = {receipt.transitions[0].device: Who(key="phone", user_id="as of the event")}
    line.tell(receipt, people=people)
    [held] = line.lease(0)
    assert json.loads(held.body)["data"]["user_id"] == "as of the event"


def test_each_endpoint_gets_what_it_asked_for_and_another_apps_gets_nothing(engine: sa.Engine) -> None:
    line = Line(engine)
    line.endpoint(FENCES[:1])
    line.endpoint(FENCES)
    line.endpoint([])
    world = line.world
    other = in_transaction(
        engine,
        lambda conn: workspaces.add_app(
            conn,
            workspace_id=world.workspace_id,
            name="b",
            bundle_id="b",
            time_zone="UTC",
            now_ms=0,
        ),
    )
    values = {"name": "n", "url": "https://a.example/", "secret": "whsec_eA==", "created_ms": 0}
    events = [event.value for event in FENCES]
    in_transaction(engine, lambda c: workspaces.add_webhook(c, app_id=other, events=events, **values))
    in_transaction(engine, lambda conn: workspaces.bump(conn, world.workspace_id))
    assert line.post(("p", GANGNAM, 0)) == 2
    assert line.post(("p", GANGNAM, 10)) == 1  # the dwell of 600 s
    keys = [row[0] for row in reading(engine, lambda c: c.execute(sa.select(notice.c.key)).all())]
    assert (keys[0] == keys[1], len(set(keys))) == (True, 2)


def test_a_subscription_changes_from_the_next_pings_on(engine: sa.Engine) -> None:
    line = Line(engine)
    webhook_id, _ = line.endpoint([])
    assert line.post(("a", GANGNAM, 0)) == 0
    world = line.world

    def change(events: Sequence[WebhookEvent]) -> None:
        def verb(conn: sa.Connection) -> None:
            row = manage_workspace.webhook_of(conn, webhook_id, app_ids=[world.app_id])
            manage_workspace.change_webhook(
                conn, row, events=events, allow_http=True, author=world.author()
            )

        in_transaction(engine, verb)

    change(FENCES)
    assert line.post(("b", GANGNAM, 1)) == 1
    change([])
    assert line.post(("c", GANGNAM, 2)) == 0
    assert line.states() == [("queued", None)]  # what was told before still goes out


def test_the_same_thing_told_twice_is_one_notice(engine: sa.Engine) -> None:
    line = Line(engine)
    line.endpoint(FENCES + VISITS)
    receipt = line.world.post([{"who": "phone", "at": GANGNAM, "min": 0}])
    assert len(line.states()) == 1
    assert line.tell(receipt) == 0
    closed = [line.visit(0, 4)]
    assert line.tell(visits_closed=closed, visits_amended=closed) == 2
    assert line.tell(visits_closed=closed, visits_amended=closed) == 0
    grown = [line.visit(0, 5)]
    assert line.tell(visits_closed=grown) == 1  # it was joined to a later stay, and is over again
    assert line.tell(visits_closed=grown) == 0
    assert line.tell(visits_amended=grown) == 1


def test_what_is_not_committed_was_not_told(engine: sa.Engine) -> None:
    line = Line(engine)
    receipt = line.world.post([{"who": "phone", "at": GANGNAM, "min": 0}])
    line.endpoint(FENCES)
    world = line.world
    snapshot = world.snapshots.current(world.workspace_id, now_ms=world.clock.now_ms())

    def verb(conn: sa.Connection) -> None:
        tell(
            conn,
            app_id=world.app_id,
            webhooks=snapshot.webhooks,
            now_ms=START_MS,
            fences=snapshot.index.versions,
            policy=PresencePolicy(),
            transitions=receipt.transitions,
        )
        raise LookupError

    with pytest.raises(LookupError):
        in_transaction(engine, verb)
    assert line.states() == []


def test_one_batch_is_told_in_the_order_of_its_instants(
    engine: sa.Engine, channel: WebhookChannel, receiver: Receiver
) -> None:
    line = Line(engine, channel)
    line.endpoint(FENCES + VISITS, receiver.url)
    line.post(("p", GANGNAM, 0), ("p", GANGNAM, 8))
    assert line.post(("p", GANGNAM, 60)) == 3  # a new visit; the one before is over
    for _ in range(5):
        line.work(60)
    assert [kind for kind, _ in told(receiver)] == [
        *("fence.entered", "fence.exited", "visit.closed", "fence.entered"),
    ]
    by = [json.loads(body)["data"].get("by") for _, body, _ in receiver.got]
    assert by == ["fix", "silence", None, "fix"]


def test_of_one_device_and_fence_the_next_waits_for_the_one_before(
    engine: sa.Engine, channel: WebhookChannel, receiver: Receiver
) -> None:
    line = Line(engine, channel)
    line.endpoint(FENCES, receiver.url)
    line.post(("a", GANGNAM, 0), ("b", GANGNAM, 0))
    line.post(("a", GANGNAM, 10))  # a's dwell
    receiver.answer = status(503)
    assert len(line.work(10)) == 2  # the two enters; the dwell waits
    assert line.states() == [("queued", "http_503")] * 2 + [("queued", None)]
    receiver.answer = None
    assert len(line.work(11)) == 2
    assert len(line.work(11)) == 1
    assert told(receiver)[-1] == ("fence.dwelled", "a")
    assert line.work(12) == []


def test_a_notice_that_keeps_failing_does_not_hold_up_the_rest_for_days(
    sqlite_engine: sa.Engine, channel: WebhookChannel, receiver: Receiver
) -> None:
    line = Line(sqlite_engine, channel)
    line.endpoint(FENCES, receiver.url)
    line.post(("a", GANGNAM, 0))
    line.post(("a", GANGNAM, 10))
    receiver.answer = status(500)
    minute, tries = 10.0, 0
    while tries < ORDERED_ATTEMPTS:
        [done] = line.work(minute)
        assert [kind for kind, _ in told(receiver)[-1:]] == ["fence.entered"]
        minute, tries = (done.not_before_ms - START_MS) / MIN, tries + 1
    assert minute < 14  # 5 + 10 + 20 + 40 + 80 s, each ± 25 %
    line.work(minute)
    assert {kind for kind, _ in told(receiver)} == {"fence.entered", "fence.dwelled"}


def test_a_dead_workers_notice_is_sent_again_before_the_next_one(engine: sa.Engine) -> None:
    line = Line(engine)
    line.endpoint(FENCES)
    line.post(("a", GANGNAM, 0))
    line.post(("a", GANGNAM, 10))
    [first] = line.lease(10)
    assert line.lease(10) == []
    [again] = line.lease(10 + LEASE_MS / MIN)
    assert (again.id, again.key, again.attempts) == (first.id, first.key, 2)


def test_a_refusal_for_good_lets_the_next_one_go(
    engine: sa.Engine, channel: WebhookChannel, receiver: Receiver
) -> None:
    line = Line(engine, channel)
    line.endpoint(FENCES, receiver.url)
    line.post(("a", GANGNAM, 0))
    line.post(("a", GANGNAM, 10))
    receiver.answer = status(400)
    line.work(10)
    receiver.answer = None
    line.work(10)
    assert line.states() == [("failed", "http_400"), ("sent", None)]


def test_what_waits_for_a_removed_endpoint_is_cancelled(
    engine: sa.Engine, channel: WebhookChannel, receiver: Receiver
) -> None:
    line = Line(engine, channel)
    webhook_id, _ = line.endpoint(FENCES, receiver.url)
    line.post(("a", GANGNAM, 0))
    in_transaction(engine, lambda conn: workspaces.delete_webhook(conn, webhook_id, START_MS))
    line.work(0)
    assert (line.states(), receiver.got) == ([("cancelled", "webhook_removed")], [])
    in_transaction(engine, lambda conn: workspaces.bump(conn, line.world.workspace_id))
    assert line.post(("b", GANGNAM, 1)) == 0


def test_after_three_days_a_notice_is_dead_and_can_be_asked_for_again(
    sqlite_engine: sa.Engine, channel: WebhookChannel, receiver: Receiver
) -> None:
    line = Line(sqlite_engine, channel)
    webhook_id, _ = line.endpoint(FENCES, receiver.url)
    line.post(("a", GANGNAM, 0))
    receiver.answer = status(500)
    at_ms, tries = START_MS, 0
    while line.states()[0][0] == "queued":
        [done] = line.work((at_ms - START_MS) / MIN)
        at_ms, tries = done.not_before_ms, tries + 1
        assert tries < 60
    assert line.states() == [("dead", "http_500")]
    assert (tries > 15, at_ms >= START_MS + 3 * DAY_MS) == (True, True)

    line.world.clock.saw(START_MS + 4 * DAY_MS)
    assert line.again(webhook_id, since=0, until=1) == (1, None)
    [failed] = line.work(4 * 24 * 60)
    assert failed.not_before_ms - failed.at_ms < 10_000  # its back-off begins anew
    receiver.answer = None
    line.work(4 * 24 * 60 + 1)
    assert line.states() == [("sent", None)]
    assert len({headers["webhook-id"] for headers, _, _ in receiver.got}) == 1


def test_an_endpoint_is_told_again_what_it_was_told_in_a_time(
    engine: sa.Engine, channel: WebhookChannel, receiver: Receiver
) -> None:
    line = Line(engine, channel)
    webhook_id, _ = line.endpoint(FENCES, receiver.url)
    for minute, who in enumerate("abcd"):
        line.post((who, GANGNAM, minute))
        line.work(minute)
    line.post(("e", GANGNAM, 4))
    before = told(receiver)
    assert line.again(webhook_id, since=1, until=3) == (2, None)
    assert line.again(webhook_id, since=4, until=9) == (0, None)  # it still waits
    assert line.again(webhook_id + 1, since=0, until=9) == (0, None)
    line.work(5)
    again = told(receiver)[len(before) :]
    assert sorted(who for _, who in again) == ["b", "c", "e"]
    assert {h["webhook-id"] for h, _, _ in receiver.got[1:3]} <= {
        h["webhook-id"] for h, _, _ in receiver.got[len(before) :]
    }


def test_much_is_asked_for_again_in_parts(engine: sa.Engine) -> None:
    line = Line(engine)
    webhook_id, _ = line.endpoint(FENCES)
    for minute in range(6):
        line.post((f"p{minute}", GANGNAM, minute), (f"q{minute}", YEOKSAM, minute))
    in_transaction(engine, lambda conn: conn.execute(sa.update(notice).values(state="sent")))
    total, since_ms, parts = 0, START_MS, 0
    while since_ms is not None:
        since = (since_ms - START_MS) / MIN
        count, since_ms = line.again(webhook_id, since=since, until=10, limit=2)
        total, parts = total + count, parts + 1
    assert (total, parts) == (6, 3)


def test_old_notices_are_forgotten_with_their_attempts_but_not_those_that_wait(
    engine: sa.Engine, channel: WebhookChannel, receiver: Receiver
) -> None:
    line = Line(engine, channel)
    line.endpoint(FENCES, receiver.url)
    line.post(("a", GANGNAM, 0))
    line.work(0)
    line.post(("b", GANGNAM, 1))

    def forget(minute: float) -> int:
        before_ms = START_MS + round(minute * MIN)
        return in_transaction(engine, lambda c: notices.forget_before(c, before_ms, limit=10))

    assert forget(0) == 0
    assert forget(5) == 1
    assert line.states() == [("queued", None)]
    assert reading(engine, lambda conn: conn.execute(sa.select(attempt.c.id)).all()) == []


def test_exits_by_fixes_are_told_dated_at_the_first_one_outside(engine: sa.Engine) -> None:
    line = Line(engine)
    line.endpoint(FENCES[2:])
    line.post(("a", GANGNAM, 0))
    line.post(("a", OUTSIDE, 1), ("a", north(OUTSIDE, 50), 7))
    [held] = line.lease(7)
    data = json.loads(held.body)["data"]
    assert (data["at"], data["by"]) == ("2026-11-23T00:01:00.000Z", "fix")
    assert data["seen_at"] > data["at"]
    assert data["distance_m"] > 100
