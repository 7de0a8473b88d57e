"""Columns to rows: many rows of one table by one statement, without an object a row.

SQLite takes them by `executemany`, PostgreSQL as one array a column through `unnest`; numbers go there
in the server's own binary form, straight from NumPy. A group of pings is written by these alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from nearcast.store.engine import json_text

Column = NDArray[Any] | Sequence[Any]
Columns = Mapping[str, Column]

#: PostgreSQL's array, element type and its serial number in the catalogue, by our column types
_KINDS: tuple[tuple[type[sa.types.TypeEngine[Any]], str, int], ...] = (
    (sa.BigInteger, "int8", 20),
    (sa.Integer, "int4", 23),
    (sa.Float, "float8", 701),
    (sa.Boolean, "bool", 16),
    (sa.LargeBinary, "bytea", 17),
    (sa.Text, "text", 25),
)
_FIXED = {
    "int8": np.dtype([("size", ">i4"), ("value", ">i8")]),
    "int4": np.dtype([("size", ">i4"), ("value", ">i4")]),
    "float8": np.dtype([("size", ">i4"), ("value", ">f8")]),
    "bool": np.dtype([("size", ">i4"), ("value", "u1")]),
}
_HEAD = np.dtype([("dimensions", ">i4"), ("nulls", ">i4"), ("oid", ">i4"), ("n", ">i4"), ("low", ">i4")])


def insert_columns(conn: sa.Connection, table: sa.Table, columns: Columns) -> int:
    """Insert rows whose key may stand already: those are left as they are.

    Args:
        columns: name → values, all of one length, in the order of the primary key.
    Returns:
        How many rows were new.
    """
    return _write(conn, table, columns, _insert)


def upsert_columns(conn: sa.Connection, table: sa.Table, columns: Columns) -> None:
    """Insert rows; where the primary key stands already, overwrite the other columns given."""
    _write(conn, table, columns, _upsert)


def update_columns(conn: sa.Connection, table: sa.Table, columns: Columns) -> None:
    """Overwrite the columns given of rows that stand already, found by their primary key."""
    _write(conn, table, columns, _update)


def delete_columns(conn: sa.Connection, table: sa.Table, columns: Columns) -> None:
    """Delete the rows of these keys."""
    _write(conn, table, columns, _delete)


Listed = Sequence[int] | Sequence[str] | NDArray[np.int64]


def rows_of(conn: sa.Connection, statement: str, *values: int | str | bytes) -> list[tuple[Any, ...]]:
    """The rows of a small query that is asked for each group of pings, as the driver gives them.

    Args:
        statement: with a `?` for each value.
    """
    if conn.dialect.name == "postgresql":
        statement = statement.replace("?", "%s")
    with _driver(conn, statement) as driver:
        return list(driver.execute(statement, values).fetchall())


def select_rows(conn: sa.Connection, statement: str, *listed: Listed) -> list[tuple[Any, ...]]:
    """The rows of a query with bound lists of integers or texts, as the driver gives them.

    Args:
        statement: names the lists by `:listed`, a table with the columns `k0`, `k1` …
        listed: its columns, all of one length; one that begins with a text holds texts.
    """
    if conn.dialect.name == "postgresql":
        kinds = ["text" if len(c) and isinstance(c[0], str) else "int8" for c in listed]
        names = ", ".join(f"k{n}" for n in range(len(listed)))
        arrays = ", ".join(f"%b::{kind}[]" for kind in kinds)
        text = statement.replace(":listed", f"unnest({arrays}) listed({names})")
        values = [
            _array(np.asarray(c) if kind == "int8" else c, kind)
            for c, kind in zip(listed, kinds, strict=True)
        ]
        with _driver(conn, text) as driver, driver.cursor(binary=True) as cursor:
            return list(cursor.execute(text, values).fetchall())
    text, bound = _json_listed(statement, [_plain(column) for column in listed])
    with _driver(conn, text) as driver:
        return list(driver.execute(text, (bound,)).fetchall())


def _json_listed(statement: str, listed: Sequence[Sequence[Any]]) -> tuple[str, str]:
    """SQLite's statement and the one text bound to it."""
    if len(listed) == 1:
        table, bound = "(select value k0 from json_each(?))", json_text(listed[0])
    else:
        names = ", ".join(f"value ->> {n} k{n}" for n in range(len(listed)))
        table = f"(select {names} from json_each(?))"
        bound = json_text(list(zip(*listed, strict=True)))
    return statement.replace(":listed", table), bound


def _write(
    conn: sa.Connection,
    table: sa.Table,
    columns: Columns,
    statement_of: Callable[[sa.Table, tuple[str, ...], str], str],
) -> int:
    rows = len(next(iter(columns.values())))
    if not rows:
        return 0
    names = tuple(columns)
    if conn.dialect.name == "postgresql":
        kinds = [_kind(table.c[name]) for name in names]
        values = [_array(columns[n], kind) for n, kind in zip(names, kinds, strict=True)]
        text = statement_of(table, names, conn.dialect.name)
        with _driver(conn, text) as driver, driver.cursor() as cursor:
            return int(cursor.execute(text, values).rowcount)
    listed = [_plain(columns[name]) for name in _order(table, names, statement_of)]
    text = statement_of(table, names, conn.dialect.name)
    with _driver(conn, text) as driver:
        return int(driver.executemany(text, zip(*listed, strict=True)).rowcount)


