"""The messages of an Arrow IPC stream, looked at from outside before anything reads them.

Read from the bytes alone, as Arrow's columnar format describes them: a message is 0xFFFFFFFF, the length
of its metadata (a FlatBuffer), the metadata, and a body whose length stands in there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from api.pings.words import MAX_PINGS
from api.problems import BodyTooLarge, MalformedBody

_CONTINUED = 0xFFFFFFFF
_MAX_MESSAGES = 2 * MAX_PINGS
# fields of the FlatBuffer tables Message, DictionaryBatch and RecordBatch (Message.fbs)
_HEADER_TYPE, _HEADER, _BODY_LENGTH = 1, 2, 3
_DATA = 1
_ROWS, _COMPRESSION = 0, 3
_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3


def check_frames(body: bytes) -> None:
    """Refuse a stream that is cut, goes on after its end, or has packed buffers inside.

    Raises:
        MalformedBody: with the byte at which the message begins.
        BodyTooLarge: a batch says that it has more than 10,000 rows.
    """
    rows = 0
    for at, metadata in _messages(body):
        try:
            batch = _batch(body, metadata)
            if batch is None:
                continue
            kind, table = batch
            packed = _field(body, table, _COMPRESSION) is not None
            count = _number(body, table, _ROWS)
        except (struct.error, IndexError) as error:
            raise MalformedBody(f"The Arrow stream is damaged (byte {at}).") from error
        if packed:
            raise MalformedBody(
                f"The Arrow stream has packed buffers inside (byte {at}); write it without compression "
                "and send the whole with Content-Encoding zstd or gzip."
            )
        rows += count if kind == _RECORD_BATCH else 0
        if rows > MAX_PINGS:
            raise BodyTooLarge(
                f"{rows:,} pings in one request; send at most {MAX_PINGS:,} and split the rest."
            )


def _messages(body: bytes) -> Iterator[tuple[int, int]]:
    """Where each message begins, and where its metadata does."""
    at = 0
    for _ in range(_MAX_MESSAGES):
        if at == len(body) and at:
            return
        try:
            mark, length = struct.unpack_from("<Ii", body, at)
            if mark != _CONTINUED or length < 0:
                raise MalformedBody(f"The body is no Arrow stream: no message at byte {at}.")
            if length == 0:
                _ended(body, at + 8)
                return
            if at + 8 + length > len(body):
                raise _cut(len(body))
            long = _number(body, _follow(body, at + 8), _BODY_LENGTH)
        except (struct.error, IndexError) as error:
            raise _cut(at) from error
        end = at + 8 + length + long
        if long < 0 or end > len(body):
            raise _cut(len(body))
        yield at, at + 8
        at = end
    raise MalformedBody(f"The Arrow stream has more than {_MAX_MESSAGES:,} messages (byte {at}).")


def _cut(at: int) -> MalformedBody:
    return MalformedBody(f"The Arrow stream was cut on the way, or is damaged (byte {at}).")


def _ended(body: bytes, at: int) -> None:
    if at != len(body):
        raise MalformedBody(f"Something follows the end of the Arrow stream (byte {at}).")


def _batch(body: bytes, metadata: int) -> tuple[int, int] | None:
    """The kind and the RecordBatch of a message; None if it has none (a schema)."""
    message = _follow(body, metadata)
    kind_at = _field(body, message, _HEADER_TYPE)
    header_at = _field(body, message, _HEADER)
    if kind_at is None or header_at is None:
        return None
    kind, table = body[kind_at], _follow(body, header_at)
    if kind == _DICTIONARY_BATCH:
        data_at = _field(body, table, _DATA)
        return None if data_at is None else (kind, _follow(body, data_at))
    return (kind, table) if kind == _RECORD_BATCH else None


def _follow(body: bytes, at: int) -> int:
    """Where an offset leads."""
    return at + int(struct.unpack_from("<I", body, at)[0])


def _field(body: bytes, table: int, number: int) -> int | None:
    """Where a field of a table stands; None where it has its default."""
    names = table - int(struct.unpack_from("<i", body, table)[0])
    if names < 0:
        raise IndexError(names)
    size = struct.unpack_from("<H", body, names)[0]
    place = 4 + 2 * number
    if place + 2 > size:
        return None
    offset = int(struct.unpack_from("<H", body, names + place)[0])
    return table + offset if offset else None


def _number(body: bytes, table: int, number: int) -> int:
    at = _field(body, table, number)
    return 0 if at is None else int(struct.unpack_from("<q", body, at)[0])
