"""The installation of the ingest benchmark, and what must be true of its database afterwards."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from bench._city import City, Fixes, device_number
from campaigns.campaign.life import State
from campaigns.campaign.plans import Plan
from campaigns.deciding.snapshot import Snapshot
from geo.fences.fence import Fence
from geo.fences.shapes import read_form, read_geojson
from geo.matching.certainty import Verdict, judge
from geo.matching.visits import instants, pack
from nearcast.services import edit_fences, manage_workspace, run_campaigns
from nearcast.services.keep_snapshot import Snapshots
from nearcast.services.run_campaigns import Author
from nearcast.store import ping_log, visits, workspaces
from nearcast.store.engine import in_transaction, make_engine, reading
from nearcast.store.migrate import upgrade
from nearcast.store.tables import decision, delivery, device, evidence_chunk, presence, visit
from tests.postgres import Postgres

CAMPAIGNS = 20
FOUNDED_AGO_MS = 3_600_000
AT_ONCE = 10_000
PART = 200_000


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


def build(url: str, town: City) -> str:
    """Tables, the city's fences and 20 running campaigns; returns a key."""
    engine = make_engine(url)
    upgrade(engine)
    now_ms = time.time_ns() // 1_000_000 - FOUNDED_AGO_MS
    workspace_id = in_transaction(
        engine, lambda conn: manage_workspace.found_installation(conn, now_ms=now_ms)
    )
    for start in range(0, len(town.lon), AT_ONCE):
        some = range(start, min(start + AT_ONCE, len(town.lon)))
        in_transaction(
            engine, lambda conn, some=some: _save_fences(conn, town, some, workspace_id, now_ms)
        )
    key = in_transaction(engine, lambda conn: _campaigns_and_key(conn, workspace_id, now_ms))
    engine.dispose()
    return key


def _save_fences(conn: sa.Connection, town: City, some: range, workspace_id: int, now_ms: int) -> None:
    wanted = [edit_fences.Wanted(fence=_fence(n, town), area_km2=0.01) for n in some]
    edit_fences.save_fences(
        conn, wanted, workspace_id=workspace_id, plan=Plan.PREMIUM, now_ms=now_ms, actor="bench"
    )


def _fence(n: int, town: City) -> Fence:
    tags = (f"t{n % CAMPAIGNS}",)
    if n % 10 < 7:
        place = {"lat": float(town.lat[n]), "lng": float(town.lon[n])}
        shape = read_form(**place, radius_m=float(town.radius_m[n])).shape
    else:
        shape = read_geojson({"type": "Polygon", "coordinates": [town.ring(n)]}).shape
    return Fence(name=f"f{n}", shape=shape, tags=tags)


def _campaigns_and_key(conn: sa.Connection, workspace_id: int, now_ms: int) -> str:
    app_id = next(iter(workspaces.apps_of(conn, workspace_id).values()))
    author = Author(workspace_id=workspace_id, plan=Plan.PREMIUM, actor="bench", now_ms=now_ms)
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


def _campaign(conn: sa.Connection, n: int, app_id: int, author: Author) -> None:
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


