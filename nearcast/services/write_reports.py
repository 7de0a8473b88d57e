"""A campaign's report: counted in the database, each visit settled to its message (product R1–R3)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa

from campaigns.campaign.campaign import Targeting
from campaigns.campaign.targeting import aims_at, targeting_of
from campaigns.measuring.attribution import (
    Attribution,
    Claim,
    TouchColumns,
    VisitColumns,
    attribute,
)
from campaigns.measuring.reports import (
    DAY_MS,
    Counts,
    Figures,
    NamedFence,
    ReasonCount,
    Report,
    day_number,
    days_between,
    merged,
    offsets_of,
    per_day,
    per_fence,
)
from nearcast.services.errors import NotFound
from nearcast.services.ids import public
from nearcast.services.read_visits import presence_policy
from nearcast.store import facts, workspaces
from nearcast.store.facts import Exposures, FenceFacts, Scope

#: a draft that gives no period yet has one that begins and ends beyond this
_FAR_MS = 200 * 366 * DAY_MS


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What measuring needs to know of a campaign, complete or not.

    Attributes:
        fences: the places it measures: those it aims at now, deleted ones included.
    """

    id: int
    app_id: int
    workspace_id: int
    name: str
    state: str
    time_zone: str
    start_ms: int
    end_ms: int
    additional_ms: int
    priority: int
    fences: Mapping[int, FenceFacts]


@dataclass(frozen=True, kw_only=True)
class Stats:
    """Live counts of a campaign over its whole period; no visits.

    Attributes:
        reasons: reason → decisions.
        deliveries: state → deliveries.
    """

    state: str
    as_of_ms: int
    totals: Figures
    reasons: Mapping[str, int]
    deliveries: Mapping[str, int]


def report(
    conn: sa.Connection,
    campaign_id: int,
    *,
    from_ms: int | None = None,
    until_ms: int | None = None,
    now_ms: int,
    with_visits: bool = True,
) -> Report:
    """A campaign over `[from, until)`: by default over its period.

    Messages are counted by the instant of their trigger, visits by their arrival; visits count for
    the additional days after the period, where `until` reaches its end. What happened in a part of
    the period is counted the same whether that part is asked for or the whole.

    Args:
        with_visits: whether the plan has visit performance.
    Raises:
        NotFound: there is no such campaign.
    """
    measured = _measured(conn, campaign_id)
    first = measured.start_ms if from_ms is None else from_ms
    last = max(first, _end(measured, now_ms) if until_ms is None else until_ms)
    visits_last = last + (measured.additional_ms if last >= measured.end_ms else 0)
    scope = _scope(measured, first, last, min(visits_last, now_ms + DAY_MS))
    owed = _visits(conn, measured, scope, visits_last) if with_visits else _Owed()
    messages = {by: _messages(conn, scope, by) for by in ("all", "day", "fence")}
    listed = days_between(
        day_number(first, scope.offsets),
        day_number(max(first, min(visits_last - 1, now_ms)), scope.offsets),
    )
    return Report(
        campaign_id=campaign_id,
        name=measured.name,
        state=measured.state,
        time_zone=measured.time_zone,
        from_ms=first,
        until_ms=last,
        visits_until_ms=visits_last,
        as_of_ms=now_ms,
        has_visits=with_visits,
        fences_total=len(measured.fences),
        totals=Figures(**_total(messages["all"], owed.counts([0] * len(owed.fence)))),
        per_day=per_day(
            merged(
                messages["day"], owed.counts(day_number(at, scope.offsets) for at in owed.arrived_ms)
            ),
            listed,
        ),
        per_fence=_per_fence(conn, measured, merged(messages["fence"], owed.counts(owed.fence))),
        reasons=tuple(
            ReasonCount(code=code, count=count, persons=persons)
            for code, count, persons in facts.reasons(conn, scope)
        ),
    )


def stats(conn: sa.Connection, campaign_id: int, *, now_ms: int) -> Stats:
    """The counts that a running campaign's page shows; quick, because visits are left out."""
    measured = _measured(conn, campaign_id)
    end_ms = max(_end(measured, now_ms), measured.start_ms)
    scope = _scope(measured, measured.start_ms, end_ms, now_ms + DAY_MS)
    return Stats(
        state=measured.state,
        as_of_ms=now_ms,
        totals=Figures(**_total(_messages(conn, scope, "all"))),
        reasons={code: count for code, count, _ in facts.reasons(conn, scope)},
        deliveries=facts.states(conn, campaign_id),
    )


# --- what is measured -------------------------------------------------------------------------------


def _measured(conn: sa.Connection, campaign_id: int) -> Measured:
    rows = facts.campaigns_by_id(conn, [campaign_id])
    if not rows:
        raise NotFound(f"There is no campaign '{public('cmp', campaign_id)}'.")
    workspace_id = workspaces.app_row(conn, rows[0]["app_id"])["workspace_id"]
    return _of_rows(conn, rows, workspace_id)[0]


def _of_rows(conn: sa.Connection, rows: Sequence[sa.RowMapping], workspace_id: int) -> list[Measured]:
    """Campaigns with the fences they aim at; the fences are read once."""
    aims = [targeting_of(row["body"]) for row in rows]
    named = None
    if not any(aim.groups or aim.tags for aim in aims):
        named = sorted({fence_id for aim in aims for fence_id in aim.fence_ids})
    fences = facts.fences_of(conn, workspace_id, named)
    return [_of_row(row, workspace_id, aim, fences) for row, aim in zip(rows, aims, strict=True)]


