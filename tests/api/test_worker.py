"""The worker: drains the outbox, survives kill -9, moves campaigns by the clock, tells no secrets."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Literal

import pytest
import sqlalchemy as sa
from standardwebhooks import Webhook

from api import worker
from api.settings import Settings
from api.wiring import House, build
from campaigns.messages.events import WebhookEvent
from nearcast.channels.base import Letter
from nearcast.channels.webhook import WebhookChannel
from nearcast.services import manage_workspace
from nearcast.store import notices, uploads
from nearcast.store.engine import in_transaction, reading
from nearcast.store.tables import attempt, campaign, delivery, device, notice
from tests.receiver import Receiver, receiving, status
from tests.world import GANGNAM, MIN, OUTSIDE, START_MS, World, north

ROOT = Path(__file__).parents[2]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as there:
        yield there


@pytest.fixture
def house(sqlite_url: str) -> Iterator[House]:
    settings = Settings(database_url=sqlite_url, clock="replay", allow_private_targets=True)
    built = build(settings)
    built.clock.saw(START_MS - 60 * MIN)
    yield built
    built.engine.dispose()


def _endpoint(world: World, url: str, events: Sequence[WebhookEvent] = ()) -> tuple[int, str]:
    return in_transaction(
        world.engine,
        lambda conn: manage_workspace.add_webhook(
            conn,
            app_id=world.app_id,
            workspace_id=world.workspace_id,
            name="crm",
            url=url,
            events=events,
            allow_http=True,
            now_ms=START_MS,
            actor="test",
        ),
    )


def _told(house: House, url: str, people: int) -> World:
    """A webhook campaign that has decided to tell so many people."""
    world = World(house.engine, house.clock)
    webhook_id, _ = _endpoint(world, url)
    fence_id = world.fence("강남점", GANGNAM)
    world.campaign(
        targeting={"fence_ids": [fence_id]},
        message={"channel": "webhook", "webhook_id": webhook_id, "title": "t", "body": "b"},
    )
    ads = [f"38400000-8cf0-11bd-b23e-{n:012}" for n in range(people)]
    # not all on one spot, which would be suspect
    spots = [north(GANGNAM, n / 4) for n in range(people)]
    world.post(
        [
            {"who": f"phone-{ad}", "ad_id": ad, "at": spot, "min": 0}
            for ad, spot in zip(ads, spots, strict=True)
        ]
    )
    return world


def _states(engine: sa.Engine) -> dict[str, int]:
    query = sa.select(delivery.c.state, sa.func.count()).group_by(delivery.c.state)
    return dict(reading(engine, lambda conn: conn.execute(query).all()))


def test_everything_due_is_sent_once(house: House, receiver: Receiver) -> None:
    _told(house, receiver.url, 150)
    assert worker.run(house, stop=threading.Event(), once=True) == 150
    assert _states(house.engine) == {"sent": 150}
    keys = [headers["webhook-id"] for headers, _, _ in receiver.got]
    assert len(keys) == len(set(keys)) == 150
    assert worker.run(house, stop=threading.Event(), once=True) == 0


def test_several_workers_share_the_outbox(house: House, receiver: Receiver) -> None:
    _told(house, receiver.url, 200)
    sent: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: sent.append(worker.run(house, stop=threading.Event(), once=True))
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(sent) == 200
    keys = [headers["webhook-id"] for headers, _, _ in receiver.got]
    assert len(keys) == len(set(keys)) == 200


def test_one_dead_endpoint_does_not_hold_up_the_rest(house: House, receiver: Receiver) -> None:
    _told(house, receiver.url, 3)
    receiver.answer = status(500)
    assert worker.run(house, stop=threading.Event(), once=True) == 0
    assert _states(house.engine) == {"queued": 3}
    receiver.answer = None
    house.clock.saw(START_MS + MIN)
    assert worker.run(house, stop=threading.Event(), once=True) == 3


def test_endpoints_that_hang_leave_threads_to_the_others(house: House, receiver: Receiver) -> None:
    """Two of them, each with more than all threads could take: the third is served while they hang."""
    world, free = World(house.engine, house.clock), threading.Event()
    fence_id = world.fence("강남점", GANGNAM)
    base = receiver.url.removesuffix("/hook")
    for path in ("/hangs-a", "/hangs-b", "/answers"):
        webhook_id, _ = _endpoint(world, base + path)
        world.campaign(
            targeting={"fence_ids": [fence_id]},
            message={"channel": "webhook", "webhook_id": webhook_id, "title": "t", "body": "b"},
        )

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.path.startswith("/hangs"):
            assert free.wait(30)
        status(200)(handler)

    receiver.answer = answer
    world.post([{"who": f"phone-{n}", "at": north(GANGNAM, n), "min": 0} for n in range(40)])
    channel = WebhookChannel(allow_private=True, max_seconds=1)
    stop = threading.Event()
    thread = threading.Thread(
        target=worker.run, args=(house,), kwargs={"stop": stop, "channel": channel}
    )
    thread.start()
    try:
        until = time.monotonic() + 20
        while _states(house.engine).get("sent", 0) < 40 and time.monotonic() < until:
            time.sleep(0.05)
        assert _states(house.engine)["sent"] == 40
        tried = Counter(path for _, _, path in receiver.got)
        assert tried["/answers"] == 40
        # all threads but for a share went to each of them once, a single one from then on
        assert max(tried["/hangs-a"], tried["/hangs-b"]) <= worker.MAX_PER_ENDPOINT + 20
        assert tried["/hangs-a"] < 40
    finally:
        stop.set()
        free.set()
        thread.join(20)
        channel.close()
    assert not thread.is_alive()


def test_an_endpoint_that_did_not_answer_gets_one_letter_at_a_time_until_it_does(
    house: House, receiver: Receiver
) -> None:
    people = worker.MAX_PER_ENDPOINT + 2
    _told(house, receiver.url, people)
    hangs, flying, seen = threading.Event(), 0, []
    real, guard = WebhookChannel(allow_private=True, max_seconds=0.5), threading.Lock()

    class Watched:
        """The real way out, and how many letters were on it when each one started."""

        def send(self, letter: Letter) -> int:
            nonlocal flying
            with guard:
                flying += 1
                seen.append(flying)
            try:
                return real.send(letter)
            finally:
                with guard:
                    flying -= 1

        def close(self) -> None:
            real.close()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if len(seen) <= people:
            hangs.wait(20)
        else:
            time.sleep(0.05)
        status(200)(handler)

    receiver.answer = answer
    channel = Watched()
    worker.run(house, stop=threading.Event(), once=True, channel=channel)
    assert max(seen[: worker.MAX_PER_ENDPOINT]) > 1
    assert seen[worker.MAX_PER_ENDPOINT :] == [1, 1]
    house.clock.saw(START_MS + MIN)  # now it answers: the first time to a single letter, then as ever
    before = len(seen)
    assert worker.run(house, stop=threading.Event(), once=True, channel=channel) == people
    hangs.set()
    channel.close()
    assert max(seen[before:]) > 1


def test_never_more_than_its_share_flies_to_one_endpoint(house: House, receiver: Receiver) -> None:
    _told(house, receiver.url, 60)
    flying, most, guard = 0, 0, threading.Lock()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        nonlocal flying, most
        with guard:
            flying += 1
            most = max(most, flying)
        time.sleep(0.01)
        with guard:
            flying -= 1
        status(200)(handler)

    receiver.answer = answer
    assert worker.run(house, stop=threading.Event(), once=True) == 60
    assert 1 < most <= worker.MAX_PER_ENDPOINT


def test_notices_go_out_beside_messages_and_old_ones_are_forgotten(
    sqlite_url: str, receiver: Receiver
) -> None:
    house = build(Settings(database_url=sqlite_url, allow_private_targets=True))
    world = World(house.engine)
    webhook_id, secret = _endpoint(world, receiver.url, events=list(WebhookEvent))
    device_id = in_transaction(
        house.engine,
        lambda conn: (
            conn.execute(
                sa.insert(device).values(app_id=world.app_id, key="p", first_seen_ms=0)
            ).inserted_primary_key
        ),
    )[0]
    fence_id = world.fence("강남점", GANGNAM)
    now_ms = house.clock.now_ms()
    for key, age_ms in (("evt_old", worker.NOTICES_KEPT_MS + MIN), ("evt_new", 0)):
        told = notices.Notice(
            webhook_id=webhook_id,
            key=key,
            device_id=device_id,
            fence_id=fence_id,
            body=b'{"type":"fence.entered"}',
        )
        add = partial(notices.add, told=[told], app_id=world.app_id, now_ms=now_ms - age_ms)
        in_transaction(house.engine, lambda conn, add=add: add(conn))
    gone = sa.update(notice).where(notice.c.key == "evt_old").values(state="sent")
    in_transaction(house.engine, lambda conn: conn.execute(gone))
    assert worker.run(house, stop=threading.Event(), once=True) == 1
    keys = reading(house.engine, lambda conn: conn.execute(sa.select(notice.c.key)).scalars().all())
    house.engine.dispose()
    assert keys == ["evt_new"]
    [(headers, body, _)] = receiver.got
    assert Webhook(secret).verify(body, headers) == {"type": "fence.entered"}


def test_stopping_finishes_what_is_in_flight(house: House, receiver: Receiver) -> None:
    _told(house, receiver.url, 1)
    arrived, stop = threading.Event(), threading.Event()

    def slowly(handler: BaseHTTPRequestHandler) -> None:
        arrived.set()
        assert stop.wait(10)
        status(200)(handler)

    receiver.answer = slowly
    sent: list[int] = []
    thread = threading.Thread(target=lambda: sent.append(worker.run(house, stop=stop)))
    thread.start()
    assert arrived.wait(10)
    stop.set()
    thread.join(20)
    assert not thread.is_alive()
    assert sent == [1]
    assert _states(house.engine) == {"sent": 1}


def test_a_killed_workers_lease_is_taken_over_under_the_same_key(
    house: House, receiver: Receiver, sqlite_url: str
) -> None:
    _told(house, receiver.url, 1)
    arrived, never = threading.Event(), threading.Event()

    def hang(_: BaseHTTPRequestHandler) -> None:
        arrived.set()
        never.wait(20)

    receiver.answer = hang
    script = (
        "import threading; from api import worker; from api.wiring import build;"
        "from api.settings import Settings;"
        "worker.run(build(Settings.from_env()), stop=threading.Event())"
    )
    env = {
        "NEARCAST_DATABASE_URL": sqlite_url,
        "NEARCAST_CLOCK": "replay",
        "NEARCAST_ALLOW_PRIVATE_TARGETS": "1",
        "PYTHONPATH": str(ROOT),
    }
    process = subprocess.Popen([sys.executable, "-c", script], env=env, stderr=subprocess.DEVNULL)
    try:
        assert arrived.wait(30)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        never.set()
    assert _states(house.engine) == {"leased": 1}
    receiver.answer = None
    assert worker.run(house, stop=threading.Event(), once=True) == 0  # the lease still holds
    house.clock.saw(START_MS + MIN)
    assert worker.run(house, stop=threading.Event(), once=True) == 1
    assert _states(house.engine) == {"sent": 1}
    assert len({headers["webhook-id"] for headers, _, _ in receiver.got}) == 1
    assert len(receiver.got) == 2
    assert receiver.got[0][1] == receiver.got[1][1]


def test_the_clock_moves_campaigns_while_the_worker_runs(house: House) -> None:
    world = World(house.engine, house.clock)
    fence_id = world.fence("강남점", GANGNAM)
    world.campaign(
        targeting={"fence_ids": [fence_id]},
        period={"start": "2026-11-22T00:00:00+00:00", "end": "2026-11-23T00:00:00+00:00"},
    )
    house.clock.saw(START_MS)
    worker.run(house, stop=threading.Event(), once=True)
    query = sa.select(campaign.c.state)
    assert reading(house.engine, lambda conn: conn.execute(query).scalar_one()) == "ended"


def test_a_replay_clock_follows_the_pings_of_other_processes(
    house: House, receiver: Receiver, sqlite_url: str
) -> None:
    other = build(Settings(database_url=sqlite_url, clock="replay", allow_private_targets=True))
    _told(house, receiver.url, 2)
    assert other.clock.now_ms() < START_MS
    assert worker.run(other, stop=threading.Event(), once=True) == 2
    assert other.clock.now_ms() == START_MS
    other.engine.dispose()


@pytest.mark.parametrize("clock", ["wall", "replay"])
def test_uploads_that_nobody_touched_for_90_days_go_but_not_while_a_replay_runs_through_years(
    sqlite_url: str, clock: Literal["wall", "replay"]
) -> None:
    house = build(Settings(database_url=sqlite_url, clock=clock, allow_private_targets=True))
    add = partial(uploads.add, workspace_id=house.workspace_id, kind="fences", options={}, actor="a")
    serial = in_transaction(house.engine, lambda c: add(c, file_name="x.csv", body=b"x", now_ms=0))
    in_transaction(house.engine, lambda c: uploads.change(c, serial, state="checked"))
    house.clock.saw(91 * 24 * 3_600_000)
    worker.run(house, stop=threading.Event(), once=True)
    there = in_transaction(
        house.engine, lambda c: uploads.get(c, workspace_id=house.workspace_id, upload_id=serial)
    )
    house.engine.dispose()
    assert (there is not None) == (clock == "replay")


def test_the_log_is_json_and_knows_no_person_and_no_place(
    house: House, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    _told(house, receiver.url, 5)
    worker.run(house, stop=threading.Event(), once=True)
    house.clock.saw(START_MS + 90 * MIN)
    text = capsys.readouterr().err
    lines: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
    assert sum(line["handed_over"] for line in lines if line["event"] == "batch") == 5
    for secret in ("38400000", "phone-", "127.02", "37.49", "whsec_", str(OUTSIDE[0])):
        assert secret not in text


def test_attempts_are_kept(house: House, receiver: Receiver) -> None:
    _told(house, receiver.url, 2)
    worker.run(house, stop=threading.Event(), once=True)
    query = sa.select(attempt.c.ok, attempt.c.status)
    rows = reading(house.engine, lambda conn: [tuple(r) for r in conn.execute(query)])
    assert rows == [(True, 200)] * 2


def test_the_worker_needs_neither_flask_nor_pydantic() -> None:
    script = (
        "import sys, api.worker;sys.exit(bool({'flask', 'pydantic', 'apiflask'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0
