"""Workspaces, apps, API keys, the audit log and what belongs to the whole installation."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from campaigns.campaign.life import State
from campaigns.messages.events import Subscription, WebhookEvent
from nearcast.store.columns import rows_of
from nearcast.store.engine import insert_new
from nearcast.store.tables import api_key, app, audit, meta, test_device, webhook, workspace


def add(conn: sa.Connection, *, name: str, plan: str, time_zone: str, now_ms: int) -> int:
    """A new workspace; returns its serial."""
    row = {"name": name, "plan": plan, "time_zone": time_zone, "settings": {}, "created_ms": now_ms}
    return _inserted(conn, sa.insert(workspace).values(**row, version=1))


def add_app(
    conn: sa.Connection, *, workspace_id: int, name: str, bundle_id: str, time_zone: str, now_ms: int
) -> int:
    """A new app of a workspace; returns its serial. Processes remember apps: they see the edit."""
    bump(conn, workspace_id)
    values = {"workspace_id": workspace_id, "name": name, "bundle_id": bundle_id}
    return _inserted(conn, sa.insert(app).values(**values, time_zone=time_zone, created_ms=now_ms))


def first(conn: sa.Connection) -> int | None:
    """The serial of the oldest workspace, None before any."""
    return conn.execute(sa.select(sa.func.min(workspace.c.id))).scalar()


def serials(conn: sa.Connection) -> list[int]:
    """The serials of all workspaces."""
    return list(conn.execute(sa.select(workspace.c.id).order_by(workspace.c.id)).scalars())


def get(conn: sa.Connection, workspace_id: int) -> sa.RowMapping:
    """One workspace's row."""
    return conn.execute(sa.select(workspace).where(workspace.c.id == workspace_id)).mappings().one()


def version(conn: sa.Connection, workspace_id: int) -> int:
    """The counter of edits that snapshots must show."""
    query = sa.select(workspace.c.version).where(workspace.c.id == workspace_id)
    return conn.execute(query).scalar_one()


def pulse(conn: sa.Connection, workspace_id: int, now_ms: int) -> tuple[int, bool]:
    """A workspace's counter of edits, and whether the clock moves any campaign now."""
    ((version, due),) = rows_of(conn, _PULSE, now_ms, now_ms, workspace_id)
    return int(version), bool(due)


_PULSE = f"""
select version, exists(
    select 1 from campaign
    where (state = '{State.STANDBY.value}' and period_start_ms <= ?)
    or (state in ('{State.STANDBY.value}', '{State.RUNNING.value}', '{State.PAUSED.value}')
        and period_end_ms <= ?)
)
from workspace where id = ?
"""


def settings(conn: sa.Connection, workspace_id: int) -> dict[str, Any]:
    """What differs from the policies' defaults."""
    query = sa.select(workspace.c.settings).where(workspace.c.id == workspace_id)
    return dict(conn.execute(query).scalar_one())


def all_settings(conn: sa.Connection) -> dict[int, dict[str, Any]]:
    """Workspace → what differs from the policies' defaults."""
    query = sa.select(workspace.c.id, workspace.c.settings).order_by(workspace.c.id)
    return {row.id: dict(row.settings) for row in conn.execute(query)}


def set_settings(conn: sa.Connection, workspace_id: int, values: dict[str, Any]) -> None:
    """Replace the settings; the caller bumps the version."""
    conn.execute(sa.update(workspace).where(workspace.c.id == workspace_id).values(settings=values))


def bump(conn: sa.Connection, workspace_id: int) -> None:
    """Let every process see that the workspace was edited."""
    conn.execute(
        sa.update(workspace)
        .where(workspace.c.id == workspace_id)
        .values(version=workspace.c.version + 1)
    )


def hold(conn: sa.Connection, workspace_id: int) -> None:
    """Keep other edits of the workspace from being committed until the transaction ends.

    Every edit bumps its version, so it waits here; rows that only refer to the workspace do not.
    """
    query = sa.select(workspace.c.id).where(workspace.c.id == workspace_id)
    conn.execute(query.with_for_update(key_share=True))  # SQLite's one writer is alone anyway


def apps_of(conn: sa.Connection, workspace_id: int) -> dict[str, int]:
    """Bundle id → serial of a workspace's apps, the oldest first."""
    query = sa.select(app.c.bundle_id, app.c.id).where(app.c.workspace_id == workspace_id)
    return {row.bundle_id: row.id for row in conn.execute(query.order_by(app.c.id))}


def app_row(conn: sa.Connection, app_id: int) -> sa.RowMapping:
    """One app's row."""
    return conn.execute(sa.select(app).where(app.c.id == app_id)).mappings().one()


def add_key(conn: sa.Connection, **values: Any) -> int:
    """Keep a key's digest and what it opens."""
    return _inserted(conn, sa.insert(api_key).values(**values))


def key_by_digest(conn: sa.Connection, digest: bytes) -> sa.RowMapping | None:
    """The living key of a digest with its workspace's plan and zone."""
    query = (
        sa.select(api_key, workspace.c.plan, workspace.c.time_zone)
        .join(workspace, workspace.c.id == api_key.c.workspace_id)
        .where(api_key.c.digest == digest, api_key.c.revoked_ms.is_(None))
    )
    return conn.execute(query).mappings().first()


