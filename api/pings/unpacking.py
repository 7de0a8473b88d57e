"""A body without its Content-Encoding: gzip and zstd, bounded, whole or refused (quality Q5)."""

from __future__ import annotations

import zlib

import pyarrow as pa

from api.answers import MAX_BODY_BYTES
from api.problems import BodyTooLarge, MalformedBody, UnsupportedMediaType

#: a body of so many members has no reason but to cost time
_MAX_MEMBERS = 1_000
_PORTION = 1 << 16
#: what a zstd body may ask for (RFC 9659)
_MAX_WINDOW_BYTES = MAX_BODY_BYTES
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def unpacked(body: bytes, encoding: str) -> bytes:
    """The body as it was before it was packed; nothing is cut silently.

    Args:
        encoding: of the Content-Encoding header, "identity" where there is none.
    Raises:
        BodyTooLarge: over 8 MiB on the wire or unpacked.
        MalformedBody: damaged, cut, or followed by something else.
        UnsupportedMediaType: an encoding that is not known here.
    """
    if len(body) > MAX_BODY_BYTES:
        raise BodyTooLarge
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding in ("gzip", "x-gzip"):
        return _gunzip(body)
    if encoding == "zstd":
        return _unzstd(body)
    raise UnsupportedMediaType(
        f"Content-Encoding '{encoding[:40]}' is not known here; send gzip, zstd or none."
    )


def _gunzip(packed: bytes) -> bytes:
    """All members, one after the other, up to one byte over the limit."""
    parts: list[bytes] = []
    room, at, members = MAX_BODY_BYTES + 1, 0, 0
    while at < len(packed):
        members += 1
        if members > _MAX_MEMBERS:
            raise MalformedBody(f"The gzip body has more than {_MAX_MEMBERS:,} members (byte {at}).")
        unpack = zlib.decompressobj(wbits=31)
        while not unpack.eof:
            if at >= len(packed):
                raise MalformedBody(f"The gzip body ends too early (byte {at}); was it cut on the way?")
            portion = packed[at : at + _PORTION]
            try:
                parts.append(unpack.decompress(portion, room))
            except zlib.error as error:
                raise MalformedBody(f"The gzip body is damaged: {error} (about byte {at}).") from error
            room -= len(parts[-1])
            if room <= 0:
                raise BodyTooLarge
            at += len(portion) - len(unpack.unused_data) - len(unpack.unconsumed_tail)
    return b"".join(parts)


def _unzstd(packed: bytes) -> bytes:
    if packed[:4] == _ZSTD_MAGIC and _window_bytes(packed) > _MAX_WINDOW_BYTES:
        raise BodyTooLarge("The zstd body asks for a window of more than 8 MiB; pack it with less.")
    try:
        with pa.CompressedInputStream(pa.BufferReader(packed), "zstd") as stream:
            body: bytes = stream.read(MAX_BODY_BYTES + 1)
    except (OSError, pa.ArrowException) as error:
        raise MalformedBody(f"The zstd body is damaged or was cut on the way: {error}.") from error
    if len(body) > MAX_BODY_BYTES:
        raise BodyTooLarge
    return body


def _window_bytes(packed: bytes) -> int:
    """The window that the first frame of a zstd body asks for (RFC 8878, 3.1.1.1)."""
    if len(packed) < 6:
        return 0
    descriptor = packed[4]
    if descriptor & 0x20:  # a single segment: the window is the content
        length = (1, 2, 4, 8)[descriptor >> 6]
        first = 5 + (0, 1, 2, 4)[descriptor & 3]
        return int.from_bytes(packed[first : first + length], "little")
    exponent, mantissa = packed[5] >> 3, packed[5] & 7
    return int((1 << (10 + exponent)) * (1 + mantissa / 8))
