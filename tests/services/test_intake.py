"""Requests that wait together: one commit, each its own part of the receipt."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from geo.matching.pings import Outcome, PingReason
from nearcast.services import intake as intake_module
from nearcast.services.intake import AppPings, Intake
from nearcast.services.take_pings import Receipt
from nearcast.store.engine import Conflict, reading
from nearcast.store.stays import StayBook
from nearcast.store.tables import decision, device, ping_log
from tests.world import GANGNAM, OUTSIDE, World, north, outcomes

Pings = Sequence[dict[str, Any]]
WAIT_S = 20.0


@pytest.fixture
def world(engine: sa.Engine) -> World:
    return World(engine)


class Requests:
    """Requests from threads of their own to one intake."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.answers: dict[int, Receipt | BaseException] = {}
        self._threads: list[threading.Thread] = []

    def part(self, pings: Pings, **more: Any) -> AppPings:
        world = self.world
        snapshot = world.snapshots.current(world.workspace_id, now_ms=world.clock.now_ms())
        said = {"app_id": world.app_id, "snapshot": snapshot, "key_holds_consent": True} | more
        return AppPings(raw=world.raw(pings), **said)

    def send(self, pings: Pings, **more: Any) -> None:
        part, number = self.part(pings, **more), len(self._threads)

        def work() -> None:
            try:
                (self.answers[number],) = self.world.intake.take([part])
            except BaseException as error:  # noqa: BLE001 - what a request was told
                self.answers[number] = error

        self._threads.append(threading.Thread(target=work))
        self._threads[-1].start()

    def all(self) -> list[Any]:
        for thread in self._threads:
            thread.join(WAIT_S)
            assert not thread.is_alive(), "a request waits for ever"
        return [self.answers[number] for number in range(len(self._threads))]


@contextmanager
def together(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Requests]:
    """What is sent within waits for a first request that leads, and is then taken as a group."""
    requests, go = Requests(world), threading.Event()
    taking = intake_module.in_transaction

    def held_up(*args: Any, **more: Any) -> Any:
        assert go.wait(WAIT_S)
        return taking(*args, **more)

    with monkeypatch.context() as patched:
        patched.setattr(intake_module, "in_transaction", held_up)
        requests.send([{"who": "first", "at": OUTSIDE, "min": 0}])
        until(lambda: world.intake._led and not world.intake._waiting)
        yield requests
        until(lambda: len(world.intake._waiting) == len(requests._threads) - 1)
        go.set()
        requests.all()


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


def logged(world: World) -> list[int]:
    """Pings by transaction."""
    query = sa.select(ping_log.c.pings).order_by(ping_log.c.seq)
    return reading(world.engine, lambda conn: list(conn.execute(query).scalars()))


def test_who_waits_together_is_taken_in_one_transaction(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fence = world.fence("강남", GANGNAM)
    world.campaign(targeting={"fence_ids": [fence]})
    with together(world, monkeypatch) as requests:
        requests.send([{"who": "a", "at": OUTSIDE, "min": 0}, {"who": "b", "at": GANGNAM, "min": 0}])
        requests.send([{"who": "c", "at": GANGNAM, "min": 0, "mocked": True}])
        requests.send([{"who": None, "at": GANGNAM, "min": 0}, {"who": "d", "at": GANGNAM, "min": 0}])
    _, one, two, three = requests.all()
    assert logged(world) == [1, 4]
    assert [outcomes(r) for r in (one, two, three)] == [
        ["accepted", "accepted"],
        ["quarantined"],
        ["rejected", "accepted"],
    ]
    assert three.admission.reason == {0: PingReason.NO_IDENTITY}
    assert [[t.ping for t in r.transitions] for r in (one, two, three)] == [[1], [], [1]]
    assert [[row for row, _ in r.messages] for r in (one, two, three)] == [[1], [], [1]]
    names = dict(reading(world.engine, lambda c: c.execute(sa.select(device.c.id, device.c.key)).all()))
    assert [names[r.transitions[0].device] for r in (one, three)] == ["b", "d"]


def test_the_same_ping_in_two_requests_is_answered_to_both(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fence = world.fence("강남", GANGNAM)
    world.campaign(targeting={"fence_ids": [fence]})
    same = [{"who": "a", "at": GANGNAM, "min": 0}]
    with together(world, monkeypatch) as requests:
        requests.send(same)
        requests.send(same)
    _, one, two = requests.all()
    again = world.post(same)
    assert [outcomes(r)[0] for r in (one, two, again)] == ["accepted", "duplicate", "duplicate"]
    assert [len(r.transitions) for r in (one, two, again)] == [1, 0, 0]
    ids = [[message["id"] for _, message in r.messages] for r in (one, two, again)]
    assert ids[0] == ids[1] == ids[2] != []


def test_history_and_today_of_an_app_are_not_taken_together(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fence = world.fence("강남", GANGNAM)
    with together(world, monkeypatch) as requests:
        requests.send([{"who": "old", "at": GANGNAM, "min": -30_000}], backfill=True)
        requests.send([{"who": "old", "at": GANGNAM, "min": 0}])
    assert logged(world) == [1, 1, 1]
    assert [visit[:3] for visit in world.visits()] == [("old", fence, -30_000), ("old", fence, 0)]


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt])
def test_nobody_fails_for_a_neighbour_and_nobody_waits_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: type[BaseException]
) -> None:
    taking = intake_module.take_pings

    def choosy(conn: Any, batch: Any, memory: Any) -> Any:
        if "bad" in batch.raw.keys:
            raise fault
        return taking(conn, batch, memory)

    monkeypatch.setattr(intake_module, "take_pings", choosy)
    with together(world, monkeypatch) as requests:
        for name in ("a", "bad", "b"):
            requests.send([{"who": name, "at": OUTSIDE, "min": 0}])
    first, one, bad, two = requests.all()
    assert isinstance(first, Receipt)
    assert isinstance(bad, fault)
    if fault is ValueError:
        assert [outcomes(r) for r in (one, two)] == [["accepted"], ["accepted"]]
        assert logged(world) == [1, 1, 1]
    assert outcomes(world.post([{"who": "later", "at": OUTSIDE, "min": 1}])) == ["accepted"]


