"""The OpenAPI 3.1 document at `/openapi.json`, and the same as a readable page at `/docs`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, cast

import msgspec
from apiflask import APIFlask
from flask import Response, current_app, render_template
from pydantic import BaseModel

from api import problems
from api.routes import pings
from nearcast.services.export_fences import MIMETYPES as EXPORT_MIMETYPES
from nearcast.services.report_files import CSV_MIMETYPE, XLSX_MIMETYPE

TITLE = "Nearcast"
VERSION = "0.1.0"
DESCRIPTION = """\
Self-hosted location campaigns: geofences, pings, visits, messages and honest reports.

Send your key as `Authorization: Bearer nck_…`. Errors are RFC 9457 problems with a stable `code`.
Lists take `limit` (at most 200) and `cursor`, and answer with `total` and `next_cursor`. Times are
RFC 3339 with their zone; positions in GeoJSON are longitude first, elsewhere `lat` and `lng` by name.
"""
METHODS = ("get", "post", "put", "patch", "delete")
_SECURITY = "ApiKey"
_PROBLEM = {"$ref": "#/components/schemas/Problem"}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A repeat with the same key gets the first answer again for 24 h.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
#: what any call may be answered with: status → when
_ALWAYS = {
    "default": "A problem (RFC 9457)",
}
_WITH_KEY = {"401": "The key is missing, unknown or revoked", "403": "The key may not do that"}
_WITH_BODY = {
    "400": "The body cannot be read",
    "413": "The body is too large",
    "415": "The body has another type",
    "422": "Something in the request is not right; `errors` says where",
}
_DOCUMENT = "nearcast_openapi"


class FieldFault(BaseModel):
    """One fault of a request: where, what, and what would be taken instead."""

    pointer: str
    code: str
    message: str
    proposal: Any = None
    place: dict[str, float] | None = None


class Problem(BaseModel):
    """RFC 9457; `code` is stable."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldFault]
    allowed: list[str] | None = None


#: APIFlask's own error schemas are replaced below: theirs have another shape
CONFIG: dict[str, Any] = {
    "DESCRIPTION": DESCRIPTION,
    "AUTO_OPERATION_ID": True,
    "AUTO_SERVERS": False,
    "AUTO_VALIDATION_ERROR_RESPONSE": False,
    "AUTO_AUTH_ERROR_RESPONSE": False,
    "AUTO_404_RESPONSE": False,
    "SECURITY_SCHEMES": {
        _SECURITY: {"type": "http", "scheme": "bearer", "bearerFormat": "nck_…"},
    },
}


def install(app: APIFlask) -> None:
    """Serve the document and its page. Called when every route is registered."""
    app.add_url_rule("/openapi.json", "openapi_json", app.doc(hide=True)(_json))
    app.add_url_rule("/docs", "docs", app.doc(hide=True)(_page))


def document(app: APIFlask) -> dict[str, Any]:
    """The OpenAPI document of an app, made once."""
    if _DOCUMENT not in app.extensions:
        app.extensions[_DOCUMENT] = _completed(app, cast("dict[str, Any]", app.spec))
    found: dict[str, Any] = app.extensions[_DOCUMENT]
    return found


def _json() -> Response:
    return Response(msgspec.json.encode(document(_app())), mimetype="application/json")


def _page() -> str:
    spec = document(_app())
    return render_template(
        "docs.html",
        info=spec["info"],
        tags=_by_tag(spec),
        schemas=spec["components"]["schemas"],
        problems=_codes(),
    )


def _app() -> APIFlask:
    app: APIFlask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
    return app


#: answers that are no JSON, which APIFlask cannot know
_FILES = {
    "/v1/campaigns/{campaign_id}/report.xlsx": (XLSX_MIMETYPE,),
    "/v1/campaigns/{campaign_id}/report.csv": (CSV_MIMETYPE,),
    "/v1/fences": ("application/geo+json",),
    "/v1/uploads/template.xlsx": (XLSX_MIMETYPE,),
    "/v1/uploads/{upload_id}/report.xlsx": (XLSX_MIMETYPE,),
    "/v1/fence-groups/{group_id}/export.{ending}": tuple(EXPORT_MIMETYPES.values()),
}
_ALSO_JSON = frozenset({"/v1/fences"})


