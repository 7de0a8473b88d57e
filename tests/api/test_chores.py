"""The worker's chores: pings are sealed and old ones deleted while messages go out."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from api import chores as module
from api.chores import Chores
from api.wiring import House
from api.worker import json_log, run
from nearcast.store.engine import in_transaction, reading
from nearcast.store.tables import ping_log, retention_report

DAY_MS = 86_400_000


def post_yesterday(client: FlaskClient, house: House, days: int) -> None:
    """A ping that was seen some days ago."""
    answer = client.post("/v1/pings", json={"device_id": "a", "lat": 37.5, "lng": 127.0})
    assert answer.json["counts"]["accepted"] == 1
    old = {name: ping_log.c[name] - days * DAY_MS for name in ("seen_ms", "first_ms", "last_ms")}
    in_transaction(house.engine, lambda c: c.execute(sa.update(ping_log).values(**old)))


def sealed(house: House) -> list[Path]:
    return list(Path(house.ping_files.url).rglob("*.parquet"))


def test_a_worker_seals_and_deletes_beside_its_messages(
    either_client: FlaskClient, either_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = either_house
    monkeypatch.setattr(module, "SEAL_S", 0.1)
    stop = threading.Event()
    worker = threading.Thread(target=run, args=(house,), kwargs={"stop": stop})
    worker.start()
    try:
        post_yesterday(either_client, house, 1)
        until = time.monotonic() + 20
        while not sealed(house) and time.monotonic() < until:
            time.sleep(0.05)
    finally:
        stop.set()
        worker.join()
    assert len(sealed(house)) == 1
    assert reading(house.engine, lambda c: c.execute(sa.select(ping_log)).all()) == []


def test_once_does_what_is_due_and_ends(client: FlaskClient, house: House) -> None:
    post_yesterday(client, house, 1)
    assert run(house, stop=threading.Event(), once=True) == 0
    assert len(sealed(house)) == 1


def test_without_a_folder_the_log_stays_until_it_is_too_old(client: FlaskClient, house: House) -> None:
    Path(house.ping_files.url).write_text("a file, no folder")
    post_yesterday(client, house, 1)
    run(house, stop=threading.Event(), once=True)
    assert len(reading(house.engine, lambda c: c.execute(sa.select(ping_log)).all())) == 1
    post_yesterday(client, house, 10)
    run(house, stop=threading.Event(), once=True)
    assert reading(house.engine, lambda c: c.execute(sa.select(ping_log)).all()) == []
    rows = reading(house.engine, lambda c: c.execute(sa.select(retention_report.c.rows)).scalars().all())
    assert rows == [2]


def test_a_folder_that_is_away_stops_nothing_else(
    client: FlaskClient, house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    post_yesterday(client, house, 1)
    Path(house.ping_files.url).write_text("a file, no folder")
    assert run(house, stop=threading.Event(), once=True) == 0
    assert "ping_files_unreachable" in capsys.readouterr().err
    assert len(reading(house.engine, lambda c: c.execute(sa.select(ping_log)).all())) == 1


def test_what_goes_wrong_in_a_chore_is_raised_where_the_worker_sees_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(module, "seal_pings", fail)
    with Chores(house=house, log=json_log()) as chores:
        chores.look()
        assert chores.running is not None
        with pytest.raises(ZeroDivisionError):
            chores.running.result(timeout=20)
        with pytest.raises(ZeroDivisionError):
            chores.look()
