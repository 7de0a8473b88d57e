"""`/v1/webhooks`: what an endpoint is told, changed, tried and told again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from api import worker
from api.wiring import House
from nearcast.store import notices
from nearcast.store.engine import in_transaction
from tests.receiver import Receiver, receiving, status

GANGNAM = {"lat": 37.4979, "lng": 127.0276}
PERIOD = {"from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as there:
        yield there


def _endpoint(client: FlaskClient, url: str = "http://127.0.0.1/", **more: Any) -> dict[str, Any]:
    answer = client.post("/v1/webhooks", json={"name": "crm", "url": url, **more})
    assert answer.status_code == 201, answer.text
    return dict(answer.json)


def _tell(client: FlaskClient, house: House, webhook_id: str, key: str) -> None:
    """A notice that `tell_webhooks` might write; what the ping itself tells nobody here listens to."""
    client.post("/v1/pings", json={"device_id": "d", **GANGNAM})
    fence_id = client.put("/v1/fences/one", json={"name": "a", "radius_m": 100, **GANGNAM}).json["id"]
    told = notices.Notice(
        webhook_id=int(webhook_id.removeprefix("whk_")),
        key=key,
        device_id=1,
        fence_id=int(fence_id.removeprefix("fnc_")),
        body=b'{"type":"fence.entered"}',
    )
    now_ms = house.clock.now_ms()
    in_transaction(house.engine, lambda conn: notices.add(conn, [told], app_id=1, now_ms=now_ms))


def test_an_endpoint_says_what_it_wants_to_be_told(client: FlaskClient) -> None:
    events = ["visit.closed", "fence.entered", "fence.entered"]
    made = _endpoint(client, events=events)
    assert made["events"] == ["fence.entered", "visit.closed"]
    assert made["secret"].startswith("whsec_")
    assert _endpoint(client)["events"] == []
    listed = client.get("/v1/webhooks").json["items"]
    assert [item["events"] for item in listed] == [["fence.entered", "visit.closed"], []]
    assert all("secret" not in item for item in listed)

    wrong = client.post("/v1/webhooks", json={"name": "n", "url": "http://a/", "events": ["fence.x"]})
    assert (wrong.status_code, wrong.json["errors"][0]["pointer"]) == (422, "/events/0")
    assert "fence.dwelled" in wrong.json["errors"][0]["message"]


def test_an_endpoint_is_changed_in_parts(either_client: FlaskClient) -> None:
    client = either_client
    made = _endpoint(client, events=["fence.exited"])
    address = f"/v1/webhooks/{made['id']}"
    changed = client.patch(address, json={"events": []})
    assert (changed.status_code, changed.json["events"], changed.json["url"]) == (200, [], made["url"])
    changed = client.patch(address, json={"url": "http://127.0.0.1/new", "name": "n"}).json
    assert (changed["url"], changed["name"], changed["events"]) == ("http://127.0.0.1/new", "n", [])
    refused = client.patch(address, json={"url": "ftp://a"})
    assert (refused.status_code, refused.json["errors"][0]["code"]) == (422, "bad_url")
    assert client.patch("/v1/webhooks/whk_99", json={}).status_code == 404
    assert client.get("/v1/webhooks").json["items"][0]["url"] == "http://127.0.0.1/new"


def test_attempts_are_listed_newest_first_in_pages(
    client: FlaskClient, house: House, receiver: Receiver
) -> None:
    made = _endpoint(client, receiver.url, events=["visit.amended"])
    address = f"/v1/webhooks/{made['id']}"
    assert client.get(f"{address}/attempts").json == {"items": [], "next_cursor": None}
    for n, code in enumerate((200, 410, 503)):
        receiver.answer = status(code)
        _tell(client, house, made["id"], f"evt_{n}")
        worker.run(house, stop=threading.Event(), once=True)
        # of one device and fence the next waits for one that fails; a page needs three
    page = client.get(f"{address}/attempts", query_string={"limit": 2}).json
    shown = [(a["of"], a["ok"], a["permanent"], a["status"]) for a in page["items"]]
    assert shown == [("evt_2", False, False, 503), ("evt_1", False, True, 410)]
    assert page["items"][0]["detail"] == "The endpoint answered HTTP 503."
    rest = client.get(f"{address}/attempts", query_string={"cursor": page["next_cursor"]}).json
    assert [(a["of"], a["ok"]) for a in rest["items"]] == [("evt_0", True)]
    assert rest["next_cursor"] is None
    assert client.get("/v1/webhooks/whk_99/attempts").status_code == 404
    bad = client.get(f"{address}/attempts", query_string={"cursor": "after_x"})
    assert (bad.status_code, bad.json["errors"][0]["code"]) == (422, "bad_cursor")


def test_an_endpoint_is_told_again_under_the_same_ids(
    client: FlaskClient, house: House, receiver: Receiver
) -> None:
    made = _endpoint(client, receiver.url, events=["visit.amended"])
    _tell(client, house, made["id"], "evt_1")
    assert worker.run(house, stop=threading.Event(), once=True) == 1
    address = f"/v1/webhooks/{made['id']}:replay"
    answer = client.post(address, query_string=PERIOD)
    assert (answer.status_code, answer.json) == (200, {"queued": 1, "next_from": None})
    assert worker.run(house, stop=threading.Event(), once=True) == 1
    assert [headers["webhook-id"] for headers, _, _ in receiver.got] == ["evt_1", "evt_1"]
    assert receiver.got[0][1] == receiver.got[1][1]

    empty = client.post(address, query_string={"from": PERIOD["from"], "to": PERIOD["from"]})
    assert (empty.status_code, empty.json["errors"][0]["pointer"]) == (422, "/to")
    assert client.post(address).status_code == 422
    assert client.post("/v1/webhooks/whk_99:replay", query_string=PERIOD).status_code == 404