def _completed(app: APIFlask, spec: dict[str, Any]) -> dict[str, Any]:
    """APIFlask's document with what it cannot know: raw routes, scopes, problems, idempotency."""
    spec = _short_names(spec)
    schemas = spec["components"]["schemas"]
    schemas.pop("HTTPError", None)  # APIFlask's own
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs"), Problem=problem)
    for module in (pings,):
        module.openapi(spec)
    # several files may speak of one subject
    spec["tags"] = list({tag["name"]: tag for tag in spec.get("tags", [])}.values())
    scopes = dict(_scopes(app))
    for path, mimetypes in _FILES.items():
        answer = spec["paths"][path]["get"]["responses"]["200"]
        kept = answer.get("content", {}) if path in _ALSO_JSON else {}
        answer["content"] = kept | {m: {"schema": {"type": "string"}} for m in mimetypes}
    for path, operations in spec["paths"].items():
        for method in METHODS:
            if method in operations:
                _complete(operations[method], method, path, scopes.get((method, path)))
    return spec


def _short_names(spec: dict[str, Any]) -> dict[str, Any]:
    """APIFlask keeps `FenceOut` of each model that holds it (`FencesOut.FenceOut` …): once is enough."""
    text = json.dumps(spec)
    for name in spec["components"]["schemas"]:
        if "." in name:
            text = text.replace(f'schemas/{name}"', f'schemas/{name.split(".")[-1]}"')
    short: dict[str, Any] = json.loads(text)
    schemas: dict[str, Any] = {}
    for name, schema in short["components"]["schemas"].items():
        other = schemas.setdefault(name.split(".")[-1], schema)
        if other != schema:
            raise ValueError(f"two schemas are called {name.split('.')[-1]}; rename one of them")
    short["components"]["schemas"] = schemas
    return short


def _scopes(app: APIFlask) -> Iterator[tuple[tuple[str, str], tuple[str, ...]]]:
    """(method, path as the document writes it) → the scopes of which one is needed."""
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:[^<>]*:)?(\w+)>", r"{\1}", rule.rule)
        wanted = getattr(app.view_functions[rule.endpoint], "scopes", None)
        if wanted is not None:
            for method in rule.methods or ():
                yield (method.lower(), path), wanted


def _complete(operation: dict[str, Any], method: str, path: str, scopes: tuple[str, ...] | None) -> None:
    responses = operation.setdefault("responses", {})
    more = dict(_ALWAYS)
    if scopes is not None:
        operation["security"] = [{_SECURITY: []}]
        operation["x-scopes"] = [str(scope) for scope in scopes]
        more |= _WITH_KEY
    if "requestBody" in operation:
        more |= _WITH_BODY
    elif operation.get("parameters"):
        more["422"] = _WITH_BODY["422"]
    if "{" in path:
        more["404"] = "There is no such thing here"
    if method == "post" and scopes is not None and _keeps(operation):
        more["409"] = "It cannot be done now: a name is taken, a move is illegal, a key is in use"
        operation.setdefault("parameters", []).append(_IDEMPOTENCY_KEY)
    for status, description in more.items():
        found = responses.setdefault(status, {"description": description})
        found["content"] = {problems.MIMETYPE: {"schema": _PROBLEM}}
    for status, found in responses.items():
        if status[0] in "45":
            found["content"] = {problems.MIMETYPE: {"schema": _PROBLEM}}
    if "204" in responses:
        responses["204"].pop("content", None)
        responses.pop("200", None)


def _keeps(operation: dict[str, Any]) -> bool:
    """Whether a POST writes a resource: pings have keys of their own, validating keeps nothing."""
    return "Pings" not in operation.get("tags", ()) and not str(
        operation.get("operationId", "")
    ).endswith("validate_fence")


def _by_tag(spec: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for path, mimetypes in _FILES.items():
        answer = spec["paths"][path]["get"]["responses"]["200"]
        kept = answer.get("content", {}) if path in _ALSO_JSON else {}
        answer["content"] = kept | {m: {"schema": {"type": "string"}} for m in mimetypes}
    for path, operations in spec["paths"].items():
        for method in METHODS:
            if method in operations:
                operation = operations[method]
                shown = {"method": method.upper(), "path": path, **operation}
                found.setdefault((operation.get("tags") or ["Other"])[0], []).append(shown)
    return found


def _codes() -> list[tuple[int, str, str]]:
    """Status, code and meaning of every class of error."""
    return sorted(
        (problems.status_of_class(kind), kind.code, (kind.__doc__ or "").strip().splitlines()[0])
        for kind in problems.STATUS
        if "code" in vars(kind)
    )
