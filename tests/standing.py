"""Stays put where the intake would leave them, and the timers that look at them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import sqlalchemy as sa

from campaigns.messages.events import WebhookEvent
from geo.matching.stay_columns import EVIDENCE
from geo.matching.visits import pack
from nearcast.services import manage_workspace
from nearcast.services.clocks import ReplayClock
from nearcast.services.watch_stays import Watch
from nearcast.store import stays
from nearcast.store.columns import insert_columns
from nearcast.store.engine import in_transaction, reading
from nearcast.store.tables import device, notice, presence, visit
from tests.world import GANGNAM, MIN, START_MS, YEOKSAM, World

GAP_MIN = 30
#: a sweep takes what is older than the gap and ten minutes more
SWEEP_MIN = GAP_MIN + 10


EVENTS = tuple(WebhookEvent)


class Standing:
    """A workspace with two fences, and stays put there as `take_pings` leaves them."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.clock = ReplayClock(START_MS - 60 * MIN)
        self.world = World(engine, self.clock)
        self.fences = [self.world.fence("강남점", GANGNAM), self.world.fence("역삼점", YEOKSAM)]
        self.watch = Watch(engine, self.world.snapshots, self.clock)

    def listen(self, *events: WebhookEvent) -> int:
        return in_transaction(
            self.engine,
            lambda conn: manage_workspace.add_webhook(
                conn,
                app_id=self.world.app_id,
                workspace_id=self.world.workspace_id,
                name="crm",
                url="http://127.0.0.1/",
                events=events,
                allow_http=True,
                now_ms=0,
                actor="test",
            ),
        )[0]

    def stay(
        self,
        who: str,
        *minutes: float,
        fence: int = 0,
        inside: bool = True,
        told: float | None = None,
        out: float | None = None,
        p: float = 1.0,
        app_id: int | None = None,
    ) -> int:
        """A stay with in fixes at these minutes, all of one visit; the serial of its device."""
        at_ms = np.array([START_MS + round(m * MIN) for m in minutes], np.int64)
        evidence = pack(at_ms, np.full(len(at_ms), p)).astype(EVIDENCE).tobytes()
        dwell_ms = int(at_ms[-1] - at_ms[0])
        row = {
            "fence_id": self.fences[fence],
            "inside": inside,
            "told_ms": dwell_ms if told is None else round(told * MIN),
            "presumed_ms": -1,
            "arrived_ms": int(at_ms[0]),
            "left_ms": int(at_ms[-1]),
            "fixes": len(at_ms),
            "p_sum": len(at_ms) * round(p * 255),
            "out_first_ms": 0 if out is None else START_MS + round(out * MIN),
            "out_last_ms": 0 if out is None else START_MS + round(out * MIN),
            "out_fixes": 0 if out is None else 1,
            "out_far": 0,
            "out_lon": 0.0,
            "out_lat": 0.0,
            "evidence": evidence,
        }
        opened = {"left_ms": row["arrived_ms"], "fixes": 1, "p_sum": 255, "told_ms": -1}

        def verb(conn: sa.Connection) -> int:
            made = sa.insert(device).values(
                app_id=app_id or self.world.app_id,
                key=who,
                user_id=f"u-{who}",
                ad_id=f"ad-{who}",
                first_seen_ms=0,
            )
            key = conn.execute(made).inserted_primary_key
            serial = int(key[0]) if key else 0
            pair = {"device_id": serial, "fence_id": row["fence_id"]}
            insert_columns(conn, presence, {n: [v] for n, v in (pair | row).items()})
            begun = pair | {"arrived_ms": row["arrived_ms"]} | opened
            insert_columns(conn, visit, {n: [v] for n, v in begun.items()})
            return serial

        return in_transaction(self.engine, verb)

    def at(self, minute: float) -> int:
        """Look when the clock stands at a minute; how many stays have changed."""
        self.clock.saw(START_MS + round(minute * MIN))
        return self.watch.look()

    def rows(self, table: sa.Table, *names: str) -> list[tuple[Any, ...]]:
        columns = [table.c[name] for name in names]
        query = sa.select(*columns).order_by(*columns)
        return [tuple(row) for row in reading(self.engine, lambda c: c.execute(query).all())]

    def told(self) -> list[tuple[str, str, Any]]:
        """(event, device, by) of every notice, in order."""
        query = sa.select(notice.c.body).order_by(notice.c.id)
        bodies = reading(self.engine, lambda c: list(c.execute(query).scalars()))
        said = [json.loads(body) for body in bodies]
        return [(s["type"], s["data"]["device_id"], s["data"].get("by")) for s in said]

    def swept_ms(self) -> int:
        return reading(self.engine, lambda c: stays.swept_ms(c, self.world.workspace_id))

    def writer(self) -> str | None:
        return reading(self.engine, stays.writer)

    def campaign(self, after_s: int = 600, *, presumed: bool = True, **more: Any) -> int:
        """A running campaign that listens to a dwell at the first fence."""
        trigger = {"kind": "dwell", "after_s": after_s, "presumed": presumed}
        where = {"fence_ids": [self.fences[0]]}
        return self.world.campaign(targeting=where, trigger=trigger, **more)
