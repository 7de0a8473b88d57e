"""Devices: who they are and what they have consented to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from nearcast.store.engine import among
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


_SELECT = sa.select(
    device.c.id,
    device.c.key,
    device.c.ad_id,
    device.c.user_id,
    device.c.location_consent,
    device.c.marketing_consent,
    device.c.night_consent,
)


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
