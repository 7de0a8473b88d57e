"""Draft, edit and move campaigns; the clock moves some by itself (product C1–C3)."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import sqlalchemy as sa

from campaigns.campaign.campaign import Channel, Frequency, HoursZone, to_ms
from campaigns.campaign.life import EDITABLE, LISTENING, State, move, move_by_clock
from campaigns.campaign.plans import Plan
from geo.fences.fence import Fence
from geo.fences.hours import InvalidHours, WeeklyHours
from geo.fences.shapes import ReadShape
from geo.matching.presence import Kind
from nearcast.services.edit_fences import Wanted, save_fences
from nearcast.services.errors import FieldError, Invalid, NotAllowedNow, NotFound
from nearcast.services.ids import public
from nearcast.store import campaigns, decisions, fences, workspaces

MAX_TITLE = 26  # product M2: characters, an emoji counts 2
MAX_BODY = 2_000
MAX_AD_IDS = 100_000
TRIGGERS = (Kind.ENTER, Kind.DWELL)


@dataclass(frozen=True, kw_only=True)
class Author:
    """Who edits, where and when."""

    workspace_id: int
    plan: Plan
    actor: str
    now_ms: int


def create(
    conn: sa.Connection,
    body: Mapping[str, Any],
    *,
    app_id: int,
    name: str,
    in_place: ReadShape | None,
    author: Author,
) -> int:
    """A new draft; returns its serial. It may be incomplete, but nothing in it may be wrong."""
    _refuse_faults(conn, body, author.workspace_id, complete=False)
    start_ms, end_ms = _period_ms(body)
    campaign_id = campaigns.insert(
        conn,
        app_id=app_id,
        name=name,
        state=State.DRAFT.value,
        version=1,
        created_ms=author.now_ms,
        updated_ms=author.now_ms,
        period_start_ms=start_ms,
        period_end_ms=end_ms,
    )
    kept = _with_place(conn, body, campaign_id, name, in_place, author)
    campaigns.add_version(
        conn,
        campaign_id=campaign_id,
        version=1,
        from_ms=author.now_ms,
        body=kept,
        actor=author.actor,
    )
    _note(conn, author, "campaign.created", campaign_id)
    return campaign_id


def edit(
    conn: sa.Connection,
    row: Mapping[str, Any],
    body: Mapping[str, Any],
    *,
    name: str,
    in_place: ReadShape | None,
    author: Author,
) -> None:
    """A new version; a campaign that waits or runs must stay complete."""
    state = State(row["state"])
    if state not in EDITABLE:
        raise NotAllowedNow(f"A campaign that is {state} is not edited any more. Copy it instead.")
    kept = _with_place(conn, body, row["id"], name, in_place, author)
    _refuse_faults(conn, kept, author.workspace_id, complete=state is not State.DRAFT)
    start_ms, end_ms = _period_ms(kept)
    campaigns.update(
        conn,
        row["id"],
        name=name,
        version=row["version"] + 1,
        updated_ms=author.now_ms,
        period_start_ms=start_ms,
        period_end_ms=end_ms,
    )
    campaigns.add_version(
        conn,
        campaign_id=row["id"],
        version=row["version"] + 1,
        from_ms=author.now_ms,
        body=kept,
        actor=author.actor,
    )
    workspaces.bump(conn, author.workspace_id)
    _note(conn, author, "campaign.edited", row["id"])


def go(conn: sa.Connection, row: Mapping[str, Any], wanted: State, *, author: Author) -> list[str]:
    """Move a campaign; returns warnings (`not_tested`). Raises `IllegalMove` or names what is missing."""
    state = move(State(row["state"]), wanted)
    if state in (State.TEST, State.STANDBY, State.RUNNING):
        _refuse_faults(conn, row["body"], author.workspace_id, complete=True)
    if state is State.RUNNING and row["period_end_ms"] <= author.now_ms:
        raise NotAllowedNow("The campaign's period is over. Move its end first.")
    tested = any(m["to_state"] == State.TEST.value for m in campaigns.moves(conn, row["id"]))
    _move(conn, row, state, author.workspace_id, author.now_ms, author.actor)
    goes_live = state in (State.STANDBY, State.RUNNING) and row["state"] != State.PAUSED.value
    return ["not_tested"] if goes_live and not tested else []


def tick(conn: sa.Connection, now_ms: int) -> list[tuple[int, State]]:
    """Move what the clock moves: standby begins, everything ends (product C3)."""
    moved = []
    for row in campaigns.due(conn, now_ms):
        state = move_by_clock(
            State(row["state"]),
            now_ms=now_ms,
            start_ms=row["period_start_ms"],
            end_ms=row["period_end_ms"],
        )
        if state.value != row["state"]:
            _move(conn, row, state, row["workspace_id"], now_ms, "clock")
            moved.append((row["id"], state))
    return moved


def copy(conn: sa.Connection, row: Mapping[str, Any], *, author: Author) -> int:
    """A draft with the same content; shapes given in place are shared by version."""
    return create(
        conn,
        row["body"],
        app_id=row["app_id"],
        name=f"{row['name']} (copy)",
        in_place=None,
        author=author,
    )


def delete(conn: sa.Connection, row: Mapping[str, Any], *, author: Author) -> None:
    """Delete a draft; a campaign with results is archived, never deleted (product C3)."""
    if row["state"] != State.DRAFT.value or decisions.any_of(conn, row["id"]):
        raise NotAllowedNow("Only a draft without results is deleted. End and archive the campaign.")
    campaigns.delete(conn, row["id"])
    _note(conn, author, "campaign.deleted", row["id"])


def load(conn: sa.Connection, *, app_ids: Sequence[int], campaign_id: int) -> sa.RowMapping:
    """A campaign's row with its body; `NotFound` outside the apps."""
    row = campaigns.get(conn, app_ids=app_ids, campaign_id=campaign_id)
    if row is None:
        raise NotFound(f"There is no campaign '{public('cmp', campaign_id)}'.")
    return row


