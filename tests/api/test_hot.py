"""Pings are answered in front of Flask as Flask would answer them: one truth, two ways to it."""

from __future__ import annotations

import base64
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from api.app import create_app
from api.hot import VERBS, Hot
from api.wiring import House
from nearcast.services.manage_workspace import Scope
from nearcast.store.engine import in_transaction, reading
from nearcast.store.tables import api_key, device, ping_log
from tests.api.doors import GANGNAM, key, second_app, second_workspace
from tests.api.ping_door import ARROW, JSON, PLACE, as_json, as_stream, columns
from tests.doors import make_key

AD_ID = "38400000-8cf0-11bd-b23e-10b96e40000d"


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


@pytest.fixture
def behind(house: House) -> FlaskClient:
    """Flask alone, without anything in front."""
    app = create_app(house)
    assert isinstance(app.wsgi_app, Hot)
    app.wsgi_app = app.wsgi_app._behind
    bare = app.test_client()
    bare.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {make_key(house)}"
    return bare


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("/v1/context", as_json([PLACE]), {"Content-Type": JSON}),
        ("/v1/context", as_json([PLACE, 3, {"lat": 95.0, "lng": 0}]), {"Content-Type": JSON}),
        ("/v1/pings", as_json([]), {"Content-Type": JSON}),
        ("/v1/pings?detail=counts", as_json([3]), {"Content-Type": JSON}),
        ("/v1/pings", b"{", {"Content-Type": JSON}),
        ("/v1/pings", b"{}", {"Content-Type": "text/plain"}),
        ("/v1/pings", b" " * (9 << 20), {"Content-Type": JSON}),
        ("/v1/pings", b"{}", {"Content-Type": JSON, "Authorization": ""}),
        ("/v1/pings", b"{}", {"Content-Type": JSON, "Authorization": "Bearer nck_unknown"}),
        ("/v1/pings", b"{}", {"Content-Type": JSON, "Authorization": "Basic eDp5"}),
        ("/v1/track", b"[]", {"Content-Type": JSON}),
        ("/v1/batch", b'{"batch": []}', {"Content-Type": JSON}),
    ],
)
def test_the_same_answer_with_and_without_flask(client, behind, path, body, headers):
    answers = [door.post(path, data=body, headers=headers) for door in (client, behind)]
    hot, cold = ((a.status_code, sorted(a.headers.items()), a.data) for a in answers)

    assert hot == cold


def test_other_methods_and_paths_go_to_flask(client):
    assert client.get("/healthz").status_code == 200
    assert client.put("/v1/track").status_code == 405
    assert client.post("/v1/pings/").status_code == 404
    for path in VERBS:
        assert path in client.get("/openapi.json").json["paths"]


def test_a_database_that_is_away_is_told_as_everywhere(client, house):
    with house.engine.begin() as conn:
        conn.execute(sa.text("alter table workspace rename to hidden"))
    answer = client.post("/v1/pings", json={"device_id": "a"} | PLACE)

    assert (answer.status_code, answer.json["code"]) == (503, "database_unavailable")
    assert answer.headers["Retry-After"]


def test_a_key_without_the_scope_learns_nothing_of_the_body(client, house):
    for path in VERBS:
        headers = {"Authorization": f"Bearer {make_key(house, Scope.TEST)}", "Content-Type": "text/x"}
        assert client.post(path, data=b"{", headers=headers).status_code == 403


def test_a_chunked_body_is_read_to_its_end(house):
    body = as_json([{"device_id": "a"} | PLACE])
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/v1/pings",
        "CONTENT_TYPE": JSON,
        "HTTP_TRANSFER_ENCODING": "chunked",
        "HTTP_AUTHORIZATION": f"Bearer {make_key(house)}",
        "QUERY_STRING": "",
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
    }
    told: list[Any] = []
    answer = create_app(house).wsgi_app(environ, lambda *given: told.append(given))

    assert told[0][0] == "200 OK"
    assert json.loads(b"".join(answer))["counts"]["accepted"] == 1


def test_a_new_app_is_known_at_once(client, house):
    def post(**more: Any) -> Any:
        item = {"device_id": "a", "at": ago(1).isoformat()} | PLACE | more
        return client.post("/v1/pings", json=item).json["outcomes"][0]

    assert post()["outcome"] == "accepted"
    assert post(app="kr.example.second")["reason"] == "app_unknown"
    second_app(house)
    assert post(app="kr.example.second")["outcome"] == "accepted"
    assert post()["reason"] == "app_unknown"  # there are two now: one must be named


