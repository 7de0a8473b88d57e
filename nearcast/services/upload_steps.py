"""What a process does with an upload that it holds: check, apply, undo.

A step reads and reckons outside of any transaction, telling how far it is; what it found is written
at its end, together with the upload's new state, if the process still holds the lease. So a process
killed at any moment leaves the upload before the step, and the next process begins it anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from campaigns.campaign.plans import Feature, Plan
from geo.errors import NearcastError
from geo.fences.columns import read_sheets, review_sheets
from geo.fences.fence import Fence
from geo.fences.reading import ReadFences
from geo.sheets.changes import RowState
from geo.sheets.headings import row_signature
from geo.sheets.marked import is_problem_list
from geo.sheets.problems import SheetRefused
from geo.sheets.table import HEADING_WITHIN_ROWS, Table
from nearcast.services import upload, upload_lines
from nearcast.services.edit_fences import Wanted, delete_fences, require_plan, save_fences
from nearcast.services.ids import public
from nearcast.services.upload_bounds import within_bounds
from nearcast.services.upload_job import Job
from nearcast.services.upload_lines import Done, Line
from nearcast.services.upload_options import UploadOptions
from nearcast.services.upload_report import report_of
from nearcast.store import campaigns, fence_marks, fences, groups, uploads, workspaces
from nearcast.store.engine import in_transaction, reading
from nearcast.store.fences import StoredFence
from nearcast.store.sandbox import read_file
from nearcast.store.uploads import UploadState


class ChangedSinceCheck(NearcastError):
    """Fences that this file means were edited since it was checked. See what it would do now."""

    code = "changed_since_check"
    korean = "확인한 뒤에 이 파일과 관련된 지오펜스가 바뀌었어요. 달라진 결과를 다시 확인해 주세요."


# --- check ----------------------------------------------------------------------------------------


def check(job: Job) -> None:
    """Read the file, compare it with the fences that are there, keep what it would do."""
    read, report = _read(job)
    job.say("comparing", 0.76)
    lines, basis, group_names = _compared(job, read)
    report |= {"basis": basis, "groups": group_names}
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


def _read(job: Job) -> tuple[list[ReadFences], dict[str, Any]]:
    """The fences of the file, and the report without the comparison.

    The cells of the file may be millions; they are forgotten when this returns.
    """
    body = reading(job.engine, lambda conn: uploads.file_of(conn, job.id))
    if body is None:
        raise SheetRefused("empty")
    options = job.options
    job.say("reading", 0.02)
    file = read_file(body, options=options.of_file())
    file = replace(file, tables=[t for t in file.tables if not is_problem_list(t)] or file.tables)
    job.say("rows", 0.3)
    remembered = _remembered(job, file.tables, options)
    read = read_sheets(
        file.tables,
        options=options.of_rows(
            countries=_countries(job), remembered=remembered, max_radius_m=job.max_radius_m
        ),
        progress=lambda done, total: job.say("rows", 0.3 + 0.45 * done / max(total, 1)),
    )
    read = [within_bounds(sheet) for sheet in read]
    sources = {
        t.sheet: "given" if options.maps(t.sheet) else "remembered"
        for t in file.tables
        if options.maps(t.sheet) or t.sheet in remembered
    }
    return read, report_of(file, read, sources=sources)


def _compared(job: Job, read: Sequence[ReadFences]) -> tuple[dict[RowState, list[Line]], str, list[str]]:
    """The lines of the review, what it was compared with, and the groups that the file names."""
    keys = _keys_of([fence for sheet in read for _, fence in sheet.fences])
    stored, basis = reading(job.engine, lambda conn: _meant(conn, job.workspace_id, *keys))
    review = review_sheets(read, [s.fence for s in stored])
    job.say("comparing", 0.86)
    return upload_lines.lines_of(review.changes, stored, read), basis, sorted(keys[0])


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
    marks = fence_marks.marks_meant(
        conn, workspace_id=workspace_id, groups=sorted(group_names), external_ids=sorted(external_ids)
    )
    found = fences.get(conn, workspace_id=workspace_id, fence_ids=list(marks)) if marks else {}
    return [found[fence_id] for fence_id in sorted(found)], _digest(marks)


def _digest(marks: dict[int, int]) -> str:
    said = ",".join(f"{fence_id}:{version}" for fence_id, version in sorted(marks.items()))
    return hashlib.sha256(said.encode()).hexdigest()


# --- apply ----------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class _Plan:
    """What the lines of a checked upload ask for.

    Attributes:
        saved: (serial of the fence that is there or 0, its version, the fence that would be there).
        gone: serials of fences to delete.
        external_ids: those that the file names.
    """

    saved: list[tuple[int, int, Fence]] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    external_ids: set[str] = field(default_factory=set)


def apply(job: Job) -> None:
    """Save the new and changed fences, delete the missing ones if so told: all or nothing."""
    job.say("preparing", 0.02)
    report = job.row["report"]
    plan = reading(job.engine, lambda conn: _planned(conn, job))
    areas = []
    for n, (_, _, fence) in enumerate(plan.saved):
        areas.append(upload_lines.area_km2(fence.shape))
        if n % 1_000 == 0:
            job.say("preparing", 0.25 + 0.25 * n / len(plan.saved))
    job.say("saving", 0.5)

    job.look_at_clock()

    def verb(conn: sa.Connection) -> None:
        workspaces.hold(conn, job.workspace_id)  # what is compared here is what is written over
        marks = fence_marks.marks_meant(
            conn,
            workspace_id=job.workspace_id,
            groups=report["groups"],
            external_ids=sorted(plan.external_ids),
        )
        if _digest(marks) != report["basis"]:
            raise ChangedSinceCheck
        there = {row["name"] for row in groups.listed(conn, job.workspace_id)}
        done = _write(conn, job, plan, areas)
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


def _planned(conn: sa.Connection, job: Job) -> _Plan:
    plan = _Plan()
    for state in (RowState.CHANGED, RowState.NEW, RowState.SAME):
        for _, line in upload_lines.kept(conn, job.id, state):
            if line.external_id:
                plan.external_ids.add(line.external_id)
            if state is not RowState.SAME:
                plan.saved.append((line.fence_id, line.version, line.fence))
    if job.options.missing == "delete":
        plan.gone += [line.fence_id for _, line in upload_lines.kept(conn, job.id, RowState.MISSING)]
    return plan


def _write(conn: sa.Connection, job: Job, plan: _Plan, areas: Sequence[float]) -> list[Done]:
    """Save and delete; what was done to each fence."""
    now_ms, actor = job.clock.now_ms(), job.row["actor"]
    bought = Plan(workspaces.get(conn, job.workspace_id)["plan"])
    require_plan(bought, Feature.UPLOAD)
    there = [fence_id for fence_id, *_ in plan.saved if fence_id] + plan.gone
    before = fences.get(conn, workspace_id=job.workspace_id, fence_ids=there) if there else {}
    saved = save_fences(
        conn,
        [
            Wanted(fence=fence, area_km2=area, before=before[fence_id] if fence_id else None)
            for (fence_id, _, fence), area in zip(plan.saved, areas, strict=True)
        ],
        workspace_id=job.workspace_id,
        plan=bought,
        now_ms=now_ms,
        actor=actor,
    )
    leaving = [before[fence_id] for fence_id in plan.gone]
    delete_fences(conn, leaving, workspace_id=job.workspace_id, now_ms=now_ms, actor=actor)
    changed = [
        Done(s.fence_id, version, s.version)
        for (_, version, _), s in zip(plan.saved, saved, strict=True)
        if s.version != version
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


def undo(job: Job) -> None:
    """Bring back what was there before: all or nothing."""
    job.say("undoing", 0.1)
    leave_edited = bool(job.row["report"].get("leave_edited"))
    job.look_at_clock()

    def verb(conn: sa.Connection) -> None:
        workspaces.hold(conn, job.workspace_id)
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
    """Groups that came with the upload go with it, unless somebody uses them: fences, or campaigns."""
    made = set(job.row["report"]["groups_made"])
    used = {name for name, _ in campaigns.using_groups(conn, workspace_id=job.workspace_id, groups=made)}
    groups.delete_empty(conn, workspace_id=job.workspace_id, names=sorted(made - used))
