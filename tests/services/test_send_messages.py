"""From a decision to the endpoint: what it is told, and what every answer makes of the delivery."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import example, given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from campaigns.campaign.life import State
from campaigns.messages.links import delivery_of
from nearcast.channels.webhook import WebhookChannel
from nearcast.services import manage_workspace, send_messages
from nearcast.services.send_messages import MAX_BACKOFF_MS, backoff_ms
from nearcast.store import deliveries
from nearcast.store.deliveries import GIVE_UP_AFTER_MS, Attempt, Lease
from nearcast.store.engine import in_transaction, reading
from nearcast.store.tables import decision, delivery, send_slot
from tests.receiver import Receiver, receiving, status
from tests.world import GANGNAM, MIN, OUTSIDE, START_MS, World

LINK_SECRET = b"0123456789abcdef0123456789abcdef"
PUBLIC_URL = "https://near.example"


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
    """A webhook campaign at one fence, and the worker's three steps one by one."""

    def __init__(self, engine: sa.Engine, channel: WebhookChannel, url: str, **body: Any) -> None:
        self.engine = engine
        self.world = World(engine)
        self.channel = channel
        fence_id = self.world.fence("강남점", GANGNAM, external_id="123")
        webhook_id, self.secret = in_transaction(
            engine,
            lambda conn: manage_workspace.add_webhook(
                conn,
                app_id=self.world.app_id,
                workspace_id=self.world.workspace_id,
                name="crm",
                url=url,
                allow_http=True,
                now_ms=START_MS,
                actor="test",
            ),
        )
        message = {
            "channel": "webhook",
            "webhook_id": webhook_id,
            "title": "커피 20% 🎁",
            "body": "어서 오세요",
            "link": "https://shop.example/?utm_source=near",
        }
        whole = {"targeting": {"fence_ids": [fence_id]}, "message": message} | body
        self.campaign_id = self.world.campaign(**whole)

    def ping(self, minute: float = 0, **more: Any) -> None:
        ping = {"who": "phone-1", "ad_id": "AB-CD", "user_id": "u-1", "at": GANGNAM, "min": minute}
        self.world.post([ping | more])

    def work(self, minute: float = 0) -> list[tuple[Lease, Attempt]]:
        """Lease, send, record, at a minute after START."""
        now_ms = START_MS + round(minute * MIN)
        leased = in_transaction(
            self.engine, lambda conn: send_messages.lease(conn, now_ms=now_ms, limit=10)
        )
        done = [(held, self.send(held, now_ms)) for held in leased]
        in_transaction(self.engine, lambda conn: send_messages.record(conn, done))
        return done

    def send(self, held: Lease, now_ms: int) -> Attempt:
        return send_messages.hand_over(
            held, self.channel, now_ms=now_ms, link_secret=LINK_SECRET, public_url=PUBLIC_URL
        )

    def states(self) -> list[tuple[str, str | None]]:
        query = sa.select(delivery.c.state, delivery.c.state_reason).order_by(delivery.c.id)
        rows = reading(self.engine, lambda conn: conn.execute(query).all())
        return [(row.state, row.state_reason) for row in rows]

    def count(self, table: sa.Table) -> int:
        query = sa.select(sa.func.count()).select_from(table)
        return reading(self.engine, lambda conn: conn.execute(query).scalar_one())


def test_a_decision_reaches_the_endpoint_signed_and_complete(
    engine: sa.Engine, channel: WebhookChannel, receiver: Receiver
) -> None:
    line = Line(engine, channel, receiver.url)
    line.ping()
    [(held, attempt)] = line.work()
    assert (attempt.ok, line.states()) == (True, [("sent", None)])
    headers, body, _ = receiver.got[0]
    told = Webhook(line.secret).verify(body, headers)
    assert headers["webhook-id"] == f"dlv_{held.id}"
    link = told["data"].pop("link")
    assert told == {
        "type": "message.sent",
        "timestamp": "2026-11-23T00:00:00.000Z",
        "data": {
            "delivery_id": f"dlv_{held.id}",
            "campaign_id": f"cmp_{line.campaign_id}",
            "device_id": "phone-1",
            "ad_id": "ab-cd",
            "user_id": "u-1",
            "fence": {"id": f"fnc_{held.fence_id}", "external_id": "123", "name": "강남점"},
            "trigger": {"kind": "enter", "at": "2026-11-23T00:00:00.000Z"},
            "title": "커피 20% 🎁",
            "body": "어서 오세요",
            "image": None,
            "expires_at": "2026-11-23T00:30:00.000Z",
            "test": False,
        },
    }
    token = link.removeprefix("https://near.example/r/")
    assert delivery_of(token, LINK_SECRET) == held.id


def test_a_test_campaigns_message_says_that_it_is_a_test(
    engine: sa.Engine, channel: WebhookChannel, receiver: Receiver
) -> None:
    line = Line(engine, channel, receiver.url, state=State.TEST)
    line.world.test_device("AB-CD")
    line.ping()
    line.work()
    assert json.loads(receiver.got[0][1])["data"]["test"] is True