def test_the_apps_of_another_workspace_are_unknown(client, house):
    other_workspace, _ = second_workspace(house)
    headers = key(house, workspace_id=other_workspace)
    apps = ("default", "other", None)
    mixed = as_json([{"device_id": f"a{n}", "app": app} | PLACE for n, app in enumerate(apps)])
    answer = client.post("/v1/pings", data=mixed, headers=headers | {"Content-Type": JSON})

    outcomes = [(o["outcome"], o.get("reason")) for o in answer.json["outcomes"]]
    assert outcomes == [("rejected", "app_unknown"), ("accepted", None), ("accepted", None)]


def test_a_key_of_one_app_takes_no_pings_of_another(client, house):
    app_id = second_app(house)
    headers = key(house, app_id=app_id) | {"Content-Type": JSON}
    mixed = as_json(
        [{"device_id": "a", "app": app} | PLACE for app in ("default", "kr.example.second", None)]
    )
    answer = client.post("/v1/pings", data=mixed, headers=headers)

    assert [o.get("reason") for o in answer.json["outcomes"]] == ["app_unknown", None, None]


def test_a_revoked_key_is_refused_within_two_seconds(client, house):
    text = make_key(house)
    headers = {"Authorization": f"Bearer {text}"}
    assert client.post("/v1/pings", json=PLACE, headers=headers).status_code == 200
    in_transaction(house.engine, lambda c: c.execute(sa.update(api_key).values(revoked_ms=1)))
    house.keys.forget()
    assert client.post("/v1/pings", json=PLACE, headers=headers).status_code == 401


# --- context ----------------------------------------------------------------------------------------


@pytest.fixture
def fence(client) -> dict[str, Any]:
    made = client.post(
        "/v1/fences", json=GANGNAM | {"name": "강남점", "external_id": "7", "tags": ["t"]}
    )
    return made.json


def test_context_by_arrow_is_context_by_json(client, fence):
    lat = np.array([37.4979, 37.4979, 37.6, 37.4979, np.nan])
    lng = np.array([127.0276, 127.029, 127.0, 127.0276, 127.0])
    accuracy_m = np.array([10.0, 30.0, 5.0, np.inf, 5.0])
    table = pa.table({"lat": lat, "lng": lng, "accuracy_m": accuracy_m, "platform": ["ios"] * 5})
    body = as_stream(table)
    as_arrow = client.post("/v1/context", data=body, content_type=ARROW, headers={"Accept": ARROW})
    by_json = client.post("/v1/context", data=body, content_type=ARROW).json
    assert (as_arrow.status_code, as_arrow.mimetype) == (200, ARROW)
    found = pa.ipc.open_stream(as_arrow.data).read_all()
    rows = found.to_pylist()

    assert [match["ping_index"] for match in by_json["matches"]] == [0, 1]
    for row, match in zip(rows, by_json["matches"], strict=True):
        assert row["fence_id"] == match["fence"]["id"] == fence["id"]
        assert (row["external_id"], row["name"], row["version"]) == ("7", "강남점", 1)
        assert (row["ping_index"], row["verdict"]) == (match["ping_index"], match["verdict"])
        assert row["probability"] == pytest.approx(match["probability"], abs=5e-5)
        assert row["distance_m"] == pytest.approx(match["distance_m"], abs=5e-3)
    assert json.loads(found.schema.metadata[b"warnings"]) == by_json["warnings"]
    assert [w[:15] for w in by_json["warnings"]] == ["item 3 left out", "item 4 left out"]


def test_context_by_get_is_context_by_post(client, fence):
    query = PLACE | {"accuracy_m": 200.0, "platform": "web"}
    by_get = client.get("/v1/context", query_string=query)
    by_post = client.post("/v1/context", json=query)

    assert by_get.json == by_post.json
    assert by_get.json["matches"][0]["fence"]["id"] == fence["id"]


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"lat": 91, "lng": 0},
        {"lat": 0, "lng": 181},
        {"lat": "nan", "lng": 0},
        PLACE | {"x": 1},
        PLACE | {"accuracy_m": -1},
        PLACE | {"accuracy_m": "inf"},
        PLACE | {"platform": "fax"},
    ],
)
def test_a_place_that_is_none_is_refused(client, query):
    assert client.get("/v1/context", query_string=query).status_code == 422