def _order(table: sa.Table, names: tuple[str, ...], statement_of: object) -> Sequence[str]:
    """The order of the marks in SQLite's statement: an update names its keys last."""
    keys = [name for name in names if table.c[name].primary_key]
    return [*(n for n in names if n not in keys), *keys] if statement_of is _update else names


@lru_cache(maxsize=256)
def _insert(table: sa.Table, names: tuple[str, ...], dialect: str) -> str:
    listed = ", ".join(map(_quoted, names))
    source = _source(table, names, dialect)
    return f"insert into {_quoted(table.name)} ({listed}) {source} on conflict do nothing"


@lru_cache(maxsize=256)
def _upsert(table: sa.Table, names: tuple[str, ...], dialect: str) -> str:
    keys = ", ".join(_quoted(column.name) for column in table.primary_key)
    rest = [_quoted(name) for name in names if not table.c[name].primary_key]
    sets = ", ".join(f"{name} = excluded.{name}" for name in rest)
    return _insert(table, names, dialect).replace(
        "on conflict do nothing", f"on conflict ({keys}) do update set {sets}"
    )


@lru_cache(maxsize=256)
def _update(table: sa.Table, names: tuple[str, ...], dialect: str) -> str:
    keys = [_quoted(name) for name in names if table.c[name].primary_key]
    rest = [_quoted(name) for name in names if not table.c[name].primary_key]
    into = _quoted(table.name)
    if dialect == "sqlite":
        sets = ", ".join(f"{name} = ?" for name in rest)
        return f"update {into} set {sets} where " + " and ".join(f"{name} = ?" for name in keys)
    sets = ", ".join(f"{name} = new.{name}" for name in rest)
    found = " and ".join(f"{into}.{name} = new.{name}" for name in keys)
    return f"update {into} set {sets} from {_arrays(table, names)} where {found}"


@lru_cache(maxsize=256)
def _delete(table: sa.Table, names: tuple[str, ...], dialect: str) -> str:
    into = _quoted(table.name)
    if dialect == "sqlite":
        return f"delete from {into} where " + " and ".join(f"{_quoted(name)} = ?" for name in names)
    found = " and ".join(f"{into}.{_quoted(name)} = new.{_quoted(name)}" for name in names)
    return f"delete from {into} using {_arrays(table, names)} where {found}"


def _source(table: sa.Table, names: tuple[str, ...], dialect: str) -> str:
    if dialect == "postgresql":
        return f"select * from {_arrays(table, names)}"
    return "values (" + ", ".join("?" * len(names)) + ")"


def _arrays(table: sa.Table, names: tuple[str, ...]) -> str:
    typed = ", ".join(f"%b::{_kind(table.c[name])}[]" for name in names)
    return f"unnest({typed}) new({', '.join(map(_quoted, names))})"


def _quoted(name: str) -> str:
    return f'"{name}"'


def _kind(column: sa.Column[Any]) -> str:
    return next(kind for of, kind, _ in _KINDS if isinstance(column.type, of))


def _plain(column: Column) -> Sequence[Any]:
    return column.tolist() if isinstance(column, np.ndarray) else column


def _array(column: Column, kind: str) -> Any:
    """A column as PostgreSQL's binary array (the protocol's array_send); None is NULL."""
    from nearcast.store.pg_arrays import ARRAYS  # psycopg only where PostgreSQL is

    oid = next(number for _, name, number in _KINDS if name == kind)
    nulls = not isinstance(column, np.ndarray) and any(value is None for value in column)
    head = np.array([(1, int(nulls), oid, len(column), 1)], _HEAD).tobytes()
    if not nulls and kind in _FIXED:
        packed = np.empty(len(column), _FIXED[kind])
        packed["size"] = _FIXED[kind]["value"].itemsize
        packed["value"] = column
        return ARRAYS[kind](head + packed.tobytes())
    return ARRAYS[kind](head + b"".join(_elements(_plain(column), kind)))


def _elements(values: Sequence[Any], kind: str) -> Iterator[bytes]:
    if kind == "text":
        values = [None if value is None else value.encode() for value in values]
    elif kind in _FIXED:
        value_of = _FIXED[kind]["value"]
        values = [None if v is None else np.array(v, value_of).tobytes() for v in values]
    pairs = ((b"\xff\xff\xff\xff", b"") if v is None else (len(v).to_bytes(4, "big"), v) for v in values)
    return chain.from_iterable(pairs)


@contextmanager
def _driver(conn: sa.Connection, statement: str) -> Iterator[Any]:
    """The driver's own connection; its errors come as SQLAlchemy's, which `in_transaction` knows."""
    driver: Any = conn.connection.driver_connection
    foreign = conn.dialect.loaded_dbapi.Error
    try:
        yield driver
    except foreign as error:
        raise sa.exc.DBAPIError.instance(statement, None, error, foreign) from error
