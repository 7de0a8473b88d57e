"""What is wrong with a campaign, and what it still lacks before it may start (product C1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import sqlalchemy as sa

from campaigns.campaign.campaign import Channel, Frequency, HoursZone
from campaigns.people.identity import normal_ad_id
from geo.fences.hours import InvalidHours, WeeklyHours
from geo.matching.presence import Kind
from nearcast.services.addresses import is_web_address
from nearcast.services.errors import FieldError, Invalid
from nearcast.services.ids import public
from nearcast.store import fences, groups, workspaces

MAX_TITLE = 26  # product M2: characters, an emoji counts 2
MAX_BODY = 2_000
MAX_AD_IDS = 10_000
TRIGGERS = (Kind.ENTER, Kind.DWELL)

_EMOJI_JOINER = "\u200d"
_SKIN_TONES = ("\U0001f3fb", "\U0001f3ff")
_FLAG_LETTERS = ("\U0001f1e6", "\U0001f1ff")


def refuse_faults(
    conn: sa.Connection,
    body: Mapping[str, Any],
    *,
    workspace_id: int,
    app_id: int,
    complete: bool,
) -> None:
    """Raise `Invalid` with everything that is wrong and, if it must be complete, what is missing."""
    found = faults(conn, body, workspace_id=workspace_id, app_id=app_id, complete=complete)
    if found:
        what = "is not complete" if all(f.code == "required" for f in found) else "is not right"
        raise Invalid(f"The campaign {what}: {found[0].message}", errors=found)


def faults(
    conn: sa.Connection,
    body: Mapping[str, Any],
    *,
    workspace_id: int,
    app_id: int,
    complete: bool,
) -> list[FieldError]:
    """All faults of a campaign's body, each with its pointer."""
    return [
        *(_missing(body) if complete else ()),
        *_period(body),
        *_clock(body),
        *_trigger(body),
        *_audience(body),
        *_message(body),
        *_webhook(conn, body, app_id),
        *_places(conn, body, workspace_id),
    ]


def length(text: str) -> int:
    """Characters as a phone's owner counts them, an emoji 2: joined, toned and flagged ones too."""
    count, joined, half_flag = 0, False, False
    for c in text:
        if c == _EMOJI_JOINER or c == "\ufe0f" or _SKIN_TONES[0] <= c <= _SKIN_TONES[1]:
            joined = c == _EMOJI_JOINER
            continue
        flag = _FLAG_LETTERS[0] <= c <= _FLAG_LETTERS[1]
        if not joined and not (flag and half_flag):
            count += 2 if flag or _is_emoji(c) else 1
        half_flag = flag and not half_flag
        joined = False
    return count


def _is_emoji(c: str) -> bool:
    return "\U0001f000" <= c <= "\U0001faff" or "\u2600" <= c <= "\u27bf"


def _missing(body: Mapping[str, Any]) -> Iterator[FieldError]:
    targeting, period = body.get("targeting") or {}, body.get("period") or {}
    message = body.get("message") or {}
    channel = message.get("channel")
    spoken = channel != Channel.INBOX.value
    there = {
        "/targeting": any(targeting.get(k) for k in ("fence_ids", "groups", "tags")),
        "/period/start": period.get("start"),
        "/period/end": period.get("end"),
        "/message/channel": channel,
        "/message/title": spoken or message.get("title"),
        "/message/body": spoken or message.get("body"),
        "/message/webhook_id": channel != Channel.WEBHOOK.value or message.get("webhook_id"),
    }
    what = {"/targeting": "A place: fences, groups, tags or a shape given in place"}
    for pointer, value in there.items():
        if not value:
            name = what.get(pointer, pointer[1:].replace("/", "."))
            yield _fault(pointer, "required", f"{name} is missing.")


def _period(body: Mapping[str, Any]) -> Iterator[FieldError]:
    period = body.get("period") or {}
    start, end = period.get("start"), period.get("end")
    if start and end and datetime.fromisoformat(end) <= datetime.fromisoformat(start):
        yield _fault("/period/end", "empty_period", "The period must end after it begins.")


