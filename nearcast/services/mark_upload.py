"""The user's own sheet with its faults marked, as a workbook to mend and upload again (product U5)."""

from __future__ import annotations

import sqlalchemy as sa

from geo.sheets.changes import RowState
from geo.sheets.marked import marked_workbook
from geo.sheets.problems import CellProposal, Problem
from nearcast.services import upload, upload_lines
from nearcast.services.errors import NotAllowedNow
from nearcast.services.upload_lines import Line, LineProblem
from nearcast.services.upload_options import UploadOptions
from nearcast.store import uploads
from nearcast.store.engine import reading
from nearcast.store.sandbox import read_file
from nearcast.store.uploads import UploadState


def mark_upload(engine: sa.Engine, upload_id: int, *, workspace_id: int, lang: str) -> bytes:
    """The workbook's bytes. The file is read once more by the guarded child, outside a transaction.

    Raises:
        NotAllowedNow: the upload was not checked yet, or its file cannot be read at all.
    """
    row, body, problems = reading(engine, lambda conn: _load(conn, upload_id, workspace_id))
    options = UploadOptions.from_json(row["options"])
    file = read_file(body, options=options.of_file())
    found = row["report"]["sheets"]
    rows = {sheet["name"]: sheet["heading_row"] for sheet in found if sheet["heading_row"]}
    return marked_workbook(file.tables, problems, lang=lang, heading_rows=rows)


def _load(
    conn: sa.Connection, upload_id: int, workspace_id: int
) -> tuple[sa.RowMapping, bytes, list[Problem]]:
    row = upload.load(conn, upload_id, workspace_id=workspace_id)
    body = uploads.file_of(conn, upload_id)
    if row["state"] in (UploadState.CHECKING, UploadState.FAILED) or body is None:
        raise NotAllowedNow(f"The upload is {row['state']}; there is a report once it is checked.")
    return row, body, _problems(conn, upload_id)


def _problems(conn: sa.Connection, upload_id: int) -> list[Problem]:
    lines = (line for _, line in upload_lines.kept(conn, upload_id, RowState.REFUSED))
    return [_problem(line, problem) for line in lines for problem in line.problems]


def _problem(line: Line, found: LineProblem) -> Problem:
    offered = found.proposal
    return Problem(
        sheet=line.sheet,
        row=line.row or 0,
        heading=found.heading,
        cell=found.cell,
        value=found.value,
        code=found.code,
        message_en=found.en,
        message_ko=found.ko,
        proposal=CellProposal(message_en=offered.en, message_ko=offered.ko, values=offered.values)
        if offered
        else None,
    )
