"""Answers of resource writes, kept for a repeated Idempotency-Key."""

from __future__ import annotations

import sqlalchemy as sa

from nearcast.store.engine import insert_new
from nearcast.store.tables import idempotency


def claim(
    conn: sa.Connection, *, workspace_id: int, key: str, request_digest: bytes, now_ms: int
) -> bool:
    """Whether the key was free; it is now held by this request, without an answer yet."""
    row = {
        "workspace_id": workspace_id,
        "key": key,
        "request_digest": request_digest,
        "status": None,
        "answer": None,
        "created_ms": now_ms,
    }
    return insert_new(conn, idempotency, [row]) == 1


def find(conn: sa.Connection, *, workspace_id: int, key: str) -> sa.RowMapping | None:
    """What is known of a key."""
    query = sa.select(idempotency).where(_is(workspace_id, key))
    return conn.execute(query).mappings().first()


def finish(
    conn: sa.Connection, *, workspace_id: int, key: str, claimed_ms: int, status: int, answer: bytes
) -> bool:
    """Keep the answer; False if another request has taken the key over since it was claimed."""
    held = _is(workspace_id, key) & (idempotency.c.created_ms == claimed_ms)
    statement = sa.update(idempotency).where(held, idempotency.c.status.is_(None))
    return conn.execute(statement.values(status=status, answer=answer)).rowcount == 1


def release(conn: sa.Connection, *, workspace_id: int, key: str, claimed_ms: int) -> None:
    """Let a key go that has this claim: its request failed and changed nothing, or is too old."""
    held = _is(workspace_id, key) & (idempotency.c.created_ms == claimed_ms)
    conn.execute(sa.delete(idempotency).where(held))


def forget(conn: sa.Connection, *, before_ms: int) -> int:
    """Drop what was claimed before an instant; returns how many keys are free again."""
    statement = sa.delete(idempotency).where(idempotency.c.created_ms < before_ms)
    return conn.execute(statement).rowcount


def _is(workspace_id: int, key: str) -> sa.ColumnElement[bool]:
    return (idempotency.c.workspace_id == workspace_id) & (idempotency.c.key == key)