def faults(
    conn: sa.Connection, body: Mapping[str, Any], workspace_id: int, *, complete: bool
) -> list[FieldError]:
    """Everything that is wrong with a campaign, and, if it must be complete, what is missing."""
    found = [*_missing(body)] if complete else []
    return [
        *found,
        *_period_faults(body),
        *_time_faults(body),
        *_trigger_faults(body),
        *_message_faults(conn, body, workspace_id),
        *_place_faults(conn, body, workspace_id),
    ]


def _refuse_faults(
    conn: sa.Connection, body: Mapping[str, Any], workspace_id: int, *, complete: bool
) -> None:
    found = faults(conn, body, workspace_id, complete=complete)
    if found:
        what = "is not complete" if all(f.code == "required" for f in found) else "is not right"
        raise Invalid(f"The campaign {what}: {found[0].message}", errors=found)


def _missing(body: Mapping[str, Any]) -> list[FieldError]:
    targeting, message = body.get("targeting") or {}, body.get("message") or {}
    told = message.get("channel") == Channel.NONE.value
    needed = {
        "/targeting": any(targeting.get(k) for k in ("fence_ids", "groups", "tags")),
        "/period/start": (body.get("period") or {}).get("start"),
        "/period/end": (body.get("period") or {}).get("end"),
        "/trigger": body.get("trigger"),
        "/message/channel": message.get("channel"),
        "/message/title": told or message.get("title"),
        "/message/body": told or message.get("body"),
        "/message/webhook_id": message.get("channel") != Channel.WEBHOOK.value
        or message.get("webhook_id"),
    }
    return [
        FieldError(pointer=pointer, code="required", message=f"{pointer[1:]} is missing.")
        for pointer, there in needed.items()
        if not there
    ]


def _period_faults(body: Mapping[str, Any]) -> list[FieldError]:
    period = body.get("period") or {}
    if not (period.get("start") and period.get("end")) or period["start"] == period["end"]:
        same = bool(period.get("start")) and period.get("start") == period.get("end")
        return [_fault("/period/end", "empty_period", "The period is empty.")] if same else []
    if datetime.fromisoformat(period["end"]) <= datetime.fromisoformat(period["start"]):
        return [_fault("/period/end", "empty_period", "The period ends before it begins.")]
    return []


def _time_faults(body: Mapping[str, Any]) -> list[FieldError]:
    found = []
    try:
        ZoneInfo(str(body.get("time_zone")))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        text = f"'{body.get('time_zone')}' is no IANA time zone, such as Asia/Seoul."
        found.append(_fault("/time_zone", "unknown_time_zone", text))
    try:
        WeeklyHours.parse(body.get("hours") or {})
    except InvalidHours as error:
        found.append(_fault("/hours", error.code, error.message))
    if body.get("hours_zone", "campaign") not in list(HoursZone):
        found.append(_fault("/hours_zone", "unknown", "hours_zone is 'campaign' or 'fence'."))
    return found


def _trigger_faults(body: Mapping[str, Any]) -> list[FieldError]:
    trigger = body.get("trigger") or {}
    found = []
    if trigger and trigger.get("kind") not in [kind.value for kind in TRIGGERS]:
        kinds = ", ".join(kind.value for kind in TRIGGERS)
        found.append(_fault("/trigger/kind", "unknown_trigger", f"A trigger is one of {kinds}."))
    if trigger.get("kind") == Kind.DWELL.value and not (trigger.get("after_s") or 0) > 0:
        text = "A dwell trigger needs after_s, the seconds after arrival."
        found.append(_fault("/trigger/after_s", "required", text))
    if body.get("frequency", "once_in_period") not in list(Frequency):
        text = f"frequency is one of {', '.join(Frequency)}."
        found.append(_fault("/frequency", "unknown_frequency", text))
    if len(body.get("ad_ids") or ()) > MAX_AD_IDS:
        found.append(_fault("/audience/ad_ids", "too_many", f"At most {MAX_AD_IDS:,} ad ids."))
    return found


