"""Malformed bodies of every kind: exact status, code and, where there is one, the byte (quality Q5)."""

from __future__ import annotations

import gzip
import time
from typing import Any

import pyarrow as pa
import pytest
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st

from api.answers import MAX_BODY_BYTES
from api.pings.words import MAX_PINGS
from tests.api.ping_door import ARROW, JSON, NDJSON, PLACE, as_json, as_lines, as_stream, columns

ADDRESSES = ("/v1/pings", "/v1/context")
GOOD = as_json([{"device_id": "a"} | PLACE])


def zstd(body: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(body))


def zstd_stream(body: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as packed:
        packed.write(body)
    return sink.getvalue().to_pybytes()


def gz(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)


def refused(door: FlaskClient, address: str, body: bytes, mimetype: str | None, encoding: str) -> Any:
    headers = {"Content-Encoding": encoding} if encoding else {}
    began = time.thread_time()
    answer = door.post(address, data=body, content_type=mimetype, headers=headers)
    assert time.thread_time() - began < 1.0  # quality Q5
    assert answer.mimetype == "application/problem+json", answer.text[:200]
    return answer


# --- bodies that cannot be read at all --------------------------------------------------------------

DEEP = b'{"pings":[{"lat":1,"lng":2,"x":' + b"[" * 40 + b"]" * 40 + b"}]}"
BAD_JSON: list[tuple[bytes, str]] = [
    (b"", "(byte 0)"),
    (b" ", "(byte 1)"),
    (b"{", "(byte 1)"),
    (b"nul", "(byte 3)"),
    (b"[", "not a ping"),
    (b'{"pings": [', "(byte 11)"),
    (b'{"pings": [{"lat": 1, "lng": 2}', "(byte 31)"),
    (b'{"pings": []', "(byte 12)"),
    (b'{"pings": []} x', "(byte 14)"),
    (b'{"pings": []}{}', "(byte 13)"),
    (b'{"pings": [],}', "(byte 13)"),
    (b'{"pings": [,]}', "(byte 11)"),
    (b"{'pings': []}", "(byte 1)"),
    (b"{pings: []}", "(byte 1)"),
    (b'{"pings": [{"lat": NaN, "lng": 2}]}', "(byte 19)"),
    (b'{"pings": [{"lat": Infinity, "lng": 2}]}', "(byte 19)"),
    (b'{"pings": [{"lat": -Infinity, "lng": 2}]}', "(byte 20)"),
    (b'{"pings": [{"lat": 01, "lng": 2}]}', "(byte 20)"),
    (b'{"pings": [{"lat": .5, "lng": 2}]}', "(byte 19)"),
    (b'{"pings": [{"lat": +1, "lng": 2}]}', "(byte 19)"),
    (b'{"pings": [{"lat": 1e, "lng": 2}]}', "(byte 21)"),
    (b'{"pings": [{"lat": 0x1, "lng": 2}]}', "(byte 20)"),
    (b'{"pings": [{"lat": TRUE, "lng": 2}]}', "(byte 19)"),
    (b'// a comment\n{"pings": []}', "(byte 0)"),
    (b"\xef\xbb\xbf" + GOOD, "(byte 0)"),
    (GOOD.decode().encode("utf-16"), "(byte 0)"),
    (GOOD.decode().encode("utf-16-le"), "(byte 1)"),
    (b"\xff\xfe", "(byte 0)"),
    (b"\x00", "(byte 0)"),
    (b"NaN", "(byte 0)"),
    (b"<pings/>", "(byte 0)"),
    (b"lat=1&lng=2", "(byte 0)"),
    (b'{"pings": [{"lat": 1, "lng": 2, "ping_id": "\\ud800"}]}', "(byte 54)"),
    (b'{"pings": [{"lat": 1, "lng": 2, "ping_id": "\\udc00\\ud800"}]}', "(byte 50)"),
    (b"[]", "not a ping"),
    (b"[" + GOOD + b"]", "not a ping"),
    (b'"text"', "not a ping"),
    (b"3", "not a ping"),
    (b"null", "not a ping"),
    (b"true", "not a ping"),
    (b'{"pings": 3}', "$.pings"),
    (b'{"pings": null}', "$.pings"),
    (b'{"pings": {}}', "$.pings"),
    (b'{"pings": "[]"}', "$.pings"),
    (b'{"\xff": 1}', "(byte 2)"),
    (b"[" * 100_000, "not a ping"),
    (b'{"a":' * 5_000, "deeper than 32"),
    (b'{"pings":' * 5_000, "deeper than 32"),
    (b'{"pings":[' * 5_000, "deeper than 32"),
    (DEEP, "deeper than 32"),
    (b'{"pings":[],"x":' + b'{"a":' * 40 + b"1" + b"}" * 41, "deeper than 32"),
    (b'{"pings":[{"lat":' + b"[" * 40 + b"]" * 40 + b',"lng":2}]}', "deeper than 32"),
    (b'{"lat":1,"lng":2,"x":"\\"",' + b'"y":' + b"[" * 40 + b"]" * 40 + b"}", "deeper than 32"),
]


@pytest.mark.parametrize(("body", "part"), BAD_JSON)
@pytest.mark.parametrize("address", ADDRESSES)
def test_what_is_no_json_is_told_with_its_byte(door, address, body, part):
    answer = refused(door, address, body, JSON, "")

    assert (answer.status_code, answer.json["code"]) == (400, "malformed_body")
    assert part in answer.json["detail"]


def stream_of(**column: Any) -> bytes:
    return as_stream(columns(**column))


WHOLE = as_stream(columns())
#: where each message of that stream begins: the schema, the batch, the end
_BATCH_AT = WHOLE.index(b"\xff\xff\xff\xff", 8)
_END_AT = len(WHOLE) - 8
TIMES = [0, 1, 2]
BAD_STREAMS: list[tuple[bytes, str]] = [
    (b"", "(byte 0)"),
    (b"ARROW1\0\0", "no message at byte 0"),
    (GOOD, "no message at byte 0"),
    (WHOLE[:3], "(byte 0)"),
    (WHOLE[:7], "(byte 0)"),
    (WHOLE[:20], "(byte 20)"),
    (WHOLE[: _BATCH_AT - 1], f"(byte {_BATCH_AT - 1})"),
    (WHOLE[: _BATCH_AT + 2], f"(byte {_BATCH_AT})"),
    (WHOLE[: _BATCH_AT + 40], f"(byte {_BATCH_AT + 40})"),
    (WHOLE[: _END_AT - 1], f"(byte {_END_AT - 1})"),
    (WHOLE[: _END_AT + 4], f"(byte {_END_AT})"),
    (WHOLE + b"\0", f"(byte {len(WHOLE)})"),
    (WHOLE + WHOLE, f"(byte {len(WHOLE)})"),
    (WHOLE[:_BATCH_AT] + b"\0" * 8, f"byte {_BATCH_AT}"),
    (WHOLE[_BATCH_AT:], "stream"),
    (as_stream(columns(), compression="zstd"), "packed buffers inside"),
    (as_stream(columns(), compression="lz4"), "packed buffers inside"),
    (as_stream(columns(lat=None)), "no column 'lat'"),
    (as_stream(columns(lng=None)), "no column 'lng'"),
    (as_stream(pa.table([[1.0], [2.0], [3.0]], names=["lat", "lng", "lat"])), "'lat' more than once"),
    (stream_of(lat=pa.array(["1", "2", "3"])), "column 'lat'"),
    (stream_of(lng=pa.array([True, False, True])), "column 'lng'"),
    (stream_of(lat=pa.array([1, 2, 3]).cast(pa.decimal128(30, 2))), "column 'lat'"),
    (stream_of(lat=pa.array([[1.0], [2.0], [3.0]])), "column 'lat'"),
    (stream_of(accuracy_m=pa.array(["1", "2", "3"])), "column 'accuracy_m'"),
    (stream_of(speed_mps=pa.array(["1", "2", "3"])), "column 'speed_mps'"),
    (stream_of(device_id=pa.array([1, 2, 3])), "column 'device_id'"),
    (stream_of(device_id=pa.array([b"1", b"2", b"3"])), "column 'device_id'"),
    (stream_of(device_id=pa.array([1, 1, 2]).dictionary_encode()), "column 'device_id'"),
    (stream_of(ad_id=pa.array([1.0, 2.0, 3.0])), "column 'ad_id'"),
    (stream_of(ad_id_type=pa.array([1, 2, 3])), "column 'ad_id_type'"),
    (stream_of(user_id=pa.array([1, 2, 3])), "column 'user_id'"),
    (stream_of(ping_id=pa.array([1, 2, 3])), "column 'ping_id'"),
    (stream_of(app=pa.array([1, 2, 3])), "column 'app'"),
    (stream_of(platform=pa.array([1, 2, 3])), "column 'platform'"),
    (stream_of(mocked=pa.array([0, 1, 0])), "column 'mocked'"),
    (stream_of(mocked=pa.array(["no", "no", "no"])), "column 'mocked'"),
    (stream_of(consent=pa.array([True, True, False])), "column 'consent'"),
    (stream_of(consent=pa.array([{"location": 1}] * 3)), "column 'consent'"),
    (stream_of(at=pa.array(TIMES, pa.timestamp("ms"))), "column 'at'"),
    (stream_of(at=pa.array(TIMES, pa.timestamp("ns"))), "column 'at'"),
    (stream_of(at=pa.array(TIMES, pa.int32())), "column 'at'"),
    (stream_of(at=pa.array([0.0, 1.0, 2.0])), "column 'at'"),
    (stream_of(at=pa.array(["2026-11-23T00:00:00Z"] * 3)), "column 'at'"),
    (stream_of(at=pa.array(TIMES, pa.date32())), "column 'at'"),
    (stream_of(at=pa.array(TIMES, pa.time32("ms"))), "column 'at'"),
    (stream_of(at=pa.array(TIMES, pa.duration("ms"))), "column 'at'"),
    (WHOLE.replace(b"d0d1d2", b"\xff0d1d2"), "UTF"),
]


@pytest.mark.parametrize(("body", "part"), BAD_STREAMS)
def test_an_arrow_stream_that_is_wrong_is_told_with_its_byte_or_column(door, body, part):
    for address in ADDRESSES:
        answer = refused(door, address, body, ARROW, "")
        assert (answer.status_code, answer.json["code"]) == (400, "malformed_body")
        assert part in answer.json["detail"], answer.json["detail"]


MANY = columns(MAX_PINGS + 1)
BOMB = b" " * (MAX_BODY_BYTES + 1)
OTHER: list[tuple[bytes, str | None, str, int, str]] = [
    # types
    (GOOD, None, "", 415, "Content-Type is none"),
    (GOOD, "text/plain", "", 415, "text/plain"),
    (GOOD, "text/json", "", 415, "text/json"),
    (GOOD, "application/x-www-form-urlencoded", "", 415, "form"),
    (GOOD, "multipart/form-data; boundary=x", "", 415, "form-data"),
    (GOOD, "application/octet-stream", "", 415, "octet-stream"),
    (GOOD, "application/vnd.apache.arrow.file", "", 415, "arrow.file"),
    (GOOD, "application/vnd.apache.parquet", "", 415, "parquet"),
    (GOOD, "application/msgpack", "", 415, "msgpack"),
    (GOOD, "json", "", 415, "json"),
    # encodings
    (GOOD, JSON, "br", 415, "'br'"),
    (GOOD, JSON, "deflate", 415, "'deflate'"),
    (gz(gz(GOOD)), JSON, "gzip, gzip", 415, "gzip, gzip"),
    (GOOD, JSON, "gzip", 400, "gzip body is damaged"),
    (gz(GOOD)[:-1], JSON, "gzip", 400, "too early"),
    (gz(GOOD)[:12], JSON, "gzip", 400, "(byte 12)"),
    (gz(GOOD) + b"junk", JSON, "gzip", 400, "damaged"),
    (gz(GOOD)[:-8] + b"\0" * 8, JSON, "gzip", 400, "damaged"),
    (b"\x1f\x8b", JSON, "gzip", 400, "(byte 2)"),
    (b"", JSON, "gzip", 400, "(byte 0)"),
    (gz(b"") * 1_001, JSON, "gzip", 400, "more than 1,000 members"),
    (gz(b'{"pings": ['), JSON, "gzip", 400, "(byte 11)"),
    (GOOD, JSON, "zstd", 400, "zstd body is damaged"),
    (zstd(GOOD)[:-1], JSON, "zstd", 400, "cut"),
    (zstd_stream(GOOD)[:-1], JSON, "zstd", 400, "cut"),
    (zstd_stream(GOOD)[:7], JSON, "zstd", 400, "cut"),
    (zstd(GOOD) + b"junk", JSON, "zstd", 400, "damaged"),
    (zstd(b'{"pings": ['), JSON, "zstd", 400, "(byte 11)"),
    (b"", JSON, "zstd", 400, "(byte 0)"),
    (gz(WHOLE)[:-9], ARROW, "gzip", 400, "too early"),
    # limits
    (BOMB, JSON, "", 413, "8 MiB"),
    (BOMB, NDJSON, "", 413, "8 MiB"),
    (BOMB, ARROW, "", 413, "8 MiB"),
    (BOMB, "text/plain", "", 413, "8 MiB"),
    (gz(BOMB), JSON, "gzip", 413, "8 MiB"),
    (gz(BOMB * 16), NDJSON, "gzip", 413, "8 MiB"),
    (gz(b" " * (1 << 20)) * 9, JSON, "gzip", 413, "8 MiB"),
    (zstd(BOMB), JSON, "zstd", 413, "8 MiB"),
    (zstd_stream(BOMB * 16), NDJSON, "zstd", 413, "8 MiB"),
    (zstd(b" " * (1 << 20)) * 9, JSON, "zstd", 413, "8 MiB"),
    (b"\x28\xb5\x2f\xfd\x00\xd8" + b"\0" * 9, JSON, "zstd", 413, "window"),
    (as_json([{}] * (MAX_PINGS + 1)), JSON, "", 413, "10,000"),
    (as_json([PLACE] * (MAX_PINGS + 1)), JSON, "", 413, "10,000"),
    (b'{"pings":[' + b"1," * 4_000_000 + b"1]}", JSON, "", 413, "10,000"),
    (b'{"pings":[' + b'"\\",",' * 1_300_000 + b"1]}", JSON, "", 413, "10,000"),
    (b'{"x":' + b"[" * 8_000_000, JSON, "", 400, "deeper than 32"),
    (as_lines([PLACE] * (MAX_PINGS + 1)), NDJSON, "", 413, "10,001"),
    (as_lines([3] * (MAX_PINGS + 1)), NDJSON, "", 413, "10,001"),
    (b"1\n" * 4_000_000, NDJSON, "", 413, "10,001"),
    (as_stream(MANY), ARROW, "", 413, "10,001"),
    (as_stream(MANY, rows=1_000), ARROW, "", 413, "10,001"),
    (gz(as_stream(MANY)), ARROW, "gzip", 413, "10,001"),
]


@pytest.mark.parametrize(("body", "mimetype", "encoding", "status", "part"), OTHER)
def test_types_encodings_and_limits(door, body, mimetype, encoding, status, part):
    codes = {400: "malformed_body", 413: "body_too_large", 415: "unsupported_media_type"}
    for address in ADDRESSES:
        answer = refused(door, address, body, mimetype, encoding)
        assert (answer.status_code, answer.json["code"]) == (status, codes[status])
        assert part in answer.json["detail"], answer.json["detail"]


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "zstd", "GZIP", "identity"])
@pytest.mark.parametrize("mimetype", [JSON, NDJSON, ARROW, "Application/JSON; charset=utf-8"])
def test_every_type_may_be_packed(door, mimetype, encoding):
    plain = as_lines([{"device_id": "p"} | PLACE])
    body = as_stream(columns(1)) if mimetype == ARROW else plain
    packed = {"gzip": gz, "zstd": zstd, "identity": bytes}[encoding.lower().removeprefix("x-")](body)
    headers = {"Content-Encoding": encoding}
    answer = door.post("/v1/pings", data=packed, content_type=mimetype, headers=headers)

    assert answer.status_code == 200, answer.text
    assert len(answer.json["outcomes"]) == 1


