"""Devices: who they are and what they have consented to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from campaigns.people.identity import Identity
from nearcast.store.engine import Conflict, among, insert_new, locked
from nearcast.store.tables import device


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """What is stored of a device."""

    id: int
    key: str
    ad_id: str | None
    user_id: str | None
    location: bool | None
    marketing: bool | None
    night: bool | None


def known(conn: sa.Connection, *, app_id: int, keys: Iterable[str]) -> dict[str, Device]:
    """The devices among these keys that an app has seen before."""
    wanted = sorted(set(keys))
    if not wanted:
        return {}
    rows = conn.execute(_SELECT.where(device.c.app_id == app_id, among(conn, device.c.key, wanted)))
    return {row.key: _device(row) for row in rows}


def by_id(conn: sa.Connection, device_ids: Iterable[int]) -> dict[int, Device]:
    """Devices by serial."""
    wanted = sorted(set(device_ids))
    if not wanted:
        return {}
    rows = conn.execute(_SELECT.where(among(conn, device.c.id, wanted)))
    return {row.id: _device(row) for row in rows}


def find(
    conn: sa.Connection,
    *,
    app_id: int,
    key: str | None = None,
    ad_id: str | None = None,
    user_id: str | None = None,
) -> list[Device]:
    """The devices of an app that answer to a key, an ad id or a user, the newest first."""
    for column, value in (
        (device.c.key, key),
        (device.c.ad_id, ad_id),
        (device.c.user_id, user_id),
    ):
        if value:
            query = _SELECT.where(device.c.app_id == app_id, column == value)
            return [_device(row) for row in conn.execute(query.order_by(device.c.id.desc()))]
    return []


def people(conn: sa.Connection, *, app_id: int) -> int:
    """How many persons an app has seen: its users, and its devices without one."""
    person = sa.func.coalesce("u:" + device.c.user_id, "d:" + device.c.key)
    query = sa.select(sa.func.count(sa.distinct(person))).where(device.c.app_id == app_id)
    return conn.execute(query).scalar_one()


def settle(
    conn: sa.Connection,
    *,
    app_id: int,
    said: Mapping[str, Identity],
    before: Mapping[str, Device],
    seen_ms: Mapping[str, int],
) -> dict[str, Device]:
    """Insert the devices not seen before and write what the others newly say of themselves.

    Args:
        said: key → what the batch's pings say, the latest word of each field.
        before: what `known` found.
        seen_ms: key → instant of the first ping of the batch.
    Returns:
        Every device of `said` as it now is.
    """
    new = sorted(key for key in said if key not in before)
    rows = [_row(app_id, said[key], seen_ms[key]) for key in new]
    if insert_new(conn, device, rows) != len(rows):
        raise Conflict  # another process has just met one of them: take the batch again
    devices = dict(before) | known(conn, app_id=app_id, keys=new)
    changed = [key for key, identity in said.items() if _merge(devices[key], identity) != devices[key]]
    if changed:
        # read again under a lock: what another process has just written is merged, not overwritten
        current = _locked(conn, app_id, changed)
        merged = [_merge(current[key], said[key]) for key in sorted(changed)]
        conn.execute(_UPDATE, [_values(one) for one in merged])
        devices |= {one.key: one for one in merged}
    return devices


_SELECT = sa.select(
    device.c.id,
    device.c.key,
    device.c.ad_id,
    device.c.user_id,
    device.c.location_consent,
    device.c.marketing_consent,
    device.c.night_consent,
)

_UPDATE = (
    sa.update(device)
    .where(device.c.id == sa.bindparam("of"))
    .values(
        ad_id=sa.bindparam("ad_id"),
        user_id=sa.bindparam("user_id"),
        location_consent=sa.bindparam("location_consent"),
        marketing_consent=sa.bindparam("marketing_consent"),
        night_consent=sa.bindparam("night_consent"),
    )
)


def _locked(conn: sa.Connection, app_id: int, keys: Iterable[str]) -> dict[str, Device]:
    query = _SELECT.where(device.c.app_id == app_id, among(conn, device.c.key, sorted(keys)))
    rows = conn.execute(locked(conn, query.order_by(device.c.id)))
    return {row.key: _device(row) for row in rows}


def _device(row: Sequence[Any]) -> Device:
    id_, key, ad_id, user_id, location, marketing, night = row
    return Device(
        id=id_,
        key=key,
        ad_id=ad_id,
        user_id=user_id,
        location=location,
        marketing=marketing,
        night=night,
    )


def _row(app_id: int, identity: Identity, seen_ms: int) -> dict[str, object]:
    return {
        "app_id": app_id,
        "key": identity.key,
        "ad_id": identity.ad_id,
        "user_id": identity.user_id,
        "location_consent": identity.location,
        "marketing_consent": identity.marketing,
        "night_consent": identity.night,
        "first_seen_ms": seen_ms,
    }


def _merge(stored: Device, said: Identity) -> Device:
    """What is said now wins; what is left unsaid stays."""
    fields = ("ad_id", "user_id", "location", "marketing", "night")
    spoken = {name: value for name in fields if (value := getattr(said, name)) is not None}
    return replace(stored, **spoken)


def _values(merged: Device) -> dict[str, object]:
    return {
        "of": merged.id,
        "ad_id": merged.ad_id,
        "user_id": merged.user_id,
        "location_consent": merged.location,
        "marketing_consent": merged.marketing,
        "night_consent": merged.night,
    }
