"""The facts of a campaign that reports and explanations are made of, counted in the database.

Tests are in none of the counts: neither their decisions nor their deliveries and clicks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from campaigns.campaign.campaign import Channel
from campaigns.deciding.gates import BEFORE_AUDIENCE
from campaigns.measuring.attribution import VisitColumns
from campaigns.measuring.reports import DAY_MS
from campaigns.people.identity import person_of
from nearcast.store.deliveries import HANDED_OVER
from nearcast.store.engine import among
from nearcast.store.tables import (
    campaign,
    campaign_version,
    decision,
    delivery,
    device,
    fence,
    fence_version,
    visit,
)
from nearcast.store.visits import LEFT_MS, joined

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What is counted: one campaign's triggers in `[from, until)`, by days of its zone.

    Attributes:
        offsets: since when the zone has which distance from UTC, in ms (`reports.offsets_of`).
    """

    campaign_id: int
    from_ms: int
    until_ms: int
    offsets: Sequence[tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class FenceFacts:
    """A fence as it is now, or as it was when it was deleted."""

    id: int
    external_id: str | None
    name: str
    brand: str | None
    groups: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Exposures:
    """Messages handed over, one row for each device of the person.

    Attributes:
        person: of each delivery, by its serial.
        clicked_ms: the first click; -1 where there was none.
    """

    campaign: Ints
    delivery: Ints
    device: Ints
    exposed_ms: Ints
    clicked_ms: Ints
    person: Mapping[int, str]


#: when the message came before the person: read by the app, or taken by the provider (product R3)
_EXPOSED_MS: sa.ColumnElement[int] = sa.case(
    (delivery.c.channel == Channel.INBOX.value, delivery.c.fetched_ms), else_=delivery.c.handed_ms
)
_RECEIVED = (
    delivery.c.is_test.is_(False)
    & delivery.c.state.in_([state.value for state in HANDED_OVER])
    & _EXPOSED_MS.is_not(None)
)


def decided(conn: sa.Connection, scope: Scope, by: str) -> dict[int, dict[str, int]]:
    """Targets and triggers by `all`, `day` or `fence`; the key of `all` is 0."""
    key = _key(decision, scope, by)
    query = (
        sa.select(
            key.label("key"),
            sa.func.count(decision.c.person.distinct()).label("targets"),
            sa.func.count().label("triggers"),
        )
        .where(
            _decided_in(scope),
            decision.c.reason.not_in([reason.value for reason in BEFORE_AUDIENCE]),
        )
        .group_by("key")
    )
    return _counts(conn.execute(query).mappings())


def received(conn: sa.Connection, scope: Scope, by: str) -> dict[int, dict[str, int]]:
    """Receivers, messages, clickers and clicked messages by `all`, `day` or `fence`."""
    key = _key(delivery, scope, by)
    clicked = delivery.c.clicked_ms.is_not(None)
    query = (
        sa.select(
            key.label("key"),
            sa.func.count(delivery.c.person.distinct()).label("receivers"),
            sa.func.count().label("messages"),
            sa.func.count(sa.case((clicked, delivery.c.person)).distinct()).label("clickers"),
            sa.func.count(delivery.c.clicked_ms).label("clicked"),
        )
        .where(_in_scope(delivery, scope), _RECEIVED)
        .group_by("key")
    )
    return _counts(conn.execute(query).mappings())


def reasons(conn: sa.Connection, scope: Scope) -> list[tuple[str, int, int]]:
    """(reason, decisions, persons), the most frequent first."""
    times = sa.func.count()
    query = (
        sa.select(decision.c.reason, times, sa.func.count(decision.c.person.distinct()))
        .where(_decided_in(scope))
        .group_by(decision.c.reason)
        .order_by(times.desc(), decision.c.reason)
    )
    return [(row[0], row[1], row[2]) for row in conn.execute(query)]


def states(conn: sa.Connection, campaign_id: int) -> dict[str, int]:
    """Delivery state → how many, tests left out."""
    query = (
        sa.select(delivery.c.state, sa.func.count())
        .where(delivery.c.campaign_id == campaign_id, delivery.c.is_test.is_(False))
        .group_by(delivery.c.state)
    )
    return {row[0]: row[1] for row in conn.execute(query)}


def fences_of(
    conn: sa.Connection, workspace_id: int, fence_ids: Sequence[int] | None = None
) -> list[FenceFacts]:
    """The fences of a workspace, or those named, deleted ones too, as their newest version says."""
    query = (
        sa.select(fence.c.id, fence.c.external_id, fence.c.name, fence_version.c.attributes)
        .join(
            fence_version,
            (fence_version.c.fence_id == fence.c.id) & (fence_version.c.version == fence.c.version),
        )
        .where(fence.c.workspace_id == workspace_id)
        .order_by(fence.c.id)
    )
    if fence_ids is not None:
        query = query.where(among(conn, fence.c.id, list(fence_ids)))
    return [
        FenceFacts(
            id=row.id,
            external_id=row.external_id,
            name=row.name,
            brand=row.attributes.get("brand"),
            groups=tuple(row.attributes.get("groups", ())),
            tags=tuple(row.attributes.get("tags", ())),
        )
        for row in conn.execute(query)
    ]


def visits_at(
    conn: sa.Connection,
    *,
    app_id: int,
    fence_ids: Sequence[int],
    from_ms: int,
    until_ms: int,
    min_visit_ms: int,
) -> VisitColumns:
    """Visits of an app at some fences that arrived in `[from, until)` and were long enough."""
    query = (
        sa.select(visit.c.device_id, visit.c.fence_id, visit.c.arrived_ms)
        .select_from(joined().join(device, device.c.id == visit.c.device_id))
        .where(
            device.c.app_id == app_id,
            among(conn, visit.c.fence_id, list(fence_ids)),
            visit.c.arrived_ms >= from_ms,
            visit.c.arrived_ms < until_ms,
            LEFT_MS - visit.c.arrived_ms >= min_visit_ms,
        )
    )
    columns = _columns(conn.execute(query).all(), 3) if fence_ids else _columns([], 3)
    return VisitColumns(device=columns[0], fence=columns[1], arrived_ms=columns[2])


def exposures(conn: sa.Connection, *, app_id: int, device_ids: Sequence[int]) -> Exposures:
    """What was handed over to the persons of some devices, by any campaign of the app.

    A device stands for the person decided about on it, and for the user who is known to use it now.
    """
    users = _users(conn, device_ids) if device_ids else {}
    own = set(device_ids)
    rows = [
        (*row, device_id)
        for row in (conn.execute(_handed_over(conn, app_id, device_ids, users)) if own else ())
        for device_id in sorted(({row.device_id} & own) | users.get(row.person, set()))
    ]
    columns = _columns([(r[0], r[1], r[3], r[4], r[6]) for r in rows], 5)
    return Exposures(
        campaign=columns[0],
        delivery=columns[1],
        exposed_ms=columns[2],
        clicked_ms=columns[3],
        device=columns[4],
        person={row[1]: row[5] for row in rows},
    )


def _users(conn: sa.Connection, device_ids: Sequence[int]) -> dict[str, set[int]]:
    """Person → those of the devices that this user is known to use."""
    query = sa.select(device.c.id, device.c.user_id).where(
        among(conn, device.c.id, list(device_ids)), device.c.user_id.is_not(None)
    )
    found: dict[str, set[int]] = {}
    for row in conn.execute(query):
        found.setdefault(person_of(device_id=row.id, user_id=row.user_id), set()).add(row.id)
    return found


def _handed_over(
    conn: sa.Connection, app_id: int, device_ids: Sequence[int], persons: Iterable[str]
) -> sa.Select[Any]:
    about = among(conn, delivery.c.device_id, list(device_ids))
    if listed := sorted(persons):
        about |= among(conn, delivery.c.person, listed)
    return sa.select(
        delivery.c.campaign_id,
        delivery.c.id,
        delivery.c.device_id,
        _EXPOSED_MS.label("exposed_ms"),
        sa.func.coalesce(delivery.c.clicked_ms, -1).label("clicked_ms"),
        delivery.c.person,
    ).where(delivery.c.app_id == app_id, _RECEIVED, about)


def campaigns_by_id(conn: sa.Connection, campaign_ids: Iterable[int]) -> list[sa.RowMapping]:
    """Rows of campaigns with the body of their newest version."""
    query = (
        sa.select(campaign, campaign_version.c.body)
        .join(
            campaign_version,
            (campaign_version.c.campaign_id == campaign.c.id)
            & (campaign_version.c.version == campaign.c.version),
        )
        .where(among(conn, campaign.c.id, sorted(set(campaign_ids))))
    )
    return list(conn.execute(query).mappings())


# --- inside -----------------------------------------------------------------------------------------


def _in_scope(table: sa.Table, scope: Scope) -> sa.ColumnElement[bool]:
    return (
        (table.c.campaign_id == scope.campaign_id)
        & (table.c.trigger_ms >= scope.from_ms)
        & (table.c.trigger_ms < scope.until_ms)
    )


def _decided_in(scope: Scope) -> sa.ColumnElement[bool]:
    return _in_scope(decision, scope) & decision.c.is_test.is_(False)


def _key(table: sa.Table, scope: Scope, by: str) -> sa.ColumnElement[Any]:
    if by == "fence":
        return table.c.fence_id
    if by == "day":
        return _day(table.c.trigger_ms, scope.offsets)
    # a column of the table, so that no row at all gives no group
    return table.c.campaign_id * 0


def _day(at_ms: sa.ColumnElement[int], offsets: Sequence[tuple[int, int]]) -> sa.ColumnElement[int]:
    """The local day number of an instant: `reports.day_number` in SQL."""
    (_, first), *changes = offsets
    offset: sa.ColumnElement[int] = _whole(first)
    if changes:
        since = [(at_ms >= _whole(instant), _whole(o)) for instant, o in reversed(changes)]
        offset = sa.case(*since, else_=offset)
    return (at_ms + offset) // _whole(DAY_MS)


def _whole(number: int) -> sa.ColumnElement[int]:
    return sa.literal_column(str(int(number)), sa.BigInteger())


def _counts(rows: Iterable[sa.RowMapping]) -> dict[int, dict[str, int]]:
    return {
        int(row["key"]): {name: value for name, value in row.items() if name != "key"} for row in rows
    }


def _columns(rows: Sequence[Sequence[Any]], width: int) -> Ints:
    return np.array(rows, np.int64).reshape(-1, width).T
