"""Explain why one person did, or did not, get a campaign's message at an instant (product C10)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import sqlalchemy as sa

from campaigns.campaign.life import State
from campaigns.campaign.targeting import aims_at, targeting_of
from campaigns.deciding.explain import (
    Case,
    Explanation,
    SeenFix,
    SeenStay,
    of_decision,
    work_out,
)
from geo.matching.certainty import CertaintyPolicy
from geo.matching.presence import Kind, PresencePolicy
from nearcast.services.errors import FieldError, Invalid, NotFound
from nearcast.services.read_visits import presence_policy
from nearcast.services.seen_fixes import seen_fixes
from nearcast.store import campaigns, decision_log, devices, facts, fence_history, workspaces
from nearcast.store import visits as visit_store
from nearcast.store.devices import Device
from nearcast.store.fence_history import PastVersion
from nearcast.store.ping_files import PingFiles

LOOK_BACK_MS = 3 * 3_600_000
#: a decision of a day ago still answers the question; an older one is another story
DECISION_BACK_MS = 24 * 3_600_000
#: people round what they read to the minute: what happened within it is meant, too
ROUNDED_MS = 60_000


@dataclass(frozen=True, kw_only=True)
class Explained:
    """An explanation and what it names.

    Attributes:
        decision: the row of `decision_log`, None where there was none.
        asked_ms: the instant asked about.
        campaign_version: the newest one; a decision names its own.
    """

    campaign_id: int
    campaign_version: int
    asked_ms: int
    devices: Sequence[Device]
    explanation: Explanation
    decision: sa.RowMapping | None


def explain(
    conn: sa.Connection,
    campaign: Mapping[str, Any] | sa.RowMapping,
    *,
    device_id: str | None = None,
    ad_id: str | None = None,
    user_id: str | None = None,
    at_ms: int | None = None,
    now_ms: int,
    files: PingFiles | None = None,
) -> Explained:
    """The decision nearest at or before an instant, else the reason worked out why there was none.

    Args:
        campaign: its row with the body, as `run_campaigns.load` gives it.
        device_id, ad_id, user_id: exactly one; a user's devices are looked at together.
        at_ms: the instant; now if left out, and then any earlier decision counts.
        files: where sealed pings are.
    Raises:
        Invalid: none or several of the three are given.
        NotFound: no app of the workspace has seen such a device.
    """
    workspace_id = workspaces.app_row(conn, campaign["app_id"])["workspace_id"]
    who = _who(device_id=device_id, ad_id=ad_id, user_id=user_id)
    found = devices.find(conn, app_id=campaign["app_id"], **who)
    if not found and not _known_elsewhere(conn, workspace_id, who):
        raise NotFound(f"No device of this workspace answers to '{next(iter(who.values()))[:60]}'.")
    asked_ms = now_ms if at_ms is None else at_ms
    until_ms = asked_ms if at_ms is None else asked_ms + ROUNDED_MS - 1
    decision = decision_log.last(
        conn,
        campaign_id=campaign["id"],
        device_ids=[device.id for device in found],
        from_ms=0 if at_ms is None else asked_ms - DECISION_BACK_MS,
        until_ms=until_ms,
    )
    zone = campaign["body"].get("time_zone") or "UTC"
    if decision is not None:
        explanation = of_decision(
            reason=decision["reason"],
            kind=decision["kind"],
            fence_name=decision["fence_name"],
            trigger_ms=decision["trigger_ms"],
            p=decision["p"],
            value=decision["value"],
            bound=decision["bound"],
            time_zone=zone,
            asked_ms=asked_ms,
        )
    else:
        explanation = work_out(
            _case(conn, campaign, workspace_id, found, asked_ms, until_ms, zone, files)
        )
    return Explained(
        campaign_id=campaign["id"],
        campaign_version=campaign["version"],
        asked_ms=asked_ms,
        devices=found,
        explanation=explanation,
        decision=decision,
    )


def _who(**given: str | None) -> dict[str, str]:
    """The one name that is given, as `devices.find` takes it."""
    named = {name: text.strip() for name, text in given.items() if text and text.strip()}
    if len(named) != 1:
        message = "Name one device or person: device_id, ad_id or user_id, exactly one of them."
        raise Invalid(errors=[FieldError(pointer="/device_id", code="required", message=message)])
    name, text = next(iter(named.items()))
    if name == "ad_id":
        text = text.lower()
    return {"key" if name == "device_id" else name: text}


def _known_elsewhere(conn: sa.Connection, workspace_id: int, who: Mapping[str, str]) -> bool:
    apps = workspaces.apps_of(conn, workspace_id).values()
    return any(devices.find(conn, app_id=app_id, **who) for app_id in apps)


# --- what is known ----------------------------------------------------------------------------------


def _case(
    conn: sa.Connection,
    campaign: Mapping[str, Any] | sa.RowMapping,
    workspace_id: int,
    found: Sequence[Device],
    asked_ms: int,
    until_ms: int,
    zone: str,
    files: PingFiles | None,
) -> Case:
    body, presence = campaign["body"], presence_policy(conn, workspace_id)
    certainty = _certainty(conn, workspace_id)
    state, since_ms = _standing(conn, campaign, asked_ms)
    fences = _fences(conn, workspace_id, body, asked_ms - LOOK_BACK_MS, until_ms)
    fixes = seen_fixes(
        conn,
        app_id=campaign["app_id"],
        device_ids=[device.id for device in found],
        first_ms=asked_ms - LOOK_BACK_MS,
        last_ms=until_ms,
        fences=fences,
        policy=certainty,
        files=files,
    )
    trigger = body.get("trigger") or {}
    return Case(
        at_ms=asked_ms,
        time_zone=zone,
        state=state,
        since_ms=since_ms,
        period_ms=(campaign["period_start_ms"], campaign["period_end_ms"]),
        trigger=Kind(trigger.get("kind") or Kind.ENTER),
        dwell_s=trigger.get("after_s"),
        is_test_id=_is_test_id(conn, workspace_id, campaign["app_id"], found, asked_ms),
        knows_device=bool(found),
        fences=len({past.version.fence_id for past in fences}),
        fixes=fixes,
        stays=_stays(conn, found, fences, fixes, until_ms, presence),
        look_back_ms=LOOK_BACK_MS,
        staleness_ms=presence.staleness_s * 1000,
        enter_p=certainty.enter_p,
    )


def _certainty(conn: sa.Connection, workspace_id: int) -> CertaintyPolicy:
    settings = workspaces.settings(conn, workspace_id)
    names = {field.name for field in fields(CertaintyPolicy)}
    return CertaintyPolicy(**{name: value for name, value in settings.items() if name in names})


def _standing(
    conn: sa.Connection, campaign: Mapping[str, Any] | sa.RowMapping, at_ms: int
) -> tuple[State, int]:
    """Where the campaign stood at an instant, and since when."""
    state, since_ms = State.DRAFT, campaign["created_ms"]
    for move in campaigns.moves(conn, campaign["id"]):
        if move["at_ms"] <= at_ms:
            state, since_ms = State(move["to_state"]), move["at_ms"]
    return state, since_ms


def _is_test_id(
    conn: sa.Connection, workspace_id: int, app_id: int, found: Iterable[Device], at_ms: int
) -> bool:
    known = campaigns.test_ids(conn, workspace_id).get(app_id, {})
    return any(device.ad_id and at_ms < known.get(device.ad_id, 0) for device in found)


def _fences(
    conn: sa.Connection, workspace_id: int, body: Mapping[str, Any], from_ms: int, until_ms: int
) -> list[PastVersion]:
    """The versions that the fences the campaign aims at had in a span of time, switched off or not."""
    aim = targeting_of(body)
    named = None if aim.groups or aim.tags else list(aim.fence_ids)
    aimed = [
        fence.id
        for fence in facts.fences_of(conn, workspace_id, named)
        if aims_at(aim, fence_id=fence.id, groups=fence.groups, tags=fence.tags)
    ]
    return fence_history.versions(conn, aimed, from_ms=from_ms, until_ms=until_ms)


# --- stays ------------------------------------------------------------------------------------------


def _stays(
    conn: sa.Connection,
    found: Sequence[Device],
    fences: Sequence[PastVersion],
    fixes: Sequence[SeenFix],
    until_ms: int,
    policy: PresencePolicy,
) -> list[SeenStay]:
    rows = visit_store.around(
        conn,
        device_ids=[device.id for device in found],
        fence_ids=sorted({past.version.fence_id for past in fences}),
        at_ms=until_ms,
    )
    return [
        SeenStay(
            fence_id=row.fence_id,
            fence_name=row.fence_name,
            arrived_ms=row.arrived_ms,
            left_ms=row.left_ms,
            drawn_over=_drawn_over(row, fences, fixes, policy),
        )
        for row in rows
    ]


def _drawn_over(
    stay: visit_store.StoredVisit,
    fences: Iterable[PastVersion],
    fixes: Iterable[SeenFix],
    policy: PresencePolicy,
) -> bool:
    """Whether a version began between the device's fix before and the arrival, within the gap.

    The rule of the ping line, which lets such an arrival never send (product P4).
    """
    before = max((fix.at_ms for fix in fixes if fix.at_ms < stay.arrived_ms), default=None)
    if before is None or stay.arrived_ms - before > policy.gap_s * 1000:
        return False
    return any(
        past.version.fence_id == stay.fence_id and before <= past.version.live_from_ms <= stay.arrived_ms
        for past in fences
    )
