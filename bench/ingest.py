"""`python -m bench ingest`: durable pings a second over real HTTP, every answer checked.

A city of fences and walking devices posts JSON batches to a server of its own process, on the same
machine; the client shares the cores. The bars I1-I3 of quality.md belong to a later state of the
ingest line; this prints honest figures of the present one.
"""

from __future__ import annotations

import http.client
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import Empty, SimpleQueue

import click
import numpy as np

from campaigns.campaign.life import State
from campaigns.campaign.plans import Plan
from geo.fences.fence import Fence
from geo.fences.shapes import read_form, read_geojson
from nearcast.services import edit_fences, manage_workspace, run_campaigns
from nearcast.services.run_campaigns import Author
from nearcast.store import workspaces
from nearcast.store.engine import in_transaction, make_engine
from nearcast.store.migrate import upgrade
from tests.postgres import Postgres
from tests.server import Server

SEED = 7
BATCH = 1_000
CENTRE = (127.0, 37.5)
SIDE_KM = 100.0
KM_LAT = 1 / 111.0
KM_LON = 1 / (111.3 * np.cos(np.radians(CENTRE[1])))
CAMPAIGNS = 20


@dataclass(frozen=True)
class City:
    """Where the fences stand, in degrees."""

    lon: np.ndarray
    lat: np.ndarray
    radius_m: np.ndarray


def city(fences: int, rng: np.random.Generator) -> City:
    """70 % small circles and 30 % hexagons of 50 to 140 m, strewn over 100 × 100 km."""
    x, y = rng.uniform(-SIDE_KM / 2, SIDE_KM / 2, (2, fences))
    return City(CENTRE[0] + x * KM_LON, CENTRE[1] + y * KM_LAT, rng.uniform(50.0, 140.0, fences))


def build(url: str, fences: int) -> tuple[str, City]:
    """A migrated database with the city's fences and 20 running campaigns; returns a key."""
    engine = make_engine(url)
    upgrade(engine)
    rng = np.random.default_rng(SEED)
    town = city(fences, rng)
    now_ms = time.time_ns() // 1_000_000 - 3_600_000
    wanted = [edit_fences.Wanted(fence=_fence(n, town), area_km2=0.01) for n in range(fences)]

    def verb(conn) -> str:
        workspace_id = manage_workspace.found_installation(conn, now_ms=now_ms)
        app_id = next(iter(workspaces.apps_of(conn, workspace_id).values()))
        author = Author(workspace_id=workspace_id, plan=Plan.PREMIUM, actor="bench", now_ms=now_ms)
        edit_fences.save_fences(
            conn,
            wanted,
            workspace_id=workspace_id,
            plan=Plan.PREMIUM,
            now_ms=now_ms,
            actor="bench",
        )
        for n in range(CAMPAIGNS):
            _campaign(conn, n, app_id, author)
        return manage_workspace.create_key(
            conn,
            workspace_id=workspace_id,
            app_id=app_id,
            name="bench",
            scopes=["ingest"],
            holds_location_consent=True,
            now_ms=now_ms,
            actor="bench",
        )[1]

    key = in_transaction(engine, verb)
    engine.dispose()
    return key, town


def _fence(n: int, town: City) -> Fence:
    lon, lat, radius = float(town.lon[n]), float(town.lat[n]), float(town.radius_m[n])
    tags = (f"t{n % CAMPAIGNS}",)
    if n % 10 < 7:
        return Fence(name=f"f{n}", shape=read_form(lat=lat, lng=lon, radius_m=radius).shape, tags=tags)
    turn = np.radians(np.arange(0, 360, 60))
    km = radius / 1000
    ring = np.column_stack([lon + km * KM_LON * np.cos(turn), lat + km * KM_LAT * np.sin(turn)])
    shape = read_geojson({"type": "Polygon", "coordinates": [ring.tolist()]}).shape
    return Fence(name=f"f{n}", shape=shape, tags=tags)


def _campaign(conn, n: int, app_id: int, author: Author) -> None:
    today = datetime.now(UTC)
    body = {
        "period": {
            "start": (today - timedelta(days=1)).isoformat(),
            "end": (today + timedelta(days=1)).isoformat(),
        },
        "time_zone": "Asia/Seoul",
        "trigger": {"kind": "enter"},
        "targeting": {"tags": [f"t{n}"]},
        "message": {"channel": "inbox", "title": "hello", "body": "there"},
    }
    campaign_id = run_campaigns.create(
        conn, body, app_id=app_id, name=f"c{n}", in_place=None, author=author
    )
    for state in (State.TEST, State.RUNNING):
        row = run_campaigns.load(conn, app_ids=[app_id], campaign_id=campaign_id)
        run_campaigns.go(conn, row, state, author=author)


