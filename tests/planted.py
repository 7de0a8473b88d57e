"""`nearcast serve` with a bug planted into it, to see that the harness of kills finds it.

python -m tests.planted serve --port=…      NEARCAST_PLANTED names the bug

The bug is put into the serving process before it builds the application; the product knows nothing of
it. A seam that is not there any more ends the process before it is ready.
"""

from __future__ import annotations

import functools
import importlib
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import granian
import sqlalchemy as sa

TARGET = "NEARCAST_PLANTED_TARGET"
BUG = "NEARCAST_PLANTED"
#: how long a bug leaves the door open
LATE_S = 0.15

#: where ingest opens its transaction, writes its log, its evidence and its outbox
TAKES = ("api.pings.verbs", "in_transaction")
APPENDS = ("nearcast.store.ping_log", "append")
SAVES_STAYS = ("nearcast.store.stays", "save")
INSERTS_NEW = ("nearcast.store.decisions", "insert_new")


def _patch(seam: tuple[str, str], made: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    module, name = importlib.import_module(seam[0]), seam[1]
    old = getattr(module, name)
    setattr(module, name, functools.wraps(old)(made(old)))


def _cut(conn: sa.Connection) -> None:
    """Commit what was said so far and go on in a second transaction."""
    conn.exec_driver_sql("COMMIT")
    conn.exec_driver_sql("BEGIN IMMEDIATE" if conn.dialect.name == "sqlite" else "BEGIN")


def ack_before_commit() -> None:
    """The answer is worked out and given; the transaction is taken a moment later."""
    waiting: queue.SimpleQueue[tuple[Callable[..., Any], sa.Engine, Any]] = queue.SimpleQueue()

    def work() -> None:
        while True:
            take, engine, verb = waiting.get()
            time.sleep(LATE_S)
            take(engine, verb)

    threading.Thread(target=work, daemon=True).start()

    def made(take: Callable[..., Any]) -> Callable[..., Any]:
        def lazy(engine: sa.Engine, verb: Any) -> Any:
            class Undone(Exception):
                pass

            found = []

            def tried(conn: sa.Connection) -> None:
                found.append(verb(conn))
                raise Undone

            try:
                take(engine, tried)
            except Undone:
                waiting.put((take, engine, verb))
            return found[-1]

        return lazy

    _patch(TAKES, made)


def two_transactions() -> None:
    """The log is committed before the evidence is written."""

    def made(append: Callable[..., Any]) -> Callable[..., Any]:
        def twice(conn: sa.Connection, *args: Any, **more: Any) -> Any:
            found = append(conn, *args, **more)
            _cut(conn)
            return found

        return twice

    _patch(APPENDS, made)


def evidence_without_log() -> None:
    """The log's row is written when the next batch comes."""
    owed: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def made(append: Callable[..., Any]) -> Callable[..., Any]:
        def later(conn: sa.Connection, *args: Any, **more: Any) -> Any:
            while owed:
                before_args, before_more = owed.pop()
                append(conn, *before_args, **before_more)
            owed.append((args, more))

        return later

    _patch(APPENDS, made)


def outbox_outside() -> None:
    """Messages are written in a transaction after the one of their decisions."""

    def made(insert: Callable[..., Any]) -> Callable[..., Any]:
        def apart(conn: sa.Connection, table: sa.Table, rows: Any) -> Any:
            if table.name == "delivery" and rows:
                _cut(conn)
            return insert(conn, table, rows)

        return apart

    _patch(INSERTS_NEW, made)


BUGS = {
    bug.__name__: bug
    for bug in (ack_before_commit, two_transactions, evidence_without_log, outbox_outside)
}


def create() -> Any:
    """The application that the product would have served, with the bug in it."""
    BUGS[os.environ[BUG]]()
    module, _, name = os.environ[TARGET].partition(":")
    return getattr(importlib.import_module(module), name)()


class Planted(granian.Granian):
    """Serves the same in the same way, but for the bug."""

    def __init__(self, target: str, **more: Any) -> None:
        os.environ[TARGET] = target
        super().__init__(f"{__name__ if __name__ != '__main__' else 'tests.planted'}:create", **more)


if __name__ == "__main__":
    granian.Granian = Planted  # type: ignore[misc]
    from api.cli import main

    main()
