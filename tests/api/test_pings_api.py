"""`POST /v1/pings` and `/v1/context` from outside: every shape of body, every limit."""

from __future__ import annotations

import gzip
import json
import zlib
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.answers import MAX_BODY_BYTES
from api.pings.words import MAX_PINGS
from nearcast.services.manage_workspace import Scope
from nearcast.store.engine import reading
from nearcast.store.tables import device, ping_log, visit
from tests.conftest import make_key

STORE = {"lat": 37.4979, "lng": 127.0276}
AWAY = {"lat": 37.52, "lng": 127.04}
AD_ID = "38400000-8cf0-11bd-b23e-10b96e40000d"
NDJSON = {"Content-Type": "application/x-ndjson"}
JSON = {"Content-Type": "application/json"}


def ping(place=STORE, **more):
    return {"device_id": "phone-1"} | place | more


def ago(seconds):
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


@pytest.fixture
def fence(client):
    answer = client.post(
        "/v1/fences",
        json=STORE | {"radius_m": 100, "name": "강남점", "external_id": "123", "tags": ["커피"]},
    )
    assert answer.status_code == 201, answer.text
    return answer.json


@pytest.fixture
def campaign(client, fence):
    now = datetime.now(UTC)
    body = {
        "name": "c",
        "targeting": {"fence_ids": [fence["id"]]},
        "period": {
            "start": (now - timedelta(days=1)).isoformat(),
            "end": (now + timedelta(days=1)).isoformat(),
        },
        "time_zone": "Asia/Seoul",
        "trigger": {"kind": "enter"},
        "message": {
            "channel": "inbox",
            "title": "안녕하세요",
            "body": "어서 오세요",
            "link": "https://example.com/a?b=c",
        },
    }
    made = client.post("/v1/campaigns", json=body)
    assert made.status_code == 201, made.text
    moved = client.post(f"/v1/campaigns/{made.json['id']}:test")
    assert moved.status_code == 200, moved.text
    assert client.post(f"/v1/campaigns/{made.json['id']}:run").status_code == 200
    return made.json


def test_one_ping_enters_and_brings_its_message(client, fence, campaign):
    answer = client.post("/v1/pings", json=ping(ping_id="p-1", accuracy_m=12.0))
    assert answer.status_code == 200, answer.text
    body = answer.json
    assert body["counts"] == {
        "accepted": 1,
        "late": 0,
        "quarantined": 0,
        "duplicate": 0,
        "rejected": 0,
    }
    assert body["outcomes"] == [{"index": 0, "outcome": "accepted", "ping_id": "p-1"}]
    [entered] = body["transitions"]
    assert entered["fence"] == {
        "id": fence["id"],
        "external_id": "123",
        "name": "강남점",
        "tags": ["커피"],
        "version": 1,
    }
    assert (entered["kind"], entered["by"], entered["initial"]) == ("enter", "fix", True)
    assert entered["probability"] == pytest.approx(1.0, abs=1e-3)
    assert entered["distance_m"] == pytest.approx(-100, abs=0.01)
    [message] = body["messages"]
    assert message["campaign_id"] == campaign["id"]
    assert (message["channel"], message["title"]) == ("inbox", "안녕하세요")
    assert "/r/" in message["link"]
    assert body["warnings"] == []


def test_a_repeated_batch_has_no_second_effect_and_repeats_the_message(client, fence, campaign, house):
    batch = {"pings": [ping(at=ago(-5)), ping(at=ago(-20))]}
    first, again = (client.post("/v1/pings", json=batch).json for _ in range(2))
    assert [o["outcome"] for o in again["outcomes"]] == ["duplicate", "duplicate"]
    assert again["transitions"] == []
    assert again["messages"] == first["messages"] != []
    assert (
        reading(
            house.engine, lambda c: c.execute(sa.select(sa.func.count()).select_from(visit)).scalar()
        )
        == 1
    )