def bodies(town: City, devices: int, rounds: int) -> list[bytes]:
    """JSON batches of 1,000 pings of different devices: a minute of each device per round.

    About one ping in ten is near a fence; devices stay about where they are. 2 % come late, 1 % twice.
    """
    rng = np.random.default_rng(SEED + 1)
    near = rng.random(devices) < 0.12
    home = rng.integers(0, len(town.lon), devices)
    x, y = rng.uniform(-SIDE_KM / 2, SIDE_KM / 2, (2, devices))
    lon = np.where(near, town.lon[home], CENTRE[0] + x * KM_LON)
    lat = np.where(near, town.lat[home], CENTRE[1] + y * KM_LAT)
    now_ms = time.time_ns() // 1_000_000
    found: list[bytes] = []
    for turn in range(rounds):
        at_ms = now_ms - (rounds - turn) * 2_000 - rng.integers(0, 2_000, devices)
        at_ms[rng.random(devices) < 0.02] -= 20 * 60_000
        step_km = rng.normal(0, 0.03, (2, devices))
        ping_lon, ping_lat = lon + step_km[0] * KM_LON, lat + step_km[1] * KM_LAT
        accuracy = rng.lognormal(np.log(12), 0.5, devices)
        order = rng.permutation(devices)
        order = np.concatenate([order, order[: devices // 100]])
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            found.append(_body(rows, ping_lon, ping_lat, accuracy, at_ms))
    return found


def _body(rows, lon, lat, accuracy, at_ms) -> bytes:
    pings = [
        {
            "ping_id": f"{n:08x}-{int(at_ms[n])}",
            "device_id": f"{n:08X}-0000-4000-8000-{n:012X}",
            "lat": round(float(lat[n]), 7),
            "lng": round(float(lon[n]), 7),
            "accuracy_m": round(float(accuracy[n]), 1),
            "at": datetime.fromtimestamp(at_ms[n] / 1000, UTC).isoformat(timespec="milliseconds"),
        }
        for n in rows.tolist()
    ]
    return json.dumps({"pings": pings}).encode()


def post_all(port: int, key: str, queue: SimpleQueue[bytes], seconds: float, connections: int) -> dict:
    """Post batches for so long; every answer is read and its counts are checked."""
    done: list[tuple[int, float]] = []
    faults: list[str] = []
    until = time.monotonic() + seconds

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        while time.monotonic() < until:
            try:
                body = queue.get_nowait()
            except Empty:
                return
            began = time.monotonic()
            connection.request("POST", "/v1/pings", body, headers)
            answer = connection.getresponse()
            taken = json.loads(answer.read())
            sent = body.count(b'"ping_id"')
            if (
                answer.status != 200
                or sum(taken["counts"].values()) != sent
                or taken["counts"]["rejected"]
            ):
                faults.append(str(taken)[:300])
                return
            done.append((sent, time.monotonic() - began))

    began = time.monotonic()
    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - began
    if faults:
        raise click.ClickException(f"an answer was wrong: {faults[0]}")
    latency = np.array([s for _, s in done]) * 1000
    pings = sum(n for n, _ in done)
    return {
        "pings": pings,
        "seconds": round(took, 2),
        "pings_per_s": round(pings / took),
        "p50_ms": round(float(np.percentile(latency, 50)), 1),
        "p99_ms": round(float(np.percentile(latency, 99)), 1),
    }


@contextmanager
def database(kind: str) -> Iterator[str]:
    """The URL of an empty database."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{Path(folder) / 'bench.db'}"
        return
    running = Postgres()
    try:
        yield running.url(running.create())
    finally:
        running.stop()


@click.command("ingest")
@click.option("--db", "kind", type=click.Choice(["sqlite", "postgres"]), help="default: both")
@click.option("--fences", default=10_000, show_default=True)
@click.option("--devices", default=50_000, show_default=True)
@click.option("--seconds", default=15.0, show_default=True)
@click.option("--connections", default=4, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def command(
    kind: str | None, fences: int, devices: int, seconds: float, connections: int, as_json: bool
) -> None:
    """Durable pings a second over HTTP, JSON batches of 1,000."""
    figures = []
    for name in [kind] if kind else ["sqlite", "postgres"]:
        with database(name) as url:
            key, town = build(url, fences)
            listed = bodies(town, devices, rounds=max(2, int(seconds * 60_000 / devices) + 1))
            first = devices // BATCH
            with tempfile.TemporaryDirectory() as folder, Server(url, Path(folder)) as running:
                port = running.port
                # the first round meets unknown devices: reported apart
                new = post_all(port, key, _queue(listed[:first]), 600, connections)
                known = post_all(port, key, _queue(listed[first:]), seconds, connections)
        figures.append({"db": name, "fences": fences, "new_devices": new, "known_devices": known})
        if not as_json:
            click.echo(
                f"{name:9} new devices {new['pings_per_s']:>8,}/s   known {known['pings_per_s']:>8,}/s"
                f"   p50 {known['p50_ms']} ms  p99 {known['p99_ms']} ms"
            )
    if as_json:
        click.echo(json.dumps(figures, indent=1))


def _queue(listed: list[bytes]) -> SimpleQueue[bytes]:
    queue: SimpleQueue[bytes] = SimpleQueue()
    for body in listed:
        queue.put(body)
    return queue
