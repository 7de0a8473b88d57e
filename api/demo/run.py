"""The demo: stores from a spreadsheet, walking phones, a campaign that decides and sends, a report.

Everything goes the product's own way: the guarded reader, the verbs, the ping line under the replay
clock, tracked clicks. Only the phones are made up.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from api.demo.files import fixture
from api.demo.itineraries import PlaceColumns
from api.demo.walks import PLATFORMS, SEOUL, WalkColumns, generate
from api.settings import Settings
from api.wiring import House, build
from campaigns.campaign.life import State
from campaigns.campaign.plans import Plan
from campaigns.deciding.snapshot import Snapshot
from campaigns.people.identity import Identity, identify
from geo.fences.fence import CircleShape
from geo.matching.pings import Outcome, Platform
from nearcast.services import edit_areas, run_campaigns, upload
from nearcast.services.intake import AppPings
from nearcast.services.raw_pings import RawPings
from nearcast.services.run_campaigns import Author
from nearcast.services.take_clicks import take_click
from nearcast.services.take_pings import Receipt
from nearcast.services.upload_options import UploadOptions
from nearcast.services.work_uploads import work_off
from nearcast.store import fences, workspaces
from nearcast.store.engine import in_transaction, make_engine, reading
from nearcast.store.migrate import upgrade

SEED = 20_261_123
BATCH = 5_000
ACTOR = "demo"
#: of a hundred receivers so many open the link, by a hash of their delivery
CLICKS_PER_CENT = 18
#: whose stores the two campaigns are about
BRANDS = ("온새담커피", "밀빛새담")
START = datetime(2026, 11, 16, tzinfo=SEOUL)

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Played:
    """What the demo did.

    Attributes:
        campaign_ids: the running campaigns, the main one first.
        outcomes: outcome name → pings.
        walks: what was walked, with its truth.
        seconds: name of a step → how long it took.
    """

    house: House
    campaign_ids: tuple[int, ...]
    stores: int
    areas: int
    outcomes: dict[str, int]
    transitions: int
    walks: WalkColumns
    seconds: dict[str, float]


def play(
    database: Path, *, devices: int = 2_000, days: int = 3, progress: Progress | None = None
) -> Played:
    """Build a fresh demo database and play the walks into it.

    Args:
        database: a SQLite file; one that stands there is replaced.
        progress: called with (step, done, of).
    """
    tell = progress or (lambda _step, _done, _of: None)
    watch = _Watch()
    house = _fresh(database)
    author = _author(house)
    stores, areas = _load(house, author)
    watch.lap("load")
    walks = generate(seed=SEED, devices=devices, days=days, start=START, places=_places(house))
    watch.lap("walk")
    campaign_ids = _launch(house, author, days)
    outcomes, transitions, shown = _post(house, walks, tell)
    watch.lap("pings")
    _click(house, shown)
    watch.lap("clicks")
    return Played(
        house=house,
        campaign_ids=campaign_ids,
        stores=stores,
        areas=areas,
        outcomes=outcomes,
        transitions=transitions,
        walks=walks,
        seconds=watch.laps,
    )


class _Watch:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._since = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.laps[name] = round(now - self._since, 2)
        self._since = now


def _fresh(database: Path) -> House:
    database.parent.mkdir(parents=True, exist_ok=True)
    for suffix in ("", "-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    settings = Settings.from_env(
        {"NEARCAST_DATABASE_URL": f"sqlite:///{database}", "NEARCAST_CLOCK": "replay"}
    )
    engine = make_engine(settings.database_url)
    upgrade(engine)
    engine.dispose()
    return build(settings)


def _author(house: House) -> Author:
    return Author(
        workspace_id=house.workspace_id,
        plan=Plan.PREMIUM,
        actor=ACTOR,
        now_ms=house.clock.now_ms(),
    )


def _load(house: House, author: Author) -> tuple[int, int]:
    """The area layers and the stores, as an operator and a manager would load them."""
    layers = [
        (name, kind, edit_areas.read_layer(fixture(file), name_column="name", code_column="code"))
        for name, kind, file in (
            ("행정구역 (데모)", "region", "regions.geojson"),
            ("상권 (데모)", "trade_area", "trade_areas.geojson"),
        )
    ]

    def verb(conn: sa.Connection) -> int:
        loaded = [
            edit_areas.add_layer(
                conn,
                layer,
                repairs,
                workspace_id=author.workspace_id,
                name=name,
                kind=kind,
                now_ms=author.now_ms,
                actor=ACTOR,
            )
            for name, kind, (layer, repairs) in layers
        ]
        return sum(layer.areas for layer in loaded)

    areas = in_transaction(house.engine, verb)
    return _import(house, author), areas


def _import(house: House, author: Author) -> int:
    """The stores' workbook, checked and applied; how many fences it made."""
    data, engine = fixture("stores.xlsx"), house.engine
    upload_id = in_transaction(
        engine,
        lambda conn: upload.receive(
            conn, data, file_name="stores.xlsx", options=UploadOptions(), author=author
        ),
    )
    work_off(engine, house.clock, only=upload_id)
    in_transaction(engine, lambda conn: upload.apply(conn, upload_id, author=author))
    work_off(engine, house.clock, only=upload_id)
    row = reading(engine, lambda conn: upload.load(conn, upload_id, workspace_id=author.workspace_id))
    return int(row["counts"]["new"])


def _places(house: House) -> PlaceColumns:
    versions = reading(house.engine, lambda conn: fences.live_versions(conn, house.workspace_id, 0))
    circles = [v.fence.shape for v in versions if isinstance(v.fence.shape, CircleShape)]
    return PlaceColumns(
        lon=np.array([c.lon for c in circles]),
        lat=np.array([c.lat for c in circles]),
        radius_m=np.array([c.radius_m for c in circles]),
    )