def test_an_endpoint_that_is_down_gets_the_same_letter_again_later(
    engine: sa.Engine, channel: WebhookChannel, receiver: Receiver
) -> None:
    line = Line(engine, channel, receiver.url)
    line.ping()
    receiver.answer = status(503)
    [(held, attempt)] = line.work()
    assert line.states() == [("queued", "http_503")]
    assert line.work(minute=3 / 60) == []  # it backs off
    receiver.answer = None
    wait_min = (attempt.not_before_ms - START_MS) / MIN
    [(again, second)] = line.work(minute=wait_min)
    assert (again.id, second.ok, line.states()) == (held.id, True, [("sent", None)])
    ids = [headers["webhook-id"] for headers, _, _ in receiver.got]
    assert ids == [f"dlv_{held.id}"] * 2
    assert receiver.got[0][1] == receiver.got[1][1]
    kept = reading(engine, lambda conn: deliveries.attempts_of(conn, held.id))
    assert [(a["ok"], a["status"]) for a in kept] == [(False, 503), (True, 200)]


def test_the_endpoints_own_wish_to_wait_is_respected(
    engine: sa.Engine, channel: WebhookChannel, receiver: Receiver
) -> None:
    line = Line(engine, channel, receiver.url)
    line.ping()
    receiver.answer = status(429, {"retry-after": "300"})
    [(_, attempt)] = line.work()
    assert attempt.not_before_ms == START_MS + 300_000


def test_a_refusal_for_good_fails_and_the_person_may_be_told_another_time(
    engine: sa.Engine, channel: WebhookChannel, receiver: Receiver
) -> None:
    line = Line(engine, channel, receiver.url)
    line.ping()
    assert line.count(send_slot) == 1
    receiver.answer = status(410)
    line.work()
    assert (line.states(), line.count(send_slot)) == ([("failed", "http_410")], 0)
    line.ping(20, at=OUTSIDE)
    line.ping(80)  # a new visit: the slot is free again
    receiver.answer = None
    line.work(minute=80)
    assert [state for state, _ in line.states()] == ["failed", "sent"]
    reasons = reading(engine, lambda conn: list(conn.execute(sa.select(decision.c.reason)).scalars()))
    assert reasons == ["sent", "sent"]


def test_a_private_address_is_refused_before_a_packet_leaves(
    engine: sa.Engine, channel: WebhookChannel, receiver: Receiver
) -> None:
    line = Line(engine, channel, receiver.url)
    line.ping()
    line.channel = WebhookChannel()
    line.work()
    line.channel.close()
    assert line.states() == [("failed", "address_refused")]
    assert receiver.got == []


def test_a_redirect_is_not_followed(
    engine: sa.Engine, channel: WebhookChannel, receiver: Receiver
) -> None:
    line = Line(engine, channel, receiver.url)
    line.ping()
    receiver.answer = status(302, {"location": receiver.url})
    line.work()
    assert (line.states(), len(receiver.got)) == ([("queued", "http_302")], 1)


def test_a_message_that_expired_on_the_way_is_not_sent(
    engine: sa.Engine, channel: WebhookChannel, receiver: Receiver
) -> None:
    line = Line(engine, channel, receiver.url)
    line.ping()
    assert line.work(minute=30) == []
    assert (line.states(), receiver.got) == ([("expired", None)], [])


def test_what_waits_for_a_removed_webhook_is_cancelled(
    engine: sa.Engine, channel: WebhookChannel, receiver: Receiver
) -> None:
    line = Line(engine, channel, receiver.url)
    line.ping()
    in_transaction(engine, lambda conn: conn.execute(sa.text("update webhook set deleted_ms = 1")))
    line.work()
    assert (line.states(), receiver.got) == ([("cancelled", "webhook_removed")], [])
    assert line.count(send_slot) == 0


def test_after_three_days_a_message_is_dead(
    sqlite_engine: sa.Engine, channel: WebhookChannel, receiver: Receiver
) -> None:
    line = Line(sqlite_engine, channel, receiver.url)
    line.ping()
    long_lived = sa.update(delivery).values(expires_ms=START_MS + 10 * GIVE_UP_AFTER_MS)
    in_transaction(sqlite_engine, lambda conn: conn.execute(long_lived))
    receiver.answer = status(500)
    at_ms, tries = START_MS, 0
    while line.states() == [("queued", None)] or line.states() == [("queued", "http_500")]:
        [(_, attempt)] = line.work(minute=(at_ms - START_MS) / MIN)
        at_ms, tries = attempt.not_before_ms, tries + 1
        assert tries < 60
    assert line.states() == [("dead", "http_500")]
    assert at_ms >= START_MS + GIVE_UP_AFTER_MS
    assert tries > 15


@given(st.integers(1, 2**62), st.integers(1, 10_000))
@example(1, 1)
@example(2**62, 10_000)
def test_backoff_grows_is_spread_and_the_same_each_time(serial: int, attempts: int) -> None:
    wait = backoff_ms(serial, attempts)
    assert wait == backoff_ms(serial, attempts)
    whole = min(5_000 * 2 ** (attempts - 1), MAX_BACKOFF_MS)
    assert 0.75 * whole <= wait <= 1.25 * whole


def test_backoff_parts_those_that_failed_together() -> None:
    waits = {backoff_ms(serial, 3) for serial in range(1, 101)}
    assert len(waits) > 90
