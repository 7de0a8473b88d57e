"""`GET /v1/inbox`: unexpired messages of one device, the same as in a ping's answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from api.wiring import House
from nearcast.services.manage_workspace import Scope
from nearcast.services.read_inbox import message_json
from nearcast.store.engine import in_transaction, reading
from nearcast.store.tables import delivery
from tests.api.doors import AD_ID, key, second_app
from tests.api.replayed import replayed
from tests.world import GANGNAM, MIN, START_MS, World


@pytest.fixture
def told(sqlite_url: str) -> Iterator[tuple[World, FlaskClient, House]]:
    """Two phones were told at START; neither answer reached its phone."""
    with replayed(sqlite_url) as (world, client, house):
        fence_id = world.fence("강남점", GANGNAM)
        message = {
            "channel": "inbox",
            "title": "안녕",
            "body": "어서",
            "link": "https://shop.example/?a=1",
        }
        world.campaign(targeting={"fence_ids": [fence_id]}, message=message)
        world.post([{"who": "phone", "ad_id": AD_ID, "at": GANGNAM, "min": 0}])
        world.post([{"ad_id": AD_ID.replace("d", "e"), "at": GANGNAM, "min": 0}])
        in_transaction(
            house.engine,
            lambda conn: conn.execute(
                sa.update(delivery).values(fetched_ms=None, handed_ms=None, state="queued")
            ),
        )
        yield world, client, house


def _rows(house: House) -> list[dict[str, Any]]:
    query = sa.select(delivery).order_by(delivery.c.id)
    return reading(house.engine, lambda conn: [dict(r) for r in conn.execute(query).mappings()])


def _messages(client: FlaskClient, query: str) -> list[dict[str, Any]]:
    answer = client.get(f"/v1/inbox?{query}")
    assert answer.status_code == 200, answer.text
    return answer.json["messages"]


def test_a_device_reads_its_own_messages_and_is_a_receiver_from_then_on(
    told: tuple[World, FlaskClient, House],
) -> None:
    world, client, house = told
    world.clock.saw(START_MS + 5 * MIN)
    [message] = _messages(client, "device_id=phone")
    [own, other] = _rows(house)
    assert message == message_json(own, link_secret=house.link_secret, public_url=house.public_url)
    assert message["link"].startswith("https://near.example/r/")
    assert (own["fetched_ms"], own["handed_ms"], own["state"]) == (
        *(START_MS + 5 * MIN, START_MS + 5 * MIN),
        "delivered",
    )
    assert other["fetched_ms"] is None
    world.clock.saw(START_MS + 9 * MIN)
    assert _messages(client, "device_id=phone") == [message]
    assert _rows(house)[0]["fetched_ms"] == START_MS + 5 * MIN  # the first time counts


def test_asking_for_the_head_reads_nothing(told: tuple[World, FlaskClient, House]) -> None:
    _, client, house = told
    assert client.head("/v1/inbox?device_id=phone").status_code == 200
    assert [row["fetched_ms"] for row in _rows(house)] == [None, None]


@pytest.mark.parametrize("query", [f"ad_id={AD_ID}", f"ad_id={AD_ID.upper()}", "device_id=%20phone%20"])
def test_a_device_is_found_by_its_ad_id_in_any_case(
    told: tuple[World, FlaskClient, House], query: str
) -> None:
    assert [m["delivery_id"] for m in _messages(told[1], query)] == ["dlv_1"]


def test_a_device_that_has_only_an_ad_id(told: tuple[World, FlaskClient, House]) -> None:
    ad_id = AD_ID.replace("d", "e")
    assert [m["delivery_id"] for m in _messages(told[1], f"ad_id={ad_id}")] == ["dlv_2"]
    assert [m["delivery_id"] for m in _messages(told[1], f"device_id=adid:{ad_id}")] == ["dlv_2"]


def test_an_expired_message_is_never_shown(told: tuple[World, FlaskClient, House]) -> None:
    world, client, house = told
    world.clock.saw(START_MS + 30 * MIN - 1)
    assert len(_messages(client, "device_id=phone")) == 1
    world.clock.saw(START_MS + 30 * MIN)
    assert _messages(client, "device_id=phone") == []
    assert _messages(client, f"ad_id={AD_ID.replace('d', 'e')}") == []
    assert _rows(house)[1]["fetched_ms"] is None


def test_an_unknown_device_has_no_messages(told: tuple[World, FlaskClient, House]) -> None:
    assert _messages(told[1], "device_id=nobody") == []


@pytest.mark.parametrize(
    "query", ["", "device_id=", "device_id=%20", "ad_id=00000000-0000-0000-0000-000000000000"]
)
def test_an_inbox_needs_an_owner(told: tuple[World, FlaskClient, House], query: str) -> None:
    answer = told[1].get(f"/v1/inbox?{query}")
    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == "/device_id"


def test_another_app_has_another_inbox(told: tuple[World, FlaskClient, House]) -> None:
    _, client, house = told
    other = second_app(house)
    own = key(house, Scope.INGEST, app_id=other)
    assert client.get("/v1/inbox?device_id=phone", headers=own).json == {"messages": []}
    assert client.get("/v1/inbox?device_id=phone").json["code"] == "invalid"  # which app?
    named = client.get("/v1/inbox?device_id=phone&app=kr.example.second")
    assert named.json == {"messages": []}


def test_the_inbox_needs_the_scope_ingest(told: tuple[World, FlaskClient, House]) -> None:
    _, client, house = told
    assert client.get("/v1/inbox?device_id=phone", headers=key(house, Scope.MANAGE)).status_code == 403
    assert client.get("/v1/inbox?device_id=phone", headers={"Authorization": ""}).status_code == 401
    assert client.get("/v1/inbox?device_id=phone", headers=key(house, Scope.INGEST)).status_code == 200
