"""Bodies of other services, told in our words: a Radar-shaped track, a Segment-shaped batch.

Thin translations: an item becomes a ping of ours and goes its way. Fields that mean nothing here are
passed over without a word; both services send dozens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec

from api.answers import rfc3339
from api.pings.bodies import JSON, is_json, wrong_type
from api.pings.json_bodies import (
    UNREADABLE,
    Read,
    bound_items,
    bounded,
    clock_warnings,
    may_hold_nul,
    no_batch,
    read_items,
    without_nul,
)
from api.pings.sent import Items, unreadable
from api.pings.words import MAX_PINGS, Ping

_Id = Annotated[str, msgspec.Meta(max_length=128)]
_AdId = Annotated[str, msgspec.Meta(max_length=64)]
_PlatformName = Annotated[str, msgspec.Meta(max_length=32)]
_Instant = Annotated[str, msgspec.Meta(max_length=64)]


class TrackIn(msgspec.Struct, rename="camel", gc=False):
    """One location as Radar's `POST /v1/track` takes it. `foreground` and `stopped` are not used."""

    latitude: float
    longitude: float
    device_id: _Id | None = None
    user_id: _Id | None = None
    ad_id: _AdId | None = None
    accuracy: float | None = None
    location_ms: int | None = None
    device_type: _PlatformName | None = None
    mocked: bool | None = None
    foreground: bool | None = None
    stopped: bool | None = None


class Location(msgspec.Struct, gc=False):
    """Segment's `context.location`, as far as it is a place."""

    latitude: float | None = None
    longitude: float | None = None
    accuracy: float | None = None


class Device(msgspec.Struct, rename="camel", gc=False):
    """Segment's `context.device`."""

    id: _Id | None = None
    advertising_id: _AdId | None = None
    type: _PlatformName | None = None


class Context(msgspec.Struct, gc=False):
    """Segment's `context`, as far as pings need it."""

    location: Location | None = None
    device: Device | None = None


class SegmentItem(msgspec.Struct, rename="camel", gc=False):
    """One call of Segment's batch; `track` with a place in its context is a ping, others are counted.

    The device is `context.device.id`, else `anonymousId`.
    """

    type: str
    message_id: _Id | None = None
    anonymous_id: _Id | None = None
    user_id: _Id | None = None
    timestamp: _Instant | None = None
    context: Context | None = None


class SegmentBatch(msgspec.Struct, rename="camel"):
    """A body of Segment's `POST /v1/batch`; `sentAt` is treated as our `sent_at`."""

    batch: Annotated[list[SegmentItem], msgspec.Meta(max_length=MAX_PINGS)]
    sent_at: str | None = None


class _RawSegmentBatch(msgspec.Struct, rename="camel"):
    batch: list[msgspec.Raw]
    sent_at: msgspec.Raw = msgspec.Raw(b"null")


_track = msgspec.json.Decoder(TrackIn)
_segment = msgspec.json.Decoder(_RawSegmentBatch)
_segment_item = msgspec.json.Decoder(SegmentItem)
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_track(body: bytes, mimetype: str) -> Items:
    """One location in Radar's words, as a batch of one ping.

    Raises:
        UnsupportedMediaType, MalformedBody: as for pings. A field of a wrong type spoils the item only.
    """
    _must_be_json(mimetype)
    try:
        _object.decode(body)
    except UNREADABLE as error:
        raise no_batch(error, body, "a location") from error
    return _items(read_items([body], _reader(_tracked)))


def read_segment(body: bytes, mimetype: str, *, now_ms: int) -> Items:
    """The places among the items of a Segment batch; `places` says which items they are.

    Raises:
        UnsupportedMediaType, MalformedBody, BodyTooLarge: as for pings.
    """
    _must_be_json(mimetype)
    bound_items(body)
    try:
        batch = _segment.decode(body)
    except UNREADABLE as error:
        raise no_batch(error, body, "a batch of calls") from error
    bounded(len(batch.batch))
    read: Read[Ping | _NoPlace] = read_items(map(bytes, batch.batch), _reader(_called))
    kept = [place for place, item in enumerate(read.items) if not isinstance(item, _NoPlace)]
    pings = Read(
        items=[item for item in read.items if not isinstance(item, _NoPlace)],
        faults={row: read.faults[place] for row, place in enumerate(kept) if place in read.faults},
    )
    warnings = clock_warnings(batch.sent_at, now_ms)
    if others := len(read.items) - len(kept):
        warnings.append(
            f"{others:,} item{'s are' if others > 1 else ' is'} no location: only 'track' items with "
            "context.location are taken"
        )
    return _items(pings, warnings, places=kept)


class _NoPlace:
    """A call that says nothing of a place."""


def _items(read: Read[Ping], warnings: Sequence[str] = (), *, places: list[int] | None = None) -> Items:
    pings = [item or unreadable() for item in read.items]
    return Items(pings=pings, faults=read.faults, warnings=warnings, places=places)


def _must_be_json(mimetype: str) -> None:
    if not is_json(mimetype):
        raise wrong_type(mimetype, (JSON,))


def _reader(translated: Callable[[bytes], Any]) -> Callable[[bytes], tuple[Any, set[str]]]:
    def reader(raw: bytes) -> tuple[Any, set[str]]:
        item = translated(raw)
        if may_hold_nul(raw) and isinstance(item, Ping):
            without_nul(item)
        return item, set()

    return reader


def _tracked(raw: bytes) -> Ping:
    given = _track.decode(raw)
    return Ping(
        lat=given.latitude,
        lng=given.longitude,
        device_id=given.device_id,
        ad_id=given.ad_id,
        user_id=given.user_id,
        at=None if given.location_ms is None else _instant(given.location_ms),
        accuracy_m=given.accuracy,
        platform=given.device_type,
        mocked=bool(given.mocked),
    )


def _instant(at_ms: int) -> str:
    try:
        return rfc3339(at_ms)
    except OverflowError as error:
        raise msgspec.ValidationError("Instant out of range - at `$.locationMs`") from error


def _called(raw: bytes) -> Ping | _NoPlace:
    given = _segment_item.decode(raw)
    context = given.context or Context()
    where, device = context.location, context.device or Device()
    if given.type != "track" or where is None or where.latitude is None or where.longitude is None:
        return _NoPlace()
    return Ping(
        lat=where.latitude,
        lng=where.longitude,
        device_id=device.id or given.anonymous_id,
        ad_id=device.advertising_id,
        user_id=given.user_id,
        ping_id=given.message_id,
        at=given.timestamp,
        accuracy_m=where.accuracy,
        platform=device.type,
    )