def test_a_rejected_pings_consent_is_not_heard_by_its_neighbours(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = [{"who": "a", "at": (float("nan"), 37.5), "min": 0, "location": True}]
    silent = [{"who": "a", "at": OUTSIDE, "min": 0}]
    with together(world, monkeypatch) as requests:
        requests.send(nowhere, key_holds_consent=False)
        requests.send(silent, key_holds_consent=False)
    _, one, two = requests.all()
    assert [outcomes(r) for r in (one, two)] == [["rejected"], ["rejected"]]
    assert two.admission.reason == {0: PingReason.LOCATION_CONSENT_MISSING}


def test_a_transaction_taken_again_does_not_count_new_devices_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty at one spot are suspect; four that are taken six times are four."""
    fence = world.fence("강남", GANGNAM)
    world.campaign(targeting={"fence_ids": [fence]})
    left, saving = [5], StayBook.save

    def save(self: StayBook, *args: Any) -> None:
        saving(self, *args)
        if left[0]:
            left[0] -= 1
            raise Conflict

    monkeypatch.setattr(StayBook, "save", save)
    world.post([{"who": f"p{n}", "at": GANGNAM, "min": 0} for n in range(4)])
    assert left == [0]
    reasons = reading(world.engine, lambda c: list(c.execute(sa.select(decision.c.reason)).scalars()))
    assert reasons == ["sent"] * 4


def test_a_database_that_was_started_anew_is_not_noticed(postgres_url: str) -> None:
    from nearcast.store.engine import make_engine

    engine = make_engine(postgres_url)
    world = World(engine)
    assert outcomes(world.post([{"who": "a", "at": OUTSIDE, "min": 0}])) == ["accepted"]
    with engine.connect() as conn:
        conn.exec_driver_sql(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid()"
        )
    assert outcomes(world.post([{"who": "a", "at": OUTSIDE, "min": 1}])) == ["accepted"]
    engine.dispose()


@pytest.mark.parametrize(
    ("said", "stored", "key_holds", "may"),
    [
        (True, False, False, True),
        (False, True, True, False),
        (None, True, False, True),
        (None, False, True, False),
        (None, None, True, True),
        (None, None, False, False),
    ],
)
def test_the_pings_word_then_the_stored_one_then_the_keys(
    world: World, said: bool | None, stored: bool | None, key_holds: bool, may: bool
) -> None:
    if stored is not None:
        world.post([{"who": "a", "at": OUTSIDE, "min": 0, "location": stored}])
    asked = [{"who": "a", "at": OUTSIDE, "min": 1, "location": said}]
    (receipt,) = world.intake.take([Requests(world).part(asked, key_holds_consent=key_holds)])
    assert outcomes(receipt) == ["accepted" if may else "rejected"]


def test_an_empty_request_is_taken(world: World) -> None:
    assert world.intake.take([]) == []
    receipt = world.post([])
    assert (outcomes(receipt), receipt.transitions, receipt.messages) == ([], [], [])


def test_a_small_request_beside_a_large_one_is_matched_with_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fence = world.fence("강남", GANGNAM)
    monkeypatch.setattr(intake_module, "MATCHED_ALONE", 10)
    with together(world, monkeypatch) as requests:
        requests.send([{"who": f"p{n}", "at": north(GANGNAM, n), "min": 0} for n in range(12)])
        requests.send([{"who": "small", "at": GANGNAM, "min": 0}])
    _, many, one = requests.all()
    assert [t.ping for t in many.transitions] == list(range(12))
    assert [(t.ping, t.fence_id) for t in one.transitions] == [(0, fence)]
    assert (many.admission.outcome == Outcome.ACCEPTED).all()


def test_a_request_that_comes_alone_is_taken_alone(sqlite_engine: sa.Engine) -> None:
    world = World(sqlite_engine)
    world.intake = Intake(sqlite_engine, world.clock)
    for minute in range(3):
        world.post([{"who": "a", "at": OUTSIDE, "min": minute}])
    assert logged(world) == [1, 1, 1]
