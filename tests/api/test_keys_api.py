"""`/v1/keys` and `/v1/apps` from outside."""

from __future__ import annotations

import hashlib

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from api.wiring import House
from nearcast.services.manage_workspace import Scope
from nearcast.store.engine import reading
from nearcast.store.tables import api_key, audit
from tests.api.doors import key, pointers, second_app, second_workspace


def test_a_key_is_shown_once_and_kept_as_a_digest(either_client: FlaskClient) -> None:
    client = either_client
    made = client.post("/v1/keys", json={"name": "Backend", "scopes": ["ingest"]})
    text = made.json["key"]
    engine = client.application.extensions["nearcast"].engine
    query = sa.select(api_key.c.digest).order_by(api_key.c.id.desc()).limit(1)
    digest = reading(engine, lambda conn: conn.execute(query).scalar_one())

    assert (made.status_code, made.json["scopes"], made.json["app"]) == (201, ["ingest"], None)
    assert text.startswith("nck_")
    assert len(text) == len("nck_") + 43  # 32 bytes
    assert text.startswith(made.json["hint"])
    assert bytes(digest) == hashlib.sha256(text.encode()).digest()
    assert "key" not in client.get("/v1/keys").json["items"][-1]
    headers = {"Authorization": f"Bearer {text}"}
    assert client.get("/v1/fences", headers=headers).status_code == 200


def test_a_revoked_key_opens_nothing_at_once_here(client: FlaskClient) -> None:
    made = client.post("/v1/keys", json={"name": "Backend", "scopes": ["ingest"]}).json
    headers = {"Authorization": f"Bearer {made['key']}"}
    assert client.get("/v1/fences", headers=headers).status_code == 200

    assert client.delete(f"/v1/keys/{made['id']}").status_code == 204
    assert client.get("/v1/fences", headers=headers).status_code == 401
    assert client.delete(f"/v1/keys/{made['id']}").status_code == 404
    listed = next(k for k in client.get("/v1/keys").json["items"] if k["id"] == made["id"])
    assert listed["revoked_at"] is not None


@pytest.mark.parametrize("scopes", [[], ["root"], ["ingest", "root"]])
def test_unknown_scopes_are_refused(client: FlaskClient, scopes: list[str]) -> None:
    answer = client.post("/v1/keys", json={"name": "x", "scopes": scopes})

    assert pointers(answer) == {"/scopes": "unknown_scope"}


def test_a_key_of_one_app_makes_keys_for_that_app_alone(client: FlaskClient, house: House) -> None:
    app_id = second_app(house)
    bound = key(house, app_id=app_id)
    body = {"name": "x", "scopes": ["admin"]}

    assert client.post("/v1/keys", json=body, headers=bound).json["app"] == f"app_{app_id}"
    elsewhere = client.post("/v1/keys", json={**body, "app": "default"}, headers=bound)
    assert elsewhere.status_code == 404
    shown = client.get("/v1/keys", headers=bound).json["items"]
    assert {k["app"] for k in shown} == {f"app_{app_id}"}
    of_all = next(k for k in client.get("/v1/keys").json["items"] if k["app"] is None)
    assert client.delete(f"/v1/keys/{of_all['id']}", headers=bound).status_code == 404


def test_another_workspaces_key_is_not_seen_and_not_revoked(client: FlaskClient, house: House) -> None:
    stranger = key(house, workspace_id=second_workspace(house)[0])
    own = client.get("/v1/keys").json["items"][0]["id"]

    assert all(k["id"] != own for k in client.get("/v1/keys", headers=stranger).json["items"])
    assert client.delete(f"/v1/keys/{own}", headers=stranger).status_code == 404
    assert client.get("/v1/fences").status_code == 200


def test_apps_are_added_and_listed(either_client: FlaskClient) -> None:
    client = either_client
    made = client.post("/v1/apps", json={"name": "Shop", "bundle_id": "kr.example.shop"})
    again = client.post("/v1/apps", json={"name": "Shop", "bundle_id": "kr.example.shop"})
    nowhere = client.post("/v1/apps", json={"name": "x", "bundle_id": "x", "time_zone": "Mars/Base"})

    assert (made.status_code, made.json["time_zone"]) == (201, "Asia/Seoul")
    assert (again.status_code, again.json["code"]) == (409, "already_exists")
    assert pointers(nowhere) == {"/time_zone": "unknown_time_zone"}
    assert [a["bundle_id"] for a in client.get("/v1/apps").json["items"]] == [
        "default",
        "kr.example.shop",
    ]


def test_a_key_of_one_app_sees_that_one_and_adds_none(client: FlaskClient, house: House) -> None:
    bound = key(house, app_id=second_app(house))
    listed = client.get("/v1/apps", headers=bound).json["items"]

    assert [a["bundle_id"] for a in listed] == ["kr.example.second"]
    body = {"name": "x", "bundle_id": "x"}
    assert client.post("/v1/apps", json=body, headers=bound).status_code == 403
    ingest = key(house, Scope.INGEST)
    assert client.post("/v1/apps", json=body, headers=ingest).status_code == 403


def test_every_change_is_in_the_audit_log_without_secrets(client: FlaskClient, house: House) -> None:
    made = client.post("/v1/keys", json={"name": "Backend", "scopes": ["ingest"]}).json
    client.delete(f"/v1/keys/{made['id']}")
    query = sa.select(audit).where(audit.c.object == made["id"]).order_by(audit.c.id)
    lines = reading(house.engine, lambda conn: conn.execute(query).mappings().all())

    assert [line["action"] for line in lines] == ["key.created", "key.revoked"]
    assert all(line["actor"].startswith("key_") for line in lines)
    assert made["key"] not in str(lines)
