"""JSON and NDJSON bodies to items; a bad item spoils nothing but itself."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec

from api.answers import MAX_DEPTH
from api.pings.depths import commas_at, shallow
from api.pings.instants import BadInstant, instant_ms
from api.pings.sent import Items, unreadable
from api.pings.words import FIELDS, MAX_PINGS, Ping, StrictPing
from api.problems import BodyTooLarge, MalformedBody

T = TypeVar("T")

#: what decoders raise; lone surrogates and bad UTF-8 are among them
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
#: a phone's clock that is off by so much stands in another zone (api.md, Pings)
CLOCK_OFF_MS = 55 * 60_000
_TEXTS = ("device_id", "ad_id", "user_id", "ping_id", "app")
#: bodies with more commas may hold more items than memory is for: these are counted first
_MANY_COMMAS = 250_000
#: here msgspec names the byte behind the fault
_TRAILING = re.compile(r"(trailing characters \(byte )(\d+)")
_LINE = re.compile(rb"\S[^\n]*")
#: the batch and its list
_ABOVE = 2


class _StrictBatch(msgspec.Struct, forbid_unknown_fields=True):
    pings: list[StrictPing]
    sent_at: msgspec.Raw = msgspec.Raw(b"null")


class _RawBatch(msgspec.Struct):
    pings: list[msgspec.Raw]
    sent_at: msgspec.Raw = msgspec.Raw(b"null")


_strict_batch = msgspec.json.Decoder(_StrictBatch)
_strict = msgspec.json.Decoder(StrictPing)
_raw_batch = msgspec.json.Decoder(_RawBatch)
_loose = msgspec.json.Decoder(Ping)
_keys = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass
class Read(Generic[T]):
    """Items read one by one: those that could not be are None, with their fault."""

    items: list[T | None] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)

    def warnings(self) -> list[str]:
        """A line for each field that is not known, with the number of items that have it."""
        return [
            f"unknown field '{name}' in {times} item{'s' if times > 1 else ''}: left out"
            for name, times in sorted(self.unknown.items())
        ]


def read_json(body: bytes, *, now_ms: int) -> Items:
    """One ping, or `{"pings": […], "sent_at": …}`.

    Args:
        now_ms: what `sent_at` is compared with.
    Raises:
        MalformedBody: no JSON (with the byte), neither of the two, or nested too deep.
        BodyTooLarge: more than 10,000 pings.
    """
    bound_items(body)
    if not may_hold_nul(body):
        try:
            batch = _strict_batch.decode(body)
        except UNREADABLE:
            pass
        else:
            bounded(len(batch.pings))
            return Items(pings=batch.pings, warnings=clock_warnings(batch.sent_at, now_ms))
    return _read_loosely(body, now_ms)


def read_lines(body: bytes) -> Items:
    """NDJSON: a ping a line; empty lines are passed over.

    Raises:
        MalformedBody: nested too deep.
        BodyTooLarge: more than 10,000 pings.
    """
    body = body.strip()
    breaks = body.count(b"\n")
    # every break stands between two objects: then no object stands on two lines, none beside another
    if not may_hold_nul(body) and not _may_be_many(body) and body.count(b"}\n{") == breaks:
        bounded(breaks + 1)
        try:
            items = _strict.decode_lines(body)
        except UNREADABLE:
            pass
        else:
            if len(items) == breaks + 1:
                return Items(pings=items)
    return _items(read_items(_lines(body), read_ping))


def _lines(body: bytes) -> Iterator[bytes]:
    for place, found in enumerate(_LINE.finditer(body)):
        bounded(place + 1)
        yield found[0]


def _read_loosely(body: bytes, now_ms: int) -> Items:
    """Item by item."""
    try:
        envelope = _keys.decode(body)
        if "pings" not in envelope:
            return _items(read_items([body], read_ping))
        batch = _raw_batch.decode(body)
    except UNREADABLE as error:
        raise no_batch(error, body, "a ping or a batch of pings") from error
    bounded(len(batch.pings))
    read = read_items(map(bytes, batch.pings), read_ping)
    for name in envelope.keys() - {"pings", "sent_at"}:
        shallow(bytes(envelope[name]), above=1)
        read.unknown[name] += 1
    return _items(read, clock_warnings(batch.sent_at, now_ms))


def no_batch(error: Exception, body: bytes, wanted: str) -> MalformedBody:
    """Why a body is no JSON, or not what it should be, with the byte where that is known."""
    if isinstance(error, msgspec.ValidationError):
        return MalformedBody(f"The body is not {wanted}: {error}.")
    if isinstance(error, RecursionError):
        return MalformedBody(f"The body is nested deeper than {MAX_DEPTH} levels.")
    if isinstance(error, UnicodeDecodeError):
        return MalformedBody(f"The body is no JSON: a text is not UTF-8 (byte {_not_utf8(body)}).")
    why = _TRAILING.sub(lambda found: f"{found[1]}{int(found[2]) - 1}", str(error))
    where = "" if "(byte" in why else f" (byte {len(body)})"
    return MalformedBody(f"The body is no JSON: {why}{where}.")


def _not_utf8(body: bytes) -> int:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return error.start
    return 0  # not reached: some text in it was not UTF-8


def _items(read: Read[Ping], warnings: Sequence[str] = ()) -> Items:
    pings = [item or unreadable() for item in read.items]
    return Items(pings=pings, faults=read.faults, warnings=[*warnings, *read.warnings()])


def read_items(raws: Iterable[bytes], reader: Callable[[bytes], tuple[T, set[str]]]) -> Read[T]:
    """Read each item; see `Read`.

    Args:
        reader: gives an item and the names of its fields that are not known.
    Raises:
        MalformedBody: an item is nested too deep.
    """
    read: Read[T] = Read()
    for index, raw in enumerate(raws):
        try:
            item, unknown = reader(raw)
            read.items.append(item)
            read.unknown.update(unknown)
        except UNREADABLE as error:
            shallow(raw, above=_ABOVE)
            read.items.append(None)
            read.faults[index] = str(error)
    return read


def read_ping(raw: bytes) -> tuple[Ping, set[str]]:
    """One ping, and the names of its fields that are not known."""
    unknown: set[str] = set()
    try:
        item: Ping = _strict.decode(raw)
    except msgspec.ValidationError:
        item = _loose.decode(raw)
        found = _keys.decode(raw)
        unknown = found.keys() - FIELDS
        for name in unknown:
            shallow(bytes(found[name]), above=_ABOVE + 1)
    if may_hold_nul(raw):
        without_nul(item)
    return item, unknown


def may_hold_nul(text: bytes) -> bool:
    """Whether a JSON text may have U+0000 in it, which stands there only as an escape."""
    return b"\\" in text and b"\\u0000" in text  # one byte is found ten times as fast as six


def without_nul(item: Any) -> None:
    """Text that a database cannot keep is refused with its item."""
    for name in _TEXTS:
        if "\0" in (getattr(item, name) or ""):
            raise msgspec.ValidationError(f"NUL character - at `$.{name}`")


def bounded(count: int) -> None:
    """Refuse more than 10,000 pings."""
    if count > MAX_PINGS:
        raise BodyTooLarge(
            f"{count:,} pings in one request; send at most {MAX_PINGS:,} and split the rest."
        )


def bound_items(body: bytes) -> None:
    """Refuse a body whose items would fill the memory before they could be counted."""
    if _may_be_many(body):
        bounded(commas_at(body, 2) + 1)  # the items of a list in the envelope


def _may_be_many(body: bytes) -> bool:
    return len(body) > _MANY_COMMAS and body.count(b",") > _MANY_COMMAS


def clock_warnings(sent_at: bytes | msgspec.Raw, now_ms: int) -> list[str]:
    """What there is to say of the envelope's `sent_at`; it never moves `at`."""
    raw = bytes(sent_at)
    if raw == b"null":
        return []
    try:
        sent_ms = instant_ms(msgspec.json.decode(raw, type=str))
    except (*UNREADABLE, BadInstant) as error:
        return [f"'sent_at' could not be read and is left out: {error}"]
    return clock_off(sent_ms, now_ms)


def clock_off(sent_ms: int, now_ms: int) -> list[str]:
    """One line if a phone's clock is 55 min off or more."""
    off_ms = sent_ms - now_ms
    if abs(off_ms) < CLOCK_OFF_MS:
        return []
    way = "ahead of" if off_ms > 0 else "behind"
    by = f"{abs(off_ms) // 60_000:,} min {way} this server's clock"
    return [f"'sent_at' is {by}: the sender's clock is off; 'at' is taken as it is"]
