"""A spreadsheet becomes fences as a reviewed change: read, check, apply (product U1, U4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from campaigns.campaign.plans import Feature, Plan, opens
from geo.fences.columns import FenceDefaults, ReadFences, ReadOptions, read_sheets, review_sheets
from geo.fences.fence import CircleShape, Fence
from geo.measure import circle_area_km2, projected_area_m2
from geo.sheets.changes import Review, State
from geo.sheets.problems import Problem
from nearcast.services.edit_fences import Saved, Wanted, save_fences
from nearcast.services.errors import NotAllowedNow, PlanRequired
from nearcast.store import fences
from nearcast.store.fences import StoredFence
from nearcast.store.sandbox import read_tables


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What a file would do; nothing is written yet.

    Attributes:
        review: a line per row and per fence that the file does not name.
        wanted: the new and changed fences.
        read: per sheet what was read: mapping, unknown headings, notes.
    """

    review: Review[Fence]
    wanted: Sequence[Wanted]
    read: Sequence[ReadFences]

    @property
    def problems(self) -> list[Problem]:
        """All problems of all rows of all sheets."""
        return [problem for sheet in self.read for problem in sheet.problems]

    @property
    def counts(self) -> Mapping[State, int]:
        """How many lines of each state."""
        return self.review.counts


def read_file(data: bytes, *, defaults: FenceDefaults, sheet: str | None = None) -> list[ReadFences]:
    """The fences of an uploaded file, sheet by sheet, read in a guarded child.

    Raises:
        SheetRefused: the file as a whole cannot be read.
        ShapeRefused: the default radius is out of bounds.
    """
    return read_sheets(read_tables(data, sheet=sheet), options=ReadOptions(defaults=defaults))


def check(conn: sa.Connection, read: Sequence[ReadFences], *, workspace_id: int, plan: Plan) -> Checked:
    """Compare a file with the workspace's fences. Raises `PlanRequired` below Basic."""
    if not opens(plan, Feature.UPLOAD):
        raise PlanRequired("Uploading a group of fences needs the plan Basic or Premium.")
    stored = _meant(conn, [fence for sheet in read for _, fence in sheet.fences], workspace_id)
    review = review_sheets(read, [s.fence for s in stored])
    wanted = [
        Wanted(
            fence=change.after,
            area_km2=_area_km2(change.after),
            before=None if change.place is None else stored[change.place],
        )
        for change in review.changes
        if change.after is not None and change.state in (State.NEW, State.CHANGED)
    ]
    return Checked(review=review, wanted=wanted, read=read)


def apply(
    conn: sa.Connection,
    checked: Checked,
    *,
    workspace_id: int,
    plan: Plan,
    now_ms: int,
    actor: str,
) -> list[Saved]:
    """Write the new and changed fences, all or none.

    Raises:
        NotAllowedNow: a fence was edited since the check; check again.
    """
    befores = {w.before.id: w.before.version for w in checked.wanted if w.before is not None}
    present = fences.get(conn, workspace_id=workspace_id, fence_ids=list(befores))
    if {fence_id: s.version for fence_id, s in present.items()} != befores:
        raise NotAllowedNow("Fences of this file were edited since it was checked. Check it again.")
    return save_fences(
        conn, checked.wanted, workspace_id=workspace_id, plan=plan, now_ms=now_ms, actor=actor
    )


def _meant(conn: sa.Connection, wanted: Sequence[Fence], workspace_id: int) -> list[StoredFence]:
    """The fences a file may mean: those of its groups, those with its external ids."""
    found: dict[int, StoredFence] = {}
    for group in sorted({group for fence in wanted for group in fence.groups}):
        for stored in fences.of_group(conn, workspace_id=workspace_id, group=group):
            found[stored.id] = stored
    keys = [fence.external_id for fence in wanted if fence.external_id]
    if keys:
        for stored in fences.by_external(conn, workspace_id=workspace_id, external_ids=keys).values():
            found[stored.id] = stored
    return [found[fence_id] for fence_id in sorted(found)]


def _area_km2(fence: Fence) -> float:
    if isinstance(fence.shape, CircleShape):
        return circle_area_km2(fence.shape.radius_m)
    return projected_area_m2(fence.shape.geometry) / 1e6
