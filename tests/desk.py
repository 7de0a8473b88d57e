"""A manager with files, in a workspace of an own: uploads without HTTP."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from campaigns.campaign.plans import Plan
from geo.fences.fence import Fence
from geo.sheets.changes import RowState
from nearcast.services import edit_fences, export_fences, upload
from nearcast.services.clocks import WallClock
from nearcast.services.edit_fences import Wanted
from nearcast.services.export_fences import Format
from nearcast.services.run_campaigns import Author
from nearcast.services.upload_lines import Line
from nearcast.services.upload_options import UploadOptions
from nearcast.services.work_uploads import work_off
from nearcast.store import fences
from nearcast.store.engine import in_transaction, reading
from tests.world import World

CLOCK = WallClock()
STORES = """지점명,매장코드,위도,경도,반경,그룹
강남점,S1,37.4979,127.0276,100m,카페;강남
역삼점,S2,37.5007,127.0365,1.5km,카페
뒤바뀐점,S3,127.0276,37.4979,100,카페
"""


class Desk:
    """A manager with files, in a workspace of an own."""

    def __init__(self, engine: sa.Engine, plan: Plan = Plan.PREMIUM) -> None:
        self.engine = engine
        self.world = World(engine)
        self.workspace_id = self.world.workspace_id
        self.plan = plan

    @property
    def author(self) -> Author:
        return Author(
            workspace_id=self.workspace_id, plan=self.plan, actor="key:1", now_ms=CLOCK.now_ms()
        )

    def write(self, verb: Any) -> Any:
        return in_transaction(self.engine, verb)

    def read(self, verb: Any) -> Any:
        return reading(self.engine, verb)

    def receive(self, data: str | bytes, name: str = "stores.csv", **options: Any) -> int:
        body = data.encode("cp949") if isinstance(data, str) else data
        wanted = UploadOptions(**options)
        return self.write(
            lambda c: upload.receive(c, body, file_name=name, options=wanted, author=self.author)
        )

    def check(self, data: str | bytes, **options: Any) -> int:
        serial = self.receive(data, **options)
        self.work()
        return serial

    def work(self) -> int:
        return work_off(self.engine, CLOCK)

    def apply(self, serial: int) -> sa.RowMapping:
        self.write(lambda c: upload.apply(c, serial, author=self.author))
        self.work()
        return self.row(serial)

    def undo(self, serial: int, *, leave_edited: bool = False) -> sa.RowMapping:
        self.write(lambda c: upload.undo(c, serial, leave_edited=leave_edited, author=self.author))
        self.work()
        return self.row(serial)

    def row(self, serial: int) -> sa.RowMapping:
        return self.read(lambda c: upload.load(c, serial, workspace_id=self.workspace_id))

    def lines(self, serial: int, *states: RowState, **more: Any) -> list[Line]:
        wanted = {"code": None, "start": 0, "limit": 10_000} | more
        found, _, _ = self.read(
            lambda c: upload.lines(
                c, serial, workspace_id=self.workspace_id, states=states or list(RowState), **wanted
            )
        )
        return [line for _, line in found]

    def fences(self) -> dict[str, Fence]:
        found = self.read(lambda c: fences.all_of(c, workspace_id=self.workspace_id))
        return {stored.fence.name: stored.fence for stored in found}

    def save(self, *wanted: Fence | Wanted) -> list[int]:
        items = [w if isinstance(w, Wanted) else Wanted(fence=w, area_km2=0.03) for w in wanted]
        saved = self.write(
            lambda c: edit_fences.save_fences(
                c,
                items,
                workspace_id=self.workspace_id,
                plan=self.plan,
                now_ms=CLOCK.now_ms(),
                actor="key:2",
            )
        )
        return [s.fence_id for s in saved]

    def exported(self, kind: Format = Format.CSV) -> bytes:
        data, _ = self.read(
            lambda c: export_fences.export_fences(
                c, kind, workspace_id=self.workspace_id, group=None, lang="ko"
            )
        )
        return data

    def stored(self, name: str) -> fences.StoredFence:
        found = self.read(lambda c: fences.all_of(c, workspace_id=self.workspace_id))
        return next(s for s in found if s.fence.name == name)
