"""Columns to rows on both databases: every type, nulls, keys that stand, faults."""

from __future__ import annotations

import numpy as np
import pytest
import sqlalchemy as sa

from nearcast.store.columns import (
    delete_columns,
    insert_columns,
    select_rows,
    update_columns,
    upsert_columns,
)
from nearcast.store.engine import in_transaction
from nearcast.store.tables import presence, send_slot, visit

EXTREMES = np.array([-(2**63), -1, 0, 1, 2**53 + 1, 2**63 - 1], np.int64)
_SELECT = "select device_id, inside, told_ms, out_lon, evidence from presence"


def _stays(n: int, **changed: object) -> dict[str, object]:
    numbers = np.arange(n, dtype=np.int64)
    columns: dict[str, object] = {"device_id": numbers, "fence_id": numbers + 7}
    columns |= {"inside": np.arange(n) % 2 == 0}
    columns |= dict.fromkeys(("told_ms", "arrived_ms", "left_ms"), numbers)
    columns |= dict.fromkeys(("fixes", "p_sum", "out_first_ms", "out_last_ms"), numbers)
    columns |= {"out_fixes": numbers, "out_far": numbers}
    columns |= {"out_lon": numbers / 3, "out_lat": -numbers / 3}
    columns |= {"evidence": [bytes([i % 256]) * (i % 5) for i in range(n)]}
    return columns | changed


def test_every_type_comes_back_as_it_went(engine: sa.Engine) -> None:
    n = len(EXTREMES)
    rows = _stays(n, told_ms=EXTREMES, out_lon=np.array([np.pi, -0.0, 1e308, -180, 5e-324, 37.5]))
    assert in_transaction(engine, lambda conn: insert_columns(conn, presence, rows)) == n
    found = in_transaction(
        engine,
        lambda conn: select_rows(
            conn,
            f"{_SELECT} where device_id in (select value from :listed) order by device_id",
            np.arange(n),
        ),
    )
    assert [row[0] for row in found] == list(range(n))
    assert [bool(row[1]) for row in found] == [True, False] * (n // 2)
    assert [row[2] for row in found] == EXTREMES.tolist()
    assert [row[3] for row in found] == rows["out_lon"].tolist()  # type: ignore[union-attr]
    assert [bytes(row[4]) for row in found] == rows["evidence"]


def test_rows_that_stand_are_left_and_counted(engine: sa.Engine) -> None:
    def verb(conn: sa.Connection) -> tuple[int, int]:
        first = insert_columns(conn, presence, _stays(3))
        return first, insert_columns(conn, presence, _stays(5, told_ms=np.full(5, 99)))

    assert in_transaction(engine, verb) == (3, 2)
    with engine.connect() as conn:
        told = conn.execute(sa.select(presence.c.told_ms).order_by(presence.c.device_id)).scalars().all()
    assert told == [0, 1, 2, 99, 99]


def test_an_update_changes_only_what_it_names(engine: sa.Engine) -> None:
    def verb(conn: sa.Connection) -> None:
        insert_columns(conn, presence, _stays(4))
        keys = {"device_id": np.array([1, 3]), "fence_id": np.array([8, 10])}
        update_columns(conn, presence, {"left_ms": np.array([70, 80]), **keys})

    in_transaction(engine, verb)
    with engine.connect() as conn:
        rows = conn.execute(
            sa.select(presence.c.left_ms, presence.c.told_ms).order_by(presence.c.device_id)
        ).all()
    assert [tuple(row) for row in rows] == [(0, 0), (70, 1), (2, 2), (80, 3)]


def test_upsert_and_delete_go_by_the_key(engine: sa.Engine) -> None:
    keys = {"device_id": np.array([1, 1, 2]), "fence_id": np.array([5, 6, 5])}
    ends = {"arrived_ms": np.array([10, 10, 10]), "left_ms": np.array([11, 12, 13])}
    rest = {"fixes": np.array([1, 1, 1]), "p_sum": np.array([255, 254, 253])}

    def verb(conn: sa.Connection) -> None:
        upsert_columns(conn, visit, keys | ends | rest)
        upsert_columns(conn, visit, keys | ends | rest | {"fixes": np.array([2, 3, 4])})
        first = {name: values[:1] for name, values in keys.items()}
        delete_columns(conn, visit, first | {"arrived_ms": np.array([10])})

    in_transaction(engine, verb)
    with engine.connect() as conn:
        rows = conn.execute(
            sa.select(visit.c.device_id, visit.c.fence_id, visit.c.fixes).order_by(visit.c.device_id)
        ).all()
    assert [tuple(row) for row in rows] == [(1, 6, 3), (2, 5, 4)]


def test_texts_may_be_missing_and_of_any_script(engine: sa.Engine) -> None:
    def verb(conn: sa.Connection) -> list[tuple[object, ...]]:
        conn.exec_driver_sql("create table t (id bigint primary key, name text)")
        table = sa.Table("t", sa.MetaData(), sa.Column("id", sa.BigInteger, primary_key=True))
        table.append_column(sa.Column("name", sa.Text))
        insert_columns(conn, table, {"id": [1, 2, 3], "name": ["강남", None, "a'\"\\{},"]})
        found = select_rows(
            conn, "select id, name from t where id in (select value from :listed) order by id", [1, 2, 3]
        )
        conn.exec_driver_sql("drop table t")
        return found

    assert in_transaction(engine, verb) == [(1, "강남"), (2, None), (3, "a'\"\\{},")]


def test_nothing_to_write_is_no_statement(engine: sa.Engine) -> None:
    empty = {name: np.empty(0, np.int64) for name in ("device_id", "fence_id")}
    assert in_transaction(engine, lambda conn: insert_columns(conn, presence, empty)) == 0


def test_a_fault_of_the_driver_comes_as_the_engines(engine: sa.Engine) -> None:
    rows = {"campaign_id": [404], "person": ["d:1"], "window": ["period"], "taken_ms": [0]}
    with engine.connect() as conn, conn.begin(), pytest.raises(sa.exc.IntegrityError):
        insert_columns(conn, send_slot, rows)  # no such campaign
