"""The work on uploads: check, apply and undo, each a step that ends in one transaction.

A step reads and reckons outside of any transaction, telling how far it is; what it found is written
at its end, together with the upload's new state, if the process still holds the lease. So a process
killed at any moment leaves the upload before the step, and the next process begins it anew.
"""

from __future__ import annotations

import gc
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from campaigns.campaign.plans import Feature, Plan
from geo.errors import NearcastError
from geo.fences.columns import read_sheets, review_sheets
from geo.fences.fence import Fence
from geo.fences.refusals import ShapeRefused
from geo.sheets.changes import State
from geo.sheets.headings import row_signature
from geo.sheets.problems import SheetRefused
from geo.sheets.table import HEADING_WITHIN_ROWS, Table
from nearcast.services import upload, upload_lines
from nearcast.services.clocks import Clock
from nearcast.services.edit_fences import Wanted, delete_fences, require_plan, save_fences
from nearcast.services.ids import public
from nearcast.services.upload_lines import Done, Line
from nearcast.services.upload_options import UploadOptions
from nearcast.services.upload_report import report_of
from nearcast.store import fences, groups, uploads, workspaces
from nearcast.store.engine import in_transaction, reading
from nearcast.store.fences import StoredFence
from nearcast.store.sandbox import read_file
from nearcast.store.uploads import LeaseLost, UploadState

#: a dead process's work is taken over after this (quality Q9)
LEASE_MS = 30_000
HEARTBEAT_S = 8.0
#: how often progress is written
TELL_EVERY_S = 0.3

#: upload's serial, stage, share of the work done
Told = Callable[[int, str, float], None]
#: upload's serial, the state that was worked on, seconds, what went wrong
Ended = Callable[[int, UploadState, float, Exception | None], None]


class ChangedSinceCheck(NearcastError):
    """Fences that this file means were edited since it was checked. See what it would do now."""

    code = "changed_since_check"
    korean = "확인한 뒤에 이 파일과 관련된 지오펜스가 바뀌었어요. 달라진 결과를 다시 확인해 주세요."


@dataclass(kw_only=True)
class Job:
    """One upload in the hands of this process.

    Attributes:
        row: the upload as it was leased.
        told: hears of progress as well, in the same process: a bar on a terminal.
    """

    engine: sa.Engine
    clock: Clock
    row: sa.RowMapping
    holder: str
    told: Told | None = None
    stage: str = "waiting"
    progress: float = 0.0
    _written_s: float = field(default=0.0)

    @property
    def id(self) -> int:
        """The upload's serial."""
        return int(self.row["id"])

    @property
    def workspace_id(self) -> int:
        """The workspace the fences belong to."""
        return int(self.row["workspace_id"])

    @property
    def options(self) -> UploadOptions:
        """What the user says about the file."""
        return UploadOptions.from_json(self.row["options"])

    def say(self, stage: str, progress: float) -> None:
        """Note how far the work is; written at most every 0.3 s. Raises `LeaseLost`."""
        self.stage, self.progress = stage, progress
        if self.told is not None:
            self.told(self.id, stage, progress)
        if time.monotonic() - self._written_s >= TELL_EVERY_S:
            self._written_s = time.monotonic()
            self.beat()

    def beat(self) -> None:
        """Keep the lease. Raises `LeaseLost`."""
        in_transaction(
            self.engine,
            lambda conn: uploads.say(
                conn,
                self.id,
                holder=self.holder,
                stage=self.stage,
                progress=self.progress,
                until_ms=_wall_ms() + LEASE_MS,
            ),
        )

    def finish(self, conn: sa.Connection, **values: Any) -> None:
        """End the step in a transaction. Raises `LeaseLost`, which undoes it."""
        now_ms = self.clock.now_ms()
        uploads.finish(conn, self.id, holder=self.holder, now_ms=now_ms, **values)


def work_off(
    engine: sa.Engine,
    clock: Clock,
    *,
    only: int | None = None,
    told: Told | None = None,
    ended: Ended | None = None,
) -> int:
    """Do whatever waits, the oldest first, until nothing does; returns how many steps were done.

    Args:
        only: this upload alone.
        told, ended: hear of progress, and of each step's end.
    """
    holder = f"{os.getpid()}-{threading.get_ident()}-{time.time_ns()}"
    steps = 0
    while True:
        row = in_transaction(engine, lambda conn: _lease(conn, holder, only))
        if row is None:
            return steps
        job = Job(engine=engine, clock=clock, row=row, holder=holder, told=told)
        began_s = time.monotonic()
        with _kept_alive(job), _unswept():
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
    return reading(engine, lambda conn: uploads.any_due(conn, _wall_ms()))


