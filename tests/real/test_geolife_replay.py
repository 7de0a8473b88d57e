"""Five months of two people's GPS, replayed over HTTP under the replay clock (issue 2, P11)."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from nearcast.services import manage_workspace
from nearcast.services.clocks import ReplayClock
from nearcast.store.engine import in_transaction, make_engine, reading
from nearcast.store.tables import ping_log
from tests.server import Server
from tests.world import MIN, START_MS, World

pytestmark = [pytest.mark.real, pytest.mark.slow]

SAMPLE = Path(__file__).parents[2].parent / "shared/data/geolife_skmob/geolife_sample.txt.gz"
TSINGHUA = (116.3184, 39.9847)
BATCH = 10_000
GAP_MIN = 30


@pytest.fixture(scope="module")
def sample():
    """(user, instant, lat, lng) in time order."""
    if not SAMPLE.exists():
        pytest.skip(f"no real data: {SAMPLE.name} is not in ../shared/data")
    rows = []
    with gzip.open(SAMPLE, "rt") as file:
        assert next(file).split() == ["lat,lng,datetime,uid"]
        for line in file:
            lat, lng, at, user = line.strip().split(",")
            rows.append((user, datetime.fromisoformat(at).replace(tzinfo=UTC), float(lat), float(lng)))
    assert len(rows) == 217_653
    return sorted(rows, key=lambda row: row[1])


@pytest.fixture
def served(sqlite_url, tmp_path):
    """A server under the replay clock with one circle of 1,000 m; yields its client and its world."""
    engine = make_engine(sqlite_url)
    world = World(engine, ReplayClock(0))
    world.fence("清华园", TSINGHUA, 1_000.0)
    key = in_transaction(
        engine,
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
    with Server(sqlite_url, tmp_path, clock="replay") as server:
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=server.url, headers=headers, timeout=120) as client:
            yield client, world
    engine.dispose()


def posted(client, path, rows):
    """Each batch's answer with the batch."""
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        lines = [
            json.dumps({"device_id": user, "at": at.isoformat(), "lat": lat, "lng": lng})
            for user, at, lat, lng in batch
        ]
        answer = client.post(
            path, content="\n".join(lines), headers={"Content-Type": "application/x-ndjson"}
        )
        assert answer.status_code == 200, answer.text[:500]
        yield batch, answer.json()


def test_matches_changes_and_visits_are_those_of_the_sample(sample, served):
    client, world = served
    inside = []  # per ping, in time order
    for batch, answer in posted(client, "/v1/context", sample):
        held = {match["ping_index"] for match in answer["matches"] if match["verdict"] == "in"}
        inside += [(user, at, n in held) for n, (user, at, *_) in enumerate(batch)]
    assert sum(held for *_, held in inside) == 21_962
    changes = 0
    was = {}
    for user, _, held in inside:
        changes += held and not was.get(user, False)
        was[user] = held
    assert changes == 163

    counts = [answer["counts"] for _, answer in posted(client, "/v1/pings?detail=counts", sample)]
    assert sum(c["accepted"] for c in counts) == 217_653
    visits = [(who, arrived, left, fixes) for who, _, arrived, left, fixes, _ in world.visits()]
    assert visits == expected(inside)
    assert sum(fixes for *_, fixes in visits) == 21_962
    logged = reading(
        world.engine, lambda c: c.execute(sa.select(sa.func.sum(ping_log.c.pings))).scalar()
    )
    assert logged == 217_653


def expected(inside):
    """The visits by a plain walk over the inside instants of each person."""
    rows = sorted((user, (at.timestamp() * 1000 - START_MS) / MIN) for user, at, held in inside if held)
    found = []
    for user, instants in groupby(rows, key=lambda row: row[0]):
        stay = []
        for _, minute in instants:
            if stay and minute - stay[-1] > GAP_MIN:
                found.append((user, stay[0], stay[-1], len(stay)))
                stay = []
            stay.append(minute)
        found.append((user, stay[0], stay[-1], len(stay)))
    return found
