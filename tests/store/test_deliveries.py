"""The outbox: leases, take-over, expiry, what an attempt makes of a delivery; the inbox and clicks."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import sqlalchemy as sa

from nearcast.services import manage_workspace
from nearcast.store import deliveries
from nearcast.store.deliveries import Attempt, DeliveryState, Lease
from nearcast.store.engine import in_transaction, insert_new, reading
from nearcast.store.tables import click, delivery, device, send_slot
from tests.world import GANGNAM, START_MS, World

NOW = START_MS
LEASE = 60_000
HOUR = 3_600_000


class Outbox:
    """A world with one device, one fence, one webhook, and as many deliveries as wanted."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.world = World(engine)
        self.fence_id = self.world.fence("강남점", GANGNAM, external_id="123")
        self.webhook_id, self.secret = in_transaction(
            engine,
            lambda conn: manage_workspace.add_webhook(
                conn,
                app_id=self.world.app_id,
                workspace_id=self.world.workspace_id,
                name="crm",
                url="https://hooks.shop.example/",
                allow_http=False,
                now_ms=NOW,
                actor="test",
            ),
        )
        where = {"fence_ids": [self.fence_id]}
        self.campaign_id = self.world.campaign(targeting=where, message={"channel": "none"})
        self.world.post([{"who": "phone", "ad_id": "AB-1", "user_id": "u-1", "at": GANGNAM, "min": 0}])
        self.device_id = reading(engine, lambda conn: conn.execute(sa.select(device.c.id)).scalar_one())

    def add(self, count: int = 1, **changes: Any) -> list[int]:
        """Queued webhook deliveries; returns their serials."""
        rows = [self._row(n) | changes for n in range(count)]
        in_transaction(self.engine, lambda conn: insert_new(conn, delivery, rows))
        query = sa.select(delivery.c.id).order_by(delivery.c.id.desc()).limit(count)
        return reading(self.engine, lambda conn: list(conn.execute(query).scalars()))[::-1]

    def _row(self, n: int) -> dict[str, Any]:
        return {
            "app_id": self.world.app_id,
            "campaign_id": self.campaign_id,
            "device_id": self.device_id,
            "fence_id": self.fence_id,
            "kind": "enter",
            "trigger_ms": NOW + n,
            "person": "u:u-1",
            "is_test": False,
            "channel": "webhook",
            "webhook_id": self.webhook_id,
            "title": "안녕하세요",
            "body": "어서 오세요",
            "link": "https://shop.example/?utm_source=a",
            "state": "queued",
            "attempts": 0,
            "created_ms": NOW,
            "not_before_ms": NOW,
            "lease_until_ms": 0,
            "expires_ms": NOW + HOUR,
        }

    def lease(self, now_ms: int = NOW, limit: int = 100) -> list[Lease]:
        return in_transaction(
            self.engine,
            lambda conn: deliveries.lease(conn, now_ms=now_ms, limit=limit, lease_ms=LEASE),
        )

    def record(self, held: Lease, **changes: Any) -> bool:
        said: dict[str, Any] = {
            "at_ms": NOW + 1,
            "ok": True,
            "permanent": False,
            "status": 200,
            "detail": "",
            "state": DeliveryState.SENT,
            "state_reason": None,
            "not_before_ms": NOW,
        }
        attempt = Attempt(**(said | changes))
        return in_transaction(self.engine, lambda conn: deliveries.record(conn, held, attempt))

    def fail(self, held: Lease, *, next_ms: int = NOW + 5_000) -> bool:
        return self.record(
            held, ok=False, status=503, detail="no", state=DeliveryState.QUEUED, not_before_ms=next_ms
        )

    def row(self, serial: int) -> dict[str, Any]:
        found = reading(self.engine, lambda conn: deliveries.get(conn, serial))
        assert found is not None
        return dict(found)

    def slots(self) -> int:
        query = sa.select(sa.func.count()).select_from(send_slot)
        return reading(self.engine, lambda conn: conn.execute(query).scalar_one())

    def take_slot(self, *, taken_ms: int, window: str = "period", person: str = "u:u-1") -> None:
        row = {
            "campaign_id": self.campaign_id,
            "person": person,
            "window": window,
            "taken_ms": taken_ms,
        }
        in_transaction(self.engine, lambda conn: insert_new(conn, send_slot, [row]))


