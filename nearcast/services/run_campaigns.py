"""Draft, edit and move campaigns; the clock moves some by itself (product C1–C3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

import sqlalchemy as sa

from campaigns.campaign.campaign import to_ms
from campaigns.campaign.life import EDITABLE, LISTENING, State, move, move_by_clock
from campaigns.campaign.plans import Feature, Plan
from geo.fences.fence import Fence, Shape
from geo.fences.shapes import ReadShape
from geo.matching.presence import Kind
from nearcast.services.check_campaigns import refuse_faults
from nearcast.services.edit_fences import Wanted, require_plan, save_fences
from nearcast.services.errors import FieldError, Invalid, NotAllowedNow, NotFound
from nearcast.services.ids import public
from nearcast.store import campaigns, decisions, fences, workspaces
from nearcast.store.engine import Conflict

MAX_NAME = 200
#: what a campaign has of which nothing is said
DEFAULTS: dict[str, Any] = {"trigger": {"kind": Kind.ENTER.value, "after_s": None, "presumed": False}}

#: what a person asks for → the state it leads to
TARGET_OF_MOVE = {
    "draft": State.DRAFT,
    "test": State.TEST,
    "standby": State.STANDBY,
    "run": State.RUNNING,
    "pause": State.PAUSED,
    "end": State.ENDED,
    "archive": State.ARCHIVED,
}

Row = Mapping[str, Any] | sa.RowMapping


@dataclass(frozen=True, kw_only=True)
class Author:
    """Who edits, where and when."""

    workspace_id: int
    plan: Plan
    actor: str
    now_ms: int


class Place(Protocol):
    """A shape given inside a campaign; it becomes a fence of the campaign's own."""

    @property
    def shape(self) -> Shape:
        """The shape, within the limits."""

    @property
    def area_km2(self) -> float:
        """Its area."""


def create(
    conn: sa.Connection,
    body: Mapping[str, Any],
    *,
    app_id: int,
    name: str,
    in_place: Place | None,
    author: Author,
) -> int:
    """A new draft; returns its serial. It may be incomplete, but nothing in it may be wrong.

    Args:
        body: `targeting`, `period`, `time_zone` and so on, as `campaigns.campaign_of` reads it; what
            is absent or None is the default. The zone's default is the app's.
    """
    zone = workspaces.app_row(conn, app_id)["time_zone"]
    full = {"time_zone": zone} | DEFAULTS | _said(body)
    _check(conn, full, author, app_id, complete=False)
    return _insert(conn, full, app_id=app_id, name=name, in_place=in_place, author=author)


def edit(
    conn: sa.Connection,
    row: Row,
    changes: Mapping[str, Any],
    *,
    name: str | None,
    in_place: Place | None,
    author: Author,
) -> None:
    """Change some parts: a new version. A campaign in test, on standby or running stays complete.

    Args:
        changes: the parts that change; None takes a part back to its default. With `targeting` goes
            `in_place`, its shape given in place.
    """
    state = State(row["state"])
    if state not in EDITABLE:
        raise NotAllowedNow(f"A campaign that is {state} is not edited any more. Copy it instead.")
    zone = workspaces.app_row(conn, row["app_id"])["time_zone"]
    body = {"time_zone": zone} | DEFAULTS | _said({**row["body"], **changes})
    if "targeting" in changes:
        body["targeting"] = _with_place(conn, row, changes["targeting"], in_place, author)
    _check(conn, body, author, row["app_id"], complete=state is not State.DRAFT)
    if body == row["body"] and name in (None, row["name"]):
        return
    version = row["version"] + 1
    values = {"name": name or row["name"], "version": version, "updated_ms": author.now_ms}
    campaigns.update(conn, row["id"], **values, **_period_ms(body))
    _add_version(conn, row["id"], version, body, author)
    # whatever the state was when this began: a start may have been committed meanwhile
    workspaces.bump(conn, author.workspace_id)
    _note(conn, author, "campaign.edited", row["id"])


