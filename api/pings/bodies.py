"""Which reader reads a body of pings: by its type."""

from __future__ import annotations

from api.pings.arrow_bodies import ARROW, read_arrow
from api.pings.contexts import Places
from api.pings.json_bodies import read_json, read_lines
from api.pings.sent import Items, SentPings
from api.problems import UnsupportedMediaType

JSON = "application/json"
NDJSON = "application/x-ndjson"
#: what else lines of JSON are called
LINES = frozenset({NDJSON, "application/ndjson", "application/jsonl"})


def is_json(mimetype: str) -> bool:
    """Whether a type is JSON, or made of it (RFC 6839)."""
    return mimetype == JSON or (mimetype.startswith("application/") and mimetype.endswith("+json"))


def read_pings(body: bytes, mimetype: str, *, now_ms: int) -> SentPings:
    """The pings of a body, by its type: JSON, NDJSON or an Arrow stream.

    Raises:
        UnsupportedMediaType, MalformedBody, BodyTooLarge.
    """
    if mimetype == ARROW:
        return read_arrow(body, now_ms=now_ms)
    return _items(body, mimetype, now_ms).sent(now_ms=now_ms)


def read_places(body: bytes, mimetype: str, *, now_ms: int) -> Places:
    """The same bodies, of which only where each ping was is looked at further.

    Raises:
        UnsupportedMediaType, MalformedBody, BodyTooLarge.
    """
    if mimetype == ARROW:
        sent = read_arrow(body, now_ms=now_ms)
        return Places(
            lon=sent.lon,
            lat=sent.lat,
            accuracy_m=sent.accuracy_m,
            platform=sent.platform,
            faults=sent.faults,
            warnings=sent.warnings,
        )
    items = _items(body, mimetype, now_ms)
    return Places(
        lon=items.numbers("lng"),
        lat=items.numbers("lat"),
        accuracy_m=items.accuracy_m(),
        platform=items.platform(),
        faults=items.faults,
        warnings=items.warnings,
    )


def _items(body: bytes, mimetype: str, now_ms: int) -> Items:
    if is_json(mimetype):
        return read_json(body, now_ms=now_ms)
    if mimetype in LINES:
        return read_lines(body)
    raise wrong_type(mimetype, (JSON, NDJSON, ARROW))


def wrong_type(mimetype: str, taken: tuple[str, ...]) -> UnsupportedMediaType:
    """A body of a type that is not read here."""
    given = mimetype[:80] or "none"
    return UnsupportedMediaType(f"The Content-Type is {given}; send {' or '.join(taken)}.")
