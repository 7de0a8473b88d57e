"""Campaigns, their versions and moves."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from campaigns.campaign.campaign import (
    Campaign,
    Channel,
    Frequency,
    HoursZone,
    Message,
)
from campaigns.campaign.life import LISTENING, State
from campaigns.campaign.targeting import targeting_of
from geo.fences.hours import WeeklyHours
from geo.matching.presence import Kind
from nearcast.store.tables import app, campaign, campaign_move, campaign_version, test_device


def insert(conn: sa.Connection, **values: Any) -> int:
    """A new campaign's row; returns its serial."""
    return int(conn.execute(sa.insert(campaign).values(**values).returning(campaign.c.id)).scalar_one())


def update(conn: sa.Connection, campaign_id: int, **values: Any) -> None:
    """Overwrite columns of a campaign."""
    conn.execute(sa.update(campaign).where(campaign.c.id == campaign_id).values(**values))


def add_version(
    conn: sa.Connection,
    *,
    campaign_id: int,
    version: int,
    from_ms: int,
    body: Mapping[str, Any],
    actor: str,
) -> None:
    """Keep a version's body."""
    conn.execute(
        sa.insert(campaign_version).values(
            campaign_id=campaign_id, version=version, from_ms=from_ms, body=dict(body), actor=actor
        )
    )


def add_move(
    conn: sa.Connection, *, campaign_id: int, at_ms: int, from_state: str, to_state: str, actor: str
) -> None:
    """Keep a move of its life."""
    conn.execute(
        sa.insert(campaign_move).values(
            campaign_id=campaign_id,
            at_ms=at_ms,
            from_state=from_state,
            to_state=to_state,
            actor=actor,
        )
    )


def moves(conn: sa.Connection, campaign_id: int) -> list[sa.RowMapping]:
    """The moves of a campaign, the oldest first."""
    query = sa.select(campaign_move).where(campaign_move.c.campaign_id == campaign_id)
    return list(conn.execute(query.order_by(campaign_move.c.id)).mappings())


def change_state(
    conn: sa.Connection, campaign_id: int, *, before: State, after: State, now_ms: int
) -> bool:
    """Whether the campaign still was in the state before; it now is in the one after."""
    still = (campaign.c.id == campaign_id) & (campaign.c.state == before.value)
    statement = sa.update(campaign).where(still).values(state=after.value, updated_ms=now_ms)
    return conn.execute(statement).rowcount == 1


def delete(conn: sa.Connection, campaign_id: int) -> None:
    """Remove a campaign that never had a result."""
    for table in (campaign_move, campaign_version):
        conn.execute(sa.delete(table).where(table.c.campaign_id == campaign_id))
    conn.execute(sa.delete(campaign).where(campaign.c.id == campaign_id))


def get(conn: sa.Connection, *, app_ids: Sequence[int], campaign_id: int) -> sa.RowMapping | None:
    """A campaign's row with the body of its newest version, if it belongs to one of the apps."""
    query = _with_body().where(campaign.c.id == campaign_id, campaign.c.app_id.in_(app_ids))
    return conn.execute(query).mappings().first()


def listed(
    conn: sa.Connection, *, app_ids: Sequence[int], state: str | None, after_id: int, limit: int
) -> tuple[list[sa.RowMapping], int]:
    """A page of campaigns, the newest first, and how many there are in all."""
    wanted: sa.ColumnElement[bool] = campaign.c.app_id.in_(app_ids)
    if state:
        wanted = wanted & (campaign.c.state == state)
    total = conn.execute(sa.select(sa.func.count()).select_from(campaign).where(wanted)).scalar_one()
    query = _with_body().where(wanted)
    if after_id:
        query = query.where(campaign.c.id < after_id)
    rows = conn.execute(query.order_by(campaign.c.id.desc()).limit(limit)).mappings()
    return list(rows), total


def listening(conn: sa.Connection, workspace_id: int) -> list[Campaign]:
    """The campaigns of a workspace that are running or in test."""
    query = (
        _with_body()
        .join(app, app.c.id == campaign.c.app_id)
        .where(
            app.c.workspace_id == workspace_id,
            campaign.c.state.in_([state.value for state in LISTENING]),
        )
        .order_by(campaign.c.id)
    )
    return [campaign_of(row) for row in conn.execute(query).mappings()]


def presuming(conn: sa.Connection) -> list[int]:
    """The workspaces of which some campaign, running or in test, presumes dwells."""
    query = (
        _with_body()
        .add_columns(app.c.workspace_id)
        .join(app, app.c.id == campaign.c.app_id)
        .where(campaign.c.state.in_([state.value for state in LISTENING]))
    )
    rows = conn.execute(query).mappings()
    return sorted({row["workspace_id"] for row in rows if row["body"]["trigger"].get("presumed")})