def go(conn: sa.Connection, row: Row, wanted: State, *, author: Author) -> list[str]:
    """Move a campaign by hand; returns warnings (`not_tested`).

    Raises:
        IllegalMove: with the moves that are allowed.
        Invalid: names every part that is missing before a test or a start.
    """
    before = State(row["state"])
    state = move(before, wanted)
    if state in (State.TEST, State.STANDBY, State.RUNNING):
        _check(conn, row["body"], author, row["app_id"], complete=True)
    if state in (State.STANDBY, State.RUNNING) and row["period_end_ms"] <= author.now_ms:
        text = "The period is over; move its end first."
        raise Invalid(errors=[FieldError(pointer="/period/end", code="in_past", message=text)])
    tested = any(m["to_state"] == State.TEST.value for m in campaigns.moves(conn, row["id"]))
    if not _move(conn, row, state, author.workspace_id, author.now_ms, author.actor):
        raise Conflict  # it was moved meanwhile: look again
    if state is State.ARCHIVED:
        _close_place(conn, row, author)
    starts = state in (State.STANDBY, State.RUNNING) and before is not State.PAUSED
    return ["not_tested"] if starts and not tested else []


def tick(conn: sa.Connection, now_ms: int) -> list[tuple[int, State]]:
    """Move what the clock moves: standby begins, everything ends (product C3).

    Returns the campaigns that were moved here; several processes may ask at once.
    """
    moved = []
    for row in campaigns.due(conn, now_ms):
        state = move_by_clock(
            State(row["state"]),
            now_ms=now_ms,
            start_ms=row["period_start_ms"],
            end_ms=row["period_end_ms"],
        )
        if state.value != row["state"] and _move(conn, row, state, row["workspace_id"], now_ms, "clock"):
            moved.append((row["id"], state))
    return moved


def copy(conn: sa.Connection, row: Row, *, author: Author) -> int:
    """A draft with the same content and a shape of its own; returns its serial."""
    targeting = dict(row["body"].get("targeting") or {})
    own = targeting.pop("shape_fence_id", None)
    found = fences.get(conn, workspace_id=author.workspace_id, fence_ids=[own]) if own else {}
    place: Place | None = None
    if own in found:
        place = ReadShape(shape=found[own].fence.shape, notes=(), area_km2=found[own].area_km2)
    targeting["fence_ids"] = [f for f in targeting.get("fence_ids") or [] if f != own]
    suffix = " (copy)"
    return _insert(
        conn,
        {**row["body"], "targeting": targeting},
        app_id=row["app_id"],
        name=row["name"][: MAX_NAME - len(suffix)] + suffix,
        in_place=place,
        author=author,
    )


def delete(conn: sa.Connection, row: Row, *, author: Author) -> None:
    """Delete a draft; a campaign with results is archived, never deleted (product C3)."""
    if row["state"] != State.DRAFT.value or decisions.any_of(conn, row["id"]):
        raise NotAllowedNow("Only a draft without results is deleted. End and archive the campaign.")
    own = (row["body"].get("targeting") or {}).get("shape_fence_id")
    if own:
        fences.mark_deleted(conn, [own], now_ms=author.now_ms)
        workspaces.bump(conn, author.workspace_id)
    campaigns.delete(conn, row["id"])
    _note(conn, author, "campaign.deleted", row["id"])


def load(conn: sa.Connection, *, app_ids: Sequence[int], campaign_id: int) -> sa.RowMapping:
    """A campaign's row with its body; `NotFound` outside the apps."""
    row = campaigns.get(conn, app_ids=app_ids, campaign_id=campaign_id)
    if row is None:
        raise NotFound(f"There is no campaign '{public('cmp', campaign_id)}'.")
    return row


def _insert(
    conn: sa.Connection,
    body: Mapping[str, Any],
    *,
    app_id: int,
    name: str,
    in_place: Place | None,
    author: Author,
) -> int:
    campaign_id = campaigns.insert(
        conn,
        app_id=app_id,
        name=name,
        state=State.DRAFT.value,
        version=1,
        created_ms=author.now_ms,
        updated_ms=author.now_ms,
        **_period_ms(body),
    )
    row = {"id": campaign_id, "name": name, "body": {}}
    targeting = _with_place(conn, row, body.get("targeting"), in_place, author)
    _add_version(conn, campaign_id, 1, {**body, "targeting": targeting}, author)
    _note(conn, author, "campaign.created", campaign_id)
    return campaign_id


