"""`GET /v1/pings` and `/v1/retention`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from api.wiring import House
from nearcast.services.forget_old import forget_old
from nearcast.services.manage_workspace import Scope
from nearcast.services.seal_pings import DAY_MS, seal_pings
from tests.api.doors import key, pointers, second_app, second_workspace
from tests.api.replayed import replayed
from tests.world import GANGNAM, OUTSIDE, START_MS, World

Doors = tuple[World, FlaskClient, House]
TOMORROW_MS = START_MS + DAY_MS


@pytest.fixture
def doors(database_url: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Doors]:
    monkeypatch.chdir(tmp_path)  # the folder of sealed pings is below it
    with replayed(database_url) as (world, client, house):
        for minute in range(5):
            world.post([{"who": "a", "at": GANGNAM, "min": minute, "mocked": minute % 2 == 0}])
        world.post([{"who": who, "at": (0.0, 0.0), "min": 5, "accuracy_m": 9.5} for who in "bc"])
        world.post([{"who": "b", "at": OUTSIDE, "min": 6, "accuracy_m": 20_000.0}])
        world.post([{"who": "d", "at": OUTSIDE, "min": -300}])  # late
        world.post([{"who": "a", "at": GANGNAM, "min": 1}])  # again
        yield world, client, house


def _pings(doors: Doors, query: str = "") -> dict[str, Any]:
    answer = doors[1].get(f"/v1/pings?{query}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json
    return found


def _who(found: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    return [(p["device_id"], p["at"][11:16], p["reason"]) for p in found["items"]]


def seal(doors: Doors, **more: Any) -> None:
    world, _, house = doors
    seal_pings(world.engine, house.ping_files, now_ms=TOMORROW_MS, **more)


QUARANTINED = [
    ("b", "00:06", "accuracy_too_low"),
    ("c", "00:05", "null_island"),
    ("b", "00:05", "null_island"),
    ("a", "00:04", "mocked"),
    ("a", "00:02", "mocked"),
    ("a", "00:00", "mocked"),
]


def test_the_quarantined_with_their_reasons_wherever_they_are(doors: Doors) -> None:
    found = _pings(doors)
    assert _who(found) == QUARANTINED
    counted = {"mocked": 3, "null_island": 2, "accuracy_too_low": 1}
    assert (found["total"], found["reasons"], found["next_cursor"]) == (6, counted, None)
    assert found["items"][1] | {"device_id": "-"} == {
        "device_id": "-",
        "at": "2026-11-23T00:05:00.000Z",
        "seen_at": "2026-11-23T00:05:00.000Z",
        "lat": 0.0,
        "lng": 0.0,
        "accuracy_m": 9.5,
        "platform": "android",
        "outcome": "quarantined",
        "reason": "null_island",
        "flags": ["held"],
    }
    assert found["items"][3]["flags"] == ["mocked", "held"]
    assert found["items"][3]["accuracy_m"] is None
    seal(doors, portion=4)
    assert _pings(doors) == found


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("reason=null_island", QUARANTINED[1:3]),
        ("device_id=a", QUARANTINED[3:]),
        ("device_id=nobody", []),
        ("from=2026-11-23T00:02:00Z&to=2026-11-23T00:05:00Z", QUARANTINED[3:5]),
        ("from=2026-11-23T09:05:00%2B09:00", QUARANTINED[:3]),
        ("outcome=late", [("d", "19:00", None)]),
        ("outcome=late&from=2026-11-23T00:00:00Z", []),
        ("outcome=duplicate", [("a", "00:01", None)]),
        ("outcome=accepted", [("a", "00:03", None), ("a", "00:01", None)]),
        ("outcome=accepted&device_id=a&to=2026-11-23T00:03:00Z", [("a", "00:01", None)]),
    ],
)
def test_filters(doors: Doors, query: str, expected: list[tuple[str, str, str | None]]) -> None:
    for _ in range(2):
        found = _pings(doors, query)
        assert (_who(found), found["total"]) == (expected, len(expected))
        seal(doors)


def test_pages_go_on_while_pings_are_sealed(doors: Doors) -> None:
    # many pings of one device and instant, in one row of the log and in another
    same = {"who": "e", "min": 3, "mocked": True}
    doors[0].post([same | {"at": (127.0 + n, 37.0)} for n in range(3)])
    seen, cursor, pages = [], "", 0
    while True:
        found = _pings(doors, f"outcome=quarantined&limit=2{cursor}")
        assert found["total"] == 9
        seen += found["items"]
        pages += 1
        if pages == 2:
            seal(doors)
        if found["next_cursor"] is None:
            break
        cursor = f"&cursor={found['next_cursor']}"
    assert seen == _pings(doors)["items"]
    assert len(seen) == 9


def test_equal_pings_are_told_apart_by_their_order(doors: Doors) -> None:
    """Of one device, instant and place, in one batch: one was taken, the others were repeats."""
    for _ in range(2):  # the second time they are repeats, one and all
        doors[0].post([{"who": "f", "at": OUTSIDE, "min": 7}] * 5)
    whole = _pings(doors, "outcome=duplicate&device_id=f")
    assert whole["total"] >= 5
    seen, cursor = [], ""
    for number in range(whole["total"]):
        found = _pings(doors, f"outcome=duplicate&device_id=f&limit=1{cursor}")
        seen += found["items"]
        assert (found["next_cursor"] is None) == (number == whole["total"] - 1)
        cursor = f"&cursor={found['next_cursor']}"
        seal(doors)
    assert seen == whole["items"]


@pytest.mark.parametrize("query", ["outcome=rejected", "reason=none", "limit=0", "cursor=after_1_2"])
def test_what_makes_no_sense_is_refused(doors: Doors, query: str) -> None:
    assert doors[1].get(f"/v1/pings?{query}").status_code == 422


def test_who_may_see_what(doors: Doors) -> None:
    _, client, house = doors
    assert client.get("/v1/pings", headers=key(house, Scope.INGEST)).status_code == 403
    assert client.get("/v1/retention", headers=key(house, Scope.INGEST)).status_code == 403
    assert client.patch("/v1/retention", json={}, headers=key(house, Scope.MANAGE)).status_code == 403
    stranger = key(house, workspace_id=second_workspace(house)[0])
    assert client.get("/v1/pings", headers=stranger).json["total"] == 0
    second_app(house)
    assert _pings(doors, "app=kr.example.second")["items"] == []


# --- retention --------------------------------------------------------------------------------------


def test_how_long_things_are_kept_is_a_setting(doors: Doors) -> None:
    client = doors[1]
    found = client.get("/v1/retention").json
    assert (found["raw_pings_days"], found["visits_months"], found["items"]) == (7, 12, [])
    assert client.patch("/v1/retention", json={"raw_pings_days": 30}).json == {
        "raw_pings_days": 30,
        "visits_months": 12,
    }
    assert client.get("/v1/retention").json["raw_pings_days"] == 30
    for body in ({"raw_pings_days": 0}, {"visits_months": 121}, {"raw_pings_days": 1.5}):
        assert client.patch("/v1/retention", json=body).status_code == 422
    assert pointers(client.patch("/v1/retention", json={"visits_months": 0})) != {}


def test_what_was_deleted_is_told(doors: Doors) -> None:
    world, client, house = doors
    seal(doors)
    for days in (9, 9, 10):
        forget_old(world.engine, house.ping_files, now_ms=START_MS + days * DAY_MS)
    assert _pings(doors)["items"] == []
    found = client.get("/v1/retention").json
    assert found["total"] == 1
    told = found["items"][0]
    assert told == {
        "at": "2026-12-02T00:00:00.000Z",
        "what": "raw_pings",
        "from": "2026-11-22T19:00:00.000Z",
        "to": "2026-11-23T00:06:00.000Z",
        "rows": 10,
    }