def keys_of(conn: sa.Connection, workspace_id: int) -> list[sa.RowMapping]:
    """The keys of a workspace, the oldest first."""
    query = sa.select(api_key).where(api_key.c.workspace_id == workspace_id).order_by(api_key.c.id)
    return list(conn.execute(query).mappings())


def revoke_key(conn: sa.Connection, *, workspace_id: int, key_id: int, now_ms: int) -> bool:
    """Whether there was a living key to revoke."""
    statement = (
        sa.update(api_key)
        .where(
            api_key.c.id == key_id,
            api_key.c.workspace_id == workspace_id,
            api_key.c.revoked_ms.is_(None),
        )
        .values(revoked_ms=now_ms)
    )
    return conn.execute(statement).rowcount == 1


def note(
    conn: sa.Connection,
    *,
    workspace_id: int,
    at_ms: int,
    actor: str,
    action: str,
    what: str,
    detail: dict[str, Any] | None = None,
) -> None:
    """One line of the audit log."""
    conn.execute(
        sa.insert(audit).values(
            workspace_id=workspace_id,
            at_ms=at_ms,
            actor=actor,
            action=action,
            object=what,
            detail=detail or {},
        )
    )


def audit_of(conn: sa.Connection, workspace_id: int, *, limit: int) -> list[sa.RowMapping]:
    """The newest lines of the audit log."""
    query = sa.select(audit).where(audit.c.workspace_id == workspace_id)
    return list(conn.execute(query.order_by(audit.c.id.desc()).limit(limit)).mappings())


def kept(conn: sa.Connection, key: str, value: str) -> str:
    """The installation's value of a key; the one given becomes it if there is none yet."""
    insert_new(conn, meta, [{"key": key, "value": value}])
    return conn.execute(sa.select(meta.c.value).where(meta.c.key == key)).scalar_one()


def add_webhook(conn: sa.Connection, **values: Any) -> int:
    """A new endpoint; returns its serial."""
    return _inserted(conn, sa.insert(webhook).values(**values))


def webhooks_of(conn: sa.Connection, app_ids: list[int]) -> list[sa.RowMapping]:
    """The living endpoints of some apps."""
    query = sa.select(webhook).where(webhook.c.app_id.in_(app_ids), webhook.c.deleted_ms.is_(None))
    return list(conn.execute(query.order_by(webhook.c.id)).mappings())


def change_webhook(conn: sa.Connection, webhook_id: int, **values: Any) -> None:
    """Overwrite columns of an endpoint."""
    conn.execute(sa.update(webhook).where(webhook.c.id == webhook_id).values(**values))


def subscriptions(conn: sa.Connection, workspace_id: int) -> tuple[Subscription, ...]:
    """The living endpoints of a workspace that want to be told of events."""
    return all_subscriptions(conn, workspace_id).get(workspace_id, ())


def all_subscriptions(
    conn: sa.Connection, workspace_id: int | None = None
) -> dict[int, tuple[Subscription, ...]]:
    """Workspace → its living endpoints that want to be told of events; only those that have some."""
    query = (
        sa.select(app.c.workspace_id, webhook.c.id, webhook.c.app_id, webhook.c.events)
        .join(app, app.c.id == webhook.c.app_id)
        .where(webhook.c.deleted_ms.is_(None))
        .order_by(webhook.c.id)
    )
    if workspace_id is not None:
        query = query.where(app.c.workspace_id == workspace_id)
    found: dict[int, tuple[Subscription, ...]] = {}
    for row in conn.execute(query):
        if row.events:
            events = frozenset(map(WebhookEvent, row.events))
            one = Subscription(webhook_id=row.id, app_id=row.app_id, events=events)
            found[row.workspace_id] = (*found.get(row.workspace_id, ()), one)
    return found


def delete_webhook(conn: sa.Connection, webhook_id: int, now_ms: int) -> None:
    """Endpoints are kept for the deliveries that name them, marked as gone."""
    statement = sa.update(webhook).where(webhook.c.id == webhook_id)
    conn.execute(statement.values(deleted_ms=now_ms))


def put_test_device(conn: sa.Connection, **values: Any) -> int:
    """Register a test id, or renew its registration; returns its serial."""
    same = (test_device.c.app_id == values["app_id"]) & (test_device.c.ad_id == values["ad_id"])
    insert_new(conn, test_device, [values])
    conn.execute(
        sa.update(test_device).where(same).values(name=values["name"], expires_ms=values["expires_ms"])
    )
    return conn.execute(sa.select(test_device.c.id).where(same)).scalar_one()


def test_devices_of(conn: sa.Connection, app_ids: list[int]) -> list[sa.RowMapping]:
    """The registered test ids of some apps, expired ones too."""
    query = sa.select(test_device).where(test_device.c.app_id.in_(app_ids))
    return list(conn.execute(query.order_by(test_device.c.id)).mappings())


def delete_test_device(conn: sa.Connection, test_device_id: int) -> None:
    """Take a registration back."""
    conn.execute(sa.delete(test_device).where(test_device.c.id == test_device_id))


def _inserted(conn: sa.Connection, statement: sa.Insert) -> int:
    key = conn.execute(statement).inserted_primary_key
    if key is None:
        raise sa.exc.InvalidRequestError("the insert gave no key")
    return int(key[0])