# --- whatever is sent -------------------------------------------------------------------------------

PACKED = {"": bytes, "gzip": gz, "zstd": zstd}


@settings(max_examples=200)
@given(
    body=st.binary(max_size=300),
    mimetype=st.sampled_from([JSON, NDJSON, ARROW]),
    encoding=st.sampled_from(["", "gzip", "zstd"]),
    packed=st.booleans(),
    address=st.sampled_from([*ADDRESSES, "/v1/track", "/v1/batch"]),
)
def test_no_bytes_give_a_5xx(door, body, mimetype, encoding, packed, address):
    data = PACKED[encoding](body) if packed else body
    headers = {"Content-Encoding": encoding}
    answer = door.post(address, data=data, content_type=mimetype, headers=headers)

    assert answer.status_code in (200, 400, 413, 415)


@settings(max_examples=300)
@given(data=st.data())
def test_no_damage_to_a_good_body_gives_a_5xx(door, data):
    more = {
        "at": pa.array([0, 1, None], pa.timestamp("us", "UTC")),
        "platform": pa.array(["ios", "web", "ios"]).dictionary_encode(),
        "consent": pa.array([{"location": True}, None, {"location": None}]),
    }
    whole, mimetype = data.draw(
        st.sampled_from(
            [
                (as_stream(columns(**more)), ARROW),
                (as_json([{"device_id": "a", "at": "2026-11-23T00:00:00Z"} | PLACE] * 3), JSON),
                (as_lines([{"device_id": "a"} | PLACE] * 3), NDJSON),
            ]
        )
    )
    body = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([len(body), len(body) // 2, len(body) - 1]))
    answer = door.post("/v1/pings?mode=backfill", data=bytes(body[:cut]), content_type=mimetype)

    assert answer.status_code in (200, 400, 413), answer.text
