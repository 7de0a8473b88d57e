"""A small installation for tests: a workspace with fences and campaigns, and a way to post pings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import sqlalchemy as sa

from campaigns.campaign.life import State
from campaigns.campaign.plans import Plan
from campaigns.people.identity import identify
from geo.fences.fence import Fence
from geo.fences.shapes import read_form, read_geojson
from geo.matching.pings import Outcome
from geo.matching.presence import Transition
from nearcast.services import edit_fences, manage_workspace, run_campaigns
from nearcast.services.clocks import Clock, ReplayClock
from nearcast.services.intake import AppPings, Intake
from nearcast.services.keep_snapshot import Snapshots
from nearcast.services.raw_pings import RawPings, words
from nearcast.services.run_campaigns import Author
from nearcast.services.take_pings import Receipt
from nearcast.store import fences, workspaces
from nearcast.store.engine import in_transaction, reading
from nearcast.store.tables import device, presence, visit

START = datetime(2026, 11, 23, 0, 0, tzinfo=UTC)
START_MS = round(START.timestamp() * 1000)
MIN = 60_000
#: 2 km apart
GANGNAM = (127.0276, 37.4979)
YEOKSAM = (127.0502, 37.4979)
OUTSIDE = (127.0389, 37.5200)


def north(place: tuple[float, float], metres: float) -> tuple[float, float]:
    """A place so many metres further north; good to a few cm."""
    return place[0], place[1] + metres / 110_970.0


class World:
    """The default workspace, seen by one process under a replay clock."""

    def __init__(self, engine: sa.Engine, clock: Clock | None = None) -> None:
        self.engine = engine
        self.clock = clock or ReplayClock(START_MS - 60 * MIN)
        self.snapshots = Snapshots(engine)
        self.intake = Intake(engine, self.clock)
        self.workspace_id = in_transaction(
            engine, lambda conn: manage_workspace.found_installation(conn, now_ms=0)
        )
        self.app_id = reading(
            engine, lambda c: next(iter(workspaces.apps_of(c, self.workspace_id).values()))
        )

    def author(self) -> Author:
        return Author(
            workspace_id=self.workspace_id,
            plan=Plan.PREMIUM,
            actor="test",
            now_ms=self.clock.now_ms(),
        )

    def fence(self, name: str, place: tuple[float, float], radius_m: float = 100.0, **more: Any) -> int:
        """A circle; returns its serial."""
        read = read_form(lat=place[1], lng=place[0], radius_m=radius_m)
        return self.save(Fence(name=name, shape=read.shape, **more), read.area_km2)

    def polygon(self, name: str, ring: Sequence[tuple[float, float]], **more: Any) -> int:
        read = read_geojson({"type": "Polygon", "coordinates": [[list(p) for p in ring]]})
        return self.save(Fence(name=name, shape=read.shape, **more), read.area_km2)

    def save(self, fence: Fence, area_km2: float, fence_id: int | None = None) -> int:
        """Save a fence, or a new version of one."""
        author = self.author()

        def verb(conn: sa.Connection) -> int:
            before = None
            if fence_id is not None:
                before = fences.get(conn, workspace_id=self.workspace_id, fence_ids=[fence_id])[fence_id]
            wanted = edit_fences.Wanted(fence=fence, area_km2=area_km2, before=before)
            saved = edit_fences.save_fences(
                conn,
                [wanted],
                workspace_id=self.workspace_id,
                plan=Plan.PREMIUM,
                now_ms=author.now_ms,
                actor="test",
            )
            return saved[0].fence_id

        return in_transaction(self.engine, verb)

    def campaign(self, *, state: State = State.RUNNING, **body: Any) -> int:
        """A campaign in the state wanted; returns its serial."""
        whole = {
            "period": {"start": "2026-11-22T00:00:00+00:00", "end": "2026-12-22T00:00:00+00:00"},
            "time_zone": "Asia/Seoul",
            "trigger": {"kind": "enter"},
            "message": {"channel": "inbox", "title": "안녕하세요", "body": "어서 오세요"},
        } | body

        def verb(conn: sa.Connection) -> int:
            author = self.author()
            campaign_id = run_campaigns.create(
                conn, whole, app_id=self.app_id, name="캠페인", in_place=None, author=author
            )
            for step in (State.TEST, state) if state is State.RUNNING else (state,):
                row = run_campaigns.load(conn, app_ids=[self.app_id], campaign_id=campaign_id)
                run_campaigns.go(conn, row, step, author=author)
            return campaign_id

        return in_transaction(self.engine, verb)

    def test_device(self, ad_id: str) -> None:
        in_transaction(
            self.engine,
            lambda conn: manage_workspace.register_test_device(
                conn,
                app_id=self.app_id,
                workspace_id=self.workspace_id,
                ad_id=ad_id,
                name="phone",
                now_ms=self.clock.now_ms(),
                actor="test",
            ),
        )

    def post(self, pings: Sequence[dict[str, Any]], *, backfill: bool = False) -> Receipt:
        """Take one batch in one transaction, as the route does.

        A ping is `{"who": …, "at": (lon, lat), "min": minutes after START}` and whatever else differs.
        """
        part = AppPings(
            app_id=self.app_id,
            raw=self.raw(pings),
            snapshot=self.snapshots.current(self.workspace_id, now_ms=self.clock.now_ms()),
            key_holds_consent=True,
            backfill=backfill,
        )
        (receipt,) = self.intake.take([part])
        return receipt

    def raw(self, pings: Sequence[dict[str, Any]]) -> RawPings:
        at_ms = np.array([START_MS + round(p["min"] * MIN) for p in pings], np.int64)
        who = [
            identify(
                device_id=p.get("who"),
                ad_id=p.get("ad_id"),
                user_id=p.get("user_id"),
                location=p.get("location"),
            )
            for p in pings
        ]
        return RawPings(
            keys=[one.key for one in who],
            said=words(who),
            lon=np.array([p["at"][0] for p in pings], float),
            lat=np.array([p["at"][1] for p in pings], float),
            accuracy_m=np.array([p.get("accuracy_m", np.nan) for p in pings], float),
            at_ms=at_ms,
            now_ms=self.clock.as_seen(at_ms),
            platform=np.zeros(len(pings), np.int8),
            mocked=np.array([p.get("mocked", False) for p in pings], bool),
        )

    def visits(self) -> list[tuple[str, int, float, float, int, int]]:
        """(device key, fence, arrived, left, fixes, p_sum) as readers see them; minutes after START."""
        newest = (
            (presence.c.device_id == visit.c.device_id)
            & (presence.c.fence_id == visit.c.fence_id)
            & (presence.c.arrived_ms == visit.c.arrived_ms)
        )
        ends = [
            sa.func.coalesce(presence.c[name], visit.c[name]).label(name)
            for name in ("left_ms", "fixes", "p_sum")
        ]
        query = (
            sa.select(device.c.key, visit.c.fence_id, visit.c.arrived_ms, *ends)
            .join(device, device.c.id == visit.c.device_id)
            .outerjoin(presence, newest)
            .order_by(device.c.key, visit.c.fence_id, visit.c.arrived_ms)
        )
        rows = reading(self.engine, lambda conn: conn.execute(query).all())
        return [
            (r.key, r.fence_id, minutes(r.arrived_ms), minutes(r.left_ms), r.fixes, r.p_sum)
            for r in rows
        ]


def minutes(at_ms: int) -> float:
    """Minutes after START."""
    return (at_ms - START_MS) / MIN


def outcomes(receipt: Receipt) -> list[str]:
    """The outcome of each ping by name."""
    return [Outcome(code).name.lower() for code in receipt.admission.outcome.tolist()]


def told(transitions: Sequence[Transition]) -> list[tuple[str, float]]:
    """(kind, minutes) of transitions."""
    return [(t.kind.value, minutes(t.at_ms)) for t in transitions]