def due(conn: sa.Connection, now_ms: int) -> list[sa.RowMapping]:
    """The campaigns that the clock moves now: standby that begins, any that ends."""
    begins = (campaign.c.state == State.STANDBY.value) & (campaign.c.period_start_ms <= now_ms)
    moving = [State.STANDBY.value, State.RUNNING.value, State.PAUSED.value]
    ends = campaign.c.state.in_(moving) & (campaign.c.period_end_ms <= now_ms)
    query = sa.select(campaign, app.c.workspace_id).join(app, app.c.id == campaign.c.app_id)
    return list(conn.execute(query.where(begins | ends).order_by(campaign.c.id)).mappings())


def test_ids(conn: sa.Connection, workspace_id: int) -> dict[int, dict[str, int]]:
    """App → registered ad id → when it expires."""
    query = (
        sa.select(test_device.c.app_id, test_device.c.ad_id, test_device.c.expires_ms)
        .join(app, app.c.id == test_device.c.app_id)
        .where(app.c.workspace_id == workspace_id)
    )
    found: dict[int, dict[str, int]] = {}
    for row in conn.execute(query):
        found.setdefault(row.app_id, {})[row.ad_id] = row.expires_ms
    return found


def using_fences(
    conn: sa.Connection, fence_ids: AbstractSet[int]
) -> list[tuple[sa.RowMapping, AbstractSet[int]]]:
    """The campaigns in test, on standby, running or paused that name some of these fences, and which."""
    named = [(row, fence_ids & set(targeting_of(row["body"]).fence_ids)) for row in _alive(conn)]
    return [(row, found) for row, found in named if found]


def using_group(conn: sa.Connection, *, workspace_id: int, group: str) -> list[sa.RowMapping]:
    """The campaigns of a workspace in test, on standby, running or paused that name a group."""
    return [row for _, row in using_groups(conn, workspace_id=workspace_id, groups=[group])]


def using_groups(
    conn: sa.Connection, *, workspace_id: int, groups: Collection[str]
) -> list[tuple[str, sa.RowMapping]]:
    """(group, campaign) for each of the groups that `using_group` finds a campaign for, by group."""
    if not groups:
        return []
    own = set(conn.execute(sa.select(app.c.id).where(app.c.workspace_id == workspace_id)).scalars())
    wanted = set(groups)
    found = [
        (group, row)
        for row in _alive(conn)
        if row["app_id"] in own
        for group in wanted.intersection(targeting_of(row["body"]).groups)
    ]
    return sorted(found, key=lambda pair: (pair[0], pair[1]["id"]))


def using_webhook(conn: sa.Connection, webhook_id: int) -> list[sa.RowMapping]:
    """The campaigns in test, on standby, running or paused that send to a webhook."""
    return [
        row for row in _alive(conn) if (row["body"].get("message") or {}).get("webhook_id") == webhook_id
    ]


def _alive(conn: sa.Connection) -> list[sa.RowMapping]:
    states = [s.value for s in (State.TEST, State.STANDBY, State.RUNNING, State.PAUSED)]
    return list(conn.execute(_with_body().where(campaign.c.state.in_(states))).mappings())


def campaign_of(row: Mapping[str, Any] | sa.RowMapping) -> Campaign:
    """A complete campaign from its row and body; drafts may lack what this needs."""
    body = row["body"]
    hours = body.get("hours")
    message = body["message"]
    return Campaign(
        id=row["id"],
        app_id=row["app_id"],
        version=row["version"],
        name=row["name"],
        state=State(row["state"]),
        targeting=targeting_of(body),
        period_start=datetime.fromisoformat(body["period"]["start"]),
        period_end=datetime.fromisoformat(body["period"]["end"]),
        time_zone=body["time_zone"],
        message=Message(
            channel=Channel(message["channel"]),
            title=message.get("title") or "",
            body=message.get("body") or "",
            image=message.get("image"),
            link=message.get("link"),
            webhook_id=message.get("webhook_id"),
        ),
        trigger=Kind(body["trigger"]["kind"]),
        dwell_s=body["trigger"].get("after_s"),
        presumed=body["trigger"].get("presumed", False),
        infer_crossings=body.get("infer_crossings", False),
        hours=WeeklyHours.parse(hours) if hours else None,
        hours_zone=HoursZone(body.get("hours_zone", HoursZone.CAMPAIGN)),
        ad_ids=frozenset(body["ad_ids"]) if body.get("ad_ids") is not None else None,
        frequency=Frequency(body.get("frequency", Frequency.ONCE_IN_PERIOD)),
        least_p=body.get("least_p", 0.0),
        priority=body.get("priority", 0),
        additional_days=body.get("additional_days", 0),
    )


def _with_body() -> sa.Select[Any]:
    return sa.select(campaign, campaign_version.c.body).join(
        campaign_version,
        (campaign_version.c.campaign_id == campaign.c.id)
        & (campaign_version.c.version == campaign.c.version),
    )
