"""Reports, files, live counts and decisions over HTTP."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import openpyxl
import pytest
from flask.testing import FlaskClient

from api.wiring import House
from campaigns.messages.links import token_of
from nearcast.services.manage_workspace import Scope
from nearcast.store import workspaces
from nearcast.store.engine import in_transaction
from nearcast.store.tables import workspace
from tests.api.doors import key, second_app, second_workspace
from tests.api.replayed import replayed
from tests.world import GANGNAM, OUTSIDE, YEOKSAM, World

Told = tuple[World, FlaskClient, str]
HOUR = 60


@pytest.fixture
def told(sqlite_url: str) -> Iterator[Told]:
    """Two of three phones are told, one clicks and comes back; a test id is told as well."""
    with replayed(sqlite_url) as (world, client, house):
        fences = [
            world.fence('=cmd|"x"!A1', GANGNAM, external_id="=1+1", brand="소담결"),
            world.fence("역삼점", YEOKSAM),
        ]
        message = {"channel": "inbox", "title": "안녕", "body": "어서", "link": "https://shop.example/"}
        campaign_id = world.campaign(targeting={"fence_ids": fences}, message=message)
        for who, place, minute in (
            ("a", GANGNAM, 0),
            ("b", YEOKSAM, 1),
            ("c", OUTSIDE, 2),
            ("a", OUTSIDE, 40),
            ("a", GANGNAM, 3 * HOUR),
            ("a", GANGNAM, 3 * HOUR + 6),
        ):
            if minute == 3 * HOUR:
                client.get(f"/r/{token_of(1, house.link_secret)}")
            world.post([{"who": who, "at": place, "min": minute}])
        yield world, client, f"/v1/campaigns/cmp_{campaign_id}"


def test_the_report_as_json(told: Told) -> None:
    _, client, campaign = told
    answer = client.get(f"{campaign}/report")
    assert answer.status_code == 200, answer.text
    report = answer.json
    assert report["totals"] == {
        "targets": 2,
        "triggers": 3,
        "receivers": 2,
        "messages": 2,
        "clickers": 1,
        "clicked": 1,
        "response_rate": 0.5,
        "response_interval": [pytest.approx(0.0945, abs=1e-3), pytest.approx(0.9055, abs=1e-3)],
        "visitors": 1,
        "visits": 1,
    }
    assert (report["from"], report["until"]) == ("2026-11-22T00:00:00.000Z", "2026-12-22T00:00:00.000Z")
    assert (report["as_of"], report["time_zone"]) == ("2026-11-23T03:06:00.000Z", "Asia/Seoul")
    assert [(d["day"], d["receivers"], d["visits"]) for d in report["per_day"]] == [
        ("2026-11-22", 0, 0),
        ("2026-11-23", 2, 1),
    ]
    assert [(f["fence_id"], f["receivers"], f["visits"]) for f in report["per_fence"]] == [
        ("fnc_1", 1, 1),
        ("fnc_2", 1, 0),
    ]
    assert report["reasons"] == [
        {"code": "sent", "count": 2, "persons": 2},
        {"code": "frequency_capped", "count": 1, "persons": 1},
    ]
    assert (report["decisions_total"], report["fences_total"]) == (3, 2)


def test_the_report_of_a_part(told: Told) -> None:
    _, client, campaign = told
    part = client.get(f"{campaign}/report?from=2026-11-23T00:01:00Z&to=2026-11-23T12:00:00%2B09:00").json
    assert (part["from"], part["until"]) == ("2026-11-23T00:01:00.000Z", "2026-11-23T03:00:00.000Z")
    assert (part["totals"]["receivers"], part["totals"]["visits"]) == (1, 0)


@pytest.mark.parametrize("query", ["from=2026-11-23", "to=yesterday", "until=2026-11-23T00:00:00Z"])
def test_what_is_no_period_is_refused(told: Told, query: str) -> None:
    answer = told[1].get(f"{told[2]}/report?{query}")
    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] in ("/from", "/to", "/until")


@pytest.mark.parametrize(
    "query",
    [
        "from=9998-01-01T00:00:00Z",
        "to=1970-01-01T00:00:00Z",
        "from=1970-01-01T00:00:00Z&to=9998-12-31T00:00:00Z",
    ],
)
def test_a_period_far_away_is_answered(told: Told, query: str) -> None:
    assert told[1].get(f"{told[2]}/report?{query}").status_code == 200


def test_the_report_as_a_workbook(told: Told) -> None:
    _, client, campaign = told
    answer = client.get(f"{campaign}/report.xlsx")
    assert "attachment" in answer.headers["Content-Disposition"]
    book = openpyxl.load_workbook(io.BytesIO(answer.data))
    assert book.sheetnames == ["summary", "days", "fences", "reasons"]
    summary = {row[0]: row[1] for row in book["summary"].iter_rows(values_only=True)}
    assert (summary["targets"], summary["response_rate"], summary["visits"]) == (2, 0.5, 1)
    assert summary["from"] == "2026-11-22T09:00:00+09:00"
    fences = list(book["fences"].iter_rows(values_only=True))
    assert fences[1][:4] == ("fnc_1", "=1+1", '=cmd|"x"!A1', "소담결")
    # a name that looks like a formula is text
    kinds = {cell.data_type for row in book["fences"].iter_rows() for cell in row if cell.value}
    assert kinds == {"s", "n"}
    assert list(book["reasons"].iter_rows(values_only=True))[1] == ("sent", 2, 2)
    days = list(book["days"].iter_rows(values_only=True))
    assert days[0][0] == "day"
    assert len(days) == 3


def test_the_report_as_a_table(told: Told) -> None:
    _, client, campaign = told
    answer = client.get(f"{campaign}/report.csv")
    assert answer.mimetype == "text/csv"
    rows = list(csv.DictReader(io.StringIO(answer.data.decode("utf-8-sig"))))
    assert [row["part"] for row in rows] == ["total", *["day"] * 2, *["fence"] * 2, *["reason"] * 2]
    assert (rows[0]["targets"], rows[0]["visits"], rows[0]["decisions"]) == ("2", "1", "3")
    assert rows[3]["name"].startswith("'=")  # no live formula
    assert rows[-1]["key"] == "frequency_capped"


def test_live_counts(told: Told) -> None:
    stats = told[1].get(f"{told[2]}/stats").json
    assert stats == {
        "state": "running",
        "as_of": "2026-11-23T03:06:00.000Z",
        "targets": 2,
        "receivers": 2,
        "clickers": 1,
        "response_rate": 0.5,
        "messages": 2,
        "clicked": 1,
        "reasons": {"sent": 2, "frequency_capped": 1},
        "deliveries": {"delivered": 2},
    }


def _decisions(told: Told, query: str = "") -> dict[str, Any]:
    answer = told[1].get(f"{told[2]}/decisions?{query}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json
    return found


def test_every_decision_says_why(told: Told) -> None:
    found = _decisions(told)
    assert found["total"] == 3
    assert [(d["device_id"], d["reason"], d["at"]) for d in found["items"]] == [
        ("a", "frequency_capped", "2026-11-23T03:00:00.000Z"),
        ("b", "sent", "2026-11-23T00:01:00.000Z"),
        ("a", "sent", "2026-11-23T00:00:00.000Z"),
    ]
    newest = found["items"][0]
    assert (newest["value"], newest["bound"]) == ("1", "1 in the period")
    assert (newest["kind"], newest["probability"], newest["test"]) == ("enter", 1.0, False)
    assert newest["fence"] == {"id": "fnc_1", "external_id": "=1+1", "name": '=cmd|"x"!A1', "version": 1}


def test_decisions_are_chosen_by_device_and_reason(told: Told) -> None:
    assert [d["reason"] for d in _decisions(told, "device_id=b")["items"]] == ["sent"]
    assert _decisions(told, "device_id=nobody") == {"items": [], "total": 0, "next_cursor": None}
    assert _decisions(told, "reason=sent")["total"] == 2
    assert told[1].get(f"{told[2]}/decisions?reason=because").status_code == 422


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_pages_of_decisions_meet_without_a_seam(told: Told, limit: int) -> None:
    whole, cursor, got = _decisions(told)["items"], "", []
    while cursor is not None:
        page = _decisions(told, f"limit={limit}" + (f"&cursor={cursor}" if cursor else ""))
        got += page["items"]
        cursor = page["next_cursor"]
        assert page["total"] == 3
    assert got == whole


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "after_1",
        "after_1_2_3",
        "after_1_2_3_leave",
        "after_-1_2_3_enter",
        "after_9e9_2_3_enter",
        f"after_{2**63}_2_3_enter",
        "after_1_2_3_enter_",
    ],
)
def test_another_lists_cursor_is_refused(told: Told, cursor: str) -> None:
    answer = told[1].get(f"{told[2]}/decisions?cursor={cursor}")
    assert (answer.status_code, answer.json["errors"][0]["code"]) == (422, "bad_cursor")


DOORS = ("report", "report.xlsx", "report.csv", "stats", "decisions")


@pytest.mark.parametrize("door", DOORS)
def test_another_workspace_sees_no_report(told: Told, door: str) -> None:
    world, client, campaign = told
    house: House = client.application.extensions["nearcast"]
    assert world.engine is house.engine
    workspace_id, _ = second_workspace(house)
    stranger = key(house, workspace_id=workspace_id)
    assert client.get(f"{campaign}/{door}", headers=stranger).status_code == 404
    other_app = key(house, app_id=second_app(house))
    assert client.get(f"{campaign}/{door}", headers=other_app).status_code == 404
    assert client.get(f"{campaign}/{door}", headers=key(house, Scope.INGEST)).status_code == 403
    assert client.get(f"/v1/campaigns/cmp_999/{door}").status_code == 404
    assert client.get(f"/v1/campaigns/x/{door}").status_code == 404


def test_a_lite_workspace_has_no_visit_performance(told: Told) -> None:
    _, client, campaign = told
    house: House = client.application.extensions["nearcast"]
    in_transaction(
        house.engine,
        lambda conn: conn.execute(workspace.update().values(plan="lite")),
    )
    assert in_transaction(house.engine, workspaces.first) == house.workspace_id
    lite = key(house)
    totals = client.get(f"{campaign}/report", headers=lite).json["totals"]
    assert (totals["receivers"], totals["visits"], totals["visitors"]) == (2, None, None)
    book = openpyxl.load_workbook(io.BytesIO(client.get(f"{campaign}/report.xlsx", headers=lite).data))
    summary = {row[0]: row[1] for row in book["summary"].iter_rows(values_only=True)}
    assert (summary["receivers"], summary["visits"]) == (2, None)
