"""`/openapi.json` is valid OpenAPI 3.1, says what the routes do, and `/docs` shows it without help."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient
from openapi_spec_validator import validate

from api import openapi
from api.app import CONTENT_SECURITY_POLICY
from campaigns.campaign.life import State
from nearcast.services.run_campaigns import TARGET_OF_MOVE


@pytest.fixture
def spec(client: FlaskClient) -> dict:
    return client.get("/openapi.json").json


def _operations(spec: dict) -> list[tuple[str, str, dict]]:
    return [
        (method, path, operations[method])
        for path, operations in spec["paths"].items()
        for method in openapi.METHODS
        if method in operations
    ]


def test_the_document_is_valid_openapi_3_1(spec: dict) -> None:
    validate(spec)

    assert spec["openapi"].startswith("3.1")


def test_every_route_stands_in_it(client: FlaskClient, spec: dict) -> None:
    hidden = {"/openapi.json", "/docs", "/static/{filename}", "/"}
    served = {
        re.sub(r"<(?:[^<>]*:)?(\w+)>", r"{\1}", rule.rule)
        for rule in client.application.url_map.iter_rules()
    }
    foreign = {path for path in served if not path.startswith("/v1/")} - {"/healthz", "/readyz"}

    assert served - foreign - hidden <= set(spec["paths"])


def test_every_reference_leads_somewhere_and_names_are_short(spec: dict) -> None:
    schemas = spec["components"]["schemas"]
    named = set(re.findall(r'"#/components/schemas/([^"]+)"', str(spec).replace("'", '"')))

    assert named <= set(schemas)
    assert not [name for name in schemas if "." in name]


def test_every_operation_says_its_scopes_and_its_problems(spec: dict) -> None:
    for method, path, operation in _operations(spec):
        if path.startswith("/v1/"):
            assert operation["security"] == [{"ApiKey": []}], path
            assert operation["x-scopes"], path
            assert {"401", "403"} <= set(operation["responses"]), path
        assert operation["summary"], path
        problem = operation["responses"]["default"]["content"]
        assert list(problem) == ["application/problem+json"]
        if method == "post" and path.startswith("/v1/fences") and "validate" not in path:
            assert "Idempotency-Key" in [p["name"] for p in operation["parameters"]]


def test_operation_ids_are_unique(spec: dict) -> None:
    ids = [
        operation["operationId"] for _, _, operation in _operations(spec) if "operationId" in operation
    ]

    assert len(ids) == len(set(ids))


def test_each_move_of_a_campaign_has_its_own_address(spec: dict) -> None:
    for move in (*TARGET_OF_MOVE, "copy"):
        assert f"/v1/campaigns/{{campaign_id}}:{move}" in spec["paths"]
    assert set(TARGET_OF_MOVE.values()) == set(State)


def test_an_answer_has_the_fields_that_the_document_promises(client: FlaskClient, spec: dict) -> None:
    made = client.post("/v1/fences", json={"name": "a", "lat": 37.5, "lng": 127, "radius_m": 100}).json
    version = client.get(f"/v1/fences/{made['id']}/versions").json["items"][0]
    campaign = client.post("/v1/campaigns", json={"name": "c"}).json
    schemas = spec["components"]["schemas"]

    assert set(made) == set(schemas["FenceOut"]["properties"])
    assert set(version) == set(schemas["VersionOut"]["properties"])
    assert set(campaign) == set(schemas["CampaignOut"]["properties"])


def test_the_page_shows_every_operation_and_loads_nothing_from_elsewhere(
    client: FlaskClient, spec: dict
) -> None:
    answer = client.get("/docs")
    page = answer.text

    assert answer.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    for _, path, _ in _operations(spec):
        assert f"<code>{path}</code>" in page
    assert "<script" not in page
    assert not re.search(r"\bstyle=|\bon\w+=", page)
    for address in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert address.startswith(("/", "#")), address
        if address.startswith("/static/"):
            with client.get(address) as asset:
                assert asset.status_code == 200
    for anchor in re.findall(r'href="#([^"]+)"', page):
        assert f'id="{anchor}"' in page
    assert "plan_required" in page


def test_probes(client: FlaskClient) -> None:
    assert client.get("/healthz").json == {"status": "ok"}
    assert client.get("/readyz").json == {"status": "ready", "matcher": "rtree"}
