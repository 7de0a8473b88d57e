"""From the bytes of a ping body to columns: JSON, NDJSON, gzip; a bad item spoils nothing but itself."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar

import msgspec
import numpy as np

from api.answers import MAX_BODY_BYTES, MAX_DEPTH
from api.problems import BodyTooLarge, MalformedBody
from campaigns.people.identity import Identity, identify
from geo.matching.pings import Ints, PingReason, Platform
from nearcast.services.clocks import Clock
from nearcast.services.raw_pings import RawPings, words

MAX_PINGS = 10_000
NDJSON = "application/x-ndjson"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_PLATFORMS = {"android": Platform.ANDROID, "ios": Platform.IOS, "web": Platform.WEB}
T = TypeVar("T")


class Consent(msgspec.Struct, gc=False):
    """What the person has agreed to, as this ping says it; absent = nothing said."""

    location: bool | None = None
    marketing: bool | None = None
    night: bool | None = None


class PingIn(msgspec.Struct, gc=False):
    """One ping as a backend posts it."""

    lat: float
    lng: float
    device_id: Annotated[str, msgspec.Meta(max_length=128)] | None = None
    ad_id: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    ad_id_type: Annotated[str, msgspec.Meta(max_length=16)] | None = None
    app: Annotated[str, msgspec.Meta(max_length=128)] | None = None
    ping_id: Annotated[str, msgspec.Meta(max_length=128)] | None = None
    at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    accuracy_m: float | None = None
    platform: Annotated[str, msgspec.Meta(max_length=32)] | None = None
    speed_mps: float | None = None
    mocked: bool = False
    user_id: Annotated[str, msgspec.Meta(max_length=128)] | None = None
    consent: Consent | None = None


class _StrictConsent(Consent, forbid_unknown_fields=True, gc=False): ...


class _StrictPing(PingIn, forbid_unknown_fields=True, gc=False):
    consent: _StrictConsent | None = None


class PingBatch(msgspec.Struct):
    """Up to 10,000 pings; `sent_at` is taken and never moves `at`."""

    pings: Annotated[list[PingIn], msgspec.Meta(max_length=MAX_PINGS)]
    sent_at: str | None = None


class _StrictBatch(msgspec.Struct, forbid_unknown_fields=True):
    pings: list[_StrictPing]
    sent_at: str | None = None


class _RawBatch(msgspec.Struct):
    pings: list[msgspec.Raw]


@dataclass
class Decoded:
    """The items of a body; an unreadable one is None and has its fault in `faults`."""

    items: Sequence[PingIn | None]
    faults: dict[int, str] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)


_strict_batch = msgspec.json.Decoder(_StrictBatch)
_raw_batch = msgspec.json.Decoder(_RawBatch)
_one = msgspec.json.Decoder(PingIn)
_keys = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NUL = b"\\u0000"
_FAR_MS = 1 << 62
_KNOWN = frozenset(PingIn.__struct_fields__)


def unpacked(body: bytes, encoding: str) -> bytes:
    """The body without its Content-Encoding; nothing is cut silently.

    Raises:
        BodyTooLarge: over 8 MiB on the wire or unpacked.
        MalformedBody: an unknown encoding, or damaged gzip.
    """
    if encoding == "gzip":
        body = _gunzip(body)
    elif encoding != "identity":
        raise MalformedBody(f"Content-Encoding '{encoding}' is not known here; send gzip or none.")
    if len(body) > MAX_BODY_BYTES:
        raise BodyTooLarge
    return body


def _gunzip(packed: bytes) -> bytes:
    """All members, one after the other, up to one byte over the limit."""
    body = b""
    while packed and len(body) <= MAX_BODY_BYTES:
        unpack = zlib.decompressobj(wbits=31)
        try:
            body += unpack.decompress(packed, MAX_BODY_BYTES + 1 - len(body))
        except zlib.error as error:
            raise MalformedBody(f"The gzip body is damaged: {error}.") from error
        if not unpack.eof and len(body) <= MAX_BODY_BYTES:
            raise MalformedBody("The gzip body ends too early; was it cut on the way?")
        packed = unpack.unused_data
    return body


def decode(body: bytes, mimetype: str) -> Decoded:
    """The items of a JSON object, a JSON batch or NDJSON lines.

    Raises:
        MalformedBody: no JSON (with the offset), or neither a ping nor a batch.
        BodyTooLarge: more than 10,000 pings.
    """
    if mimetype == NDJSON:
        lines = [line for line in body.split(b"\n") if line.strip()]
        return _decode_items([msgspec.Raw(line) for line in lines])
    if _NUL in body:
        return _decode_loosely(body)
    try:
        return Decoded(items=_bounded(_strict_batch.decode(body).pings))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return _decode_loosely(body)


def _decode_loosely(body: bytes) -> Decoded:
    """Item by item, so that one bad item spoils nothing but itself."""
    try:
        envelope = _keys.decode(body)
        if "pings" not in envelope:
            return _decode_items([msgspec.Raw(body)])
        decoded = _decode_items(_raw_batch.decode(body).pings)
    except msgspec.ValidationError as error:
        raise MalformedBody(f"The body is not a ping or a batch of pings: {error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedBody(f"The body is no JSON: {error}.") from error
    except RecursionError as error:
        raise MalformedBody(f"The body is nested deeper than {MAX_DEPTH} levels.") from error
    decoded.unknown.update(set(envelope) - {"pings", "sent_at"})
    return decoded


def _decode_items(raws: Sequence[msgspec.Raw]) -> Decoded:
    decoded = Decoded(items=[])
    items: list[PingIn | None] = []
    for index, raw in enumerate(_bounded(raws)):
        try:
            items.append(_without_nul(_one.decode(raw)))
            decoded.unknown.update(_keys.decode(raw).keys() - _KNOWN)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            items.append(None)
            decoded.faults[index] = str(error)
    decoded.items = items
    return decoded


def _without_nul(item: PingIn) -> PingIn:
    """Text that a database cannot keep is refused with its item."""
    for name in ("device_id", "ad_id", "user_id", "ping_id", "app"):
        if "\0" in (getattr(item, name) or ""):
            raise msgspec.ValidationError(f"NUL character - at `$.{name}`")
    return item


def on_earth(item: PingIn) -> bool:
    """Whether the coordinates are a place at all."""
    return abs(item.lat) <= 90 and abs(item.lng) <= 180


def _bounded(items: Sequence[T]) -> Sequence[T]:
    if len(items) > MAX_PINGS:
        raise BodyTooLarge(
            f"{len(items):,} pings in one request; send at most {MAX_PINGS:,} and split the rest."
        )
    return items


def columns(
    decoded: Decoded, rows: Sequence[int], *, clock: Clock, strangers: frozenset[int] = frozenset()
) -> RawPings:
    """The chosen items as columns; unreadable ones and those of unknown apps come refused."""
    items = [decoded.items[row] for row in rows]
    filled = [item or _UNREADABLE for item in items]
    refused = {
        place: PingReason.INVALID_ITEM if item is None else PingReason.APP_UNKNOWN
        for place, (row, item) in enumerate(zip(rows, items, strict=True))
        if item is None or row in strangers
    }
    now_ms = clock.now_ms()
    at_ms = np.array(
        [now_ms if item.at is None else (item.at - _EPOCH) // _MS for item in filled], np.int64
    )
    who = [_who(item) for item in filled]
    return RawPings(
        keys=[one.key for one in who],
        said=words(who),
        lon=np.array([item.lng for item in filled], np.float64),
        lat=np.array([item.lat for item in filled], np.float64),
        accuracy_m=np.array(
            [np.nan if item.accuracy_m is None else item.accuracy_m for item in filled], np.float64
        ),
        at_ms=at_ms,
        now_ms=clock.as_seen(_seen_ms(at_ms, who, refused)),
        platform=np.array(
            [_PLATFORMS.get((item.platform or "").lower(), Platform.ANDROID) for item in filled],
            np.int8,
        ),
        mocked=np.array([item.mocked for item in filled], bool),
        refused=refused,
    )


def _seen_ms(at_ms: Ints, who: Sequence[Identity], refused: Mapping[int, PingReason]) -> Ints:
    """The instants that may move a replay clock: those of pings that somebody sent."""
    taken = [row not in refused and who[row].key is not None for row in range(len(who))]
    return np.where(taken, at_ms, at_ms.min(initial=_FAR_MS))


def warnings(decoded: Decoded) -> list[str]:
    """One line for each field that is not known, with the number of items that have it."""
    return [
        f"unknown field '{name}' in {times} item{'s' if times > 1 else ''}: left out"
        for name, times in sorted(decoded.unknown.items())
    ]


_UNREADABLE = PingIn(lat=0.0, lng=0.0)


def _who(item: PingIn) -> Identity:
    said = item.consent or Consent()
    return identify(
        device_id=item.device_id,
        ad_id=item.ad_id,
        user_id=item.user_id,
        location=said.location,
        marketing=said.marketing,
        night=said.night,
    )
