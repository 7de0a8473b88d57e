"""Items that cannot be read: each spoils nothing but itself (product P1)."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.api.ping_door import JSON, NDJSON, PLACE, as_json

#: an item as JSON text, and what its outcome tells
BAD_ITEMS: list[tuple[str, str]] = [
    ("3", "Expected `object`"),
    ("null", "Expected `object`"),
    ('"x"', "Expected `object`"),
    ("[]", "Expected `object`"),
    ("{}", "lat"),
    ('{"lat": 1}', "lng"),
    ('{"lng": 1}', "lat"),
    ('{"lat": "37.5", "lng": 127}', "$.lat"),
    ('{"lat": 37.5, "lng": "127"}', "$.lng"),
    ('{"lat": null, "lng": 127}', "$.lat"),
    ('{"lat": true, "lng": 127}', "$.lat"),
    ('{"lat": [37.5], "lng": 127}', "$.lat"),
    ('{"lat": 1e999, "lng": 127}', "$.lat"),
    ('{"lat": 1, "lng": 2, "lat": "3"}', "$.lat"),
    ('{"lat": 1, "lng": 2, "accuracy_m": "12"}', "$.accuracy_m"),
    ('{"lat": 1, "lng": 2, "accuracy_m": 1e999}', "$.accuracy_m"),
    ('{"lat": 1, "lng": 2, "speed_mps": "1"}', "$.speed_mps"),
    ('{"lat": 1, "lng": 2, "mocked": 1}', "$.mocked"),
    ('{"lat": 1, "lng": 2, "mocked": "false"}', "$.mocked"),
    ('{"lat": 1, "lng": 2, "mocked": null}', "$.mocked"),
    ('{"lat": 1, "lng": 2, "device_id": 7}', "$.device_id"),
    ('{"lat": 1, "lng": 2, "device_id": "%s"}' % ("x" * 129), "$.device_id"),
    ('{"lat": 1, "lng": 2, "device_id": "a\\u0000b"}', "NUL"),
    ('{"lat": 1, "lng": 2, "ad_id": 7}', "$.ad_id"),
    ('{"lat": 1, "lng": 2, "ad_id": "%s"}' % ("x" * 65), "$.ad_id"),
    ('{"lat": 1, "lng": 2, "ad_id_type": "%s"}' % ("x" * 17), "$.ad_id_type"),
    ('{"lat": 1, "lng": 2, "user_id": "u\\u0000"}', "NUL"),
    ('{"lat": 1, "lng": 2, "user_id": "%s"}' % ("x" * 129), "$.user_id"),
    ('{"lat": 1, "lng": 2, "ping_id": ["x"]}', "$.ping_id"),
    ('{"lat": 1, "lng": 2, "ping_id": "%s"}' % ("x" * 129), "$.ping_id"),
    ('{"lat": 1, "lng": 2, "app": 1}', "$.app"),
    ('{"lat": 1, "lng": 2, "platform": 1}', "$.platform"),
    ('{"lat": 1, "lng": 2, "consent": true}', "$.consent"),
    ('{"lat": 1, "lng": 2, "consent": {"location": "yes"}}', "$.consent.location"),
    ('{"lat": 1, "lng": 2, "at": 1763856900000}', "$.at"),
    ('{"lat": 1, "lng": 2, "at": ""}', "$.at"),
    ('{"lat": 1, "lng": 2, "at": "now"}', "$.at"),
    ('{"lat": 1, "lng": 2, "at": "2026-11-23T00:00:00"}', "$.at"),
    ('{"lat": 1, "lng": 2, "at": "2026-11-23T00:00:00.Z"}', "$.at"),
    ('{"lat": 1, "lng": 2, "at": "2026-11-23T00:00:00+24:00"}', "$.at"),
    ('{"lat": 1, "lng": 2, "at": "2026-11-23T00:00:00+09:60"}', "$.at"),
    ('{"lat": 1, "lng": 2, "at": "2026-11-23T00:00:00 KST"}', "$.at"),
    ('{"lat": 1, "lng": 2, "at": "2026-02-29T00:00:00Z"}', "$.at"),
    ('{"lat": 1, "lng": 2, "at": "2026-13-01T00:00:00Z"}', "$.at"),
    ('{"lat": 1, "lng": 2, "at": "2026-00-01T00:00:00Z"}', "$.at"),
    ('{"lat": 1, "lng": 2, "at": "2026-01-32T00:00:00Z"}', "$.at"),
    ('{"lat": 1, "lng": 2, "at": "2026-01-01T24:00:00Z"}', "$.at"),
    ('{"lat": 1, "lng": 2, "at": "2026-01-01T23:60:00Z"}', "$.at"),
    ('{"lat": 1, "lng": 2, "at": "2026-01-01T23:59:60Z"}', "$.at"),
    ('{"lat": 1, "lng": 2, "at": "0000-01-01T00:00:00Z"}', "$.at"),
    ('{"lat": 1, "lng": 2, "at": "10000-01-01T00:00:00Z"}', "$.at"),
    ('{"lat": 1, "lng": 2, "at": "-001-01-01T00:00:00Z"}', "$.at"),
    ('{"lat": 1, "lng": 2, "at": "２０２６-01-01T00:00:00Z"}', "$.at"),
]
NEIGHBOUR = json.dumps({"device_id": "neighbour", "ping_id": "kept"} | PLACE)


@pytest.mark.parametrize(("item", "part"), BAD_ITEMS)
@pytest.mark.parametrize("mimetype", [JSON, NDJSON])
@pytest.mark.parametrize("others", [1, 40], ids=["few", "many"])
def test_a_bad_item_spoils_nothing_but_itself(door, mimetype, item, part, others):
    items = [NEIGHBOUR] * others + [item, NEIGHBOUR]
    body = "\n".join(items) if mimetype == NDJSON else f'{{"pings": [{", ".join(items)}]}}'
    answer = door.post("/v1/pings?mode=backfill", data=body.encode(), content_type=mimetype)

    assert answer.status_code == 200, answer.text
    outcomes = answer.json["outcomes"]
    bad = outcomes.pop(others)
    assert (bad["index"], bad["outcome"], bad["reason"]) == (others, "rejected", "invalid_item")
    assert part in bad["detail"]
    assert {o["outcome"] for o in outcomes} <= {"accepted", "duplicate"}
    assert {o["ping_id"] for o in outcomes} == {"kept"}
    context = door.post("/v1/context", data=body.encode(), content_type=mimetype)
    if "$.at" not in part:  # matching does not ask when
        assert [w for w in context.json["warnings"] if f"item {others} left out" in w]


#: lines that are no item each, though their neighbours are
BAD_LINES = [
    b'{"lat": 1, "lng": 2, "device_id": "\\ud800"}',
    b'{"lat": 1, "lng": 2, "device_id": "\\udc00\\ud800"}',
    b'{"lat": 1, "lng": 2} {"lat": 1, "lng": 2}',
    b'{"lat": 1, "lng": 2}{"lat": 1, "lng": 2}',
    b'{"lat": 1, "lng": 2},',
    b'{"lat": 1,',
    b'"lng": 2}',
    b"\xff",
    b"{",
    b"}",
    b"[{}]",
    b'{"lat": NaN, "lng": 2}',
    b'{"lat": Infinity, "lng": 2}',
    b'{"lat": 1, "lng": 2} // here',
]


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_line_spoils_nothing_but_itself(door, line):
    body = b"\n".join([NEIGHBOUR.encode(), line, b"", b" \r", NEIGHBOUR.encode() + b"\r"])
    answer = door.post("/v1/pings", data=body, content_type=NDJSON)

    assert answer.status_code == 200
    kept, bad, also_kept = answer.json["outcomes"]
    assert (kept["ping_id"], also_kept["ping_id"]) == ("kept", "kept")
    assert (bad["outcome"], bad["reason"]) == ("rejected", "invalid_item")


def test_what_is_strange_but_no_fault(door):
    """Whole numbers, escaped names, odd zones, the first and last years, the same name twice."""
    items = [
        '{"device_id": "a", "lat": 37, "lng": -127}',
        '{"\\u0064evice_id": "a", "lat": 3.75e1, "lng": 127}',
        '{"device_id": "a", "lat": 1, "lat": 2, "lng": 127}',
        '{"device_id": "a", "lat": 12345678901234567890123, "lng": 127}',
        '{"device_id": "a", "lat": 1, "lng": 2, "at": "0001-01-01T00:00:00+14:00"}',
        '{"device_id": "a", "lat": 1, "lng": 2, "at": "9999-12-31T23:59:59.999999-12:00"}',
        '{"device_id": "a", "lat": 1, "lng": 2, "at": "2026-11-23 00:00:00z"}',
        '{"device_id": "한글 😀", "lat": 1, "lng": 2, "ping_id": "\\"\\\\\\u2028"}',
    ]
    body = f'{{"pings": [{", ".join(items)}]}}'.encode()
    answer = door.post("/v1/pings?mode=backfill", data=body, content_type=JSON)
    outcomes = [(o["outcome"], o.get("reason")) for o in answer.json["outcomes"]]

    assert outcomes == [
        ("accepted", None),
        ("accepted", None),
        ("accepted", None),
        ("rejected", "out_of_range"),
        ("late", None),
        ("rejected", "in_future"),
        ("late", None),
        ("accepted", None),
    ]
    assert answer.json["outcomes"][-1]["ping_id"] == '"\\\u2028'


@pytest.mark.parametrize(
    ("sent_at", "part"),
    [
        (-54, None),
        (54, None),
        (-57, "56 min behind"),
        (120, "min ahead of"),
        ("yesterday", "could not be read"),
        (17, None),
        ("2026-11-23T00:00:00", "could not be read"),
    ],
)
def test_a_clock_that_is_off_is_marked_and_moves_nothing(door, sent_at, part):
    now = np.datetime64("now", "ms") + np.timedelta64(1, "s")
    text = sent_at if isinstance(sent_at, str) else f"{now + np.timedelta64(sent_at, 'm')}Z"
    body = as_json([{"device_id": f"clock {sent_at}", "at": f"{now - 5_000}Z"} | PLACE], sent_at=text)
    answer = door.post("/v1/pings", data=body, content_type=JSON)

    assert answer.json["counts"]["accepted"] == 1
    assert len(answer.json["warnings"]) == (part is not None)
    assert part is None or part in answer.json["warnings"][0]