def _clock(body: Mapping[str, Any]) -> Iterator[FieldError]:
    try:
        ZoneInfo(str(body.get("time_zone")))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        text = f"'{str(body.get('time_zone'))[:60]}' is no IANA time zone, such as Asia/Seoul."
        yield _fault("/time_zone", "unknown_time_zone", text)
    try:
        WeeklyHours.parse(body.get("hours") or {})
    except InvalidHours as error:
        yield _fault("/hours", error.code, error.message)
    yield from _one_of(body.get("hours_zone"), list(HoursZone), "/hours_zone")


def _trigger(body: Mapping[str, Any]) -> Iterator[FieldError]:
    trigger = body.get("trigger") or {}
    yield from _one_of(trigger.get("kind"), [kind.value for kind in TRIGGERS], "/trigger/kind")
    if trigger.get("kind") == Kind.DWELL.value and not trigger.get("after_s"):
        text = "A dwell trigger needs after_s, the seconds after arrival."
        yield _fault("/trigger/after_s", "required", text)
    if trigger.get("presumed") and trigger.get("kind") != Kind.DWELL.value:
        text = "Only a dwell is presumed; an enter needs a fix inside."
        yield _fault("/trigger/presumed", "no_dwell", text)
    yield from _one_of(body.get("frequency"), list(Frequency), "/frequency")


def _audience(body: Mapping[str, Any]) -> Iterator[FieldError]:
    ad_ids = body.get("ad_ids")
    if ad_ids is None:
        return
    if not 0 < len(ad_ids) <= MAX_AD_IDS:
        text = f"Give 1 to {MAX_AD_IDS:,} ad ids; here are {len(ad_ids):,}."
        yield _fault("/audience/ad_ids", "count", text)
    for n, ad_id in enumerate(ad_ids):
        if normal_ad_id(ad_id) is None:
            text = "An ad id of zeros is no identity: the phone's owner has refused tracking."
            yield _fault(f"/audience/ad_ids/{n}", "zero_ad_id", text)


def _message(body: Mapping[str, Any]) -> Iterator[FieldError]:
    message = body.get("message") or {}
    yield from _one_of(message.get("channel"), list(Channel), "/message/channel")
    title = message.get("title") or ""
    if length(title) > MAX_TITLE:
        text = f"The title has {length(title)} characters (an emoji is 2); at most {MAX_TITLE}."
        yield _fault("/message/title", "too_long", text)
    if len(message.get("body") or "") > MAX_BODY:
        text = f"The body has {len(message['body']):,} characters; at most {MAX_BODY:,}."
        yield _fault("/message/body", "too_long", text)
    for name in ("link", "image"):
        address = message.get(name)
        if address and not is_web_address(address):
            text = f"{name} must be an address such as https://shop.example/sale."
            yield _fault(f"/message/{name}", "bad_url", text)


def _webhook(conn: sa.Connection, body: Mapping[str, Any], app_id: int) -> Iterator[FieldError]:
    wanted = (body.get("message") or {}).get("webhook_id")
    if wanted and wanted not in {row["id"] for row in workspaces.webhooks_of(conn, [app_id])}:
        text = f"The app has no webhook {public('whk', wanted)}."
        yield _fault("/message/webhook_id", "not_found", text)


def _places(conn: sa.Connection, body: Mapping[str, Any], workspace_id: int) -> Iterator[FieldError]:
    targeting = body.get("targeting") or {}
    wanted = targeting.get("fence_ids") or []
    known = fences.get(conn, workspace_id=workspace_id, fence_ids=wanted) if wanted else {}
    for n, fence_id in enumerate(wanted):
        if fence_id not in known:
            text = f"There is no fence {public('fnc', fence_id)}."
            yield _fault(f"/targeting/fence_ids/{n}", "not_found", text)
    named = targeting.get("groups") or []
    there = {row["name"] for row in groups.listed(conn, workspace_id)} if named else set()
    for n, name in enumerate(named):
        if name not in there:
            text = f"There is no fence group '{name}'."
            yield _fault(f"/targeting/groups/{n}", "not_found", text)


def _one_of(value: object, allowed: list[Any], pointer: str) -> Iterator[FieldError]:
    if value is not None and value not in allowed:
        ways = ", ".join(str(way) for way in allowed)
        yield _fault(pointer, "unknown", f"'{str(value)[:40]}' is none of: {ways}.")


def _fault(pointer: str, code: str, message: str) -> FieldError:
    return FieldError(pointer=pointer, code=code, message=message)
