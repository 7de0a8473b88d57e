"""`/v1/fence-groups` from outside."""

from __future__ import annotations

import sqlalchemy as sa
from flask.testing import FlaskClient

from api.wiring import House
from nearcast.store.engine import in_transaction
from nearcast.store.tables import workspace
from tests.api.doors import CAMPAIGN, GANGNAM, key, pointers, second_workspace


def _fence(client: FlaskClient, name: str = "a", **more: object) -> dict:
    return client.post("/v1/fences", json={"name": name, **GANGNAM, **more}).json


def test_a_group_is_made_with_fences_in_it(either_client: FlaskClient) -> None:
    client = either_client
    fence = _fence(client)
    made = client.post("/v1/fence-groups", json={"name": "south", "fence_ids": [fence["id"]]})

    assert (made.status_code, made.json["fences"]) == (201, 1)
    assert client.get(f"/v1/fence-groups/{made.json['id']}").json == made.json
    assert client.get("/v1/fence-groups").json["items"] == [made.json]
    changed = client.get(f"/v1/fences/{fence['id']}").json
    assert (changed["groups"], changed["version"]) == (["south"], 2)


def test_fences_are_put_in_and_taken_out_by_hand(client: FlaskClient) -> None:
    fences = [_fence(client, name)["id"] for name in "abc"]
    group = client.post("/v1/fence-groups", json={"name": "south"}).json["id"]
    members = f"/v1/fence-groups/{group}/members"

    assert client.put(f"{members}/{fences[0]}").json["fences"] == 1
    assert client.put(f"{members}/{fences[0]}").json["fences"] == 1
    assert client.get(f"/v1/fences/{fences[0]}").json["version"] == 2  # the repeat made none
    assert client.post(members, json={"fence_ids": fences}).json["fences"] == 3
    assert client.delete(f"{members}/{fences[1]}").json["fences"] == 2
    assert client.get(f"/v1/fences/{fences[1]}").json["groups"] == []

    client.delete(f"/v1/fences/{fences[2]}")
    assert client.get(f"/v1/fence-groups/{group}").json["fences"] == 1


def test_a_group_that_is_deleted_leaves_its_fences(client: FlaskClient) -> None:
    fence = _fence(client, groups=["south", "coffee"])
    group = next(g for g in client.get("/v1/fence-groups").json["items"] if g["name"] == "south")

    assert client.delete(f"/v1/fence-groups/{group['id']}").status_code == 204
    assert client.get(f"/v1/fences/{fence['id']}").json["groups"] == ["coffee"]
    assert client.get(f"/v1/fence-groups/{group['id']}").status_code == 404


def test_a_group_that_a_living_campaign_names_is_kept(client: FlaskClient) -> None:
    _fence(client, groups=["south"])
    group = client.get("/v1/fence-groups").json["items"][0]["id"]
    body = {**CAMPAIGN, "targeting": {"groups": ["south"]}}
    campaign = client.post("/v1/campaigns", json=body).json["id"]
    client.post(f"/v1/campaigns/{campaign}:test")

    kept = client.delete(f"/v1/fence-groups/{group}")
    assert (kept.status_code, kept.json["code"]) == (409, "not_allowed_now")
    assert campaign in kept.json["detail"]


def test_a_name_is_given_once_and_unknown_fences_are_named(client: FlaskClient) -> None:
    client.post("/v1/fence-groups", json={"name": "south"})
    again = client.post("/v1/fence-groups", json={"name": "south"})
    unknown = client.post("/v1/fence-groups", json={"name": "north", "fence_ids": ["fnc_77"]})

    assert (again.status_code, again.json["code"]) == (409, "already_exists")
    assert pointers(unknown) == {"/fence_ids/0": "not_found"}
    assert client.get("/v1/fence-groups").json["total"] == 1


def test_lite_opens_no_groups_but_reads_those_there_are(client: FlaskClient, house: House) -> None:
    fence = _fence(client, groups=["south"])
    group = client.get("/v1/fence-groups").json["items"][0]["id"]
    in_transaction(house.engine, lambda conn: conn.execute(sa.update(workspace).values(plan="lite")))
    home = key(house)  # keys remember the plan for a moment: a new one knows

    calls = [
        client.post("/v1/fence-groups", json={"name": "north"}, headers=home),
        client.put(f"/v1/fence-groups/{group}/members/{fence['id']}", headers=home),
        client.delete(f"/v1/fence-groups/{group}", headers=home),
        client.post("/v1/fences", json={"name": "b", **GANGNAM, "groups": ["north"]}, headers=home),
        client.post(
            "/v1/campaigns", json={"name": "c", "targeting": {"groups": ["south"]}}, headers=home
        ),
    ]
    for call in calls:
        assert (call.status_code, call.json["code"]) == (403, "plan_required")
        assert "Basic" in call.json["detail"]
    assert client.get(f"/v1/fence-groups/{group}", headers=home).json["fences"] == 1
    single = client.post("/v1/fences", json={"name": "b", **GANGNAM}, headers=home)
    assert single.status_code == 201


def test_another_workspace_sees_no_group(client: FlaskClient, house: House) -> None:
    fence = _fence(client, groups=["south"])
    group = client.get("/v1/fence-groups").json["items"][0]["id"]
    stranger = key(house, workspace_id=second_workspace(house)[0])
    member = f"/v1/fence-groups/{group}/members/{fence['id']}"

    assert client.get("/v1/fence-groups", headers=stranger).json["total"] == 0
    assert client.get(f"/v1/fence-groups/{group}", headers=stranger).status_code == 404
    assert client.delete(f"/v1/fence-groups/{group}", headers=stranger).status_code == 404
    assert client.put(member, headers=stranger).status_code == 404
    own = client.post("/v1/fence-groups", json={"name": "own"}, headers=stranger).json["id"]
    foreign = client.put(f"/v1/fence-groups/{own}/members/{fence['id']}", headers=stranger)
    assert pointers(foreign) == {"/fence_ids/0": "not_found"}