@pytest.fixture
def outbox(engine: sa.Engine) -> Outbox:
    return Outbox(engine)


def test_a_lease_carries_all_that_a_message_needs(outbox: Outbox) -> None:
    [serial] = outbox.add()
    [held] = outbox.lease()
    assert (held.id, held.attempts, held.title, held.link) == (
        *(serial, 1, "안녕하세요"),
        "https://shop.example/?utm_source=a",
    )
    assert (held.device_key, held.ad_id, held.user_id) == ("phone", "ab-1", "u-1")
    assert (held.fence_id, held.fence_external_id, held.fence_name) == (
        *(outbox.fence_id, "123"),
        "강남점",
    )
    assert (held.url, held.secret) == ("https://hooks.shop.example/", outbox.secret)


def test_a_leased_delivery_is_nobody_elses_until_the_lease_runs_out(outbox: Outbox) -> None:
    outbox.add()
    assert len(outbox.lease()) == 1
    assert outbox.lease(NOW + LEASE - 1) == []
    [again] = outbox.lease(NOW + LEASE)
    assert again.attempts == 2


def test_the_longest_due_go_first_and_no_more_than_asked(outbox: Outbox) -> None:
    late = outbox.add(3)
    early = outbox.add(2, kind="dwell", not_before_ms=NOW - 10)
    outbox.add(1, kind="exit", not_before_ms=NOW + 1)
    assert [held.id for held in outbox.lease(limit=4)] == [*early, *late[:2]]
    assert [held.id for held in outbox.lease(limit=4)] == late[2:]


def test_other_channels_are_left_alone(outbox: Outbox) -> None:
    [serial] = outbox.add(channel="inbox", webhook_id=None)
    assert outbox.lease() == []
    assert outbox.lease(NOW + 2 * HOUR) == []
    assert outbox.row(serial)["state"] == "queued"


