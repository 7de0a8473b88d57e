"""Stays that time alone changes: finding them, holding them, writing what becomes of them (product P4).

There is no index on the times of presence, it would cost every ping: the timers scan the table, which
holds only stays of the last gap and a little more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from geo.matching.presence import PresencePolicy
from geo.matching.stay_columns import Changes, Key, Stays
from geo.matching.stay_timers import PRESUMED_WITHIN_MS, sweep_cut_ms
from nearcast.store import stays
from nearcast.store.engine import among, insert_new
from nearcast.store.tables import app, device, meta, presence

_NAMES = {"device": "device_id"}
_STAY = [presence.c[_NAMES.get(name, name)] for name in Stays.names()]


def was_swept(conn: sa.Connection, workspace_id: int, cut_ms: int) -> None:
    """Keep the cut of a sweep, unless a newer one stands."""
    key = stays.swept_key(workspace_id)
    insert_new(conn, meta, [{"key": key, "value": "0"}])
    held = sa.select(meta.c.value).where(meta.c.key == key).with_for_update()
    if int(conn.execute(held).scalar_one()) < cut_ms:
        conn.execute(sa.update(meta).where(meta.c.key == key).values(value=str(cut_ms)))


def silent(
    conn: sa.Connection, now_ms: int, policies: Mapping[int, PresencePolicy], *, limit: int
) -> list[Key]:
    """Pairs whose device is inside and was not heard of for longer than its workspace's gap."""
    gaps = {serial: now_ms - policy.gap_s * 1000 for serial, policy in policies.items()}
    return _keys(conn, _quiet(gaps), limit)


def over(
    conn: sa.Connection, now_ms: int, policies: Mapping[int, PresencePolicy], *, limit: int
) -> list[Key]:
    """Pairs that a sweep would take now; see `stay_timers.swept`."""
    cuts = {serial: sweep_cut_ms(now_ms, policy) for serial, policy in policies.items()}
    gaps = {serial: now_ms - policy.gap_s * 1000 for serial, policy in policies.items()}
    old = presence.c.left_ms < _by_workspace(cuts)
    return _keys(conn, old & (~presence.c.inside | _quiet(gaps)), limit)


def standing(
    conn: sa.Connection, now_ms: int, *, workspace_id: int, fence_ids: Collection[int]
) -> Stays:
    """The stays at some fences whose newest fix is inside and young enough to presume a dwell.

    They are not held: what follows from them is looked at again with `held`.
    """
    query = (
        sa.select(*_STAY)
        .join(device, device.c.id == presence.c.device_id)
        .join(app, app.c.id == device.c.app_id)
        .where(
            app.c.workspace_id == workspace_id,
            among(conn, presence.c.fence_id, sorted(fence_ids)),
            presence.c.inside,
            presence.c.left_ms >= now_ms - PRESUMED_WITHIN_MS,
            presence.c.out_last_ms <= presence.c.left_ms,
        )
        .order_by(presence.c.device_id, presence.c.fence_id)
    )
    return Stays.from_rows(tuple(row) for row in conn.execute(query))


def held(conn: sa.Connection, keys: Sequence[Key]) -> Stays:
    """The stays of these pairs as they are now, nobody else's until the transaction ends.

    Those that somebody else holds are left out: whoever it is writes them, and the next look finds what
    is still to be done.
    """
    if not keys:
        return Stays.empty()
    query = (
        sa.select(*_STAY)
        .where(
            among(conn, presence.c.device_id, sorted({device_id for device_id, _ in keys})),
            among(conn, presence.c.fence_id, sorted({fence_id for _, fence_id in keys})),
        )
        .order_by(presence.c.device_id, presence.c.fence_id)
        .with_for_update(skip_locked=True)  # SQLite, with its one writer, leaves this out
    )
    wanted = set(keys)
    rows = (tuple(row) for row in conn.execute(query))
    return Stays.from_rows(row for row in rows if (row[0], row[1]) in wanted)


def write(conn: sa.Connection, changes: Changes) -> None:
    """Write what the timers made of stays that are held; an intake that remembers them is told."""
    stays.save(conn, changes)
    stays.wrote(conn)


class Owner(NamedTuple):
    """Whose a device is."""

    app_id: int
    workspace_id: int


def owners(conn: sa.Connection, device_ids: Sequence[int]) -> dict[int, Owner]:
    """Device → its app and workspace."""
    query = (
        sa.select(device.c.id, device.c.app_id, app.c.workspace_id)
        .join(app, app.c.id == device.c.app_id)
        .where(among(conn, device.c.id, sorted(set(device_ids))))
    )
    return {row.id: Owner(row.app_id, row.workspace_id) for row in conn.execute(query)}


# --- inside -----------------------------------------------------------------------------------------


def _keys(conn: sa.Connection, wanted: sa.ColumnElement[bool], limit: int) -> list[Key]:
    query = (
        sa.select(presence.c.device_id, presence.c.fence_id)
        .join(device, device.c.id == presence.c.device_id)
        .join(app, app.c.id == device.c.app_id)
        .where(wanted)
        .order_by(presence.c.device_id, presence.c.fence_id)
        .limit(limit)
    )
    return [(row.device_id, row.fence_id) for row in conn.execute(query)]


def _quiet(before_ms: Mapping[int, int]) -> sa.ColumnElement[bool]:
    """Inside, and the newest fix that was in or out is older than the workspace's instant."""
    instant = _by_workspace(before_ms)
    out = (presence.c.out_fixes > 0) & (presence.c.out_last_ms >= instant)
    return presence.c.inside & (presence.c.left_ms < instant) & ~out


def _by_workspace(instants: Mapping[int, int]) -> sa.ColumnElement[int]:
    """The instant of the workspace that a row's device belongs to; nearly always the same for all."""
    if len(set(instants.values())) == 1:
        return sa.literal(next(iter(instants.values())))
    return sa.case(dict(instants), value=app.c.workspace_id)
