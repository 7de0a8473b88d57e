"""The database and its two dialects: how to open it, begin, retry, commit, and send many rows at once.

SQLite (WAL, `synchronous=FULL`) is the embedded default, PostgreSQL is reached by URL. Whatever differs
between them stands here and nowhere else.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.pool import ConnectionPoolEntry

from geo.errors import NearcastError

T = TypeVar("T")
Row = Mapping[str, Any]

ATTEMPTS = 20
BUSY_TIMEOUT_MS = 15_000
_RETRYABLE_SQLSTATES = frozenset({"40001", "40P01", "23505"})
#: classes of SQLSTATE that time mends: connection, rollback, resources, locks, operators, the system
_PASSING_SQLSTATES = ("08", "40", "53", "55", "57", "58")


def json_text(value: Any) -> str:
    """A value as the JSON text that JSON columns hold."""
    return msgspec.json.encode(value).decode()


_JSON: dict[str, Any] = {"json_serializer": json_text, "json_deserializer": msgspec.json.decode}


class Conflict(NearcastError):
    """Another transaction changed the same rows first; the verb is taken again."""

    code = "conflict"


class UnsafeDatabase(NearcastError):
    """The database would acknowledge writes that a power cut can lose."""

    code = "unsafe_database"


class _DriverConnection(Protocol):
    isolation_level: str | None

    def execute(self, sql: str) -> object: ...


def make_engine(url: str) -> sa.Engine:
    """Open a database by URL: `sqlite:///file.db` or `postgresql+psycopg://…`.

    Raises:
        UnsafeDatabase: PostgreSQL runs with `synchronous_commit=off` (quality Q1).
    """
    if sa.make_url(url).get_backend_name() == "sqlite":
        return _sqlite_engine(url)
    from nearcast.store.pg_arrays import teach  # psycopg only where PostgreSQL is

    engine = sa.create_engine(url, pool_pre_ping=True, isolation_level="READ COMMITTED", **_JSON)
    sa.event.listen(engine, "connect", lambda connection, _: teach(connection))
    with engine.connect() as conn:
        setting = conn.exec_driver_sql("show synchronous_commit").scalar()
    if setting == "off":
        engine.dispose()
        raise UnsafeDatabase(
            "PostgreSQL runs with synchronous_commit=off: acknowledged pings could be lost. "
            "Set it to on for this database."
        )
    return engine


def _sqlite_engine(url: str) -> sa.Engine:
    engine = sa.create_engine(url, connect_args={"check_same_thread": False}, **_JSON)

    @sa.event.listens_for(engine, "connect")
    def open_(dbapi_connection: _DriverConnection, _: ConnectionPoolEntry) -> None:
        dbapi_connection.isolation_level = None  # we say BEGIN ourselves, see below
        for pragma in (
            "journal_mode=wal",
            "synchronous=full",
            "foreign_keys=on",
            f"busy_timeout={BUSY_TIMEOUT_MS}",
            "cache_size=-65536",
            "temp_store=memory",
            "wal_autocheckpoint=8000",  # 32 MB: a group of pings writes some four
        ):
            dbapi_connection.execute(f"pragma {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin(conn: sa.Connection) -> None:
        # a deferred transaction that turns into a writer half-way fails without waiting
        reading = conn.get_execution_options().get("nearcast_reading", False)
        conn.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    # SQLite lets one writer in at a time and has the others poll: within a process they queue here
    return engine.execution_options(nearcast_writer=threading.Lock())


def in_transaction(
    engine: sa.Engine, verb: Callable[[sa.Connection], T], *, held: sa.Connection | None = None
) -> T:
    """Run a verb in one transaction; take it again when another one won the race.

    The verb must be pure up to commit: it may run several times, its effect happens once.

    Args:
        held: a connection that the caller keeps for this; else one of the pool.
    """
    writer = engine.get_execution_options().get("nearcast_writer", nullcontext())
    for attempt in range(ATTEMPTS):
        try:
            with writer, _begun(engine, held) as conn:
                return verb(conn)
        except (Conflict, sa.exc.OperationalError, sa.exc.IntegrityError) as error:
            if attempt == ATTEMPTS - 1 or not _may_retry(error):
                raise
            time.sleep(0.002 * (attempt + 1))
    raise Conflict  # not reached: the last attempt returns or raises


@contextmanager
def _begun(engine: sa.Engine, held: sa.Connection | None) -> Iterator[sa.Connection]:
    if held is None:
        with engine.begin() as conn:
            yield conn
    else:
        with held.begin():
            yield held


def reading(engine: sa.Engine, verb: Callable[[sa.Connection], T]) -> T:
    """Run a verb that only reads, on one consistent view of the database."""
    options: dict[str, Any] = {"nearcast_reading": True}
    if engine.dialect.name == "postgresql":  # else each statement would see a moment of its own
        options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with engine.connect().execution_options(**options) as conn:
        return verb(conn)


def _may_retry(error: Exception) -> bool:
    if isinstance(error, Conflict):
        return True
    origin = getattr(error, "orig", None)
    if isinstance(origin, sqlite3.OperationalError):
        return origin.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return getattr(origin, "sqlstate", None) in _RETRYABLE_SQLSTATES


def passes(error: BaseException) -> bool:
    """Whether a fault of the database may be over in a while: it is away, busy or full.

    Others, such as a text too long for an index, come again however often the verb is taken.
    """
    if not isinstance(error, (sa.exc.OperationalError, sa.exc.InterfaceError)):
        return isinstance(error, sa.exc.TimeoutError)  # no connection was free
    origin = error.orig
    if isinstance(origin, sqlite3.Error):
        return getattr(origin, "sqlite_errorcode", None) != sqlite3.SQLITE_ERROR  # wrong SQL
    state = getattr(origin, "sqlstate", None)  # None: the server did not answer
    return state is None or state.startswith(_PASSING_SQLSTATES)


def among(
    conn: sa.Connection, column: sa.ColumnElement[Any], values: Sequence[int] | Sequence[str]
) -> sa.ColumnElement[bool]:
    """`column in values` as one bound parameter, for any number of values."""
    if conn.dialect.name == "postgresql":
        kind = sa.Text() if isinstance(column.type, sa.Text) else sa.BigInteger()
        return column == sa.any_(sa.bindparam(None, list(values), postgresql.ARRAY(kind)))
    listed = sa.func.json_each(sa.bindparam(None, list(values), sa.JSON)).table_valued("value")
    return column.in_(sa.select(listed.c.value))


def locked(conn: sa.Connection, query: sa.Select[Any]) -> sa.Select[Any]:
    """The query with its rows locked; SQLite's one writer needs no row locks."""
    return query if conn.dialect.name == "sqlite" else query.with_for_update()


def insert_new(conn: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> int:
    """Insert rows, leaving out those whose key stands already; returns how many were new."""
    if not rows:
        return 0
    first_key = next(iter(table.primary_key))
    statement = _insert(conn, table).on_conflict_do_nothing().returning(first_key)
    return len(conn.execute(statement, [dict(row) for row in rows]).all())


def upsert(conn: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Insert rows; where the primary key stands already, overwrite the other columns given."""
    if not rows:
        return
    statement = _insert(conn, table)
    keys = [column.name for column in table.primary_key]
    rest = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    conn.execute(
        statement.on_conflict_do_update(index_elements=keys, set_=rest),
        [dict(row) for row in rows],
    )


def delete_keys(conn: sa.Connection, table: sa.Table, keys: Iterable[Row]) -> None:
    """Delete rows by the columns named in the keys, as one batch."""
    listed = list(keys)
    if listed:
        clause = [table.c[name] == sa.bindparam(f"k_{name}") for name in listed[0]]
        conn.execute(
            sa.delete(table).where(*clause),
            [{f"k_{name}": value for name, value in key.items()} for key in listed],
        )


def _insert(conn: sa.Connection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    if conn.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)
