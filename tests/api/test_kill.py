"""kill -9 in the middle of a replay: afterwards everything is as after one clean replay."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import numpy as np
import pytest
import sqlalchemy as sa

from api.demo.itineraries import PlaceColumns
from api.demo.walks import generate
from nearcast.services import manage_workspace
from nearcast.services.clocks import ReplayClock
from nearcast.store.engine import in_transaction, make_engine, reading
from nearcast.store.tables import decision, delivery, device
from tests.server import Server
from tests.world import START, World

pytestmark = pytest.mark.slow

PLACES = [(127.0276, 37.4979), (127.0502, 37.5045), (126.9236, 37.5563), (127.1002, 37.5133)]
BATCH = 250
DEVICES = 150


def bodies() -> list[bytes]:
    """A day of walks as request bodies, in the order in which a server meets them."""
    places = PlaceColumns(
        lon=np.array([lon for lon, _ in PLACES]),
        lat=np.array([lat for _, lat in PLACES]),
        radius_m=np.full(len(PLACES), 150.0),
    )
    walks = generate(seed=5, devices=DEVICES, days=1, start=START, places=places)
    order = walks.arrival_order()
    return [_body(walks, order[at : at + BATCH]) for at in range(0, len(order), BATCH)]


def _body(walks, rows) -> bytes:
    pings = []
    for row in rows.tolist():
        at = datetime.fromtimestamp(walks.at_ms[row] / 1000, UTC)
        ping: dict[str, Any] = {
            "device_id": walks.walkers.device_ids[walks.device[row]],
            "lat": walks.lat[row],
            "lng": walks.lon[row],
            "at": at.isoformat(timespec="milliseconds"),
        }
        if not np.isnan(walks.accuracy_m[row]):
            ping["accuracy_m"] = walks.accuracy_m[row]
        pings.append(ping)
    return json.dumps({"pings": pings}).encode()


def prepared(url) -> tuple[World, str, int]:
    world = World(make_engine(url), ReplayClock(0))
    fences = [world.fence(f"매장 {n}", place, 150.0) for n, place in enumerate(PLACES)]
    campaign = world.campaign(
        targeting={"fence_ids": fences},
        period={"start": START.isoformat(), "end": (START + timedelta(days=30)).isoformat()},
    )
    key = in_transaction(
        world.engine,
        lambda conn: manage_workspace.create_key(
            conn,
            workspace_id=world.workspace_id,
            app_id=None,
            name="test",
            scopes=["ingest", "manage"],
            holds_location_consent=True,
            now_ms=0,
            actor="test",
        )[1],
    )
    return world, key, campaign


def end_of(world: World, server: Server, key: str, campaign: int) -> dict[str, Any]:
    """What counts: visits, decisions, deliveries, and the report as its reader gets it."""

    def rows(*columns):
        told = next(column.table for column in columns if column.table is not device)
        query = sa.select(*columns).join(device, device.c.id == told.c.device_id)
        return sorted(reading(world.engine, lambda c: [tuple(r) for r in c.execute(query)]))

    report = httpx.get(
        f"{server.url}/v1/campaigns/cmp_{campaign}/report",
        headers={"Authorization": f"Bearer {key}"},
    )
    assert report.status_code == 200, report.text
    shown = {k: v for k, v in report.json().items() if k not in ("as_of", "generated_at")}
    return {
        "visits": world.visits(),
        "decisions": rows(
            device.c.key,
            decision.c.fence_id,
            decision.c.kind,
            decision.c.trigger_ms,
            decision.c.reason,
        ),
        "deliveries": rows(device.c.key, delivery.c.fence_id, delivery.c.trigger_ms, delivery.c.state),
        "report": shown,
    }


def post(url: str, key: str, body: bytes) -> None:
    answer = httpx.post(
        f"{url}/v1/pings?detail=counts",
        content=body,
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text


def replayed(url, folder, sent, *, kills: int) -> dict[str, Any]:
    world, key, campaign = prepared(url)
    server = Server(url, folder, clock="replay")
    try:
        for n in range(kills):
            _cut_off(server, key, sent[: (n + 1) * len(sent) // (kills + 1)], after_s=0.4 + 0.35 * n)
            server.start()
        for body in sent:
            post(server.url, key, body)
        return end_of(world, server, key, campaign)
    finally:
        server.kill()
        world.engine.dispose()


def _cut_off(server: Server, key: str, sent: list[bytes], *, after_s: float) -> None:
    """Post until the process is killed at a moment of its own choosing."""
    killer = threading.Thread(target=lambda: (time.sleep(after_s), server.kill()))
    killer.start()
    try:
        for body in sent * 10:
            post(server.url, key, body)
    except httpx.TransportError:
        pass
    killer.join()


def test_kill_9_and_a_whole_replay_give_what_one_clean_replay_gives(sqlite_template, tmp_path, proof):
    sent = bodies()
    urls = []
    for name in ("clean", "killed"):
        path = tmp_path / f"{name}.db"
        path.write_bytes(sqlite_template.read_bytes())
        urls.append(f"sqlite:///{path}")
    clean = replayed(urls[0], tmp_path, sent, kills=0)
    assert clean["visits"]
    assert {reason for *_, reason in clean["decisions"]} == {"sent", "frequency_capped"}
    kills = 3
    killed = replayed(urls[1], tmp_path, sent, kills=kills)
    assert killed == clean
    proof("Q1, Q2: kill -9 during a replay, then the whole replay again", kills)