def _lease(conn: sa.Connection, holder: str, only: int | None) -> sa.RowMapping | None:
    wall_ms = _wall_ms()
    until_ms = wall_ms + LEASE_MS
    if only is None:
        return uploads.lease(conn, holder=holder, wall_ms=wall_ms, until_ms=until_ms)
    return uploads.lease_one(conn, only, holder=holder, wall_ms=wall_ms, until_ms=until_ms)


@contextmanager
def _kept_alive(job: Job) -> Iterator[None]:
    """Keep the lease while a step says nothing: reading a file may take a minute."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(HEARTBEAT_S):
            try:
                job.beat()
            except (LeaseLost, sa.exc.SQLAlchemyError):
                return  # the step itself finds out when it ends

    thread = threading.Thread(target=beat, name=f"upload-{job.id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _step(job: Job) -> Exception | None:
    """One step; whatever goes wrong becomes the upload's error, so that nothing is tried for ever.

    Only a database that is away passes through: the lease runs out, and the step is begun anew.
    """
    work, back_to = _STEPS[UploadState(job.row["state"])]
    try:
        work(job)
    except LeaseLost as error:
        return error
    except sa.exc.SQLAlchemyError:
        raise
    except Exception as error:  # noqa: BLE001 - the border of a job: a fault of ours ends it, once
        stale = isinstance(error, ChangedSinceCheck)
        return _failed(job, UploadState.CHECKING if stale else back_to, error)
    return None


def _failed(job: Job, state: UploadState, error: Exception) -> Exception:
    found = error_json(error)
    try:
        in_transaction(job.engine, lambda conn: job.finish(conn, state=state, error=found, progress=0.0))
    except LeaseLost as lost:
        return lost
    return error


def error_json(error: Exception) -> dict[str, str]:
    """Code and messages of what went wrong; of our own faults no more than that it was one."""
    if isinstance(error, (SheetRefused, ShapeRefused)):
        return {"code": error.code, "en": error.text("en"), "ko": error.text("ko")}
    if isinstance(error, ChangedSinceCheck):
        return {"code": error.code, "en": str(error), "ko": error.korean}
    if isinstance(error, NearcastError):
        return {"code": error.code, "en": str(error), "ko": str(error)}
    return {
        "code": "internal",
        "en": "Something went wrong on our side; the file was not touched. Try again.",
        "ko": "서버에 문제가 생겨 처리하지 못했어요. 파일은 그대로예요. 다시 시도해 주세요.",
    }


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


# --- check ----------------------------------------------------------------------------------------


def _check(job: Job) -> None:
    body = reading(job.engine, lambda conn: uploads.file_of(conn, job.id))
    if body is None:
        raise SheetRefused("empty")
    options = job.options
    job.say("reading", 0.02)
    file = read_file(body, options=options.of_file())
    job.say("rows", 0.3)
    remembered = _remembered(job, file.tables, options)
    countries = _countries(job)
    read = read_sheets(
        file.tables,
        options=options.of_rows(countries=countries, remembered=remembered),
        progress=lambda done, total: job.say("rows", 0.3 + 0.45 * done / max(total, 1)),
    )
    job.say("comparing", 0.76)
    keys = _keys_of([fence for sheet in read for _, fence in sheet.fences])
    stored, basis = reading(job.engine, lambda conn: _meant(conn, job.workspace_id, *keys))
    review = review_sheets(read, [s.fence for s in stored])
    job.say("comparing", 0.86)
    lines = upload_lines.lines_of(review.changes, stored, read)
    sources = {
        t.sheet: "given" if options.maps(t.sheet) else "remembered"
        for t in file.tables
        if options.maps(t.sheet) or t.sheet in remembered
    }
    report = report_of(file, read, sources=sources) | {"basis": basis, "groups": sorted(keys[0])}
    parts = [part for state, found in lines.items() for part in upload_lines.packed(state.value, found)]
    counts = {state.value: len(found) for state, found in lines.items()}
    kept_error = job.row["error"] if _was_stale(job.row) else None
    job.say("keeping", 0.95)

    def verb(conn: sa.Connection) -> None:
        uploads.clear_parts(conn, job.id)
        uploads.put_parts(conn, job.id, parts)
        job.finish(
            conn,
            state=UploadState.CHECKED,
            progress=1.0,
            counts=counts,
            report=report,
            error=kept_error,
        )

    in_transaction(job.engine, verb)


def _was_stale(row: sa.RowMapping) -> bool:
    return (row["error"] or {}).get("code") == ChangedSinceCheck.code


def _remembered(
    job: Job, tables: Sequence[Table], options: UploadOptions
) -> dict[str | None, dict[str, str | None]]:
    """Sheet → how its headings were mapped before, for sheets about which the user says nothing."""
    if not options.remembered:
        return {}
    candidates = {
        table.sheet: [row_signature(row) for row in table.rows[:HEADING_WITHIN_ROWS]]
        for table in tables
        if not options.maps(table.sheet)
    }
    wanted = sorted({signature for found in candidates.values() for signature in found if signature})
    known = reading(
        job.engine,
        lambda conn: uploads.mappings(
            conn, workspace_id=job.workspace_id, kind=job.row["kind"], signatures=wanted
        ),
    )
    named = {sheet: [s for s in found if s in known] for sheet, found in candidates.items()}
    return {sheet: known[found[0]] for sheet, found in named.items() if found}


def _countries(job: Job) -> tuple[str, ...]:
    found = reading(job.engine, lambda conn: workspaces.settings(conn, job.workspace_id))
    return tuple(found.get("countries", ()))


def _keys_of(wanted: Sequence[Fence]) -> tuple[set[str], set[str]]:
    """The groups and the external ids by which fences may be meant."""
    groups_named = {group for fence in wanted for group in fence.groups}
    return groups_named, {fence.external_id for fence in wanted if fence.external_id}


def _meant(
    conn: sa.Connection, workspace_id: int, group_names: set[str], external_ids: set[str]
) -> tuple[list[StoredFence], str]:
    """The fences that a file may mean, and a digest of which versions they have."""
    marks = fences.marks_meant(
        conn, workspace_id=workspace_id, groups=sorted(group_names), external_ids=sorted(external_ids)
    )
    found = fences.get(conn, workspace_id=workspace_id, fence_ids=list(marks)) if marks else {}
    return [found[fence_id] for fence_id in sorted(found)], _digest(marks)


def _digest(marks: dict[int, int]) -> str:
    said = ",".join(f"{fence_id}:{version}" for fence_id, version in sorted(marks.items()))
    return hashlib.sha256(said.encode()).hexdigest()


# --- apply ----------------------------------------------------------------------------------------


def _apply(job: Job) -> None:
    job.say("preparing", 0.02)
    lines = reading(
        job.engine,
        lambda conn: {
            state: [line for _, line in upload_lines.kept(conn, job.id, state)]
            for state in State
            if state is not State.REFUSED
        },
    )
    report = job.row["report"]
    ids = {line.external_id for found in lines.values() for line in found if line.row is not None}
    ids.discard(None)
    changed = [*lines[State.CHANGED], *lines[State.NEW]]
    wanted = []
    for n, line in enumerate(changed):
        fence = line.fence
        wanted.append((line, fence, upload_lines.area_km2(fence.shape)))
        if n % 1_000 == 0:
            job.say("preparing", 0.05 + 0.45 * n / len(changed))
    gone = lines[State.MISSING] if job.options.missing == "delete" else []
    job.say("saving", 0.5)

    def verb(conn: sa.Connection) -> None:
        marks = fences.marks_meant(
            conn,
            workspace_id=job.workspace_id,
            groups=report["groups"],
            external_ids=sorted(key for key in ids if key is not None),
        )
        if _digest(marks) != report["basis"]:
            raise ChangedSinceCheck
        there = {row["name"] for row in groups.listed(conn, job.workspace_id)}
        done = _write(conn, job, wanted, gone)
        uploads.put_parts(conn, job.id, upload_lines.packed(uploads.DONE, done))
        _remember(conn, job)
        _note(conn, job, "upload.applied", done)
        job.finish(
            conn,
            state=UploadState.APPLIED,
            progress=1.0,
            report=report | {"groups_made": sorted(set(report["groups"]) - there)},
            applied_ms=job.clock.now_ms(),
            undone_ms=None,
            error=None,
        )

    in_transaction(job.engine, verb)


def _write(
    conn: sa.Connection,
    job: Job,
    wanted: Sequence[tuple[Line, Fence, float]],
    gone: Sequence[Line],
) -> list[Done]:
    """Save and delete; what was done to each fence."""
    now_ms, actor = job.clock.now_ms(), job.row["actor"]
    plan = Plan(workspaces.get(conn, job.workspace_id)["plan"])
    require_plan(plan, Feature.UPLOAD)
    there = [line.fence_id for line, *_ in wanted if line.fence_id] + [line.fence_id for line in gone]
    before = fences.get(conn, workspace_id=job.workspace_id, fence_ids=there) if there else {}
    saved = save_fences(
        conn,
        [
            Wanted(fence=fence, area_km2=area, before=before.get(line.fence_id))
            for line, fence, area in wanted
        ],
        workspace_id=job.workspace_id,
        plan=plan,
        now_ms=now_ms,
        actor=actor,
    )
    leaving = [before[line.fence_id] for line in gone]
    delete_fences(conn, leaving, workspace_id=job.workspace_id, now_ms=now_ms, actor=actor)
    changed = [
        Done(s.fence_id, line.version, s.version)
        for (line, *_), s in zip(wanted, saved, strict=True)
        if s.version != line.version
    ]
    return changed + [Done(s.id, s.version, s.version, True) for s in leaving]


def _remember(conn: sa.Connection, job: Job) -> None:
    """Keep the mappings that the user gave, for the next file with these headings."""
    options = job.options
    for sheet in job.row["report"]["sheets"]:
        if sheet["mapping_source"] == "given" and sheet["signature"]:
            uploads.remember_mapping(
                conn,
                workspace_id=job.workspace_id,
                kind=job.row["kind"],
                signature=sheet["signature"],
                mapping=options.sheet_mappings.get(sheet["name"], options.mapping),
                now_ms=job.clock.now_ms(),
            )


def _note(conn: sa.Connection, job: Job, action: str, done: Sequence[Done]) -> None:
    workspaces.note(
        conn,
        workspace_id=job.workspace_id,
        at_ms=job.clock.now_ms(),
        actor=job.row["actor"],
        action=action,
        what=public("upl", job.id),
        detail={"file": job.row["file_name"], "fences": len(done)},
    )


# --- undo -----------------------------------------------------------------------------------------


def _undo(job: Job) -> None:
    job.say("undoing", 0.1)
    leave_edited = bool(job.row["report"].get("leave_edited"))

    def verb(conn: sa.Connection) -> None:
        review = upload.review_undo(conn, job.id, workspace_id=job.workspace_id)
        upload.refuse_undo(review, leave_edited=leave_edited)
        done = upload_lines.done(conn, job.id)
        _bring_back(conn, job, review)
        _drop_empty_groups(conn, job)
        _note(conn, job, "upload.undone", done)
        job.finish(
            conn,
            state=UploadState.UNDONE,
            progress=1.0,
            undone_ms=job.clock.now_ms(),
            error=None,
        )

    in_transaction(job.engine, verb)


def _bring_back(conn: sa.Connection, job: Job, review: upload.UndoReview) -> None:
    now_ms, actor = job.clock.now_ms(), job.row["actor"]
    fences.revive(conn, [fence_id for fence_id, _ in review.revive])
    ids = [*review.delete, *(n for n, _ in review.restore), *(n for n, _ in review.revive)]
    there = fences.get(conn, workspace_id=job.workspace_id, fence_ids=ids) if ids else {}
    delete_fences(
        conn,
        [there[fence_id] for fence_id in review.delete],
        workspace_id=job.workspace_id,
        now_ms=now_ms,
        actor=actor,
    )
    revived = {fence_id for fence_id, _ in review.revive}
    old = fences.at_versions(conn, [*review.restore, *review.revive])
    save_fences(
        conn,
        [
            Wanted(
                fence=fence,
                area_km2=upload_lines.area_km2(fence.shape),
                before=there[fence_id],
                renewed=fence_id in revived,
            )
            for fence_id, fence in old.items()
        ],
        workspace_id=job.workspace_id,
        plan=Plan.PREMIUM,  # the way back stays open whatever the workspace has bought since
        now_ms=now_ms,
        actor=actor,
    )


def _drop_empty_groups(conn: sa.Connection, job: Job) -> None:
    """Groups that came with the upload go with it, unless somebody put fences into them."""
    groups.delete_empty(
        conn,
        workspace_id=job.workspace_id,
        names=job.row["report"]["groups_made"],
    )


#: state → what is done in it, and where the upload goes back to when that fails
_STEPS: dict[UploadState, tuple[Callable[[Job], None], UploadState]] = {
    UploadState.CHECKING: (_check, UploadState.FAILED),
    UploadState.APPLYING: (_apply, UploadState.CHECKED),
    UploadState.UNDOING: (_undo, UploadState.APPLIED),
}
