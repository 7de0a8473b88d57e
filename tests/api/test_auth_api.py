"""Who may call: keys, scopes, apps, plans."""

from __future__ import annotations

import time

import pytest
from flask.testing import FlaskClient

from api.app import create_app
from api.wiring import House
from nearcast.services.key_ring import KeyRing
from nearcast.services.manage_workspace import Scope
from tests.api.doors import AD_ID, GANGNAM, key

BODY = {"name": "a", **GANGNAM}


def test_without_a_living_key_nothing_opens(client: FlaskClient) -> None:
    for header in [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic abc",
        "nck_x",
        "Bearer nck_unknown",
        "Bearer \xff\xfe",
    ]:
        stranger = create_app(client.application.extensions["nearcast"]).test_client()
        headers = {} if header is None else {"Authorization": header}
        answer = stranger.get("/v1/fences", headers=headers)

        assert (answer.status_code, answer.json["code"]) == (401, "unauthorized")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_stranger_learns_nothing_about_its_body(client: FlaskClient) -> None:
    answer = client.post("/v1/fences", json={"bad": 1}, headers={"Authorization": "Bearer no"})

    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("scope", "opens"),
    [
        (Scope.INGEST, {"/v1/fences": 200, "/v1/campaigns": 403, "/v1/keys": 403}),
        (Scope.TEST, {"/v1/fences": 200, "/v1/campaigns": 200, "/v1/keys": 403}),
        (Scope.MANAGE, {"/v1/fences": 200, "/v1/campaigns": 200, "/v1/keys": 403}),
        (Scope.ADMIN, {"/v1/fences": 200, "/v1/campaigns": 200, "/v1/keys": 200}),
    ],
)
def test_each_scope_opens_its_own_routes(
    client: FlaskClient, house: House, scope: Scope, opens: dict[str, int]
) -> None:
    headers = key(house, scope)

    assert {path: client.get(path, headers=headers).status_code for path in opens} == opens


def test_writing_asks_for_its_scope(client: FlaskClient, house: House) -> None:
    test, manage = key(house, Scope.TEST), key(house, Scope.MANAGE)
    device = {"ad_id": AD_ID, "name": "QA"}

    assert client.post("/v1/fences", json=BODY, headers=test).status_code == 403
    assert client.post("/v1/test-devices", json=device, headers=test).status_code == 201
    assert client.post("/v1/fences", json=BODY, headers=manage).status_code == 201
    assert client.post("/v1/keys", json={"name": "x"}, headers=manage).status_code == 403


def test_a_verified_key_is_remembered_for_two_seconds_and_no_longer(house: House) -> None:
    text = key(house)["Authorization"].removeprefix("Bearer ")
    ring = KeyRing(house.engine, remembered_s=0.05)
    first = ring.principal(text)

    assert ring.principal(text) is first
    time.sleep(0.06)
    assert ring.principal(text) is not first
    assert ring.principal(text) == first
    ring.forget()
    assert ring.principal(text) == first
    assert KeyRing(house.engine)._remembered_s <= 2.0


def test_doors_without_a_key_stay_open(client: FlaskClient) -> None:
    stranger = create_app(client.application.extensions["nearcast"]).test_client()

    for path in ("/healthz", "/readyz", "/openapi.json", "/docs"):
        assert stranger.get(path).status_code == 200
