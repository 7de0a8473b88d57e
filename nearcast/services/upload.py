"""A file becomes fences as a reviewed change: receive, check, apply, undo (product U1–U7).

These are the verbs of the doors; they only say what is wanted. A process that holds the lease does the
work, step by step, in `work_uploads`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from campaigns.campaign.plans import Feature
from geo.sheets.changes import RowState
from geo.sheets.table import SheetLimits
from nearcast.services import upload_lines
from nearcast.services.edit_fences import require_plan
from nearcast.services.errors import FieldError, Invalid, NotAllowedNow, NotFound
from nearcast.services.ids import public
from nearcast.services.run_campaigns import Author
from nearcast.services.upload_lines import Done, Line
from nearcast.services.upload_options import UploadOptions
from nearcast.store import campaigns, fence_marks, groups, uploads
from nearcast.store.uploads import AT_WORK, UploadState

KIND = "fences"
MAX_FILE_NAME = 255
_NAMED = 20

#: what may be asked for in which states
_MAY_CHECK = (UploadState.CHECKED, UploadState.FAILED, UploadState.UNDONE)
_MAY_APPLY = (UploadState.CHECKED,)
_MAY_UNDO = (UploadState.APPLIED,)


def receive(
    conn: sa.Connection, data: bytes, *, file_name: str, options: UploadOptions, author: Author
) -> int:
    """Keep a file, to be checked; returns its serial.

    Raises:
        PlanRequired: below Basic.
        Invalid: the file is empty or larger than 50 MiB, or an option names what is not there.
    """
    require_plan(author.plan, Feature.UPLOAD)
    _refuse_faults(options)
    bound = SheetLimits().max_bytes
    if not 0 < len(data) <= bound:
        given = f"{len(data) / (1 << 20):,.1f} MiB" if data else "empty"
        message = f"The file is {given}; it may have at most {bound >> 20} MiB. Split it."
        raise Invalid(errors=[FieldError(pointer="/file", code="file_size", message=message)])
    return uploads.add(
        conn,
        workspace_id=author.workspace_id,
        kind=KIND,
        file_name=_clean_name(file_name),
        body=data,
        options=options.to_json(),
        actor=author.actor,
        now_ms=author.now_ms,
    )


def _refuse_faults(options: UploadOptions) -> None:
    faults = options.faults()
    if faults:
        raise Invalid(errors=faults)


def _clean_name(name: str) -> str:
    """The name as a list may show it; never used as a path."""
    plain = "".join(c for c in name.replace("\\", "/").rsplit("/", 1)[-1] if c.isprintable())
    return plain.strip()[:MAX_FILE_NAME] or "file"


def load(conn: sa.Connection, upload_id: int, *, workspace_id: int, lock: bool = False) -> sa.RowMapping:
    """An upload's row. Raises `NotFound`."""
    row = uploads.get(conn, workspace_id=workspace_id, upload_id=upload_id, lock=lock)
    if row is None:
        raise NotFound(f"There is no upload '{public('upl', upload_id)}'.")
    return row


def check_again(
    conn: sa.Connection, upload_id: int, *, options: UploadOptions | None, author: Author
) -> None:
    """Check the same file with other options, or with the same ones after fences were edited."""
    if options is not None:
        _refuse_faults(options)
    row = _ready(conn, upload_id, _MAY_CHECK, "checked", author)
    wanted = row["options"] if options is None else options.to_json()
    _begin(conn, upload_id, UploadState.CHECKING, author, options=wanted)


def apply(conn: sa.Connection, upload_id: int, *, author: Author) -> None:
    """Write what the check found, all of it or nothing."""
    require_plan(author.plan, Feature.UPLOAD)
    _ready(conn, upload_id, _MAY_APPLY, "applied", author)
    _begin(conn, upload_id, UploadState.APPLYING, author)


def undo(conn: sa.Connection, upload_id: int, *, leave_edited: bool, author: Author) -> None:
    """Bring back what was there before, all of it or nothing.

    Args:
        leave_edited: leave fences alone that somebody edited since; else their edits stand in the way.
    Raises:
        NotAllowedNow: something stands in the way; the message names it.
    """
    row = _ready(conn, upload_id, _MAY_UNDO, "undone", author)
    refuse_undo(
        review_undo(conn, upload_id, workspace_id=author.workspace_id), leave_edited=leave_edited
    )
    report = row["report"] | {"leave_edited": leave_edited}
    _begin(conn, upload_id, UploadState.UNDOING, author, report=report)


def forget(conn: sa.Connection, upload_id: int, *, author: Author) -> None:
    """Forget an upload: its file and its lines. The fences it made stay, and can no longer be undone."""
    row = load(conn, upload_id, workspace_id=author.workspace_id, lock=True)
    if row["state"] in AT_WORK:
        raise NotAllowedNow(f"The upload is {row['state']}; wait until it is done.")
    uploads.delete(conn, upload_id)


def _ready(
    conn: sa.Connection, upload_id: int, states: Sequence[UploadState], done: str, author: Author
) -> sa.RowMapping:
    row = load(conn, upload_id, workspace_id=author.workspace_id, lock=True)
    if row["state"] not in states:
        when = " or ".join(states)
        raise NotAllowedNow(f"The upload is {row['state']}; it can be {done} when it is {when}.")
    return row