def _said(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}


def _check(
    conn: sa.Connection, body: Mapping[str, Any], author: Author, app_id: int, *, complete: bool
) -> None:
    if (body.get("targeting") or {}).get("groups"):
        require_plan(author.plan, Feature.FENCE_GROUPS)
    refuse_faults(conn, body, workspace_id=author.workspace_id, app_id=app_id, complete=complete)


def _with_place(
    conn: sa.Connection,
    row: Row,
    targeting: Mapping[str, Any] | None,
    in_place: Place | None,
    author: Author,
) -> dict[str, Any]:
    """The targeting with the campaign's own fence in it: made, moved, or deleted."""
    wanted = {k: v for k, v in (targeting or {}).items() if k != "shape_fence_id"}
    own = (row["body"].get("targeting") or {}).get("shape_fence_id")
    if in_place is None:
        if own:
            fences.mark_deleted(conn, [own], now_ms=author.now_ms)
            workspaces.bump(conn, author.workspace_id)
        return wanted
    found = fences.get(conn, workspace_id=author.workspace_id, fence_ids=[own]) if own else {}
    before = found.get(own) if own else None
    fence = Fence(name=row["name"], shape=in_place.shape)
    saved = save_fences(
        conn,
        [Wanted(fence=fence, area_km2=in_place.area_km2, before=before)],
        workspace_id=author.workspace_id,
        plan=author.plan,
        now_ms=author.now_ms,
        actor=author.actor,
        campaign_id=row["id"],
    )[0].fence_id
    others = [f for f in wanted.get("fence_ids") or [] if f != saved]
    return {**wanted, "fence_ids": [*others, saved], "shape_fence_id": saved}


def _close_place(conn: sa.Connection, row: Row, author: Author) -> None:
    """An archived campaign's own fence is matched no more; it stays for the reports."""
    own = (row["body"].get("targeting") or {}).get("shape_fence_id")
    found = fences.get(conn, workspace_id=author.workspace_id, fence_ids=[own]) if own else {}
    save_fences(
        conn,
        [
            Wanted(fence=replace(f.fence, enabled=False), area_km2=f.area_km2, before=f)
            for f in found.values()
        ],
        workspace_id=author.workspace_id,
        plan=author.plan,
        now_ms=author.now_ms,
        actor=author.actor,
    )


def _add_version(
    conn: sa.Connection, campaign_id: int, version: int, body: Mapping[str, Any], author: Author
) -> None:
    campaigns.add_version(
        conn,
        campaign_id=campaign_id,
        version=version,
        from_ms=author.now_ms,
        body=body,
        actor=author.actor,
    )


def _period_ms(body: Mapping[str, Any]) -> dict[str, int]:
    """A draft without a period has none to begin or end it."""
    period = body.get("period") or {}
    start, end = period.get("start"), period.get("end")
    return {
        "period_start_ms": to_ms(datetime.fromisoformat(start)) if start else fences.MAX_MS,
        "period_end_ms": to_ms(datetime.fromisoformat(end)) if end else fences.MAX_MS,
    }


def _move(
    conn: sa.Connection, row: Row, state: State, workspace_id: int, now_ms: int, actor: str
) -> bool:
    """Whether the move was made here; False where somebody else made one first."""
    before = State(row["state"])
    if not campaigns.change_state(conn, row["id"], before=before, after=state, now_ms=now_ms):
        return False
    campaigns.add_move(
        conn,
        campaign_id=row["id"],
        at_ms=now_ms,
        from_state=before.value,
        to_state=state.value,
        actor=actor,
    )
    if state in LISTENING or before in LISTENING:
        workspaces.bump(conn, workspace_id)
    workspaces.note(
        conn,
        workspace_id=workspace_id,
        at_ms=now_ms,
        actor=actor,
        action=f"campaign.{state.value}",
        what=public("cmp", row["id"]),
    )
    return True


def _note(conn: sa.Connection, author: Author, action: str, campaign_id: int) -> None:
    workspaces.note(
        conn,
        workspace_id=author.workspace_id,
        at_ms=author.now_ms,
        actor=author.actor,
        action=action,
        what=public("cmp", campaign_id),
    )