def _launch(house: House, author: Author, days: int) -> tuple[int, ...]:
    """Two campaigns: a coffee chain greets who comes in, a bakery thanks who stays ten minutes."""
    stores = reading(house.engine, lambda conn: fences.live_versions(conn, house.workspace_id, 0))
    common = {
        "period": {"start": START.isoformat(), "end": (START + timedelta(days=days)).isoformat()},
        "time_zone": "Asia/Seoul",
        "additional_days": 2,
    }
    week = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    wanted: list[dict[str, Any]] = [
        common
        | {
            "name": f"{BRANDS[0]} · 따뜻한 한 잔",
            "trigger": {"kind": "enter"},
            "hours": {day: ["08:00-21:00"] for day in week},
            "message": {
                "channel": "inbox",
                "title": "오늘 커피 20% 할인",
                "body": "가까운 매장에서 바로 쓸 수 있어요.",
                "link": "https://example.com/coffee?utm_source=nearcast",
            },
        },
        common
        | {
            "name": f"{BRANDS[1]} · 머무르는 분께",
            "trigger": {"kind": "dwell", "after_s": 600},
            "message": {
                "channel": "inbox",
                "title": "천천히 둘러보세요",
                "body": "계산할 때 이 화면을 보여 주세요.",
                "link": "https://example.com/stay?utm_source=nearcast",
            },
        },
    ]
    for brand, body in zip(BRANDS, wanted, strict=True):
        own = [version.fence_id for version in stores if version.fence.brand == brand]
        body["targeting"] = {"fence_ids": own}
    app_id = _app_id(house)

    def verb(conn: sa.Connection) -> tuple[int, ...]:
        return tuple(_run(conn, dict(body), app_id, author) for body in wanted)

    return in_transaction(house.engine, verb)


def _run(conn: sa.Connection, body: dict[str, Any], app_id: int, author: Author) -> int:
    name = str(body.pop("name"))
    campaign_id = run_campaigns.create(
        conn, body, app_id=app_id, name=name, in_place=None, author=author
    )
    for state in (State.TEST, State.STANDBY):
        row = run_campaigns.load(conn, app_ids=[app_id], campaign_id=campaign_id)
        run_campaigns.go(conn, row, state, author=author)
    return campaign_id


def _post(
    house: House, walks: WalkColumns, tell: Progress
) -> tuple[dict[str, int], int, dict[int, int]]:
    """Post the walks in the order in which a server meets them.

    Returns:
        Pings by outcome, transitions, and the deliveries that came back in the answers with the
        instant (ms) at which the phone got them.
    """
    order = walks.arrival_order()
    app_id = _app_id(house)
    counts = np.zeros(len(Outcome), np.int64)
    transitions = 0
    shown: dict[int, int] = {}
    for raw in _batches(house, walks, order, _who(walks)):
        snapshot = house.snapshots.current(house.workspace_id, now_ms=int(raw.now_ms[0]))
        receipt = _take(house, raw, app_id, snapshot)
        counts += np.bincount(receipt.admission.outcome, minlength=len(Outcome))
        transitions += len(receipt.transitions)
        shown |= {message["id"]: message["fetched_ms"] for _, message in receipt.messages}
        tell("pings", int(counts.sum()), len(order))
    return {o.name.lower(): int(counts[o]) for o in Outcome}, transitions, shown


def _app_id(house: House) -> int:
    apps = reading(house.engine, lambda conn: workspaces.apps_of(conn, house.workspace_id))
    return next(iter(apps.values()))


def _take(house: House, raw: RawPings, app_id: int, snapshot: Snapshot) -> Receipt:
    part = AppPings(app_id=app_id, raw=raw, snapshot=snapshot, key_holds_consent=True)
    return house.intake.take([part])[0]


def _who(walks: WalkColumns) -> list[Identity]:
    walkers = walks.walkers
    return [
        identify(
            device_id=device_id,
            ad_id=ad_id,
            user_id=user_id,
            location=True,
            marketing=bool(marketing),
            night=bool(night),
        )
        for device_id, ad_id, user_id, marketing, night in zip(
            walkers.device_ids,
            walkers.ad_ids,
            walkers.user_ids,
            walkers.marketing,
            walkers.night,
            strict=True,
        )
    ]


def _batches(
    house: House, walks: WalkColumns, order: np.ndarray, who: list[Identity]
) -> Iterator[RawPings]:
    codes = np.array([Platform[name.upper()] for name in PLATFORMS], np.int8)
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        at_ms = walks.at_ms[rows].astype(np.int64)
        yield RawPings(
            keys=[who[device].key for device in walks.device[rows].tolist()],
            said={row: who[device] for row, device in enumerate(walks.device[rows].tolist())},
            lon=walks.lon[rows],
            lat=walks.lat[rows],
            accuracy_m=walks.accuracy_m[rows],
            at_ms=at_ms,
            now_ms=house.clock.as_seen(at_ms),
            platform=codes[walks.platform[rows]],
            mocked=np.zeros(len(rows), bool),
        )


def _click(house: House, shown: dict[int, int]) -> None:
    """Some people open the link a few minutes later, chosen by a hash of their delivery."""

    def verb(conn: sa.Connection) -> None:
        for delivery_id, fetched_ms in sorted(shown.items()):
            draw = int.from_bytes(hashlib.sha256(b"click-%d" % delivery_id).digest()[:4], "big")
            if draw % 100 < CLICKS_PER_CENT:
                take_click(conn, delivery_id, now_ms=fetched_ms + (1 + draw % 20) * 60_000)

    in_transaction(house.engine, verb)