def test_many_items_left_out_are_counted(client):
    answer = client.post("/v1/context", json={"pings": [3] * 150})

    assert answer.json["warnings"][-1] == "50 further items left out"
    assert len(answer.json["warnings"]) == 101


def test_context_keeps_nothing(client, fence, house):
    client.post("/v1/context", data=as_stream(columns()), content_type=ARROW)
    client.get("/v1/context", query_string=PLACE)
    for table in (device, ping_log):
        count = sa.select(sa.func.count()).select_from(table)
        assert reading(house.engine, lambda conn, q=count: conn.execute(q).scalar()) == 0


# --- other services' words --------------------------------------------------------------------------


def test_a_location_in_radars_words(client, fence):
    body = {
        "deviceId": "phone",
        "userId": "u",
        "latitude": PLACE["lat"],
        "longitude": PLACE["lng"],
        "accuracy": 12.0,
        "locationMs": int(ago(-2).timestamp() * 1000),
        "deviceType": "iOS",
        "foreground": True,
        "stopped": False,
        "sdkVersion": "3.9",
    }
    first, again = (client.post("/v1/track", json=body).json for _ in range(2))

    assert first["outcomes"] == [{"index": 0, "outcome": "accepted"}]
    assert first["transitions"][0]["fence"]["id"] == fence["id"]
    assert first["warnings"] == []
    assert again["outcomes"][0]["outcome"] == "duplicate"
    visits = client.get("/v1/visits", query_string={"device_id": "phone"})
    assert visits.status_code == 200


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"latitude": "x"}, "$.latitude"),
        ({"latitude": None}, "$.latitude"),
        ({"deviceId": 7}, "$.deviceId"),
        ({"deviceId": "a\0"}, "NUL"),
        ({"locationMs": "now"}, "$.locationMs"),
        ({"locationMs": 1e30}, "$.locationMs"),
        ({"locationMs": 10**17}, "$.locationMs"),
        ({"locationMs": -(10**17)}, "$.locationMs"),
    ],
)
def test_a_radar_shaped_location_that_cannot_be_read(client, change, part):
    body = {"deviceId": "a", "latitude": 37.5, "longitude": 127.0} | change
    answer = client.post("/v1/track", json=body)

    assert answer.status_code == 200
    [out] = answer.json["outcomes"]
    assert (out["outcome"], out["reason"]) == ("rejected", "invalid_item")
    assert part in out["detail"]


def call(place: dict[str, float] | None, **more: Any) -> dict[str, Any]:
    context = {"device": {"id": "phone", "advertisingId": AD_ID, "type": "ios"}, "locale": "ko-KR"}
    if place is not None:
        context["location"] = {"latitude": place["lat"], "longitude": place["lng"], "city": "서울"}
    return {"type": "track", "event": "e", "context": context, "properties": {"a": [1]}} | more


def test_a_batch_in_segments_words(client, fence, house):
    batch = [
        call(None),
        call(PLACE, messageId="m-1", userId="u", timestamp=ago(-3).isoformat()),
        call(PLACE, type="identify"),
        {"type": "page", "name": "Home"},
        call(PLACE, timestamp="yesterday"),
        call(PLACE, type=None),
        call({"lat": 95.0, "lng": 0.0}, anonymousId="other"),
    ]
    sent_at = ago(7_200).isoformat()
    answer = client.post("/v1/batch", json={"batch": batch, "sentAt": sent_at, "writeKey": "x"})

    assert answer.status_code == 200, answer.text
    assert [(o["index"], o["outcome"], o.get("reason")) for o in answer.json["outcomes"]] == [
        (1, "accepted", None),
        (4, "rejected", "invalid_item"),
        (5, "rejected", "invalid_item"),
        (6, "rejected", "out_of_range"),
    ]
    assert answer.json["outcomes"][0]["ping_id"] == "m-1"
    assert [t["ping_index"] for t in answer.json["transitions"]] == [1]
    clock, others = answer.json["warnings"]
    assert "119 min behind" in clock or "120 min behind" in clock
    assert others.startswith("3 items are no location")
    known = reading(house.engine, lambda conn: conn.execute(sa.select(device)).mappings().all())
    assert [(row["key"], row["ad_id"]) for row in known] == [("phone", AD_ID)]