class Audit:
    """What the database holds, against what a fold over the acknowledged pings gives."""

    def __init__(self, url: str) -> None:
        self._engine = make_engine(url)
        self.snapshot = _snapshot(self._engine)

    def close(self) -> None:
        self._engine.dispose()

    def told(self, acked: Fixes) -> dict[str, Any]:
        """Counts of what was found, and of what is wrong: every visit is compared."""
        inside, evidence = self._evidence(acked)
        wanted = _folded(evidence, gap_ms=self.snapshot.presence.gap_s * 1000)
        found = reading(self._engine, _stored)
        pairs = {name: reading(self._engine, lambda c, n=name: _count(c, n)) for name in COUNTED}
        return pairs | {
            "visits": len(found),
            "wrong_visits": len(found.keys() ^ wanted.keys())
            + sum(found[key] != wanted[key] for key in found.keys() & wanted.keys()),
            "evidence_missing": sum(len(e) for e in evidence.values()) - pairs["evidence"],
            "log_missing": len(acked) - pairs["log"],
            "inside_share": round(inside / len(acked), 4),
        }

    def _evidence(self, acked: Fixes) -> tuple[int, dict[tuple[int, int], np.ndarray]]:
        """Pings in any fence, and the evidence of each device at each fence, joined."""
        inside = 0
        parts = []
        for start in range(0, len(acked), PART):
            some = Fixes(*(column[start : start + PART] for column in vars(acked).values()))
            rows, fence_id, p = in_fences(self.snapshot, some)
            inside += len(np.unique(rows))
            packed = pack(some.at_ms[rows], p)
            parts.append(np.column_stack([some.device[rows], fence_id, packed]))
        found = np.concatenate(parts)
        found = found[np.lexsort(found.T[::-1])]
        # one an instant: the last is the surest
        same = (found[1:, :2] == found[:-1, :2]).all(axis=1)
        same &= instants(found[1:, 2]) == instants(found[:-1, 2])
        found = found[np.append(~same, True)]
        cuts = np.flatnonzero((found[1:, :2] != found[:-1, :2]).any(axis=1)) + 1
        return inside, {(int(e[0, 0]), int(e[0, 1])): e[:, 2] for e in np.split(found, cuts) if len(e)}


def in_fences(snapshot: Snapshot, fixes: Fixes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of fixes, ids of fences that hold them, and P."""
    columns = {
        "lon": fixes.lon7 / 1e7,
        "lat": fixes.lat7 / 1e7,
        "accuracy_m": fixes.accuracy_dm / 10,
    }
    hits = snapshot.index.candidates(**columns, at_ms=fixes.at_ms)
    judged = judge(
        snapshot.index,
        **columns,
        platform=np.zeros(len(fixes), np.int8),
        ping=hits.ping,
        fence=hits.fence,
        policy=snapshot.certainty,
    )
    held = judged.verdict == Verdict.IN
    return hits.ping[held], snapshot.index.fence_id[hits.fence[held]], judged.p[held]


def _snapshot(engine: sa.Engine) -> Snapshot:
    workspace_id = in_transaction(engine, lambda c: manage_workspace.found_installation(c, now_ms=0))
    return Snapshots(engine).current(workspace_id, now_ms=time.time_ns() // 1_000_000)


Visits = dict[tuple[int, int, int], tuple[int, int, int]]


def _folded(evidence: dict[tuple[int, int], np.ndarray], *, gap_ms: int) -> Visits:
    """(device, fence, arrived) → (left, fixes, sum of p): cut where neighbours are too far apart."""
    found: Visits = {}
    for (number, fence_id), packed in evidence.items():
        at_ms, p = packed >> 8, packed & 255
        for part in np.split(np.arange(len(packed)), np.flatnonzero(np.diff(at_ms) > gap_ms) + 1):
            key = (number, fence_id, int(at_ms[part[0]]))
            found[key] = (int(at_ms[part[-1]]), len(part), int(p[part].sum()))
    return found


def _stored(conn: sa.Connection) -> Visits:
    query = sa.select(
        device.c.key,
        visit.c.fence_id,
        visit.c.arrived_ms,
        visits.LEFT_MS,
        visits.FIXES,
        visits.P_SUM,
    ).select_from(visits.joined().join(device, device.c.id == visit.c.device_id))
    return {
        (device_number(key), fence_id, arrived_ms): (left_ms, fixes, p_sum)
        for key, fence_id, arrived_ms, left_ms, fixes, p_sum in conn.execute(query)
    }


COUNTED = ("evidence", "log", "decisions", "messages", "devices")


def _count(conn: sa.Connection, what: str) -> int:
    if what == "log":
        apps = [row.app_id for row in conn.execute(sa.select(device.c.app_id).distinct())]
        return ping_log.count(conn, workspace_apps=apps)
    if what == "evidence":
        lengths = [
            conn.execute(sa.select(sa.func.sum(sa.func.length(table.c.evidence)))).scalar() or 0
            for table in (presence, evidence_chunk)
        ]
        return int(sum(lengths)) // 8
    table = {"decisions": decision, "messages": delivery, "devices": device}[what]
    return int(conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())
