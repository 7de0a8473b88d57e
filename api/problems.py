"""Every error as RFC 9457 `application/problem+json`: one table gives each class its HTTP status."""

from __future__ import annotations

import json
import logging
from typing import Any

import sqlalchemy as sa
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from api.aside import NotWritten
from api.settings import InvalidSetting
from api.wiring import NotMigrated
from campaigns.campaign.life import IllegalMove
from geo.errors import NearcastError
from geo.fences.hours import InvalidHours
from geo.fences.refusals import Proposal, ShapeRefused
from geo.fences.shapes import to_geojson
from nearcast.services.errors import (
    AlreadyExists,
    FieldError,
    Forbidden,
    IdempotencyKeyReused,
    Invalid,
    NotAllowedNow,
    NotFound,
    PlanRequired,
    StillRunning,
    Unauthorized,
)
from nearcast.store.engine import Conflict
from nearcast.store.ping_files import PingFilesUnreachable

MIMETYPE = "application/problem+json"
_log = logging.getLogger("nearcast.api")


class MalformedBody(NearcastError):
    """The body cannot be read."""

    code = "malformed_body"


class UnsupportedMediaType(NearcastError):
    """This takes application/json."""

    code = "unsupported_media_type"


class BodyTooLarge(NearcastError):
    """The body is larger than 8 MiB; send less at once."""

    code = "body_too_large"


#: error class → HTTP status; a class that is not here has its parent's
STATUS: dict[type[NearcastError], int] = {
    NearcastError: 422,
    MalformedBody: 400,
    Unauthorized: 401,
    Forbidden: 403,
    PlanRequired: 403,
    NotFound: 404,
    AlreadyExists: 409,
    NotAllowedNow: 409,
    IllegalMove: 409,
    StillRunning: 409,
    BodyTooLarge: 413,
    UnsupportedMediaType: 415,
    Invalid: 422,
    IdempotencyKeyReused: 422,
    InvalidHours: 422,
    ShapeRefused: 422,
    InvalidSetting: 500,
    NotMigrated: 503,
    Conflict: 503,
    NotWritten: 503,
    PingFilesUnreachable: 503,
}
_TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    409: "Conflict",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
_CODES = {
    400: MalformedBody.code,
    404: NotFound.code,
    405: "method_not_allowed",
    413: BodyTooLarge.code,
    415: UnsupportedMediaType.code,
}
_RETRY_AFTER_S = "1"


def status_of(error: NearcastError) -> int:
    """The HTTP status of an error, by the nearest of its classes."""
    return status_of_class(type(error))


def status_of_class(kind: type[NearcastError]) -> int:
    """The HTTP status of a class of errors."""
    return next(STATUS[parent] for parent in kind.__mro__ if parent in STATUS)


def problem(
    status: int,
    *,
    code: str,
    detail: str,
    errors: list[dict[str, Any]] | None = None,
    **more: Any,
) -> Response:
    """A problem's answer. `more` are members of its own, such as `allowed` of an illegal move."""
    body = {
        "type": "about:blank",
        "title": _TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "code": code,
        "errors": errors or [],
        **more,
    }
    answer = Response(json.dumps(body, ensure_ascii=False), status=status, mimetype=MIMETYPE)
    if status == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    if status == 503:
        answer.headers["Retry-After"] = _RETRY_AFTER_S
    return answer


def language() -> str:
    """`ko` or `en`, whichever the caller likes better; `en` where it says nothing."""
    return request.accept_languages.best_match(["en", "ko"]) or "en"


def field_error(error: FieldError) -> dict[str, Any]:
    """One fault of an input as JSON."""
    found = {"pointer": error.pointer, "code": error.code, "message": error.message}
    return found if error.proposal is None else found | {"proposal": error.proposal}


def refusal(error: ShapeRefused, lang: str) -> dict[str, Any]:
    """Why a shape is refused as JSON: where, why, and what would be taken instead."""
    found: dict[str, Any] = {
        "pointer": error.pointer,
        "code": error.code,
        "message": error.text(lang),
    }
    if error.place is not None:
        found["place"] = {"lat": error.place[1], "lng": error.place[0]}
    if error.proposal is not None:
        found["proposal"] = proposal(error.proposal, lang)
    return found


def proposal(offered: Proposal, lang: str) -> dict[str, Any]:
    """A mended shape as JSON, with what it changes."""
    return {
        "code": offered.code,
        "message": offered.text(lang),
        "geometry": to_geojson(offered.shape),
        "area_km2": offered.area_km2,
        "area_change_km2": offered.area_change_km2,
    }


def install(app: Flask) -> None:
    """Answer every error of an app as a problem."""
    app.register_error_handler(NearcastError, _ours)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(sa.exc.OperationalError, _database)
    app.register_error_handler(Exception, _unforeseen)


def _ours(error: NearcastError) -> Response:
    status = status_of(error)
    if isinstance(error, ShapeRefused):
        lang = language()
        return problem(status, code=error.code, detail=error.text(lang), errors=[refusal(error, lang)])
    if isinstance(error, Invalid):
        errors = [field_error(found) for found in error.errors]
        return problem(status, code=error.code, detail=error.message, errors=errors)
    if isinstance(error, IllegalMove):
        allowed = [state.value for state in error.allowed]
        return problem(status, code=error.code, detail=error.message, allowed=allowed)
    return problem(status, code=error.code, detail=error.message)


def _http(error: HTTPException) -> Response:
    status = error.code or 500
    if error.response is not None and status < 400:
        return Response(status=status, headers=error.get_headers())  # a redirect is no problem
    detail = error.description or _TITLES.get(status, "Error")
    answer = problem(status, code=_CODES.get(status, "http_error"), detail=detail)
    for name, value in error.get_headers():
        if name.lower() in ("allow", "retry-after"):
            answer.headers[name] = value
    return answer


def _database(error: sa.exc.OperationalError) -> Response:
    _log.error("the database did not answer: %s", error.orig)
    return problem(
        503,
        code="database_unavailable",
        detail="The database does not answer. Nothing was changed; try again in a moment.",
    )


def _unforeseen(error: Exception) -> Response:
    _log.exception("an unforeseen error", exc_info=error)
    return problem(500, code="internal_error", detail="This is a fault of the server; it was logged.")
