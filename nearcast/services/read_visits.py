"""Visits for readers: their class, whether they are over, how sure they are (product P6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import sqlalchemy as sa

from campaigns.measuring.visit_classes import VisitClass, class_of, is_open
from geo.matching.presence import PresencePolicy
from geo.matching.visits import P_SCALE
from nearcast.store import visits, workspaces
from nearcast.store.visits import Place, StoredVisit


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadVisit:
    """A visit with what the workspace's policy makes of it.

    Attributes:
        confidence: mean P over its fixes, 0 to 1.
        open: a fix that comes now would still continue it.
    """

    visit: StoredVisit
    dwell_ms: int
    confidence: float
    kind: VisitClass
    open: bool


@dataclass(frozen=True, kw_only=True)
class VisitPage:
    """Some visits, how many there are in all, and where the next page goes on."""

    items: Sequence[ReadVisit]
    total: int
    behind: Place | None


def presence_policy(conn: sa.Connection, workspace_id: int) -> PresencePolicy:
    """A workspace's policy of presence: the defaults, and what it has set otherwise."""
    settings = workspaces.settings(conn, workspace_id)
    names = {field.name for field in fields(PresencePolicy)}
    return PresencePolicy(**{name: value for name, value in settings.items() if name in names})


def read_visits(
    conn: sa.Connection,
    *,
    app_id: int,
    policy: PresencePolicy,
    now_ms: int,
    from_ms: int,
    until_ms: int,
    fence_ids: Sequence[int] | None = None,
    device_ids: Sequence[int] | None = None,
    before: Place | None = None,
    limit: int,
) -> VisitPage:
    """A page of an app's visits that arrived in `[from, until)`, the newest first.

    Args:
        fence_ids, device_ids: only these; an empty list gives no visit, None does not choose.
    """
    total = visits.count(
        conn,
        app_id=app_id,
        from_ms=from_ms,
        until_ms=until_ms,
        fence_ids=fence_ids,
        device_ids=device_ids,
    )
    found = visits.visits(
        conn,
        app_id=app_id,
        from_ms=from_ms,
        until_ms=until_ms,
        fence_ids=fence_ids,
        device_ids=device_ids,
        before=before,
        limit=limit + 1,
    )
    page = [judged(visit, policy=policy, now_ms=now_ms) for visit in found[:limit]]
    return VisitPage(items=page, total=total, behind=_place(found[limit - 1]) if found[limit:] else None)


def judged(visit: StoredVisit, *, policy: PresencePolicy, now_ms: int) -> ReadVisit:
    """A stored visit with its class and state."""
    dwell_ms = visit.left_ms - visit.arrived_ms
    return ReadVisit(
        visit=visit,
        dwell_ms=dwell_ms,
        confidence=visit.p_sum / (visit.fixes * P_SCALE),
        kind=class_of(dwell_ms=dwell_ms, fixes=visit.fixes, min_visit_ms=policy.min_visit_s * 1000),
        open=is_open(left_ms=visit.left_ms, now_ms=now_ms, gap_ms=policy.gap_s * 1000),
    )


def _place(visit: StoredVisit) -> Place:
    return visit.arrived_ms, visit.device_id, visit.fence_id
