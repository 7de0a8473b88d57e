"""What devices say of themselves, each word with its time: read, met and changed in columns.

A device's words carry `said_ms`, the instant of the newest of them. Each change of a known device takes
the next `words_version` of its app, so that other processes find what changed since they last looked.
The app's row is the last that such a transaction locks: whoever reads a version sees every change up to
it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from campaigns.people.identity import Identity
from nearcast.store.bulk import take_serials
from nearcast.store.columns import insert_columns, update_columns
from nearcast.store.engine import Conflict, among, locked
from nearcast.store.tables import app, device

#: ad id, user id, and consent to location, marketing and nights
Words = tuple[str | None, str | None, bool | None, bool | None, bool | None]


class DeviceWords(NamedTuple):
    """A device and what is known of it; `serial` is -1 before it is stored."""

    serial: int
    key: str
    ad_id: str | None = None
    user_id: str | None = None
    location: bool | None = None
    marketing: bool | None = None
    night: bool | None = None
    said_ms: int = 0

    @property
    def words(self) -> Words:
        """What it says, without the rest."""
        return self[2:7]


class Heard(NamedTuple):
    """What one ping says of its device, and when."""

    at_ms: int
    who: Identity


def words_of(who: Identity) -> Words:
    """The same five words as `DeviceWords.words`."""
    return who.ad_id, who.user_id, who.location, who.marketing, who.night


def merged(stored: DeviceWords, heard: Iterable[Heard]) -> DeviceWords:
    """What is known of a device after it has said more.

    A word wins over an older one; a word older than the newest that was said fills only what nobody
    has said. Of two words of one instant the one heard later wins. What is left unsaid stays.
    """
    names = DeviceWords._fields[2:7]
    known: dict[str, Any] = dict(zip(names, stored.words, strict=True))
    said_ms = stored.said_ms
    for at_ms, who in sorted(heard, key=lambda one: one.at_ms):
        for name, word in zip(names, words_of(who), strict=True):
            if word is not None and (at_ms >= said_ms or known[name] is None):
                known[name] = word
        said_ms = max(said_ms, at_ms)
    return stored._replace(said_ms=said_ms, **known)


def version(conn: sa.Connection, *, app_id: int) -> int:
    """The number of the newest change of what an app's devices say, 0 before any."""
    return int(conn.execute(_VERSION, {"app_id": app_id}).scalar() or 0)


def of_keys(conn: sa.Connection, *, app_id: int, keys: Iterable[str]) -> list[DeviceWords]:
    """The devices among these keys that an app has met."""
    wanted = sorted(set(keys))
    if not wanted:
        return []
    query = _SELECT.where(device.c.app_id == app_id, among(conn, device.c.key, wanted))
    return [_device(row) for row in conn.execute(query)]


def changed_since(conn: sa.Connection, *, app_id: int, version: int) -> list[DeviceWords]:
    """The devices of an app whose words have changed after a version."""
    query = _SELECT.where(
        device.c.app_id == app_id, device.c.words_version > version, sa.text("words_version > 0")
    )
    return [_device(row) for row in conn.execute(query)]


def meet(
    conn: sa.Connection,
    *,
    app_id: int,
    new: Sequence[DeviceWords],
    seen_ms: Sequence[int],
    reserved: dict[tuple[int, str], int],
) -> list[DeviceWords]:
    """Insert devices that were not met before, in the order of their keys; returns them with serials.

    Args:
        reserved: (app, key) → serial of an attempt that was rolled back; those taken now are added.
            A sequence does not give them again, so a device keeps its serial from try to try.
    Raises:
        Conflict: another process has just met one of them; take the verb again.
    """
    order = sorted(range(len(new)), key=lambda place: new[place].key)
    if conn.dialect.name == "sqlite":  # after a rollback the same serials are given again
        reserved.clear()
    keys = [(app_id, new[place].key) for place in order]
    fresh = [key for key in keys if key not in reserved]
    reserved |= zip(fresh, take_serials(conn, device, len(fresh)), strict=True)
    serials = [reserved[key] for key in keys]
    met = [new[place]._replace(serial=serial) for place, serial in zip(order, serials, strict=True)]
    if not met:
        return met
    _, names, *words, said_ms = (list(column) for column in zip(*met, strict=True))
    columns: dict[str, list[Any]] = {
        "id": serials,
        "app_id": [app_id] * len(met),
        "key": names,
        **dict(zip(_WORDS, words, strict=True)),
        "said_ms": said_ms,
        "words_version": [0] * len(met),
        "first_seen_ms": [seen_ms[place] for place in order],
    }
    if insert_columns(conn, device, columns) != len(met):
        raise Conflict
    return met


def change(
    conn: sa.Connection,
    *,
    app_id: int,
    heard: Mapping[int, Sequence[Heard]],
    believed: Mapping[int, DeviceWords],
) -> tuple[int | None, list[DeviceWords]]:
    """Merge what known devices say into what is stored; to be called last before a commit.

    The devices are locked in the order of their serials and read again: what another process has just
    written is merged with, not overwritten. Then the app's row is locked if any word has changed.

    Args:
        heard: serial → what its pings say.
        believed: serial → what the caller takes for stored; it may have heard the same words again,
            later than was written down.
    Returns:
        The version taken, None if no word has changed; and all those devices as they now are.
    """
    if not heard:
        return None, []
    query = _SELECT.where(among(conn, device.c.id, sorted(heard))).order_by(device.c.id)
    stored = [_device(row) for row in conn.execute(locked(conn, query))]
    after = [merged(_heard_till(one, believed), heard[one.serial]) for one in stored]
    changed = [one for one, was in zip(after, stored, strict=True) if one.words != was.words]
    taken: int | None = None
    if changed:
        taken = conn.execute(_BUMP, {"of": app_id}).scalar_one()
        _update(conn, changed, version=taken)
    # only when it was said is new: nothing that others must hear of
    said = [
        one
        for one, was in zip(after, stored, strict=True)
        if one.words == was.words and one.said_ms > was.said_ms
    ]
    serials, said_ms = [one.serial for one in said], [one.said_ms for one in said]
    update_columns(conn, device, {"id": serials, "said_ms": said_ms})
    return taken, after


_WORDS = ("ad_id", "user_id", "location_consent", "marketing_consent", "night_consent")
_SELECT = sa.select(device.c.id, device.c.key, *(device.c[name] for name in _WORDS), device.c.said_ms)
_VERSION = sa.select(app.c.words_version).where(app.c.id == sa.bindparam("app_id"))
_BUMP = (
    sa.update(app)
    .where(app.c.id == sa.bindparam("of"))
    .values(words_version=app.c.words_version + 1)
    .returning(app.c.words_version)
)


def _device(row: Sequence[Any]) -> DeviceWords:
    return DeviceWords(*row)


def _heard_till(stored: DeviceWords, believed: Mapping[int, DeviceWords]) -> DeviceWords:
    other = believed.get(stored.serial)
    if other is None or other.words != stored.words:
        return stored
    return stored._replace(said_ms=max(stored.said_ms, other.said_ms))


def _update(conn: sa.Connection, changed: Sequence[DeviceWords], *, version: int) -> None:
    serials, _, *words, said_ms = (list(column) for column in zip(*changed, strict=True))
    columns: dict[str, list[Any]] = {"id": serials, **dict(zip(_WORDS, words, strict=True))}
    columns |= {"said_ms": said_ms, "words_version": [version] * len(serials)}
    update_columns(conn, device, columns)