def _message_faults(conn: sa.Connection, body: Mapping[str, Any], workspace_id: int) -> list[FieldError]:
    message = body.get("message") or {}
    found = []
    if message.get("channel") and message["channel"] not in list(Channel):
        text = f"channel is one of {', '.join(Channel)}."
        found.append(_fault("/message/channel", "unknown_channel", text))
    if length(message.get("title") or "") > MAX_TITLE:
        text = f"The title has {length(message['title'])} characters; at most {MAX_TITLE} (emoji 2)."
        found.append(_fault("/message/title", "too_long", text))
    if len(message.get("body") or "") > MAX_BODY:
        found.append(_fault("/message/body", "too_long", f"At most {MAX_BODY} characters."))
    for name in ("link", "image"):
        parts = urlsplit(message.get(name) or "https://x")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            text = f"{name} must be a web address that begins with https://."
            found.append(_fault(f"/message/{name}", "bad_url", text))
    known = message.get("webhook_id")
    apps = list(workspaces.apps_of(conn, workspace_id).values()) if known else []
    if known and known not in {row["id"] for row in workspaces.webhooks_of(conn, apps)}:
        found.append(_fault("/message/webhook_id", "not_found", "There is no such webhook."))
    return found


def _place_faults(conn: sa.Connection, body: Mapping[str, Any], workspace_id: int) -> list[FieldError]:
    targeting = body.get("targeting") or {}
    wanted = targeting.get("fence_ids") or []
    known = fences.get(conn, workspace_id=workspace_id, fence_ids=wanted) if wanted else {}
    groups = {row["name"] for row in fences.groups(conn, workspace_id)}
    return [
        *(
            _fault(f"/targeting/fence_ids/{n}", "not_found", f"There is no {public('fnc', fence_id)}.")
            for n, fence_id in enumerate(wanted)
            if fence_id not in known
        ),
        *(
            _fault(f"/targeting/groups/{n}", "not_found", f"There is no group '{name}'.")
            for n, name in enumerate(targeting.get("groups") or [])
            if name not in groups
        ),
    ]


def length(text: str) -> int:
    """Characters as the message's reader counts them: an emoji is 2 (loplat guide)."""
    return sum(2 if unicodedata.category(c) == "So" else 1 for c in text)


def _fault(pointer: str, code: str, message: str) -> FieldError:
    return FieldError(pointer=pointer, code=code, message=message)


def _period_ms(body: Mapping[str, Any]) -> tuple[int, int]:
    period = body.get("period") or {}
    start, end = period.get("start"), period.get("end")
    return (
        to_ms(datetime.fromisoformat(start)) if start else 0,
        to_ms(datetime.fromisoformat(end)) if end else fences.MAX_MS,
    )


def _with_place(
    conn: sa.Connection,
    body: Mapping[str, Any],
    campaign_id: int,
    name: str,
    in_place: ReadShape | None,
    author: Author,
) -> dict[str, Any]:
    """The body with the shape given in place as a fence of the campaign's own."""
    kept = dict(body)
    if in_place is None:
        return kept
    wanted = Wanted(fence=Fence(name=name, shape=in_place.shape), area_km2=in_place.area_km2)
    saved = save_fences(
        conn,
        [wanted],
        workspace_id=author.workspace_id,
        plan=author.plan,
        now_ms=author.now_ms,
        actor=author.actor,
        campaign_id=campaign_id,
    )
    targeting = dict(kept.get("targeting") or {})
    targeting["fence_ids"] = [*targeting.get("fence_ids", []), saved[0].fence_id]
    return kept | {"targeting": targeting}


def _move(
    conn: sa.Connection,
    row: Mapping[str, Any],
    state: State,
    workspace_id: int,
    now_ms: int,
    actor: str,
) -> None:
    campaigns.update(conn, row["id"], state=state.value, updated_ms=now_ms)
    campaigns.add_move(
        conn,
        campaign_id=row["id"],
        at_ms=now_ms,
        from_state=row["state"],
        to_state=state.value,
        actor=actor,
    )
    if state in LISTENING or State(row["state"]) in LISTENING:
        workspaces.bump(conn, workspace_id)
    workspaces.note(
        conn,
        workspace_id=workspace_id,
        at_ms=now_ms,
        actor=actor,
        action=f"campaign.{state.value}",
        what=public("cmp", row["id"]),
    )


def _note(conn: sa.Connection, author: Author, action: str, campaign_id: int) -> None:
    workspaces.note(
        conn,
        workspace_id=author.workspace_id,
        at_ms=author.now_ms,
        actor=author.actor,
        action=action,
        what=public("cmp", campaign_id),
    )
