"""`GET /v1/visits`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from nearcast.services.manage_workspace import Scope
from tests.api.doors import key, second_app, second_workspace
from tests.api.replayed import replayed
from tests.world import GANGNAM, OUTSIDE, YEOKSAM, World

Doors = tuple[World, FlaskClient]


@pytest.fixture
def doors(sqlite_url: str) -> Iterator[Doors]:
    with replayed(sqlite_url) as (world, client, _):
        world.fence("강남점", GANGNAM, external_id="gn-1")
        world.fence("역삼점", YEOKSAM)
        for who, place, minute in (
            ("a", GANGNAM, 0),
            ("a", GANGNAM, 7.5),
            ("b", GANGNAM, 10),
            ("a", OUTSIDE, 60),
            ("a", YEOKSAM, 70),
            ("a", YEOKSAM, 71),
        ):
            world.post([{"who": who, "at": place, "min": minute, "accuracy_m": 10.0}])
        yield world, client


def _visits(doors: Doors, query: str = "") -> dict[str, Any]:
    answer = doors[1].get(f"/v1/visits?{query}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json
    return found


def test_visits_with_their_class(doors: Doors) -> None:
    found = _visits(doors)
    assert (found["total"], found["next_cursor"]) == (3, None)
    assert [
        (v["device_id"], v["class"], v["open"], v["dwell_s"], v["fixes"]) for v in found["items"]
    ] == [
        ("a", "pass_by", True, 60.0, 2),
        ("b", "unproven", False, 0.0, 1),
        ("a", "visit", False, 450.0, 2),
    ]
    visit = found["items"][-1]
    assert (visit["arrived"], visit["left"]) == ("2026-11-23T00:00:00.000Z", "2026-11-23T00:07:30.000Z")
    assert visit["fence"] == {"id": "fnc_1", "external_id": "gn-1", "name": "강남점"}
    assert visit["confidence"] == pytest.approx(1.0, abs=0.01)


def test_visits_of_a_fence_by_either_name(doors: Doors) -> None:
    assert [v["device_id"] for v in _visits(doors, "fence=fnc_1")["items"]] == ["b", "a"]
    assert _visits(doors, "fence=gn-1") == _visits(doors, "fence=fnc_1")
    assert _visits(doors, "fence=fnc_99")["total"] == 0
    assert doors[1].get("/v1/visits?fence=nowhere").status_code == 404


def test_visits_of_a_device_in_a_period(doors: Doors) -> None:
    assert _visits(doors, "device_id=b")["total"] == 1
    assert _visits(doors, "device_id=nobody")["total"] == 0
    until = _visits(doors, "to=2026-11-23T00:10:00Z")["items"]
    assert [v["arrived"] for v in until] == ["2026-11-23T00:00:00.000Z"]
    since = _visits(doors, "from=2026-11-23T09:10:00%2B09:00")["items"]
    assert [v["device_id"] for v in since] == ["a", "b"]


@pytest.mark.parametrize("limit", [1, 2])
def test_pages(doors: Doors, limit: int) -> None:
    whole, cursor, got = _visits(doors)["items"], "", []
    while cursor is not None:
        page = _visits(doors, f"limit={limit}" + (f"&cursor={cursor}" if cursor else ""))
        got += page["items"]
        cursor = page["next_cursor"]
    assert got == whole


@pytest.mark.parametrize(
    "query",
    [
        "from=1970-01-01T00:00:00Z&to=9998-12-31T23:59:59Z",
        "from=9998-12-31T23:59:59Z",
        "to=1970-01-01T00:00:00Z",
        f"cursor=after_{2**63 - 1}_{2**63 - 1}_{2**63 - 1}",
        "cursor=after_0_0_0",
        "device_id=%F0%9F%8E%81",
        f"fence=fnc_{2**63 - 1}",
    ],
)
def test_the_ends_of_what_can_be_asked(doors: Doors, query: str) -> None:
    assert doors[1].get(f"/v1/visits?{query}").status_code == 200


@pytest.mark.parametrize(
    ("query", "pointer"),
    [("limit=0", "/limit"), ("limit=201", "/limit"), ("cursor=x", "/cursor"), ("from=noon", "/from")],
)
def test_faults_are_named(doors: Doors, query: str, pointer: str) -> None:
    answer = doors[1].get(f"/v1/visits?{query}")
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, pointer)


def test_another_apps_visits_are_not_shown(doors: Doors) -> None:
    _, client = doors
    house = client.application.extensions["nearcast"]
    assert client.get("/v1/visits", headers=key(house, app_id=second_app(house))).json["total"] == 0
    workspace_id, _ = second_workspace(house)
    stranger = key(house, workspace_id=workspace_id)
    assert client.get("/v1/visits?fence=fnc_1", headers=stranger).json["total"] == 0
    assert client.get("/v1/visits", headers=key(house, Scope.INGEST)).status_code == 403