def _of_row(
    row: Mapping[str, Any] | sa.RowMapping,
    workspace_id: int,
    aim: Targeting,
    fences: Iterable[FenceFacts],
) -> Measured:
    body, start_ms = row["body"], row["period_start_ms"]
    return Measured(
        id=row["id"],
        app_id=row["app_id"],
        workspace_id=workspace_id,
        name=row["name"],
        state=row["state"],
        time_zone=body.get("time_zone") or "UTC",
        start_ms=start_ms if start_ms < _FAR_MS else row["created_ms"],
        end_ms=row["period_end_ms"],
        additional_ms=(body.get("additional_days") or 0) * DAY_MS,
        priority=body.get("priority") or 0,
        fences={
            fence.id: fence
            for fence in fences
            if aims_at(aim, fence_id=fence.id, groups=fence.groups, tags=fence.tags)
        },
    )


def _end(measured: Measured, now_ms: int) -> int:
    return measured.end_ms if measured.end_ms < _FAR_MS else now_ms


def _scope(measured: Measured, from_ms: int, until_ms: int, days_until_ms: int) -> Scope:
    """The campaign's triggers in `[from, until)`; local days are known up to `days_until`."""
    return Scope(
        campaign_id=measured.id,
        from_ms=from_ms,
        until_ms=until_ms,
        offsets=offsets_of(measured.time_zone, from_ms, days_until_ms),
    )


# --- counts -----------------------------------------------------------------------------------------


def _messages(conn: sa.Connection, scope: Scope, by: str) -> dict[int, dict[str, int]]:
    return merged(facts.decided(conn, scope, by), facts.received(conn, scope, by))


def _total(*parts: Counts) -> Mapping[str, int]:
    return merged(*parts).get(0, {})


def _per_fence(conn: sa.Connection, measured: Measured, counts: Counts) -> tuple[Any, ...]:
    """Rows by fence; a message may stand at a fence that the campaign aims at no more."""
    gone = sorted(set(counts) - set(measured.fences))
    known = dict(measured.fences)
    if gone:
        known |= {fence.id: fence for fence in facts.fences_of(conn, measured.workspace_id, gone)}
    names = {
        fence_id: NamedFence(
            id=fence_id,
            external_id=known[fence_id].external_id,
            name=known[fence_id].name,
            brand=known[fence_id].brand,
        )
        for fence_id in counts
    }
    return per_fence(counts, names)


@dataclass(frozen=True, kw_only=True)
class _Owed:
    """The visits owed to one campaign: their fence, arrival and the person who was told."""

    fence: Sequence[int] = ()
    arrived_ms: Sequence[int] = ()
    person: Sequence[str] = ()

    def counts(self, keys: Iterable[int]) -> dict[int, dict[str, int]]:
        """Visitors and visits by a key of each visit."""
        persons: dict[int, list[str]] = defaultdict(list)
        for key, person in zip(keys, self.person, strict=True):
            persons[key].append(person)
        return {
            key: {"visitors": len(set(found)), "visits": len(found)} for key, found in persons.items()
        }


def _visits(conn: sa.Connection, measured: Measured, scope: Scope, until_ms: int) -> _Owed:
    """The visits at the campaign's places that are owed to one of its messages."""
    visits = facts.visits_at(
        conn,
        app_id=measured.app_id,
        fence_ids=sorted(measured.fences),
        from_ms=scope.from_ms,
        until_ms=until_ms,
        min_visit_ms=presence_policy(conn, measured.workspace_id).min_visit_s * 1000,
    )
    exposures = facts.exposures(
        conn, app_id=measured.app_id, device_ids=np.unique(visits.device).tolist()
    )
    owed = attribute(visits, _claims(conn, measured, exposures))
    return _own(visits, owed, measured.id, exposures.person)


def _own(visits: VisitColumns, owed: Attribution, campaign_id: int, person: Mapping[int, str]) -> _Owed:
    own = np.flatnonzero(owed.campaign == campaign_id)
    return _Owed(
        fence=visits.fence[own].tolist(),
        arrived_ms=visits.arrived_ms[own].tolist(),
        person=[person[serial] for serial in owed.delivery[own].tolist()],
    )


def _claims(conn: sa.Connection, measured: Measured, exposures: Exposures) -> list[Claim]:
    """The claims of every campaign whose messages reached these people."""
    others = sorted(set(np.unique(exposures.campaign).tolist()) - {measured.id})
    rows = facts.campaigns_by_id(conn, others) if others else []
    rivals = _of_rows(conn, rows, measured.workspace_id) if rows else []
    return [
        Claim(
            campaign_id=rival.id,
            priority=rival.priority,
            fences=np.array(sorted(rival.fences), np.int64),
            until_ms=rival.end_ms + rival.additional_ms,
            touches=_touches(exposures, rival.id),
        )
        for rival in (measured, *rivals)
    ]


def _touches(exposures: Exposures, campaign_id: int) -> TouchColumns:
    """A message touches when it comes, and again when its link is opened for the first time."""
    came = np.flatnonzero(exposures.campaign == campaign_id)
    opened = came[exposures.clicked_ms[came] >= 0]
    return TouchColumns(
        delivery=np.concatenate([exposures.delivery[came], exposures.delivery[opened]]),
        device=np.concatenate([exposures.device[came], exposures.device[opened]]),
        at_ms=np.concatenate([exposures.exposed_ms[came], exposures.clicked_ms[opened]]),
    )
