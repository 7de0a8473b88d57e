"""The hot routes in front of Flask: a bare WSGI callable answers pings, Flask everything else.

Flask costs more than half a millisecond of a request on the machine of the benchmarks, a ping much less.
What goes wrong here is handed to Flask, which tells every error in one way (`api.problems`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from flask import Flask, Response, request
from werkzeug.wsgi import get_input_stream

from api.answers import MAX_BODY_BYTES
from api.auth import called_by
from api.headers import OF_API
from api.pings.unpacking import unpacked
from api.pings.verbs import Call, Reply, show_context, take, take_segment, take_track
from api.problems import BodyTooLarge
from api.wiring import House, house
from nearcast.services.manage_workspace import Scope

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Verb = Callable[[Call], Reply]

#: path of a POST with the scope `ingest` → what answers it
VERBS: dict[str, Verb] = {
    "/v1/pings": take,
    "/v1/context": show_context,
    "/v1/track": take_track,
    "/v1/batch": take_segment,
}
#: where a request that failed here carries its error to Flask
_FAULT = "nearcast.fault"


class Hot:
    """A WSGI application that answers the hot routes and gives the rest to another one."""

    def __init__(self, behind: WSGIApplication, home: House) -> None:
        self._behind = behind
        self._home = home

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        verb = VERBS.get(environ["PATH_INFO"]) if environ["REQUEST_METHOD"] == "POST" else None
        if verb is None:
            return self._behind(environ, start)
        try:
            reply = verb(call_of(environ, self._home))
        except Exception as fault:  # noqa: BLE001 - raised again in Flask, which tells and logs it
            environ[_FAULT] = fault
            return self._behind(environ, start)
        start("200 OK", [*_headers(reply).items()])
        return [reply.body]


def install(app: Flask, home: House) -> None:
    """Put the hot routes in front of an application."""
    app.wsgi_app = Hot(app.wsgi_app, home)  # type: ignore[method-assign, assignment]  # Flask's own way


def answered_by(verb: Verb) -> Response:
    """The same from within Flask: raises what went wrong in front of it, or answers itself."""
    fault = request.environ.get(_FAULT)
    if fault is not None:
        raise fault
    reply = verb(call_of(request.environ, house()))
    return Response(reply.body, headers=_headers(reply))


def call_of(environ: WSGIEnvironment, home: House) -> Call:
    """A request with its key checked and its body read, by nobody's framework.

    Raises:
        Unauthorized, Forbidden: before anything of the body is looked at.
        BodyTooLarge, MalformedBody, UnsupportedMediaType: the body cannot be had.
    """
    who = called_by(home, environ.get("HTTP_AUTHORIZATION", ""), Scope.INGEST)
    kind = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    query = environ.get("QUERY_STRING", "")
    return Call(
        house=home,
        who=who,
        body=unpacked(_body(environ), environ.get("HTTP_CONTENT_ENCODING", "identity")),
        mimetype=kind,
        accept=environ.get("HTTP_ACCEPT", ""),
        query=_first(query) if query else {},
    )


def _body(environ: WSGIEnvironment) -> bytes:
    """The body as sent; over 8 MiB it is refused, never cut, chunked or not."""
    given = environ.get("CONTENT_LENGTH") or "0"
    if given.isdecimal() and int(given) > MAX_BODY_BYTES:
        raise BodyTooLarge
    body: bytes = get_input_stream(environ).read(MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        raise BodyTooLarge
    return body


def _first(query: str) -> dict[str, str]:
    """The first value of each name, as `request.args` gives it."""
    return dict(reversed(parse_qsl(query, keep_blank_values=True, errors="replace")))


def _headers(reply: Reply) -> dict[str, Any]:
    return {
        "Content-Type": reply.mimetype,
        "Content-Length": str(len(reply.body)),
        **OF_API,
    }
