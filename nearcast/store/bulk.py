"""Many rows at once: serials taken ahead, and inserts that skip the per-row cost of the general way.

100,000 fences are saved with these in a third of the time of `sa.insert` with `RETURNING`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from nearcast.store.engine import json_text


def take_serials(conn: sa.Connection, table: sa.Table, count: int) -> list[int]:
    """`count` unused serials of a table, ascending; the caller inserts rows with them.

    On SQLite the transaction holds the one writer's lock; PostgreSQL's sequence is atomic by itself.
    """
    if count == 0:
        return []
    if conn.dialect.name == "postgresql":
        sequence = sa.func.pg_get_serial_sequence(table.name, "id")
        query = sa.select(sa.func.nextval(sequence)).select_from(sa.func.generate_series(1, count))
        return sorted(conn.execute(query).scalars())
    last: int = conn.execute(sa.select(sa.func.coalesce(sa.func.max(table.c.id), 0))).scalar_one()
    return list(range(last + 1, last + count + 1))


def insert_many(conn: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all have the same columns; an existing key is an `IntegrityError`."""
    if not rows:
        return
    names = [name for name in rows[0] if not isinstance(table.c[name].type, sa.JSON)]
    json_names = [name for name in rows[0] if isinstance(table.c[name].type, sa.JSON)]
    plain = itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)
    values = [(*plain(row), *(json_text(row[name]) for name in json_names)) for row in rows]
    names += json_names
    quote = conn.dialect.identifier_preparer.quote
    listed = ", ".join(quote(name) for name in names)
    into = conn.dialect.identifier_preparer.format_table(table)
    if conn.dialect.name == "postgresql":
        _copy(conn, f"copy {into} ({listed}) from stdin", values)
        return
    marks = ", ".join("?" * len(names))
    conn.exec_driver_sql(f"insert into {into} ({listed}) values ({marks})", values)


def _copy(conn: sa.Connection, statement: str, values: Sequence[tuple[Any, ...]]) -> None:
    import psycopg  # only where PostgreSQL is

    driver: Any = conn.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in values:
                copy.write_row(row)
    except psycopg.Error as error:  # as SQLAlchemy raises it: in_transaction knows what to do
        raise sa.exc.DBAPIError.instance(statement, None, error, psycopg.Error) from error
