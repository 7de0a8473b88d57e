"""Uploads, their lines and what undoing would do, as the API shows them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from api.answers import rfc3339
from api.routes.upload_bodies import (
    GroupUseOut,
    NamedFenceOut,
    OptionsIn,
    ProblemKindOut,
    RowAcceptIn,
    RowOut,
    RowProblemOut,
    RowProposalOut,
    RowShapeOut,
    UndoOut,
    UploadBriefOut,
    UploadErrorOut,
    UploadOut,
    UploadReportOut,
    UsedOut,
)
from api.shapes import CircleOut
from geo.fences.fence import CircleShape, Shape
from geo.fences.shapes import to_geojson
from geo.sheets.changes import RowState
from nearcast.services.ids import public
from nearcast.services.upload import UndoReview
from nearcast.services.upload_lines import Line, LineProblem

_MAX_NAMED = 200  # of what undoing would meet


def upload_out(row: sa.RowMapping, lang: str) -> UploadOut:
    """An upload as the API shows it."""
    return UploadOut(
        **_brief(row, lang), options=_options(row["options"]), report=_report(row["report"], lang)
    )


def upload_brief_out(row: sa.RowMapping, lang: str) -> UploadBriefOut:
    """An upload as a list shows it."""
    return UploadBriefOut(**_brief(row, lang))


def _brief(row: sa.RowMapping, lang: str) -> dict[str, Any]:
    error = row["error"]
    return {
        "id": public("upl", row["id"]),
        "kind": row["kind"],
        "file_name": row["file_name"],
        "file_bytes": row["file_bytes"],
        "state": row["state"],
        "stage": row["stage"],
        "progress": row["progress"],
        "counts": row["counts"],
        "error": UploadErrorOut(code=error["code"], message=error[lang]) if error else None,
        "created_at": rfc3339(row["created_ms"]),
        "updated_at": rfc3339(row["updated_ms"]),
        "applied_at": _at(row["applied_ms"]),
        "undone_at": _at(row["undone_ms"]),
    }


def _options(kept: dict[str, Any]) -> OptionsIn:
    """Options as they were kept; those from the command line know no bounds, and none are asked here."""
    rows = [RowAcceptIn.model_construct(**accepted) for accepted in kept.get("accept_rows", ())]
    return OptionsIn.model_construct(**kept | {"accept_rows": rows})


def _at(at_ms: int | None) -> str | None:
    return None if at_ms is None else rfc3339(at_ms)


def _report(report: dict[str, Any], lang: str) -> UploadReportOut:
    if not report:
        return UploadReportOut()
    kinds = [
        ProblemKindOut(message=kind[f"message_{lang}"], proposal=kind[f"proposal_{lang}"], **kind)
        for kind in report["problems"]
    ]
    return UploadReportOut(**report | {"problems": kinds})


def row_out(state: RowState, line: Line, lang: str) -> RowOut:
    """A line as the API shows it."""
    return RowOut(
        status=state,
        sheet=line.sheet,
        row=line.row,
        name=line.name,
        external_id=line.external_id,
        fence_id=public("fnc", line.fence_id) if line.fence_id else None,
        after=line.attributes,
        shape=_shape(line.shape),
        before=line.before,
        problems=[_problem(problem, lang) for problem in line.problems],
        mended=list(line.mended),
    )


def _shape(shape: Shape | None) -> RowShapeOut | None:
    if shape is None:
        return None
    if isinstance(shape, CircleShape):
        circle = CircleOut(lat=shape.lat, lng=shape.lon, radius_m=shape.radius_m)
        return RowShapeOut(circle=circle)
    return RowShapeOut(geometry=to_geojson(shape))


def _problem(problem: LineProblem, lang: str) -> RowProblemOut:
    korean, offered = lang == "ko", problem.proposal
    proposal = None
    if offered is not None:
        message = offered.ko if korean else offered.en
        proposal = RowProposalOut(message=message, values=offered.values)
    return RowProblemOut(
        heading=problem.heading,
        cell=problem.cell,
        value=problem.value,
        code=problem.code,
        message=problem.ko if korean else problem.en,
        proposal=proposal,
    )


def undo_out(review: UndoReview) -> UndoOut:
    """What undoing would do, as the API shows it."""
    return UndoOut(
        delete=len(review.delete),
        restore=len(review.restore),
        revive=len(review.revive),
        edited=[NamedFenceOut(id=public("fnc", n), name=name) for n, name in review.edited[:_MAX_NAMED]],
        edited_total=len(review.edited),
        used_total=len(review.used),
        used=[
            UsedOut(
                id=public("fnc", n), name=name, campaign_id=public("cmp", campaign_id), campaign=campaign
            )
            for n, name, campaign_id, campaign in review.used[:_MAX_NAMED]
        ],
        groups=[
            GroupUseOut(group=group, campaign_id=public("cmp", campaign_id), campaign=campaign)
            for group, campaign_id, campaign in review.groups[:_MAX_NAMED]
        ],
    )