@pytest.mark.parametrize(
    "body", [b"{}", b'{"batch": 3}', b"[]", b"", b'{"batch": [', b'{"batch": null}']
)
def test_a_batch_that_is_none_is_refused(client, body):
    answer = client.post("/v1/batch", data=body, content_type=JSON)

    assert (answer.status_code, answer.json["code"]) == (400, "malformed_body")


@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch"])
def test_other_services_bodies_are_json(client, path):
    for mimetype in ("text/plain", ARROW, "application/x-ndjson"):
        assert client.post(path, data=b"{}", content_type=mimetype).status_code == 415
    too_many = json.dumps({"batch": [{}] * 10_001}).encode()
    if path == "/v1/batch":
        assert client.post(path, data=too_many, content_type=JSON).status_code == 413


# --- nearest fences ---------------------------------------------------------------------------------


def test_the_nearest_fences_of_a_workspace(client, house):
    for n in range(3):
        shape = {"lat": 37.5, "lng": 127.0 + n * 0.01, "radius_m": 100}
        assert client.post("/v1/fences", json=shape | {"name": f"f{n}"}).status_code == 201
    square = {"type": "Polygon", "coordinates": [[[128, 37], [128.1, 37], [128.1, 37.1], [128, 37]]]}
    assert client.post("/v1/fences", json={"name": "far", "geometry": square}).status_code == 201
    query = {"lat": 37.5, "lng": 127.0, "limit": 2}
    answer = client.get("/v1/fences/nearest", query_string=query).json
    every = client.get("/v1/fences/nearest", query_string=query | {"limit": 100}).json

    assert [(item["name"], item["inside"]) for item in answer["items"]] == [("f0", True), ("f1", False)]
    assert answer["items"][0]["distance_m"] == 0
    assert answer["items"][1]["distance_m"] == pytest.approx(784, abs=1)
    assert answer["ask_again_after_m"] == pytest.approx(442, abs=1)
    assert (every["ask_again_after_m"], len(every["items"])) == (None, 4)
    assert every["items"][0]["circle"]["radius_m"] == 100
    assert every["items"][3]["circle"] is None
    assert every["items"][3]["geometry"]["type"] == "Polygon"
    other_workspace, _ = second_workspace(house)
    stranger = key(house, workspace_id=other_workspace)
    shown = client.get("/v1/fences/nearest", query_string=query, headers=stranger).json
    assert shown["items"] == []


def test_a_fence_that_is_off_or_gone_is_not_near(client):
    shape = {"lat": 37.5, "lng": 127.0, "radius_m": 100}
    off = client.post("/v1/fences", json=shape | {"name": "off", "enabled": False})
    gone = client.post("/v1/fences", json=shape | {"name": "gone"}).json["id"]
    assert off.status_code == 201
    assert client.delete(f"/v1/fences/{gone}").status_code == 204
    query = {"lat": 37.5, "lng": 127.0}

    assert client.get("/v1/fences/nearest", query_string=query).json["items"] == []


@pytest.mark.parametrize("change", [{"limit": 0}, {"limit": 101}, {"lat": 91}, {"lat": "x"}, {"q": 1}])
def test_nearest_takes_a_place_and_a_limit(client, change):
    query = {"lat": 37.5, "lng": 127.0} | change
    assert client.get("/v1/fences/nearest", query_string=query).status_code == 422


def test_scopes_of_what_reads_a_place(client, house):
    tester = {"Authorization": f"Bearer {make_key(house, Scope.TEST)}"}
    sender = {"Authorization": f"Bearer {make_key(house, Scope.INGEST)}"}
    for path in ("/v1/context", "/v1/fences/nearest"):
        assert client.get(path, query_string=PLACE, headers=tester).status_code == 403
        assert client.get(path, query_string=PLACE, headers=sender).status_code == 200
        assert client.get(path, query_string=PLACE, headers={"Authorization": ""}).status_code == 401


def test_a_key_in_basic_is_none(client, house):
    basic = base64.b64encode(f"{make_key(house)}:".encode()).decode()
    answer = client.post("/v1/batch", json={"batch": []}, headers={"Authorization": f"Basic {basic}"})

    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
