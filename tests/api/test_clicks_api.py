"""`GET /r/<token>`: the click is counted and leads to what was stored, never anywhere else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from api.wiring import House
from campaigns.campaign.life import State
from campaigns.messages.links import token_of
from nearcast.store.engine import in_transaction, reading
from nearcast.store.tables import click, delivery
from tests.api.replayed import replayed
from tests.world import GANGNAM, MIN, START_MS, World

LINK = "https://shop.example/%EC%BB%A4%ED%94%BC?utm_source=near&utm_medium=push&back=a%26b#top"
Told = tuple[World, FlaskClient, House]


@pytest.fixture
def told(sqlite_url: str) -> Iterator[Told]:
    with replayed(sqlite_url) as (world, client, house):
        fence_id = world.fence("강남점", GANGNAM)
        message = {"channel": "inbox", "title": "안녕", "body": "어서", "link": LINK}
        world.campaign(targeting={"fence_ids": [fence_id]}, message=message)
        world.post([{"who": "phone", "at": GANGNAM, "min": 0}])
        client.environ_base.pop("HTTP_AUTHORIZATION")  # people have no key
        yield world, client, house


def _clicks(house: House) -> tuple[int, int | None]:
    def verb(conn: sa.Connection) -> tuple[int, int | None]:
        many = conn.execute(sa.select(sa.func.count()).select_from(click)).scalar_one()
        return many, conn.execute(sa.select(sa.func.max(delivery.c.clicked_ms))).scalar()

    return reading(house.engine, verb)


def _path(house: House, serial: int = 1) -> str:
    return f"/r/{token_of(serial, house.link_secret)}"


def test_a_click_is_counted_and_leads_on_with_everything_in_the_link(told: Told) -> None:
    world, client, house = told
    world.clock.saw(START_MS + 7 * MIN)
    answer = client.get(_path(house))
    assert (answer.status_code, answer.headers["Location"]) == (302, LINK)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert _clicks(house) == (1, START_MS + 7 * MIN)
    world.clock.saw(START_MS + 9 * MIN)
    client.get(_path(house))
    assert _clicks(house) == (2, START_MS + 7 * MIN)


def test_the_address_cannot_choose_the_target(told: Told) -> None:
    _, client, house = told
    for more in ("?url=https://evil.example", "?next=//evil.example", "?https://evil.example"):
        assert client.get(_path(house) + more).headers["Location"] == LINK
    hosted = client.get(_path(house), headers={"Host": "evil.example"})
    assert hosted.headers["Location"] == LINK


@pytest.mark.parametrize(
    "token",
    ["x", "a" * 34, "%2e%2e", "https:%2f%2fevil.example", "%00", "한글", "=" * 34],
)
def test_a_token_that_is_not_ours_leads_nowhere(told: Told, token: str) -> None:
    _, client, house = told
    answer = client.get(f"/r/{token}")
    assert answer.status_code in (400, 404)
    assert answer.mimetype == "application/problem+json"
    assert "Location" not in answer.headers
    assert _clicks(house) == (0, None)


def test_a_good_token_of_no_delivery_leads_nowhere(told: Told) -> None:
    _, client, house = told
    answer = client.get(_path(house, serial=99))
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


def test_a_message_without_a_link_has_nothing_to_follow(told: Told) -> None:
    _, client, house = told
    in_transaction(house.engine, lambda conn: conn.execute(sa.update(delivery).values(link=None)))
    assert client.get(_path(house)).status_code == 404
    assert _clicks(house) == (0, None)


def test_what_only_looks_ahead_is_no_click(told: Told) -> None:
    _, client, house = told
    assert client.head(_path(house)).status_code == 302
    for header in (
        {"Purpose": "prefetch"},
        {"Sec-Purpose": "prefetch;prerender"},
        {"X-Moz": "prefetch"},
        {"X-Purpose": "preview"},
    ):
        answer = client.get(_path(house), headers=header)
        assert (answer.status_code, answer.headers["Location"]) == (302, LINK)
    assert _clicks(house) == (0, None)


def test_a_line_break_in_a_stored_link_splits_no_header(told: Told) -> None:
    _, client, house = told
    evil = "https://shop.example/\r\nSet-Cookie: a=b"
    in_transaction(house.engine, lambda conn: conn.execute(sa.update(delivery).values(link=evil)))
    answer = client.get(_path(house))
    assert answer.status_code == 302
    assert "Set-Cookie" not in answer.headers
    assert "\n" not in answer.headers["Location"]


def test_a_korean_link_is_written_as_an_address_may_be(told: Told) -> None:
    _, client, house = told
    korean = "https://shop.example/커피?매장=강남점"
    in_transaction(house.engine, lambda conn: conn.execute(sa.update(delivery).values(link=korean)))
    location = client.get(_path(house)).headers["Location"]
    assert location.isascii()
    assert location.startswith("https://shop.example/%EC%BB%A4%ED%94%BC?")


def test_a_tests_click_is_kept_and_counted_nowhere(sqlite_url: str) -> None:
    with replayed(sqlite_url) as (world, client, house):
        fence_id = world.fence("강남점", GANGNAM)
        message = {"channel": "inbox", "title": "안녕", "body": "어서", "link": LINK}
        campaign_id = world.campaign(
            targeting={"fence_ids": [fence_id]}, message=message, state=State.TEST
        )
        world.test_device("ab-1")
        world.post([{"who": "phone", "ad_id": "ab-1", "at": GANGNAM, "min": 0}])
        assert client.get(_path(house)).headers["Location"] == LINK
        assert _clicks(house)[0] == 1
        totals = client.get(f"/v1/campaigns/cmp_{campaign_id}/report").json["totals"]
        assert (totals["receivers"], totals["clickers"], totals["clicked"]) == (0, 0, 0)
