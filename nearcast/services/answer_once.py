"""One effect a key: a repeated request with the same Idempotency-Key gets the first answer (quality Q2).

A key is claimed in a transaction of its own, so that others see it at work; its answer commits together
with the effect, so that a crash leaves both or neither.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from nearcast.services.errors import IdempotencyKeyReused, StillRunning
from nearcast.store import idempotency
from nearcast.store.engine import Conflict, in_transaction

KEPT_MS = 24 * 3_600_000  # quality Q2
#: a claim older than this without an answer is that of a process that died
ABANDONED_MS = 60_000


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a request got: its HTTP status and body."""

    status: int
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A key held by a request."""

    workspace_id: int
    key: str
    claimed_ms: int


def answer_once(
    engine: sa.Engine,
    verb: Callable[[sa.Connection], Answer],
    *,
    workspace_id: int,
    key: str,
    request_digest: bytes,
    now_ms: int,
) -> Answer:
    """Run a verb once a key; give the first answer again for 24 h.

    Args:
        now_ms: the wall's time, not the replay clock's.
    Raises:
        IdempotencyKeyReused: the key came before with another request.
        StillRunning: the first request with this key is still at work.
    """
    claimed = in_transaction(
        engine, lambda conn: _claim(conn, workspace_id, key, request_digest, now_ms)
    )
    if isinstance(claimed, Answer):
        return claimed
    try:
        return in_transaction(engine, lambda conn: _run(conn, verb, claimed))
    except BaseException:
        # nothing was changed: the key is free for the request as the caller mends it
        in_transaction(engine, lambda conn: _release(conn, claimed))
        raise


def forget_answers(conn: sa.Connection, *, now_ms: int) -> int:
    """Drop the answers that are kept no longer; the worker calls it now and then.

    Returns how many keys were forgotten. `now_ms` is the wall's time, as in `answer_once`.
    """
    return idempotency.forget(conn, before_ms=now_ms - KEPT_MS)


def _claim(
    conn: sa.Connection, workspace_id: int, key: str, request_digest: bytes, now_ms: int
) -> Claim | Answer:
    claim = Claim(workspace_id=workspace_id, key=key, claimed_ms=now_ms)
    found = idempotency.find(conn, workspace_id=workspace_id, key=key)
    if found is not None:
        answered, age_ms = found["status"] is not None, now_ms - found["created_ms"]
        if age_ms < (KEPT_MS if answered else ABANDONED_MS):
            if found["request_digest"] != request_digest:
                raise IdempotencyKeyReused
            if not answered:
                raise StillRunning
            return Answer(status=found["status"], body=found["answer"])
        idempotency.release(conn, workspace_id=workspace_id, key=key, claimed_ms=found["created_ms"])
    if not idempotency.claim(
        conn, workspace_id=workspace_id, key=key, request_digest=request_digest, now_ms=now_ms
    ):
        raise Conflict  # another request has just claimed it: look again
    return claim


def _run(conn: sa.Connection, verb: Callable[[sa.Connection], Answer], claim: Claim) -> Answer:
    answer = verb(conn)
    kept = idempotency.finish(
        conn,
        workspace_id=claim.workspace_id,
        key=claim.key,
        claimed_ms=claim.claimed_ms,
        status=answer.status,
        answer=answer.body,
    )
    if not kept:
        raise StillRunning  # taken over by a repeat while this one slept: nothing of it is kept
    return answer


def _release(conn: sa.Connection, claim: Claim) -> None:
    idempotency.release(
        conn, workspace_id=claim.workspace_id, key=claim.key, claimed_ms=claim.claimed_ms
    )
