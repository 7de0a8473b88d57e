"""The store's ground: durable pragmas, retries against a real rival, and statements over many rows."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from nearcast.store.engine import (
    ATTEMPTS,
    Conflict,
    UnsafeDatabase,
    among,
    delete_keys,
    in_transaction,
    insert_new,
    locked,
    make_engine,
    reading,
    upsert,
)
from nearcast.store.tables import meta, workspace
from tests.postgres import Postgres

MANY = 50_000  # SQLite takes at most 32,766 bound values, PostgreSQL 65,535


# --- opening ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 15_000)],
)
def test_sqlite_is_opened_durably(sqlite_engine: sa.Engine, pragma: str, value: object) -> None:
    """`synchronous` 2 is FULL: with NORMAL a power cut lost acknowledged rows (quality §2)."""
    with sqlite_engine.connect() as conn:
        assert conn.exec_driver_sql(f"pragma {pragma}").scalar() == value


def test_every_connection_of_the_pool_is_durable(sqlite_engine: sa.Engine) -> None:
    looking = sqlite_engine.execution_options(nearcast_reading=True)
    with looking.connect() as one, looking.connect() as two:
        assert one.exec_driver_sql("pragma synchronous").scalar() == 2
        assert two.exec_driver_sql("pragma synchronous").scalar() == 2


def test_postgres_without_durable_commits_is_refused(postgres: Postgres) -> None:
    name = postgres.create()
    with psycopg.connect(f"host={postgres.folder} user=nearcast dbname={name}") as conn:
        conn.execute(f"alter database {name} set synchronous_commit = off")  # type: ignore[arg-type]
    with pytest.raises(UnsafeDatabase, match="synchronous_commit=off"):
        make_engine(postgres.url(name))
    postgres.drop(name)


@pytest.mark.parametrize("level", ["on", "local", "remote_write"])
def test_postgres_with_durable_commits_is_opened(postgres: Postgres, level: str) -> None:
    name = postgres.create()
    with psycopg.connect(f"host={postgres.folder} user=nearcast dbname={name}") as conn:
        conn.execute(f"alter database {name} set synchronous_commit = {level}")  # type: ignore[arg-type]
    make_engine(postgres.url(name)).dispose()
    postgres.drop(name)


# --- one transaction, taken again -------------------------------------------------------------------


def test_a_verb_commits_once_and_returns_its_value(engine: sa.Engine) -> None:
    assert in_transaction(engine, lambda conn: insert_new(conn, meta, [_pair("a", "1")])) == 1
    assert _pairs(engine) == {"a": "1"}


def test_a_verb_that_fails_leaves_nothing(engine: sa.Engine) -> None:
    def verb(conn: sa.Connection) -> None:
        insert_new(conn, meta, [_pair("a", "1")])
        raise ValueError("half-way")

    with pytest.raises(ValueError, match="half-way"):
        in_transaction(engine, verb)
    assert _pairs(engine) == {}


def test_conflict_takes_the_verb_again_from_the_start(engine: sa.Engine) -> None:
    tried: list[int] = []

    def verb(conn: sa.Connection) -> int:
        assert insert_new(conn, meta, [_pair("a", "1")]) == 1, "the try before was rolled back"
        tried.append(1)
        if len(tried) < 3:
            raise Conflict
        return len(tried)

    assert in_transaction(engine, verb) == 3
    assert _pairs(engine) == {"a": "1"}


def test_conflict_without_end_is_told(sqlite_engine: sa.Engine) -> None:
    tried: list[int] = []

    def verb(_: sa.Connection) -> None:
        tried.append(1)
        raise Conflict

    with pytest.raises(Conflict):
        in_transaction(sqlite_engine, verb)
    assert len(tried) == ATTEMPTS


def test_another_error_is_not_tried_again(engine: sa.Engine) -> None:
    tried: list[int] = []

    def verb(conn: sa.Connection) -> None:
        tried.append(1)
        conn.exec_driver_sql("select * from no_such_table")

    with pytest.raises(sa.exc.SQLAlchemyError, match="no_such_table"):
        in_transaction(engine, verb)
    assert len(tried) == 1


def test_a_busy_sqlite_is_waited_for(sqlite_engine: sa.Engine, tmp_path: Path) -> None:
    """A rival process holds the write lock; with no patience of SQLite's own, ours has to do."""
    rival = sqlite3.connect(tmp_path / "nearcast.db", isolation_level=None, check_same_thread=False)
    rival.execute("begin immediate")
    release = threading.Timer(0.05, lambda: rival.execute("rollback"))

    @sa.event.listens_for(sqlite_engine, "connect")
    def impatient(dbapi_connection: sqlite3.Connection, _: object) -> None:
        dbapi_connection.execute("pragma busy_timeout=0")

    sqlite_engine.dispose()
    with sqlite_engine.connect() as conn:  # a reader is never in the way of the writer
        assert conn.execution_options(nearcast_reading=True).execute(sa.select(meta)).all() == []
        conn.rollback()
    release.start()
    in_transaction(sqlite_engine, lambda conn: upsert(conn, meta, [_pair("a", "1")]))
    release.join()
    rival.close()
    assert _pairs(sqlite_engine) == {"a": "1"}