def test_each_item_has_its_own_outcome(client, fence):
    items = [
        ping(at=ago(5), device_id="a"),
        ping(at=ago(3), device_id="b") | {"lat": "37.5"},
        ping(at="2026-11-23T09:00:00", device_id="c"),
        ping(at=ago(-3600), device_id="d"),
        ping(at=ago(8 * 86400), device_id="e"),
        ping(at=ago(3600), device_id="f"),
        {"lat": 1.0, "lng": 1.0},
        ping(device_id="g", mocked=True),
        ping(device_id="h", lat=91.0),
        ping(device_id="i", accuracy_m=-1),
        ping(device_id=None, ad_id="00000000-0000-0000-0000-000000000000"),
        "not a ping",
        ping(device_id="j", consent={"location": False}),
    ]
    body = client.post("/v1/pings", json={"pings": items}).json
    assert [(o["outcome"], o.get("reason")) for o in body["outcomes"]] == [
        ("accepted", None),
        ("rejected", "invalid_item"),
        ("rejected", "invalid_item"),
        ("rejected", "in_future"),
        ("rejected", "too_old"),
        ("late", None),
        ("rejected", "no_identity"),
        ("quarantined", "mocked"),
        ("rejected", "out_of_range"),
        ("rejected", "negative_accuracy"),
        ("rejected", "no_identity"),
        ("rejected", "invalid_item"),
        ("rejected", "location_consent_missing"),
    ]
    assert "$.lat" in body["outcomes"][1]["detail"]
    assert sum(body["counts"].values()) == len(items)
    few = client.post("/v1/pings?detail=counts", json={"pings": items}).json
    assert {o["outcome"] for o in few["outcomes"]} == {"rejected"}
    assert few["transitions"] == few["messages"] == []


def test_unknown_fields_are_left_out_and_named_once(client):
    items = [ping(color="red"), ping(AWAY, color="blue", speed=3)]
    body = client.post("/v1/pings", json={"pings": items, "origin": "sdk"}).json
    assert body["warnings"] == [
        "unknown field 'color' in 2 items: left out",
        "unknown field 'origin' in 1 item: left out",
        "unknown field 'speed' in 1 item: left out",
    ]
    assert body["counts"]["accepted"] == 2


def test_ndjson_and_gzip(client, fence):
    lines = b"\n".join(json.dumps(ping(device_id=f"d{n}")).encode() for n in range(3)) + b"\n\n"
    answer = client.post("/v1/pings", data=lines, headers=NDJSON)
    assert answer.json["counts"]["accepted"] == 3
    packed = gzip.compress(json.dumps({"pings": [ping(device_id="z")]}).encode())
    answer = client.post("/v1/pings", data=packed, headers=JSON | {"Content-Encoding": "gzip"})
    assert answer.json["counts"]["accepted"] == 1


@pytest.mark.parametrize(
    ("body", "headers", "status", "code", "part"),
    [
        (b'{"pings": [', JSON, 400, "malformed_body", "no JSON"),
        (b"", JSON, 400, "malformed_body", "no JSON"),
        (b"NaN", JSON, 400, "malformed_body", "no JSON"),
        (b"[]", JSON, 400, "malformed_body", "not a ping"),
        (b'"text"', JSON, 400, "malformed_body", "not a ping"),
        (b'{"pings": 3}', JSON, 400, "malformed_body", "not a ping"),
        (b'{"pings": null}', JSON, 400, "malformed_body", "not a ping"),
        (b'{"a":' * 5000, JSON, 400, "malformed_body", ""),
        (b"\xff\xfe", JSON, 400, "malformed_body", "no JSON"),
        (b"x", JSON | {"Content-Encoding": "gzip"}, 400, "malformed_body", "gzip"),
        (b"x", JSON | {"Content-Encoding": "br"}, 415, "unsupported_media_type", "br"),
        (
            gzip.compress(mtime=0, data=b'{"pings": []}')[:-4],
            JSON | {"Content-Encoding": "gzip"},
            400,
            "malformed_body",
            "too early",
        ),
        (b" " * (MAX_BODY_BYTES + 1), JSON, 413, "body_too_large", ""),
        (
            gzip.compress(mtime=0, data=b" " * (MAX_BODY_BYTES * 20)),
            JSON | {"Content-Encoding": "gzip"},
            413,
            "body_too_large",
            "",
        ),
    ],
)
def test_a_body_that_cannot_be_read_is_a_problem(client, body, headers, status, code, part):
    answer = client.post("/v1/pings", data=body, headers=headers)
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    assert answer.json["code"] == code
    assert part in answer.json["detail"]


def test_the_number_of_pings_is_bounded(client):
    line = json.dumps(ping()).encode() + b"\n"
    answer = client.post("/v1/pings", data=line * (MAX_PINGS + 1), headers=NDJSON)
    assert answer.status_code == 413
    assert "10,000" in answer.json["detail"]
    batch = {"pings": [ping(at=ago(1))] * (MAX_PINGS + 1)}
    assert client.post("/v1/pings", json=batch).status_code == 413


