"""Which pings were sealed into which file, and the rows of the log that wait for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa

from nearcast.store.engine import among, insert_new
from nearcast.store.tables import app, device, night_due, ping_file, ping_log, workspace


@dataclass(frozen=True, kw_only=True)
class SealedFile:
    """A file that counts: its pings are not in the log any more.

    Attributes:
        names: where it may be found, in this order: a file that is being renamed has two.
    """

    id: int
    app_id: int
    day: date
    name: str
    aside: str | None
    pings: int
    first_ms: int
    last_ms: int
    bytes: int

    @property
    def names(self) -> tuple[str, ...]:
        """Its places: aside first, where it stays until it has its name."""
        return (self.name,) if self.aside is None else (self.aside, self.name)


_COLUMNS = tuple(
    ping_file.c[name]
    for name in ("id", "app_id", "day", "name", "aside", "pings", "first_ms", "last_ms", "bytes")
)


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """What an app has in the log.

    Attributes:
        zone: of its workspace, which its nights go by.
        pings: those seen before the instant asked for.
        oldest_ms: when the first of them was seen.
    """

    app_id: int
    bundle_id: str
    zone: str
    pings: int
    oldest_ms: int


def waiting(conn: sa.Connection, *, seen_before_ms: int) -> list[Waiting]:
    """The apps with rows in the log that were seen before an instant."""
    query = (
        sa.select(
            app.c.id.label("app_id"),
            app.c.bundle_id,
            workspace.c.time_zone.label("zone"),
            sa.func.sum(ping_log.c.pings).label("pings"),
            sa.func.min(ping_log.c.seen_ms).label("oldest_ms"),
        )
        .join(app, app.c.id == ping_log.c.app_id)
        .join(workspace, workspace.c.id == app.c.workspace_id)
        .where(ping_log.c.seen_ms < seen_before_ms)
        .group_by(app.c.id, app.c.bundle_id, workspace.c.time_zone)
        .order_by(app.c.id)
    )
    # PostgreSQL sums to Decimal
    rows = (dict(row) for row in conn.execute(query).mappings())
    return [Waiting(**row | {"pings": int(row["pings"])}) for row in rows]


def take(conn: sa.Connection, *, app_id: int, seen_before_ms: int, most: int) -> list[tuple[int, bytes]]:
    """The oldest rows of an app's log, together at most so many pings unless the first has more."""
    listed = conn.execute(
        sa.select(ping_log.c.seq, ping_log.c.pings)
        .where(ping_log.c.app_id == app_id, ping_log.c.seen_ms < seen_before_ms)
        .order_by(ping_log.c.seq)
        .limit(most)
    )
    seqs: list[int] = []
    total = 0
    for seq, pings in listed:
        total += pings
        if seqs and total > most:
            break
        seqs.append(seq)
    query = sa.select(ping_log.c.seq, ping_log.c.body).where(among(conn, ping_log.c.seq, seqs))
    return [(row.seq, row.body) for row in conn.execute(query.order_by(ping_log.c.seq))]


def keys_of(conn: sa.Connection, serials: Sequence[int]) -> list[str]:
    """The names of devices, in the order asked for."""
    query = sa.select(device.c.id, device.c.key).where(among(conn, device.c.id, list(serials)))
    key = {row.id: row.key for row in conn.execute(query)}
    return [key.get(serial, "") for serial in serials]


def register(
    conn: sa.Connection,
    *,
    app_id: int,
    seqs: Sequence[int],
    files: Iterable[Mapping[str, Any]],
    nights: Iterable[date],
) -> bool:
    """Let files stand for rows of the log, which are deleted; False where another process did it first.

    Nothing is changed then, as long as the caller rolls back.
    """
    gone = conn.execute(sa.delete(ping_log).where(among(conn, ping_log.c.seq, list(seqs))))
    if gone.rowcount != len(seqs):
        return False
    conn.execute(sa.insert(ping_file), [dict(file) for file in files])
    insert_new(conn, night_due, [{"app_id": app_id, "day": day} for day in nights])
    return True


def unnamed(conn: sa.Connection) -> list[SealedFile]:
    """Files that count but still lie aside."""
    return listed(conn, sa.select(*_COLUMNS).where(ping_file.c.aside.is_not(None)))


def named(conn: sa.Connection, file_ids: Sequence[int]) -> None:
    """Files have their names."""
    own = among(conn, ping_file.c.id, file_ids)
    conn.execute(sa.update(ping_file).where(own).values(aside=None))


def of_time(
    conn: sa.Connection,
    *,
    app_id: int,
    first_ms: int,
    last_ms: int,
    held_only: bool = False,
) -> list[SealedFile]:
    """The files of an app with pings taken in `[first_ms, last_ms]`."""
    query = sa.select(*_COLUMNS).where(
        ping_file.c.app_id == app_id,
        ping_file.c.last_ms >= first_ms,
        ping_file.c.first_ms <= last_ms,
        sa.not_(ping_file.c.going),
    )
    if held_only:
        query = query.where(ping_file.c.held > 0)
    return listed(conn, query)


def after(conn: sa.Connection, *, seq: int, not_before_ms: int) -> list[SealedFile]:
    """The files with pings of later rows of the log, taken at or after an instant."""
    query = sa.select(*_COLUMNS).where(
        ping_file.c.last_seq > seq, ping_file.c.last_ms >= not_before_ms, sa.not_(ping_file.c.going)
    )
    return listed(conn, query)


def newest(conn: sa.Connection) -> SealedFile | None:
    """The file that was sealed last, None without any."""
    query = sa.select(*_COLUMNS).where(sa.not_(ping_file.c.going))
    row = conn.execute(query.order_by(ping_file.c.id.desc()).limit(1)).mappings().first()
    return None if row is None else SealedFile(**row)


def totals(conn: sa.Connection) -> tuple[int, int, int]:
    """How many files there are, their pings and their bytes."""
    columns = (sa.func.count(), sa.func.sum(ping_file.c.pings), sa.func.sum(ping_file.c.bytes))
    files, pings, size = conn.execute(sa.select(*columns)).one()
    return int(files), int(pings or 0), int(size or 0)


def listed(conn: sa.Connection, query: sa.Select[Any]) -> list[SealedFile]:
    """The files that a query of their rows finds, the oldest first."""
    rows = conn.execute(query.with_only_columns(*_COLUMNS).order_by(ping_file.c.id)).mappings()
    return [SealedFile(**row) for row in rows]
