"""No input drawn from the document gives a 5xx; nothing of one workspace is seen from another."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from contextlib import suppress
from io import BytesIO
from typing import Any

import pytest
import schemathesis
from flask.testing import FlaskClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api import openapi
from api.wiring import House
from tests.api.doors import AD_ID, CAMPAIGN, GANGNAM, SQUARE, key, second_workspace

pytestmark = pytest.mark.slow

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
MAX_EXAMPLES = 6  # of each operation, once as the document asks and once not
MAX_SECONDS = 20.0  # a slow machine tries fewer
DRAWN = settings(
    max_examples=MAX_EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
FENCE = {"name": "a", **GANGNAM}
#: of each operation that needs one to come as far as the object: a body
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("patch", "/v1/fences/{fence}"): {"name": "taken"},
    ("patch", "/v1/campaigns/{campaign_id}"): {"name": "taken"},
    ("post", "/v1/uploads/{upload_id}:check"): {},
    ("patch", "/v1/webhooks/{webhook_id}"): {"name": "taken"},
}
#: the same for what an address asks for
QUERIES = {
    ("post", "/v1/webhooks/{webhook_id}:replay"): {
        "from": "2026-11-23T00:00:00Z",
        "to": "2026-11-24T00:00:00Z",
    },
}
#: with an address that the caller makes up: `PUT` makes a fence of the caller's own
OWN = {("put", "/v1/fences/{fence}")}
#: `GET`s that are no lists
NO_LISTS = ("/v1/workspace", "/v1/uploads/template.xlsx")


def _operations(client: FlaskClient) -> list[tuple[str, str]]:
    paths = client.get("/openapi.json").json["paths"]
    return [(method, path) for path in paths for method in openapi.METHODS if method in paths[path]]


@pytest.fixture
def objects(client: FlaskClient) -> dict[str, str]:
    """Parameter of a path → id of an object of the first workspace, one of each kind."""
    fence_id = client.post("/v1/fences", json=FENCE | {"external_id": "ours"}).json["id"]
    group = {"name": "g", "fence_ids": [fence_id]}
    webhook = {"name": "w", "url": "https://shop.example/hook"}
    features = [{"type": "Feature", "properties": {"name": "A"}, "geometry": SQUARE}]
    file = json.dumps({"type": "FeatureCollection", "features": features}).encode()
    layer = {"name": "l", "kind": "region", "name_column": "name", "file": (BytesIO(file), "l.geojson")}
    made = {
        "group_id": client.post("/v1/fence-groups", json=group),
        "campaign_id": client.post("/v1/campaigns", json=CAMPAIGN),
        "webhook_id": client.post("/v1/webhooks", json=webhook),
        "test_device_id": client.post("/v1/test-devices", json={"name": "t", "ad_id": AD_ID}),
        "key_id": client.post("/v1/keys", json={"name": "k", "scopes": ["ingest"]}),
        "layer_id": client.post("/v1/area-layers", data=layer),
    }
    assert {answer.status_code for answer in made.values()} == {201}
    sheet = {"file": (BytesIO("지점명,위도,경도\n강남점,37.5,127.0\n".encode()), "a.csv")}
    made["upload_id"] = client.post("/v1/uploads", data=sheet | {"group": "g", "radius_m": "100"})
    fixed = {"fence": fence_id, "fence_id": fence_id, "ending": "csv"}
    return fixed | {n: a.json["id"] for n, a in made.items()}


def _filled(path: str, objects: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: objects[found[1]], path)


def _seen(client: FlaskClient, objects: dict[str, str], headers: dict[str, str]) -> dict[str, Any]:
    """What every GET of JSON with an id shows, without the instant of asking."""
    paths = [path for method, path in _operations(client) if method == "get" and "{" in path]
    answers = {
        path: client.get(_filled(path, objects), headers=headers).get_json(silent=True)
        for path in paths
        if path.startswith("/v1/")
    }
    lists = {
        path: client.get(path, headers=headers).json
        for path in ("/v1/keys", "/v1/webhooks", "/v1/area-layers", "/v1/test-devices")
    }
    for answer in answers.values():
        if answer:
            answer.pop("as_of", None)
    return answers | lists


# --- no 5xx -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_operation_gives_a_5xx_or_an_answer_that_is_not_in_the_document(
    client: FlaskClient, objects: dict[str, str], mode: GenerationMode
) -> None:
    own = {"Authorization": client.environ_base["HTTP_AUTHORIZATION"]}
    until = time.monotonic() + MAX_SECONDS / 2
    tried: Counter[str] = Counter()
    document = schemathesis.openapi.from_wsgi("/openapi.json", client.application)
    operations = [found.ok() for found in document.get_all_operations()]
    # what is deleted is missed, and with a second app every call must name one: both come last
    operations.sort(key=lambda o: (o.method == "delete", (o.method, o.path) == ("post", "/v1/apps")))
    for operation in operations:

        @DRAWN
        @given(operation.as_strategy(generation_mode=mode))
        def answers_well(case: Any) -> None:
            label = case.operation.label
            if time.monotonic() > until and tried[label]:
                return
            tried[label] += 1
            if tried[label] % 2 and case.path_parameters:  # else an id that is none
                case.path_parameters |= {n: objects[n] for n in case.path_parameters if n in objects}
            others = {n: v for n, v in (case.headers or {}).items() if n.lower() != "authorization"}
            case.headers = others | own
            case.validate_response(case.call(), checks=CHECKS)

        with suppress(Unsatisfiable):  # an operation that takes nothing takes nothing wrong
            answers_well()
    assert len(tried) >= 40


def _layer(geometry: Any, properties: dict[str, Any]) -> BytesIO:
    feature = {"type": "Feature", "properties": properties, "geometry": geometry}
    return BytesIO(json.dumps({"type": "FeatureCollection", "features": [feature]}).encode())


@pytest.mark.parametrize(
    ("ring", "name_column"),
    [
        ([[127, 37]], "name"),
        ([[1e308, 1e308]] * 5, "name"),
        pytest.param(
            [[127, 37], [1e308, 37], [127, 38], [127, 37]], "name", marks=pytest.mark.timeout(20)
        ),
        (SQUARE["coordinates"][0], ""),
        (SQUARE["coordinates"][0], "geometry"),
    ],
)
def test_a_layer_that_makes_no_sense_is_refused(
    client: FlaskClient, ring: list[list[float]], name_column: str
) -> None:
    file = _layer({"type": "Polygon", "coordinates": [ring]}, {"name": "A"})
    form = {"name": "l", "kind": "region", "name_column": name_column, "file": (file, "l.geojson")}
    answer = client.post("/v1/area-layers", data=form)

    assert answer.status_code in (201, 422), answer.text


@pytest.mark.parametrize("field", ["device_id", "ad_id", "user_id", "ping_id", "app"])
@pytest.mark.parametrize("address", ["/v1/pings", "/v1/context"])
def test_a_ping_with_nul_spoils_nothing_but_itself(
    either_client: FlaskClient, address: str, field: str
) -> None:
    place = {"lat": 37.4979, "lng": 127.0276}
    pings = [{"device_id": "d"} | place, {"device_id": "e"} | place | {field: "a\0b"}]
    answer = either_client.post(address, json={"pings": pings})

    assert answer.status_code == 200, answer.text
    if address == "/v1/pings":
        assert answer.json["counts"]["accepted"] >= 1


# --- isolation --------------------------------------------------------------------------------------


def test_no_operation_reaches_an_object_of_another_workspace(
    client: FlaskClient, house: House, objects: dict[str, str]
) -> None:
    stranger = key(house, workspace_id=second_workspace(house)[0])
    own = {"Authorization": client.environ_base["HTTP_AUTHORIZATION"]}
    before = _seen(client, objects, own)
    tried = 0
    for method, path in _operations(client):
        if not path.startswith("/v1/") or "{" not in path or (method, path) in OWN:
            continue
        body = BODIES.get((method, path))
        if path.endswith("/members"):
            body = {"fence_ids": [objects["fence"]]}
        query = QUERIES.get((method, path))
        answer = client.open(
            _filled(path, objects), method=method, json=body, query_string=query, headers=stranger
        )
        assert answer.status_code == 404, (method, path, answer.text)
        tried += 1

    assert tried >= 25
    assert _seen(client, objects, own) == before


def test_lists_show_nothing_of_another_workspace(
    client: FlaskClient, house: House, objects: dict[str, str]
) -> None:
    stranger = key(house, workspace_id=second_workspace(house)[0])
    client.post("/v1/pings", json={"device_id": "d", "ad_id": AD_ID, "lat": 37.4979, "lng": 127.0276})
    for method, path in _operations(client):
        if method != "get" or not path.startswith("/v1/") or "{" in path or path in NO_LISTS:
            continue
        query = {"device_id": "d"} if path == "/v1/inbox" else {}
        shown = client.get(path, query_string=query, headers=stranger)
        assert shown.status_code == 200, (path, shown.text)
        items = shown.json["messages"] if path == "/v1/inbox" else shown.json["items"]
        mine = client.get(path, query_string=query).json
        if path in ("/v1/keys", "/v1/apps"):  # the stranger's own key, its own app
            ids = {item["id"] for item in mine["items"]}
            assert len(items) == 1, path
            assert not ids & {item["id"] for item in items}, path
        else:
            assert items == [], path
            assert path in ("/v1/inbox", "/v1/visits") or mine["items"], path
    shown = client.get("/v1/workspace", headers=stranger).json
    assert shown["id"] != client.get("/v1/workspace").json["id"]


def test_an_object_of_another_workspace_cannot_be_named(
    client: FlaskClient, house: House, objects: dict[str, str]
) -> None:
    """In a body or a query it is as unknown as one that does not exist."""
    stranger = key(house, workspace_id=second_workspace(house)[0])
    own = {"Authorization": client.environ_base["HTTP_AUTHORIZATION"]}
    before, fence_id = _seen(client, objects, own), objects["fence"]
    theirs = client.post("/v1/fence-groups", json={"name": "g"}, headers=stranger).json["id"]
    webhook = {"channel": "webhook", "title": "t", "body": "b", "webhook_id": objects["webhook_id"]}
    calls: list[tuple[str, str, dict[str, Any] | None]] = [
        ("post", "/v1/fence-groups", {"name": "h", "fence_ids": [fence_id]}),
        ("post", f"/v1/fence-groups/{theirs}/members", {"fence_ids": [fence_id]}),
        ("put", f"/v1/fence-groups/{theirs}/members/{fence_id}", None),
        ("post", "/v1/campaigns", CAMPAIGN | {"targeting": {"fence_ids": [fence_id]}}),
        ("post", "/v1/campaigns", CAMPAIGN | {"message": webhook}),
        ("post", "/v1/campaigns", CAMPAIGN | {"app": "default"}),
        ("post", "/v1/keys", {"name": "k", "scopes": ["ingest"], "app": "default"}),
        ("get", "/v1/visits?app=default", None),
        ("get", "/v1/inbox?device_id=d&app=default", None),
        ("get", "/v1/campaigns?app=default", None),
    ]
    for method, path, body in calls:
        answer = client.open(path, method=method, json=body, headers=stranger)
        assert answer.status_code in (404, 422), (method, path, body, answer.text)
    assert client.get(f"/v1/visits?fence={fence_id}", headers=stranger).json.get("items", []) == []
    assert client.get("/v1/visits?fence=ours", headers=stranger).json.get("items", []) == []

    put = client.put(f"/v1/fences/{fence_id}", json=FENCE, headers=stranger)
    assert (put.status_code, put.json["id"] == fence_id) == (201, False)  # a fence of its own
    assert _seen(client, objects, own) == before