def _begin(
    conn: sa.Connection, upload_id: int, state: UploadState, author: Author, **more: object
) -> None:
    values = {"state": state, "progress": 0.0, "stage": None, "error": None, "lease_until_ms": 0}
    values["attempts"] = 0
    uploads.change(
        conn, upload_id, **values | {"updated_ms": author.now_ms, "actor": author.actor} | more
    )


def lines(
    conn: sa.Connection,
    upload_id: int,
    *,
    workspace_id: int,
    states: Sequence[RowState],
    code: str | None,
    start: int,
    limit: int,
) -> tuple[list[tuple[RowState, Line]], int, int | None]:
    """A page of an upload's lines, how many lines of these states there are, and where to go on."""
    row = load(conn, upload_id, workspace_id=workspace_id)
    counts = row["counts"]
    found, more = upload_lines.page(
        conn, upload_id, counts=counts, states=states, code=code, start=start, limit=limit
    )
    return found, sum(counts.get(state.value, 0) for state in states), more


# --- undo ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class UndoReview:
    """What undoing would do.

    Attributes:
        delete: fences that the upload made and nobody edited.
        restore: fences that it changed: (serial, version that comes back).
        revive: fences that it deleted: (serial, version that comes back).
        edited: (serial, name) of fences that somebody edited or deleted since, or whose external id
            belongs to another one by now.
        used: (serial of a fence to delete, its name, campaign's serial, its name) of living campaigns.
        groups: (group, campaign's serial, its name): living campaigns that name a group which loses
            fences by this. A warning; it stands in nobody's way.
    """

    delete: Sequence[int] = ()
    restore: Sequence[tuple[int, int]] = ()
    revive: Sequence[tuple[int, int]] = ()
    edited: Sequence[tuple[int, str]] = ()
    used: Sequence[tuple[int, str, int, str]] = ()
    groups: Sequence[tuple[str, int, str]] = field(default=())


def review_undo(conn: sa.Connection, upload_id: int, *, workspace_id: int) -> UndoReview:
    """Look at what undoing an applied upload would do; nothing is written."""
    row = load(conn, upload_id, workspace_id=workspace_id)
    if row["state"] not in (UploadState.APPLIED, UploadState.UNDOING):
        raise NotAllowedNow(f"The upload is {row['state']}; only an applied one can be undone.")
    done = upload_lines.done(conn, upload_id)
    now = fence_marks.marks_of(conn, [d.fence_id for d in done])
    edited = {d.fence_id for d in done if (now[d.fence_id].version, now[d.fence_id].deleted) != _left(d)}
    keys = {now[d.fence_id].external_id: d.fence_id for d in done if d.deleted}
    named = [key for key in keys if key is not None]
    owners = fence_marks.owners_of(conn, workspace_id=workspace_id, external_ids=named)
    edited |= {keys[key] for key in owners}  # a fence made since has the key of a deleted one
    left = [d for d in done if d.fence_id not in edited]
    delete = [d.fence_id for d in left if d.before == 0]
    return UndoReview(
        delete=delete,
        restore=[(d.fence_id, d.before) for d in left if d.before and not d.deleted],
        revive=[(d.fence_id, d.before) for d in left if d.deleted],
        edited=[(fence_id, now[fence_id].name) for fence_id in sorted(edited)],
        used=[
            (fence_id, now[fence_id].name, campaign["id"], campaign["name"])
            for campaign, fence_ids in campaigns.using_fences(conn, set(delete))
            for fence_id in sorted(fence_ids)
        ],
        groups=[
            (group, campaign["id"], campaign["name"])
            for group, campaign in campaigns.using_groups(
                conn, workspace_id=workspace_id, groups=groups.names_of(conn, delete)
            )
        ],
    )


def _left(done: Done) -> tuple[int, bool]:
    """How applying left a fence: its version, and whether it was deleted."""
    return done.after, done.deleted


def refuse_undo(review: UndoReview, *, leave_edited: bool) -> None:
    """Raises `NotAllowedNow` where something stands in the way."""
    if review.used:
        named = ", ".join(
            f"{public('fnc', fence_id)} ({name}) by {public('cmp', campaign_id)} ({campaign})"
            for fence_id, name, campaign_id, campaign in review.used[:_NAMED]
        )
        raise NotAllowedNow(
            f"Fences of this upload are used: {named}{_more(len(review.used))}. End the campaigns, or "
            "take the fences out of them.",
            korean=f"이 파일로 만든 지오펜스를 캠페인에서 쓰고 있어요({len(review.used):,}개): {named}. "
            "캠페인을 끝내거나 캠페인에서 지오펜스를 빼 주세요.",
        )
    if review.edited and not leave_edited:
        named = ", ".join(f"{public('fnc', n)} ({name})" for n, name in review.edited[:_NAMED])
        raise NotAllowedNow(
            f"Edited since the upload: {named}{_more(len(review.edited))}. With leave_edited these stay "
            "as they are, and the rest is undone.",
            korean=f"업로드한 뒤에 바뀐 지오펜스가 {len(review.edited):,}개 있어요: {named}. "
            "leave_edited를 쓰면 그대로 두고 나머지만 되돌려요.",
        )


def _more(count: int) -> str:
    return f" and {count - _NAMED:,} more" if count > _NAMED else ""
