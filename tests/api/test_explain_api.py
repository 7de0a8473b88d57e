"""`GET /v1/campaigns/{id}/explain`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from nearcast.services.manage_workspace import Scope
from tests.api.doors import key, second_workspace
from tests.api.replayed import replayed
from tests.world import GANGNAM, World, north

Doors = tuple[World, FlaskClient, str]


@pytest.fixture
def doors(sqlite_url: str) -> Iterator[Doors]:
    with replayed(sqlite_url) as (world, client, _):
        fence_id = world.fence("강남점", GANGNAM, external_id="gn-1")
        campaign_id = world.campaign(targeting={"fence_ids": [fence_id]})
        world.post([{"who": "a", "ad_id": "ab-1", "at": GANGNAM, "min": 3, "accuracy_m": 10.0}])
        world.post([{"who": "b", "at": north(GANGNAM, 412), "min": 4, "accuracy_m": 10.0}])
        yield world, client, f"/v1/campaigns/cmp_{campaign_id}/explain"


def test_a_decision_is_told_with_its_versions(doors: Doors) -> None:
    _, client, path = doors
    answer = client.get(f"{path}?device_id=a")
    assert answer.status_code == 200, answer.text
    found = answer.json
    assert (found["reason"], found["because"]) == ("sent", None)
    assert found["sentence"] == {
        "en": "Sent at 09:03: entered 강남점 (P 1.00)",
        "ko": "09:03에 보냈어요: 강남점에 들어왔어요 (P 1.00)",
    }
    decision = found["decision"]
    assert decision["fence"] == {"id": "fnc_1", "external_id": "gn-1", "name": "강남점", "version": 1}
    assert (decision["at"], decision["campaign_version"]) == ("2026-11-23T00:03:00.000Z", 1)
    assert decision["snapshot_version"] >= 1
    assert (found["fix"], found["visit"], found["device_ids"]) == (None, None, ["a"])
    assert client.get(f"{path}?ad_id=AB-1").json == found


def test_a_worked_out_reason_says_how_far_and_never_where(doors: Doors) -> None:
    _, client, path = doors
    answer = client.get(f"{path}?device_id=b&at=2026-11-23T09:05:00%2B09:00")
    found = answer.json
    assert (found["reason"], found["because"], found["value"]) == ("no_trigger", "outside", "312 m")
    assert found["at"] == "2026-11-23T00:05:00.000Z"
    fix = found["fix"]
    assert (fix["fence"], fix["verdict"], fix["quarantined"]) == (
        {"id": "fnc_1", "name": "강남점"},
        "out",
        None,
    )
    assert fix["distance_m"] == pytest.approx(312, abs=1)
    assert found["decision"] is None
    assert "127.0" not in answer.text
    assert "37.5" not in answer.text


def test_a_visit_that_goes_on_is_named(doors: Doors) -> None:
    world, client, _ = doors
    later = world.campaign(targeting={"fence_ids": [1]})
    world.post([{"who": "a", "ad_id": "ab-1", "at": GANGNAM, "min": 10}])
    found = client.get(f"/v1/campaigns/cmp_{later}/explain?device_id=a").json
    assert (found["reason"], found["because"]) == ("no_trigger", "inside_before")
    assert found["visit"] == {
        "fence": {"id": "fnc_1", "name": "강남점"},
        "arrived": "2026-11-23T00:03:00.000Z",
        "left": "2026-11-23T00:10:00.000Z",
    }


@pytest.mark.parametrize(
    "query", ["", "device_id=a&ad_id=ab-1", "device_id=", "at=2026-11-23T00:00:00Z"]
)
def test_one_person_is_asked_about(doors: Doors, query: str) -> None:
    assert doors[1].get(f"{doors[2]}?{query}").status_code == 422


@pytest.mark.parametrize("at", ["1970-01-01T00:00:00Z", "9998-12-31T23:59:59Z"])
def test_the_ends_of_time_can_be_asked_about(doors: Doors, at: str) -> None:
    found = doors[1].get(f"{doors[2]}?device_id=a&at={at}").json
    assert found["reason"] in ("campaign_not_running", "outside_period")


def test_who_may_ask(doors: Doors) -> None:
    _, client, path = doors
    house = client.application.extensions["nearcast"]
    assert client.get(f"{path}?device_id=nobody").status_code == 404
    assert client.get(f"{path}?device_id=a", headers=key(house, Scope.TEST)).status_code == 200
    assert client.get(f"{path}?device_id=a", headers=key(house, Scope.INGEST)).status_code == 403
    workspace_id, _ = second_workspace(house)
    stranger = key(house, workspace_id=workspace_id)
    assert client.get(f"{path}?device_id=a", headers=stranger).status_code == 404
    assert client.get("/v1/campaigns/cmp_77/explain?device_id=a").status_code == 404
