"""What an operator asks of a database: would it keep what it acknowledges, and what is in it."""

from __future__ import annotations

import sqlalchemy as sa

from nearcast.store.tables import (
    api_key,
    app,
    campaign,
    delivery,
    device,
    fence,
    fence_version,
    ping_file,
    ping_log,
    visit,
    workspace,
)

#: what makes an acknowledged write survive a power cut (quality Q1)
DURABLE: dict[str, dict[str, tuple[str, ...]]] = {
    "sqlite": {"journal_mode": ("wal",), "synchronous": ("2",)},
    "postgresql": {
        "fsync": ("on",),
        "full_page_writes": ("on",),
        "synchronous_commit": ("on", "local", "remote_write", "remote_apply"),
    },
}
_COUNTED = {
    "workspaces": workspace,
    "apps": app,
    "fences": fence,
    "campaigns": campaign,
    "devices": device,
    "visits": visit,
}


def durability(conn: sa.Connection) -> dict[str, tuple[str, bool]]:
    """Setting → (its value, whether it is a durable one)."""
    ask = "pragma" if conn.dialect.name == "sqlite" else "show"
    found = {}
    for name, good in DURABLE[conn.dialect.name].items():
        value = str(conn.exec_driver_sql(f"{ask} {name}").scalar())
        found[name] = (value, value in good)
    return found


def server_version(conn: sa.Connection) -> str:
    """`SQLite 3.40.1` or `PostgreSQL 15.8`."""
    if conn.dialect.name == "sqlite":
        return f"SQLite {conn.exec_driver_sql('select sqlite_version()').scalar()}"
    return f"PostgreSQL {conn.exec_driver_sql('show server_version').scalar()}"


def counts(conn: sa.Connection, *, now_ms: int) -> dict[str, int]:
    """How much there is: living keys, fences live now, pings in log and files, messages that wait."""
    living = {"fences": fence.c.deleted_ms.is_(None)}
    found = {
        name: _count(conn, sa.select(sa.func.count()).select_from(table), living.get(name))
        for name, table in _COUNTED.items()
    }
    live = (fence_version.c.live_from_ms <= now_ms) & (now_ms < fence_version.c.live_until_ms)
    return found | {
        "keys": _count(conn, sa.select(sa.func.count(api_key.c.id)), api_key.c.revoked_ms.is_(None)),
        "fences_live": _count(conn, sa.select(sa.func.count(fence_version.c.fence_id)), live),
        "pings_in_the_log": _count(conn, sa.select(sa.func.sum(ping_log.c.pings)), None),
        "pings_sealed": _count(conn, sa.select(sa.func.sum(ping_file.c.pings)), None),
        "messages_waiting": _count(
            conn, sa.select(sa.func.count(delivery.c.id)), delivery.c.state == "queued"
        ),
    }


def _count(conn: sa.Connection, query: sa.Select[int], where: sa.ColumnElement[bool] | None) -> int:
    found = conn.execute(query if where is None else query.where(where)).scalar()
    return int(found or 0)