def test_many_workers_never_lease_the_same_delivery(outbox: Outbox) -> None:
    wanted = outbox.add(200)
    got: list[int] = []
    start = threading.Barrier(8)

    def worker() -> None:
        start.wait()
        while leased := outbox.lease(limit=3):
            got.extend(held.id for held in leased)

    threads = [threading.Thread(target=worker) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # a worker that finds everything locked by others stops early; nothing may be left in the end
    got.extend(held.id for held in outbox.lease(limit=300))
    assert sorted(got) == wanted


def test_a_delivery_handed_over_is_sent_and_never_leased_again(outbox: Outbox) -> None:
    [serial] = outbox.add()
    [held] = outbox.lease()
    assert outbox.record(held)
    row = outbox.row(serial)
    assert (row["state"], row["handed_ms"], row["attempts"]) == ("sent", NOW + 1, 1)
    assert outbox.lease(NOW + LEASE + 1) == []
    assert outbox.lease(NOW + 2 * HOUR) == []
    assert outbox.row(serial)["state"] == "sent"


def test_a_failed_attempt_is_tried_again_at_its_time(outbox: Outbox) -> None:
    [serial] = outbox.add()
    [held] = outbox.lease()
    assert outbox.fail(held, next_ms=NOW + 5_000)
    assert outbox.lease(NOW + 4_999) == []
    [again] = outbox.lease(NOW + 5_000)
    assert (again.id, again.attempts) == (serial, 2)
    kept = reading(outbox.engine, lambda conn: deliveries.attempts_of(conn, serial))
    assert [(a["ok"], a["status"], a["detail"]) for a in kept] == [(False, 503, "no")]


def test_a_late_worker_cannot_spoil_what_another_has_taken_over(outbox: Outbox) -> None:
    [serial] = outbox.add()
    [slow] = outbox.lease()
    [quick] = outbox.lease(NOW + LEASE)
    assert not outbox.fail(slow)
    assert outbox.row(serial)["state"] == "leased"
    assert outbox.record(quick)
    assert not outbox.fail(slow)
    assert outbox.row(serial)["state"] == "sent"


def test_a_late_success_counts_whoever_tells_of_it(outbox: Outbox) -> None:
    [serial] = outbox.add()
    [slow] = outbox.lease()
    [quick] = outbox.lease(NOW + LEASE)
    assert outbox.record(slow)
    assert not outbox.fail(quick)
    assert outbox.row(serial)["state"] == "sent"
    assert outbox.row(serial)["handed_ms"] == NOW + 1


def test_an_expired_message_is_not_sent_and_gives_its_slot_back(outbox: Outbox) -> None:
    [serial] = outbox.add()
    outbox.take_slot(taken_ms=NOW)
    assert [held.id for held in outbox.lease(NOW + HOUR)] == []
    assert outbox.row(serial)["state"] == "expired"
    assert outbox.slots() == 0


def test_the_expiry_instant_itself_is_too_late_and_the_one_before_is_not(outbox: Outbox) -> None:
    outbox.add()
    assert len(outbox.lease(NOW + HOUR - 1)) == 1
    outbox.add(kind="dwell")
    assert outbox.lease(NOW + HOUR) == []


def test_a_backoff_past_the_expiry_still_lets_it_expire_in_time(outbox: Outbox) -> None:
    [serial] = outbox.add()
    [held] = outbox.lease()
    outbox.fail(held, next_ms=NOW + 5 * HOUR)
    outbox.lease(NOW + HOUR)
    assert outbox.row(serial)["state"] == "expired"


def test_one_that_was_leased_and_never_recorded_is_uncertain(outbox: Outbox) -> None:
    """Its worker may have sent it before it died: nobody knows, so the slot stays taken."""
    [serial] = outbox.add()
    outbox.take_slot(taken_ms=NOW)
    [held] = outbox.lease(NOW + HOUR - 1)
    outbox.lease(NOW + HOUR)
    assert outbox.row(serial)["state"] == "leased"  # the lease still holds
    outbox.lease(NOW + HOUR + LEASE)
    row = outbox.row(serial)
    assert (row["state"], row["state_reason"]) == ("uncertain", "lease_lost")
    assert outbox.slots() == 1
    assert outbox.record(held)  # the worker was slow, not dead
    assert outbox.row(serial)["state"] == "sent"


def test_one_whose_lease_was_lost_may_have_been_sent_before_it_expires(outbox: Outbox) -> None:
    first, second = outbox.add(2)
    outbox.take_slot(taken_ms=NOW)
    outbox.lease(limit=2)
    outbox.lease(NOW + LEASE, limit=1)  # both leases have run out; only one is taken over
    assert (outbox.row(first)["state"], outbox.row(second)["state"]) == ("leased", "queued")
    assert outbox.lease(NOW + HOUR, limit=2) == []
    assert (outbox.row(first)["state"], outbox.row(second)["state"]) == ("uncertain", "uncertain")
    assert outbox.slots() == 1


@pytest.mark.parametrize("state", ["failed", "dead", "cancelled"])
def test_what_comes_to_nothing_gives_its_own_slot_back(outbox: Outbox, state: str) -> None:
    outbox.add()
    outbox.take_slot(taken_ms=NOW)
    outbox.take_slot(taken_ms=NOW - 1, window="another trigger's")
    outbox.take_slot(taken_ms=NOW, person="u:u-2")
    [held] = outbox.lease()
    outbox.record(held, ok=False, permanent=True, status=410, state=DeliveryState(state))
    assert outbox.slots() == 2
    assert outbox.row(held.id)["state"] == state
    assert outbox.lease(NOW + LEASE + 1) == []


def test_a_tests_delivery_gives_no_slot_back(outbox: Outbox) -> None:
    outbox.add(is_test=True)
    outbox.take_slot(taken_ms=NOW)
    outbox.lease(NOW + HOUR)
    assert outbox.slots() == 1


def test_a_removed_webhook_leaves_the_lease_without_an_address(outbox: Outbox) -> None:
    outbox.add()
    in_transaction(
        outbox.engine,
        lambda conn: manage_workspace.remove_webhook(
            conn,
            outbox.webhook_id,
            app_ids=[outbox.world.app_id],
            workspace_id=outbox.world.workspace_id,
            now_ms=NOW,
            actor="test",
        ),
    )
    [held] = outbox.lease()
    assert (held.url, held.secret) == (None, None)


def test_waiting_counts_what_is_due(outbox: Outbox) -> None:
    outbox.add(2)
    outbox.add(1, kind="dwell", not_before_ms=NOW + 10)

    def waiting(now_ms: int) -> int:
        return reading(outbox.engine, lambda conn: deliveries.waiting(conn, now_ms))

    assert (waiting(NOW - 1), waiting(NOW), waiting(NOW + 10)) == (0, 2, 3)
    outbox.lease()
    assert waiting(NOW) == 0


# --- inbox and clicks -------------------------------------------------------------------------------


def _inbox(outbox: Outbox, now_ms: int) -> list[int]:
    return reading(
        outbox.engine,
        lambda conn: [r["id"] for r in deliveries.inbox(conn, [outbox.device_id], now_ms=now_ms)],
    )


def _fetch(outbox: Outbox, serials: list[int], now_ms: int) -> None:
    in_transaction(outbox.engine, lambda conn: deliveries.mark_fetched(conn, serials, now_ms=now_ms))


def test_the_inbox_shows_what_lives_the_newest_first(outbox: Outbox) -> None:
    first = outbox.add(2, channel="inbox", webhook_id=None)
    [last] = outbox.add(channel="inbox", webhook_id=None, kind="dwell", created_ms=NOW + 1)
    outbox.add(channel="inbox", webhook_id=None, kind="exit", state="cancelled")
    outbox.add(kind="seen")  # a webhook's is not in the inbox
    assert _inbox(outbox, NOW) == [last, *reversed(first)]
    assert _inbox(outbox, NOW + HOUR - 1) == [last, *reversed(first)]
    assert _inbox(outbox, NOW + HOUR) == []


def test_only_the_first_fetch_counts(outbox: Outbox) -> None:
    [serial] = outbox.add(channel="inbox", webhook_id=None)
    _fetch(outbox, [serial], NOW + 5)
    _fetch(outbox, [serial], NOW + 9)
    row = outbox.row(serial)
    assert (row["fetched_ms"], row["handed_ms"], row["state"]) == (NOW + 5, NOW + 5, "delivered")


def test_an_expired_message_cannot_be_fetched(outbox: Outbox) -> None:
    [serial] = outbox.add(channel="inbox", webhook_id=None)
    _fetch(outbox, [serial], NOW + HOUR)
    assert outbox.row(serial)["fetched_ms"] is None


def test_clicks_are_all_kept_and_the_first_is_remembered(outbox: Outbox) -> None:
    [serial, other] = outbox.add(2)
    for at_ms in (NOW + 3, NOW + 8):
        in_transaction(
            outbox.engine,
            lambda conn, at=at_ms: deliveries.add_click(conn, serial, now_ms=at),
        )
    kept = reading(
        outbox.engine,
        lambda conn: list(conn.execute(sa.select(click.c.at_ms).order_by(click.c.id)).scalars()),
    )
    assert kept == [NOW + 3, NOW + 8]
    assert outbox.row(serial)["clicked_ms"] == NOW + 3
    assert outbox.row(other)["clicked_ms"] is None
