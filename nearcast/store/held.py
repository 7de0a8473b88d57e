"""A connection that a part of a process keeps for itself, with its statements and pages warm."""

from __future__ import annotations

import sqlalchemy as sa


class Held:
    """One connection, opened when it is first asked for; one thread at a time.

    It ends with its engine. A connection that has failed is to be dropped; the next call opens another.

    Args:
        autocommit: each statement stands for itself; else the caller begins and commits.
    """

    def __init__(self, engine: sa.Engine, *, autocommit: bool = False) -> None:
        self._engine = engine
        # SQLite's driver is in that mode anyway: `store/engine.py` begins by itself
        self._options = {"isolation_level": "AUTOCOMMIT"} if autocommit and _is_postgres(engine) else {}
        self._conn: sa.Connection | None = None
        sa.event.listen(engine, "engine_disposed", lambda _: self.drop())

    def connection(self) -> sa.Connection:
        """The connection."""
        if self._conn is None or self._conn.closed:
            self._conn = self._engine.connect().execution_options(**self._options)
        return self._conn

    def drop(self) -> None:
        """Let the connection go."""
        conn, self._conn = self._conn, None
        if conn is not None and not conn.closed:
            if not conn.invalidated:
                conn.detach()  # its pool may be gone already
            conn.close()


def _is_postgres(engine: sa.Engine) -> bool:
    return engine.dialect.name == "postgresql"
