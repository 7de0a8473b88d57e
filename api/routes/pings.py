"""`POST /v1/pings` and its kin: answered in front of Flask (`api.hot`), documented and named here."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Blueprint, Response

from api.auth import needs
from api.hot import answered_by
from api.pings.arrow_bodies import ARROW
from api.pings.bodies import JSON, NDJSON
from api.pings.contexts import ContextOut
from api.pings.foreign import SegmentBatch, TrackIn
from api.pings.receipts import PingsTaken
from api.pings.verbs import show_context, take, take_segment, take_track
from api.pings.words import PingBatch, PingIn

bp = Blueprint("pings", __name__)

_BINARY = {"type": "string", "format": "binary"}
_DETAIL = {
    "name": "detail",
    "in": "query",
    "required": False,
    "description": "`counts` leaves the lists out; rejected items are always listed",
    "schema": {"type": "string", "enum": ["counts"]},
}
_MODE = {
    "name": "mode",
    "in": "query",
    "required": False,
    "description": "`backfill` loads history: visits only, nothing is sent; needs the scope manage",
    "schema": {"type": "string", "enum": ["backfill"]},
}
_ENCODING = {
    "name": "Content-Encoding",
    "in": "header",
    "required": False,
    "description": "The whole body may be packed; at most 8 MiB on the wire and unpacked",
    "schema": {"type": "string", "enum": ["gzip", "zstd", "identity"]},
}


@bp.post("/v1/pings")
@needs("ingest")
def post_pings() -> Response:
    """Take pings: outcomes, transitions and messages come back (api.md, Pings)."""
    return answered_by(take)


@bp.post("/v1/context")
@needs("ingest")
def post_context() -> Response:
    """Match pings without keeping anything."""
    return answered_by(show_context)


@bp.post("/v1/track")
@needs("ingest")
def post_track() -> Response:
    """Take one location in Radar's words."""
    return answered_by(take_track)


@bp.post("/v1/batch")
@needs("ingest")
def post_batch() -> Response:
    """Take the locations of a batch of calls in Segment's words."""
    return answered_by(take_segment)


def openapi(spec: dict[str, Any]) -> None:
    """Add these routes, which APIFlask does not see, to the OpenAPI document."""
    models = [PingIn, PingBatch, TrackIn, SegmentBatch, PingsTaken, ContextOut]
    shown, components = msgspec.json.schema_components(
        models, ref_template="#/components/schemas/{name}"
    )
    spec.setdefault("components", {}).setdefault("schemas", {}).update(components)
    ping, batch, track, segment, taken, context = shown
    bodies = {
        JSON: {"schema": {"anyOf": [batch, ping]}},
        NDJSON: {"schema": {"type": "string", "description": "A ping a line"}},
        ARROW: {"schema": _BINARY | {"description": "An IPC stream with a ping's names as columns"}},
    }
    answers = {JSON: {"schema": context}, ARROW: {"schema": _BINARY}}
    json_of = {JSON: {"schema": taken}}
    for path, summary, body, answer, parameters in (
        ("/v1/pings", "Take pings", bodies, json_of, [_DETAIL, _MODE]),
        ("/v1/context", "Match pings without keeping anything", bodies, answers, []),
        ("/v1/track", "Take one location as Radar names it", {JSON: {"schema": track}}, json_of, []),
        ("/v1/batch", "Take locations as Segment sends them", {JSON: {"schema": segment}}, json_of, []),
    ):
        spec["paths"].setdefault(path, {}).setdefault("post", {}).update(
            {
                "summary": summary,
                "tags": ["Pings"],
                "parameters": [*parameters, _ENCODING],
                "requestBody": {"required": True, "content": body},
                "responses": {"200": {"description": "Taken", "content": answer}},
            }
        )
