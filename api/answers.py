"""How routes answer: JSON bodies in, models out, writes once an Idempotency-Key."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, TypeVar, cast

import msgspec
import sqlalchemy as sa
from flask import Response, g, request
from pydantic import BaseModel, ConfigDict, Field

from api.auth import principal
from api.problems import BodyTooLarge, MalformedBody, UnsupportedMediaType
from api.wiring import house
from nearcast.services.answer_once import Answer, answer_once
from nearcast.services.errors import FieldError, Invalid
from nearcast.store.engine import in_transaction

MAX_BODY_BYTES = 8 << 20  # quality Q5
MAX_DEPTH = 32  # quality Q5
MAX_KEY_LENGTH = 255
MAX_LIMIT = 200  # api.md
DEFAULT_LIMIT = 50
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


class In(BaseModel):
    """What comes in: unknown fields are refused by name, so that a typing error is seen."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Out(BaseModel):
    """What goes out."""

    model_config = ConfigDict(frozen=True)


class Page(In):
    """Which part of a list."""

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    cursor: str | None = None


class Lang(In):
    """In which language a file's headings and hints are."""

    lang: Annotated[Literal["en", "ko"] | None, Field(description="else by Accept-Language")] = None


def body_bytes() -> bytes:
    """The body as sent; over 8 MiB it is refused, never cut, chunked or not."""
    if "body" not in g:
        if (request.content_length or 0) > MAX_BODY_BYTES:
            raise BodyTooLarge
        g.body = request.stream.read(MAX_BODY_BYTES + 1)
        if len(g.body) > MAX_BODY_BYTES:
            raise BodyTooLarge
    return cast("bytes", g.body)


def json_body() -> Any:
    """The body as JSON, strictly: no NaN, no lone surrogates, at most 32 levels deep.

    Raises:
        UnsupportedMediaType, BodyTooLarge.
        MalformedBody: with the offset of the fault.
    """
    if not request.is_json:
        given = request.mimetype or "none"
        raise UnsupportedMediaType(f"The Content-Type is {given}; send application/json.")
    return decode(body_bytes())


def decode(body: bytes) -> Any:
    """Strict JSON; see `json_body`."""
    if not body.strip():
        raise MalformedBody("The body is empty; send a JSON object.")
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedBody(f"The body is no JSON: {error}.") from error
    except RecursionError as error:
        raise MalformedBody(_TOO_DEEP) from error
    if not _shallow(value, MAX_DEPTH):
        raise MalformedBody(_TOO_DEEP)
    if b"\\u0000" in body and _holds_nul(value):
        raise MalformedBody("The body holds the character U+0000, which no text may.")
    return value


_TOO_DEEP = f"The body is nested deeper than {MAX_DEPTH} levels."


def _shallow(value: Any, levels: int) -> bool:
    if isinstance(value, dict):
        return levels > 0 and all(_shallow(inner, levels - 1) for inner in value.values())
    if isinstance(value, list):
        # a ring of 10,000 points is long, not deep: only lists and objects are looked into
        return levels > 0 and all(
            _shallow(inner, levels - 1) for inner in value if isinstance(inner, (dict, list))
        )
    return True


def _holds_nul(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_holds_nul(key) or _holds_nul(inner) for key, inner in value.items())
    if isinstance(value, list):
        return any(_holds_nul(inner) for inner in value)
    return isinstance(value, str) and "\0" in value


Answered = BaseModel | tuple[BaseModel, int] | None


def answered(verb: Callable[[sa.Connection], Answered], *, status: int = 200) -> Response:
    """Run a verb in one transaction and answer with its model; once an Idempotency-Key.

    The answer is made inside the transaction, so that it shows what was committed. A verb that gives
    a pair says the status itself; one that gives nothing has no body.
    """
    home = house()

    def inside(conn: sa.Connection) -> Answer:
        given = verb(conn)
        model, code = given if isinstance(given, tuple) else (given, status)
        return Answer(status=code, body=encode(model))

    key = request.headers.get("Idempotency-Key")
    if key is None or request.method != "POST":
        answer = in_transaction(home.engine, inside)
    else:
        answer = answer_once(
            home.engine,
            inside,
            workspace_id=principal().workspace_id,
            key=_checked(key),
            request_digest=_request_digest(),
            now_ms=time.time_ns() // 1_000_000,
        )
    return Response(answer.body, status=answer.status, mimetype="application/json")


def encode(model: BaseModel | None) -> bytes:
    """A model as JSON; nothing for None."""
    return b"" if model is None else model.model_dump_json(by_alias=True).encode()


def file_answer(data: bytes, mimetype: str, name: str) -> Response:
    """A file to be saved under a name, which may hold letters of any script (RFC 6266)."""
    answer = Response(data, mimetype=mimetype)
    name = "".join(c if c.isprintable() and c not in "/\\" else " " for c in name)  # no line ends
    answer.headers.set("Content-Disposition", "attachment", filename=name)
    return answer


def rfc3339(at_ms: int) -> str:
    """An instant in ms as `2026-11-23T00:05:00.120Z`."""
    return (_EPOCH + at_ms * _MS).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def cursor_to(last_id: int | None) -> str | None:
    """The cursor that goes on after an item; None at the end of a list."""
    return None if last_id is None else f"after_{last_id}"


def after(cursor: str | None) -> int:
    """The serial that a cursor goes on after, 0 without one."""
    if cursor is None:
        return 0
    prefix, _, digits = cursor.partition("_")
    if prefix != "after" or not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
        message = "This cursor is none of ours; take 'next_cursor' of the page before."
        raise Invalid(errors=[FieldError(pointer="/cursor", code="bad_cursor", message=message)])
    return int(digits)


Row = TypeVar("Row", bound=sa.RowMapping)


def page_of(rows: Sequence[Row], query: Page) -> tuple[Sequence[Row], int, str | None]:
    """A page of a short list of rows in order of `id`, how many there are, and the next cursor."""
    start = after(query.cursor)
    rest = sorted((row for row in rows if row["id"] > start), key=lambda row: int(row["id"]))
    page = rest[: query.limit]
    return page, len(rows), cursor_to(page[-1]["id"] if len(rest) > query.limit else None)


def _checked(key: str) -> str:
    if not 1 <= len(key) <= MAX_KEY_LENGTH:
        message = f"An Idempotency-Key has 1 to {MAX_KEY_LENGTH} characters."
        found = FieldError(pointer="/Idempotency-Key", code="length", message=message)
        raise Invalid(errors=[found])
    return key


def _request_digest() -> bytes:
    """What makes two requests the same: method, address, body, and the app that the key is bound to."""
    digest = hashlib.sha256()
    for part in (
        request.method,
        request.full_path,
        str(principal().app_id),
        request.mimetype,  # not the boundary of a form, which is drawn anew each time
    ):
        digest.update(part.encode("utf-8", "surrogatepass") + b"\0")
    digest.update(body_bytes())
    return digest.digest()