def test_a_nul_spoils_its_own_item_only(client):
    items = [ping(device_id="a\0b"), ping(user_id="u\0"), ping(device_id="c")]
    body = client.post("/v1/pings", json={"pings": items}).json
    assert [o["outcome"] for o in body["outcomes"]] == ["rejected", "rejected", "accepted"]
    assert "NUL" in body["outcomes"][0]["detail"]


def test_gzip_of_several_members_is_read_to_its_end(client):
    members = [json.dumps(ping(device_id=f"d{n}")).encode() + b"\n" for n in range(3)]
    packed = b"".join(gzip.compress(member) for member in members)
    answer = client.post("/v1/pings", data=packed, headers=NDJSON | {"Content-Encoding": "gzip"})
    assert answer.json["counts"]["accepted"] == 3


def test_an_empty_batch_is_taken(client):
    body = client.post("/v1/pings", json={"pings": []}).json
    assert (body["outcomes"], body["counts"]["accepted"]) == ([], 0)


def test_scopes_and_keys(client, house):
    def post(key, query=""):
        return client.post(f"/v1/pings{query}", json=ping(), headers={"Authorization": f"Bearer {key}"})

    assert post("nck_unknown").status_code == 401
    assert post(make_key(house, Scope.MANAGE)).status_code == 403
    ingest = make_key(house, Scope.INGEST)
    assert post(ingest).status_code == 200
    assert post(ingest, "?mode=backfill").status_code == 403
    assert post(make_key(house, Scope.INGEST, Scope.MANAGE), "?mode=backfill").status_code == 200


def test_an_app_that_is_not_the_keys_is_refused(client):
    body = client.post(
        "/v1/pings", json={"pings": [ping(app="kr.example.other"), ping(app="default")]}
    ).json
    assert [(o["outcome"], o.get("reason")) for o in body["outcomes"]] == [
        ("rejected", "app_unknown"),
        ("accepted", None),
    ]


def test_backfill_takes_any_age_and_sends_nothing(client, fence, campaign, house):
    items = [ping(at="2019-05-01T00:00:00Z"), ping(at="2019-05-01T00:20:00Z")]
    body = client.post("/v1/pings?mode=backfill", json={"pings": items}).json
    assert body["counts"]["rejected"] == 0
    assert body["transitions"] == body["messages"] == []


def test_context_matches_and_keeps_nothing(client, fence, house):
    items = [ping(accuracy_m=15.0), ping(AWAY), {"lat": "x", "lng": 1}, ping(lat=95.0)]
    body = client.post("/v1/context", json={"pings": items}).json
    [match] = body["matches"]
    assert (match["ping_index"], match["verdict"], match["fence"]["id"]) == (0, "in", fence["id"])
    assert "item 2 left out" in body["warnings"][0]
    assert "item 3 left out: it lies outside" in body["warnings"][1]
    for table in (device, ping_log):
        count = sa.select(sa.func.count()).select_from(table)
        assert reading(house.engine, lambda c, q=count: c.execute(q).scalar()) == 0


def test_a_fence_drawn_now_counts_for_the_next_ping_and_a_deleted_one_no_more(client, fence):
    assert len(client.post("/v1/pings", json=ping()).json["transitions"]) == 1
    assert client.delete(f"/v1/fences/{fence['id']}").status_code == 204
    assert client.post("/v1/context", json=ping(device_id="b")).json["matches"] == []


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from([1e308, -0.0, 2**70, "2026-11-23T00:00:00Z", "0001-01-01T00:00:00+14:00"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["pings", "lat", "lng", "at", "device_id", "accuracy_m", "consent", "x"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(value=json_values)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_json_gives_a_5xx(client, value):
    assert client.post("/v1/pings", data=json.dumps(value), headers=JSON).status_code in (200, 400, 413)


@given(body=st.binary(max_size=200), packed=st.booleans())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_give_a_5xx(client, body, packed):
    headers = JSON | ({"Content-Encoding": "gzip"} if packed else {})
    data = zlib.compress(body, wbits=31) if packed else body
    assert client.post("/v1/pings", data=data, headers=headers).status_code in (200, 400, 413)