def test_two_writers_in_a_deadlock_both_finish(engine: sa.Engine) -> None:
    """Rows locked in opposite order: PostgreSQL ends one with 40P01, which is taken again."""
    in_transaction(engine, lambda conn: upsert(conn, meta, [_pair("a", "0"), _pair("b", "0")]))
    both = threading.Barrier(2, timeout=2)
    met: set[str] = set()

    def writer(first: str, second: str) -> None:
        def verb(conn: sa.Connection) -> None:
            _add(conn, first)
            if first not in met and conn.dialect.name == "postgresql":
                met.add(first)
                both.wait()
            _add(conn, second)

        in_transaction(engine, verb)

    with engine.connect() as conn:
        if conn.dialect.name == "postgresql":
            conn.exec_driver_sql("alter role nearcast set deadlock_timeout = '50ms'")
            conn.commit()
    engine.dispose()
    threads = [threading.Thread(target=writer, args=pair) for pair in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert _pairs(engine) == {"a": "2", "b": "2"}


def test_racing_inserts_of_one_key_happen_once(engine: sa.Engine) -> None:
    """A plain insert that loses the race is taken again, and then sees the winner's row."""
    made: list[int] = []

    def writer() -> None:
        def verb(conn: sa.Connection) -> int:
            found = conn.execute(sa.select(meta).where(meta.c.key == "a")).first()
            if found is None:
                conn.execute(sa.insert(meta).values(**_pair("a", "1")))
            return found is None

        made.append(in_transaction(engine, verb))

    threads = [threading.Thread(target=writer) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(made) == [False] * 7 + [True]


def test_reading_sees_one_state_of_the_database(sqlite_engine: sa.Engine) -> None:
    def look(conn: sa.Connection) -> tuple[int, int]:
        before = len(conn.execute(sa.select(meta)).all())
        in_transaction(sqlite_engine, lambda other: upsert(other, meta, [_pair("a", "1")]))
        return before, len(conn.execute(sa.select(meta)).all())

    assert reading(sqlite_engine, look) == (0, 0)


# --- many rows --------------------------------------------------------------------------------------


def test_among_takes_any_number_of_integers(engine: sa.Engine) -> None:
    in_transaction(engine, lambda conn: _workspaces(conn, 5))
    with engine.connect() as conn:
        wanted = [*range(3, 3 + MANY), -1, 2**62]
        query = sa.select(workspace.c.id).where(among(conn, workspace.c.id, wanted))
        assert sorted(conn.execute(query).scalars()) == [3, 4, 5]


def test_among_takes_any_number_of_texts(engine: sa.Engine) -> None:
    odd = ["강남점", "a'b", 'a"b', "a\\b", "a,b", "{a}", "NULL", "", "a" * 5_000, "1"]
    in_transaction(engine, lambda conn: insert_new(conn, meta, [_pair(k, "") for k in odd]))
    with engine.connect() as conn:
        wanted = [f"absent {n}" for n in range(MANY)] + odd
        query = sa.select(meta.c.key).where(among(conn, meta.c.key, wanted))
        assert sorted(conn.execute(query).scalars()) == sorted(odd)


def test_among_nothing_is_nothing(engine: sa.Engine) -> None:
    in_transaction(engine, lambda conn: _workspaces(conn, 1))
    with engine.connect() as conn:
        query = sa.select(workspace.c.id).where(among(conn, workspace.c.id, []))
        assert conn.execute(query).all() == []


def test_insert_new_leaves_what_stands(engine: sa.Engine) -> None:
    rows = [_pair("a", "1"), _pair("b", "1")]
    assert in_transaction(engine, lambda conn: insert_new(conn, meta, rows)) == 2
    more = [_pair("b", "2"), _pair("c", "2")]
    assert in_transaction(engine, lambda conn: insert_new(conn, meta, more)) == 1
    assert in_transaction(engine, lambda conn: insert_new(conn, meta, [])) == 0
    assert _pairs(engine) == {"a": "1", "b": "1", "c": "2"}


def test_upsert_overwrites_what_stands(engine: sa.Engine) -> None:
    in_transaction(engine, lambda conn: upsert(conn, meta, [_pair("a", "1"), _pair("b", "1")]))
    in_transaction(engine, lambda conn: upsert(conn, meta, [_pair("b", "2"), _pair("c", "2")]))
    in_transaction(engine, lambda conn: upsert(conn, meta, []))
    assert _pairs(engine) == {"a": "1", "b": "2", "c": "2"}


@pytest.mark.slow
def test_many_rows_go_at_once(engine: sa.Engine) -> None:
    rows = [_pair(f"{n:05}", "1") for n in range(MANY)]
    assert in_transaction(engine, lambda conn: insert_new(conn, meta, rows)) == MANY
    in_transaction(engine, lambda conn: delete_keys(conn, meta, ({"key": r["key"]} for r in rows)))
    assert _pairs(engine) == {}


def test_delete_keys_takes_no_keys(engine: sa.Engine) -> None:
    in_transaction(engine, lambda conn: upsert(conn, meta, [_pair("a", "1")]))
    in_transaction(engine, lambda conn: delete_keys(conn, meta, []))
    assert _pairs(engine) == {"a": "1"}


def test_locked_rows_are_locked(postgres_url: str) -> None:
    """On PostgreSQL a second reader for update has to wait; SQLite has one writer anyway."""
    engine = make_engine(postgres_url)
    in_transaction(engine, lambda conn: upsert(conn, meta, [_pair("a", "1")]))
    with engine.connect() as one, engine.connect() as two:
        one.execute(locked(one, sa.select(meta))).all()
        two.exec_driver_sql("set lock_timeout = '50ms'")
        with pytest.raises(sa.exc.OperationalError, match="lock timeout"):
            two.execute(locked(two, sa.select(meta))).all()
    engine.dispose()


def _pair(key: str, value: str) -> dict[str, str]:
    return {"key": key, "value": value}


def _pairs(engine: sa.Engine) -> dict[str, str]:
    with engine.connect() as conn:
        return {row.key: row.value for row in conn.execute(sa.select(meta))}


def _add(conn: sa.Connection, key: str) -> None:
    query = locked(conn, sa.select(meta.c.value).where(meta.c.key == key))
    value = int(conn.execute(query).scalar_one()) + 1
    conn.execute(sa.update(meta).where(meta.c.key == key).values(value=str(value)))


def _workspaces(conn: sa.Connection, count: int) -> None:
    row = {"plan": "premium", "time_zone": "Asia/Seoul", "settings": {}, "created_ms": 0}
    rows = [{"name": f"w{n}", "version": 1, **row} for n in range(count)]
    conn.execute(sa.insert(workspace), rows)
