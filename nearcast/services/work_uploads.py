"""Work off the uploads that wait: lease one, do its step, go on until there is none."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from geo.errors import NearcastError
from geo.fences.limits import MAX_RADIUS_M
from geo.fences.refusals import ShapeRefused
from geo.sheets.problems import SheetRefused
from nearcast.services import upload_steps
from nearcast.services.clocks import Clock
from nearcast.services.upload_job import LEASE_MS, Job, Told, kept_alive, wall_ms
from nearcast.services.upload_steps import ChangedSinceCheck
from nearcast.store import uploads
from nearcast.store.engine import in_transaction, passes, reading
from nearcast.store.uploads import LeaseLost, UploadState

#: a step whose process died so often is given up: the file may be what kills it
MAX_ATTEMPTS = 3

#: upload's serial, the state that was worked on, seconds, what went wrong
Ended = Callable[[int, UploadState, float, Exception | None], None]


class GaveUp(NearcastError):
    """The process that worked on this file ended three times in the midst of it. Split the file."""

    code = "gave_up"
    korean = "이 파일을 처리하던 중 세 번 멈췄어요. 파일을 나누어 다시 올려 주세요."


def work_off(
    engine: sa.Engine,
    clock: Clock,
    *,
    only: int | None = None,
    max_radius_m: float = MAX_RADIUS_M,
    told: Told | None = None,
    ended: Ended | None = None,
) -> int:
    """Do whatever waits, the oldest first, until nothing does; returns how many steps were done.

    Args:
        only: this upload alone.
        max_radius_m: the largest radius that is taken (product F1).
        told, ended: hear of progress, and of each step's end.
    """
    holder = f"{os.getpid()}-{threading.get_ident()}-{time.time_ns()}"
    steps = 0
    while True:
        row = in_transaction(engine, lambda conn: _lease(conn, holder, only))
        if row is None:
            return steps
        job = Job(
            engine=engine,
            clock=clock,
            row=row,
            holder=holder,
            max_radius_m=max_radius_m,
            told=told,
        )
        began_s = time.monotonic()
        with kept_alive(job), _unswept():
            error = _step(job)
        if ended is not None:
            ended(job.id, UploadState(row["state"]), time.monotonic() - began_s, error)
        steps += 1


@contextmanager
def _unswept() -> Iterator[None]:
    """Without the garbage collector: looking through millions of cells for cycles takes a third of the
    time, and there are none."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def any_due(engine: sa.Engine) -> bool:
    """Whether an upload waits for a process."""
    return reading(engine, lambda conn: uploads.any_due(conn, wall_ms()))


def _lease(conn: sa.Connection, holder: str, only: int | None) -> sa.RowMapping | None:
    now_ms = wall_ms()
    until_ms = now_ms + LEASE_MS
    if only is None:
        return uploads.lease(conn, holder=holder, wall_ms=now_ms, until_ms=until_ms)
    return uploads.lease_one(conn, only, holder=holder, wall_ms=now_ms, until_ms=until_ms)


def _step(job: Job) -> Exception | None:
    """One step; whatever goes wrong becomes the upload's error, so that nothing is tried for ever.

    Only a database that is away passes through: the lease runs out, and the step is begun anew.
    """
    work, back_to = _STEPS[UploadState(job.row["state"])]
    if job.row["attempts"] >= MAX_ATTEMPTS:
        return _failed(job, back_to, GaveUp())
    try:
        work(job)
    except LeaseLost as error:
        return error
    except Exception as error:  # the border of a job: a fault of ours ends it, once
        if passes(error):
            raise
        stale = isinstance(error, ChangedSinceCheck)
        return _failed(job, UploadState.CHECKING if stale else back_to, error)
    return None


def _failed(job: Job, state: UploadState, error: Exception) -> Exception:
    values: dict[str, Any] = {"state": state, "error": error_json(error), "progress": 0.0}
    if state is UploadState.FAILED:  # what an earlier check found was found with other options
        values |= {"counts": {}, "report": {}}
    try:
        in_transaction(job.engine, lambda conn: job.finish(conn, **values))
    except LeaseLost as lost:
        return lost
    return error


def error_json(error: Exception) -> dict[str, str]:
    """Code and messages of what went wrong; of our own faults no more than that it was one."""
    if isinstance(error, (SheetRefused, ShapeRefused)):
        return {"code": error.code, "en": error.text("en"), "ko": error.text("ko")}
    if isinstance(error, NearcastError):
        korean: str | None = getattr(error, "korean", None)
        return {"code": error.code, "en": str(error), "ko": korean or str(error)}
    return {
        "code": "internal",
        "en": "Something went wrong on our side; the file was not touched. Try again.",
        "ko": "서버에 문제가 생겨 처리하지 못했어요. 파일은 그대로예요. 다시 시도해 주세요.",
    }


#: state → what is done in it, and where the upload goes back to when that fails
_STEPS: dict[UploadState, tuple[Callable[[Job], None], UploadState]] = {
    UploadState.CHECKING: (upload_steps.check, UploadState.FAILED),
    UploadState.APPLYING: (upload_steps.apply, UploadState.CHECKED),
    UploadState.UNDOING: (upload_steps.undo, UploadState.APPLIED),
}
