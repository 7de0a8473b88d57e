"""`/v1/uploads`: a spreadsheet or geo file becomes fences as a reviewed change (product U1–U7)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from apiflask import APIBlueprint
from flask import Response, g, request
from pydantic import ValidationError
from werkzeug.datastructures import FileStorage

from api.answers import Lang, Page, after, answered, cursor_to, decode, file_answer
from api.auth import needs, principal
from api.problems import BodyTooLarge, language
from api.routes.actors import author
from api.routes.upload_bodies import (
    OptionsIn,
    RowsOut,
    RowsQuery,
    UndoIn,
    UndoOut,
    UploadIn,
    UploadOut,
    UploadsOut,
)
from api.routes.upload_shown import row_out, undo_out, upload_brief_out, upload_out
from api.validation import invalid
from api.wiring import house
from geo.fences.template import template_workbook
from geo.sheets.changes import RowState
from geo.sheets.table import SheetLimits
from nearcast.services import upload, work_uploads
from nearcast.services.errors import FieldError, Invalid, NotAllowedNow
from nearcast.services.ids import parse
from nearcast.services.mark_upload import mark_upload
from nearcast.services.report_files import XLSX_MIMETYPE
from nearcast.store import uploads
from nearcast.store.engine import reading
from nearcast.store.uploads import AT_WORK, UploadState

MAX_BODY_BYTES = SheetLimits().max_bytes + (1 << 20)  # the file, and the form around it
#: files up to this size are marked at once, larger ones by a process aside; so are those that hold
#: many rows although they are small, being packed
MARKED_HERE_BYTES = 256 << 10
MARKED_HERE_ROWS = 5_000

bp = APIBlueprint("uploads", __name__, url_prefix="/v1", tag="Uploads")


@bp.post("/uploads")
@needs("manage")
@bp.doc(responses={413: "The file is larger than 50 MiB", 415: "The body is no multipart form"})
@bp.input(UploadIn, location="files", arg_name="form")
@bp.output(UploadOut, 202)
def create_upload(form: UploadIn) -> Response:
    """Upload a file to be checked; nothing is written to the fences yet

    XLSX, XLSM, XLSB, XLS, ODS, CSV, GeoJSON, KML, KMZ, GPX, GeoPackage or a zipped Shapefile; it is
    judged by its content, not its name. Ask again until `state` is `checked`, then look at `report`
    and the rows, and `:apply`.
    """
    file: FileStorage = form.file
    data = file.read()
    file.close()  # of more than 500 kB it is a file on disk
    # the form is read; what an Idempotency-Key stands for is the file and the fields
    g.body = data + repr(sorted(request.form.items())).encode("utf-8", "surrogatepass")
    options = _options(form).to_options()
    who = author()

    def verb(conn: sa.Connection) -> UploadOut:
        serial = upload.receive(conn, data, file_name=file.filename or "", options=options, author=who)
        return _shown(conn, serial)

    answer = answered(verb, status=202)
    house().aside.wake()
    return answer


def _options(form: UploadIn) -> OptionsIn:
    """The options of a form: its own fields, and JSON."""
    given = {} if form.options is None else decode(form.options.encode("utf-8", "surrogatepass"))
    if not isinstance(given, dict):
        message = "options must be a JSON object."
        raise Invalid(errors=[FieldError(pointer="/options", code="no_object", message=message)])
    fields = {"group": form.group, "radius_m": form.radius_m}
    said = {name: value for name, value in fields.items() if value is not None}
    try:
        return OptionsIn.model_validate(given | said)
    except ValidationError as error:
        raise invalid(error, at="/options") from error


@bp.get("/uploads")
@needs("manage")
@bp.input(Page, location="query", arg_name="query")
@bp.output(UploadsOut)
def list_uploads(query: Page) -> UploadsOut:
    """The uploads, the oldest first"""
    workspace_id = principal().workspace_id
    rows, total = reading(
        house().engine,
        lambda conn: uploads.listed(
            conn,
            workspace_id=workspace_id,
            after_id=after(query.cursor),
            limit=query.limit + 1,  # one more shows whether the list goes on
        ),
    )
    page, lang = rows[: query.limit], language()
    cursor = cursor_to(page[-1]["id"] if len(rows) > len(page) else None)
    return UploadsOut(items=[upload_brief_out(r, lang) for r in page], total=total, next_cursor=cursor)


@bp.get("/uploads/template.xlsx")
@needs("manage")
@bp.input(Lang, location="query", arg_name="query")
@bp.doc(responses={200: "A workbook"})
def upload_template(query: Lang) -> Response:
    """A workbook to fill in: headings, limits, two examples and a legend"""
    data = template_workbook(query.lang or language())
    return file_answer(data, XLSX_MIMETYPE, "nearcast-template.xlsx")


@bp.get("/uploads/<upload_id>")
@needs("manage")
@bp.output(UploadOut)
def get_upload(upload_id: str) -> UploadOut:
    """An upload: where it stands, and what was found"""
    serial = parse("upl", upload_id)
    found = reading(house().engine, lambda conn: _shown(conn, serial))
    if found.state in AT_WORK and work_uploads.any_due(house().engine):
        house().aside.wake()  # whoever began it may have died
    return found


@bp.get("/uploads/<upload_id>/rows")
@needs("manage")
@bp.input(RowsQuery, location="query", arg_name="query")
@bp.output(RowsOut)
def upload_rows(upload_id: str, query: RowsQuery) -> RowsOut:
    """The lines of the review: refused, changed, new, missing, then same ones"""
    serial, workspace_id = parse("upl", upload_id), principal().workspace_id
    states = [query.status] if query.status else list(RowState)
    found, total, more = reading(
        house().engine,
        lambda conn: upload.lines(
            conn,
            serial,
            workspace_id=workspace_id,
            states=states,
            code=query.code,
            start=after(query.cursor),
            limit=query.limit,
        ),
    )
    lang = language()
    items = [row_out(state, line, lang) for state, line in found]
    return RowsOut(items=items, total=total, next_cursor=cursor_to(more))


@bp.post("/uploads/<string:upload_id>:check")
@needs("manage")
@bp.input(OptionsIn, arg_name="body")
@bp.output(UploadOut, 202)
def check_upload(upload_id: str, body: OptionsIn) -> Response:
    """Check the file again with other options: a mapping, a sheet, accepted proposals"""
    serial, who = parse("upl", upload_id), author()
    options = body.to_options()

    def verb(conn: sa.Connection) -> UploadOut:
        upload.check_again(conn, serial, options=options, author=who)
        return _shown(conn, serial)

    return _begun(verb)


@bp.post("/uploads/<string:upload_id>:apply")
@needs("manage")
@bp.output(UploadOut, 202)
def apply_upload(upload_id: str) -> Response:
    """Write the new and changed fences, all or none

    If fences that the file means were edited since the check, nothing is written: the file is checked
    again, and `error` says so.
    """
    serial, who = parse("upl", upload_id), author()

    def verb(conn: sa.Connection) -> UploadOut:
        upload.apply(conn, serial, author=who)
        return _shown(conn, serial)

    return _begun(verb)


@bp.get("/uploads/<upload_id>/undo")
@needs("manage")
@bp.output(UndoOut)
def review_undo(upload_id: str) -> UndoOut:
    """What undoing would do, and what stands in its way"""
    serial, workspace_id = parse("upl", upload_id), principal().workspace_id
    review = reading(
        house().engine, lambda conn: upload.review_undo(conn, serial, workspace_id=workspace_id)
    )
    return undo_out(review)


@bp.post("/uploads/<string:upload_id>:undo")
@needs("manage")
@bp.input(UndoIn, location="query", arg_name="query")
@bp.output(UploadOut, 202)
def undo_upload(upload_id: str, query: UndoIn) -> Response:
    """Bring back what was there before, all or none"""
    serial, who = parse("upl", upload_id), author()

    def verb(conn: sa.Connection) -> UploadOut:
        upload.undo(conn, serial, leave_edited=query.leave_edited, author=who)
        return _shown(conn, serial)

    return _begun(verb)


@bp.get("/uploads/<upload_id>/report.xlsx")
@needs("manage")
@bp.input(Lang, location="query", arg_name="query")
@bp.doc(responses={200: "A workbook"})
def upload_report(upload_id: str, query: Lang) -> Response:
    """Your own sheet with the faulty cells coloured and commented"""
    serial, workspace_id = parse("upl", upload_id), principal().workspace_id
    home, lang = house(), query.lang or language()
    row = reading(home.engine, lambda conn: upload.load(conn, serial, workspace_id=workspace_id))
    if row["state"] in (UploadState.CHECKING, UploadState.FAILED):
        raise NotAllowedNow(f"The upload is {row['state']}; there is a report once it is checked.")
    name = f"{Path(row['file_name']).stem}-checked.xlsx"
    rows = sum(sheet["rows"] for sheet in row["report"]["file_sheets"] if sheet["taken"])
    if row["file_bytes"] <= MARKED_HERE_BYTES and rows <= MARKED_HERE_ROWS:
        data = mark_upload(home.engine, serial, workspace_id=workspace_id, lang=lang)
        return file_answer(data, XLSX_MIMETYPE, name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.xlsx"
        home.aside.write(path, "report", str(serial), str(workspace_id), lang)
        return file_answer(path.read_bytes(), XLSX_MIMETYPE, name)


@bp.delete("/uploads/<upload_id>")
@needs("manage")
@bp.doc(responses={204: "The file and its rows are gone; the fences stay"})
def delete_upload(upload_id: str) -> Response:
    """Forget an upload; its fences stay, and can no longer be undone"""
    serial, who = parse("upl", upload_id), author()
    return answered(lambda conn: upload.forget(conn, serial, author=who), status=204)


@bp.before_request
def allow_large_files() -> None:
    """Files may be larger than other bodies."""
    if request.method == "POST" and request.path.endswith("/uploads"):
        if (request.content_length or 0) > MAX_BODY_BYTES:
            raise BodyTooLarge("The file is larger than 50 MiB. Split it.")
        request.max_content_length = MAX_BODY_BYTES


@bp.teardown_request
def close_files(_: BaseException | None) -> None:
    """A large upload lies in a file of its own, also where its form was refused."""
    request.close()


def _begun(verb: Callable[[sa.Connection], UploadOut]) -> Response:
    answer = answered(verb, status=202)
    house().aside.wake()
    return answer


def _shown(conn: sa.Connection, serial: int) -> UploadOut:
    return upload_out(upload.load(conn, serial, workspace_id=principal().workspace_id), language())
