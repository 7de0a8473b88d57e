"""`/v1/campaigns` from outside: drafts, moves, versions, test devices and webhooks."""

from __future__ import annotations

import copy
from datetime import datetime
from typing import Any

import pytest
from flask.testing import FlaskClient

from api.wiring import House
from campaigns.campaign.campaign import to_ms
from nearcast.services.manage_workspace import Scope
from nearcast.services.run_campaigns import tick
from nearcast.store import campaigns, fences
from nearcast.store.engine import in_transaction, reading
from tests.api.doors import (
    AD_ID,
    CAMPAIGN,
    GANGNAM,
    SQUARE,
    key,
    pointers,
    second_app,
    second_workspace,
)

ZEROS = "00000000-0000-0000-0000-000000000000"


def _made(client: FlaskClient, **more: Any) -> dict:
    answer = client.post("/v1/campaigns", json={**copy.deepcopy(CAMPAIGN), **more})
    assert answer.status_code == 201, answer.json
    return answer.json


def _go(client: FlaskClient, campaign: dict, *moves: str) -> Any:
    answer = None
    for move in moves:
        answer = client.post(f"/v1/campaigns/{campaign['id']}:{move}")
    return answer


def test_a_draft_may_lack_everything_but_its_name(either_client: FlaskClient) -> None:
    made = either_client.post("/v1/campaigns", json={"name": "Later"})

    assert (made.status_code, made.json["state"]) == (201, "draft")
    assert made.json["allowed"] == ["test", "standby"]
    assert made.json["time_zone"] == "Asia/Seoul"
    assert made.json["trigger"] == {"kind": "enter", "after_s": None, "presumed": False}
    assert made.json["infer_crossings"] is False
    assert made.json["audience"] == {"kind": "everyone", "ad_ids": []}
    assert made.json["frequency"] == "once_in_period"
    assert either_client.get(f"/v1/campaigns/{made.json['id']}").json == made.json


@pytest.mark.parametrize("move", ["test", "standby"])
def test_what_is_missing_is_named_before_a_start(client: FlaskClient, move: str) -> None:
    made = client.post("/v1/campaigns", json={"name": "Later"}).json
    refused = _go(client, made, move)

    assert refused.status_code == 422
    assert pointers(refused) == {
        "/targeting": "required",
        "/period/start": "required",
        "/period/end": "required",
        "/message/channel": "required",
    }
    assert client.get(f"/v1/campaigns/{made['id']}").json["state"] == "draft"


@pytest.mark.parametrize(
    ("message", "missing"),
    [
        ({"channel": "inbox"}, {"/message/title", "/message/body"}),
        ({"channel": "inbox", "title": "Hi"}, {"/message/body"}),
        ({"channel": "webhook"}, {"/message/webhook_id"}),
        ({"channel": "none"}, set()),
    ],
)
def test_each_channel_asks_for_its_own_parts(
    client: FlaskClient, message: dict, missing: set[str]
) -> None:
    answer = _go(client, _made(client, message=message), "test")

    assert answer.status_code == (422 if missing else 200)
    assert set(pointers(answer) if missing else ()) == missing


def test_a_shape_given_in_place_is_a_fence_of_the_campaign_alone(client: FlaskClient) -> None:
    made = _made(client)
    place = made["targeting"]["shape"]

    assert made["targeting"]["fence_ids"] == []
    assert place["circle"] == GANGNAM
    assert client.get("/v1/fences").json["total"] == 0
    assert client.get(f"/v1/fences/{place['fence_id']}").status_code == 200

    targeting = {"shape": {"geometry": SQUARE}}
    moved = client.patch(f"/v1/campaigns/{made['id']}", json={"targeting": targeting}).json
    assert moved["targeting"]["shape"]["fence_id"] == place["fence_id"]
    assert moved["targeting"]["shape"]["circle"] is None
    assert client.get(f"/v1/fences/{place['fence_id']}").json["version"] == 2

    other = client.post("/v1/fences", json={"name": "a", **GANGNAM}).json["id"]
    away = client.patch(f"/v1/campaigns/{made['id']}", json={"targeting": {"fence_ids": [other]}})
    assert away.json["targeting"] == {"fence_ids": [other], "groups": [], "tags": [], "shape": None}
    assert client.get(f"/v1/fences/{place['fence_id']}").status_code == 404


def test_a_bad_shape_in_place_is_refused_by_its_pointer(client: FlaskClient) -> None:
    body = {**CAMPAIGN, "targeting": {"shape": {**GANGNAM, "radius_m": 49}}}
    answer = client.post("/v1/campaigns", json=body)

    assert pointers(answer) == {"/targeting/shape/radius_m": "radius_too_small"}
    assert client.get("/v1/campaigns").json["total"] == 0


def test_a_draft_holds_nothing_wrong(client: FlaskClient) -> None:
    for part, faults in [
        ({"targeting": {"fence_ids": ["fnc_99"]}}, {"/targeting/fence_ids/0": "not_found"}),
        ({"targeting": {"fence_ids": ["x"]}}, {"/targeting/fence_ids/0": "not_found"}),
        ({"targeting": {"groups": ["nowhere"]}}, {"/targeting/groups/0": "not_found"}),
        (
            {"period": {"start": "2026-02-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"}},
            {"/period/end": "empty_period"},
        ),
        ({"period": {"start": "2026-02-01T00:00:00"}}, {"/period/start": "value_error"}),
        ({"time_zone": "Mars/Base"}, {"/time_zone": "unknown_time_zone"}),
        ({"time_zone": "../../etc/passwd"}, {"/time_zone": "unknown_time_zone"}),
        ({"hours": {"someday": ["09:00-18:00"]}}, {"/hours": "value_error"}),
        ({"hours_zone": "moon"}, {"/hours_zone": "enum"}),
        ({"trigger": {"kind": "exit"}}, {"/trigger/kind": "literal_error"}),
        ({"trigger": {"kind": "dwell"}}, {"/trigger/after_s": "required"}),
        ({"trigger": {"kind": "enter", "presumed": True}}, {"/trigger/presumed": "no_dwell"}),
        (
            {"trigger": {"kind": "dwell", "after_s": 1, "presumed": 1}},
            {"/trigger/presumed": "bool_type"},
        ),
        ({"infer_crossings": "yes"}, {"/infer_crossings": "bool_type"}),
        ({"trigger": {"kind": "dwell", "after_s": 0}}, {"/trigger/after_s": "greater_than_equal"}),
        ({"audience": {"kind": "ad_ids", "ad_ids": []}}, {"/audience/ad_ids": "count"}),
        (
            {"audience": {"kind": "ad_ids", "ad_ids": [AD_ID, ZEROS]}},
            {"/audience/ad_ids/1": "zero_ad_id"},
        ),
        ({"audience": {"kind": "everyone", "ad_ids": [AD_ID]}}, {"/audience/kind": "differs"}),
        ({"frequency": "hourly"}, {"/frequency": "enum"}),
        ({"least_p": 1.01}, {"/least_p": "less_than_equal"}),
        ({"priority": 10**20}, {"/priority": "less_than_equal"}),
        ({"message": {"channel": "push"}}, {"/message/channel": "enum"}),
        ({"message": {"title": "x" * 27}}, {"/message/title": "too_long"}),
        ({"message": {"title": "🎉" * 13 + "x"}}, {"/message/title": "too_long"}),
        ({"message": {"link": "javascript:alert(1)"}}, {"/message/link": "bad_url"}),
        ({"message": {"link": "http://[::1"}}, {"/message/link": "bad_url"}),
        ({"message": {"image": "https://a@b.example/x"}}, {"/message/image": "bad_url"}),
        ({"message": {"webhook_id": "whk_9"}}, {"/message/webhook_id": "not_found"}),
    ]:
        answer = client.post("/v1/campaigns", json={"name": "Wrong", **part})

        assert answer.status_code == 422
        assert pointers(answer) == faults


def test_a_title_of_26_counts_an_emoji_as_two(client: FlaskClient) -> None:
    family, flag = "👨‍👩‍👧", "🇰🇷"
    for title in ("가" * 26, "🎉" * 13, family * 13, flag * 13, "👍🏽" * 13):
        message = {"channel": "inbox", "title": title, "body": "b"}
        assert _made(client, message=message)["message"]["title"] == title


def test_the_life_of_a_campaign(either_client: FlaskClient) -> None:
    made = _made(either_client)
    states = [
        _go(either_client, made, move).json["state"]
        for move in (
            "test",
            "draft",
            "test",
            "standby",
            "draft",
            "test",
            "run",
            "pause",
            "run",
            "end",
            "archive",
        )
    ]

    assert states == [
        "test",
        "draft",
        "test",
        "standby",
        "draft",
        "test",
        "running",
        "paused",
        "running",
        "ended",
        "archived",
    ]


def test_an_illegal_move_is_refused_with_those_allowed(client: FlaskClient) -> None:
    made = _made(client)
    for move in ("run", "pause", "end", "archive", "draft"):
        refused = _go(client, made, move)
        assert (refused.status_code, refused.json["code"]) == (409, "illegal_move")
        assert refused.json["allowed"] == ["test", "standby"]
    unknown = client.post(f"/v1/campaigns/{made['id']}:fly")
    assert unknown.status_code in (404, 405)


def test_a_start_without_a_test_is_allowed_and_warned_about(client: FlaskClient) -> None:
    untested = _go(client, _made(client), "standby").json
    tested = _go(client, _made(client), "test", "run").json

    assert [warning["code"] for warning in untested["warnings"]] == ["not_tested"]
    assert tested["warnings"] == []


def test_a_period_that_is_over_is_not_started(client: FlaskClient) -> None:
    period = {"start": "2020-01-01T00:00:00Z", "end": "2020-02-01T00:00:00Z"}
    made = _made(client, period=period)

    assert _go(client, made, "test").status_code == 200
    refused = _go(client, made, "run")
    assert pointers(refused) == {"/period/end": "in_past"}


def test_standby_starts_by_itself_and_running_ends_by_itself(client: FlaskClient, house: House) -> None:
    made = _made(client)
    _go(client, made, "standby")
    start_ms, end_ms = (to_ms(datetime.fromisoformat(made["period"][name])) for name in ("start", "end"))

    def state_at(now_ms: int) -> str:
        in_transaction(house.engine, lambda conn: tick(conn, now_ms))
        return client.get(f"/v1/campaigns/{made['id']}").json["state"]

    assert state_at(start_ms - 1) == "standby"
    assert state_at(start_ms) == "running"
    assert state_at(end_ms - 1) == "running"
    assert state_at(end_ms) == "ended"
    assert in_transaction(house.engine, lambda conn: tick(conn, end_ms)) == []


def test_an_edit_is_a_version_and_repeating_it_none(client: FlaskClient) -> None:
    made = _made(client)
    _go(client, made, "test", "run")
    address = f"/v1/campaigns/{made['id']}"
    change = {"message": {**CAMPAIGN["message"], "title": "New"}, "priority": 3}
    first, again = client.patch(address, json=change).json, client.patch(address, json=change).json

    assert (first["version"], again["version"], again["state"]) == (2, 2, "running")
    assert (first["message"]["title"], first["priority"]) == ("New", 3)
    assert first["targeting"] == made["targeting"]
    assert client.patch(address, json={"priority": None}).json["priority"] == 0
    assert client.patch(address, json={"name": "Renamed"}).json["name"] == "Renamed"


def test_a_running_campaign_stays_complete_and_an_ended_one_as_it_was(client: FlaskClient) -> None:
    made = _made(client)
    _go(client, made, "test", "run")
    address = f"/v1/campaigns/{made['id']}"

    assert pointers(client.patch(address, json={"period": None})) == {
        "/period/start": "required",
        "/period/end": "required",
    }
    assert client.get(address).json["version"] == 1
    _go(client, made, "end")
    closed = client.patch(address, json={"priority": 1})
    assert (closed.status_code, closed.json["code"]) == (409, "not_allowed_now")


def test_only_a_draft_is_deleted(client: FlaskClient) -> None:
    draft, tested = _made(client), _made(client)
    _go(client, tested, "test")

    assert client.delete(f"/v1/campaigns/{draft['id']}").status_code == 204
    assert client.get(f"/v1/campaigns/{draft['id']}").status_code == 404
    assert client.get(f"/v1/fences/{draft['targeting']['shape']['fence_id']}").status_code == 404
    kept = client.delete(f"/v1/campaigns/{tested['id']}")
    assert (kept.status_code, kept.json["code"]) == (409, "not_allowed_now")


def test_a_copy_is_a_draft_with_a_shape_of_its_own(client: FlaskClient) -> None:
    made = _made(client, audience={"kind": "ad_ids", "ad_ids": [AD_ID.upper()]})
    _go(client, made, "test", "run")
    twin = _go(client, made, "copy").json

    assert (twin["state"], twin["name"]) == ("draft", "Opening week (copy)")
    assert twin["id"] != made["id"]
    assert twin["audience"] == {"kind": "ad_ids", "ad_ids": [AD_ID]}
    assert twin["targeting"]["shape"]["circle"] == GANGNAM
    assert twin["targeting"]["shape"]["fence_id"] != made["targeting"]["shape"]["fence_id"]


def test_an_archived_campaigns_own_fence_is_matched_no_more(client: FlaskClient, house: House) -> None:
    made = _made(client)
    _go(client, made, "test", "run", "end")

    def live() -> list[str]:
        now_ms = house.clock.now_ms() + 1
        versions = reading(
            house.engine, lambda conn: fences.live_versions(conn, house.workspace_id, now_ms)
        )
        return [version.fence.name for version in versions]

    assert live() == ["Opening week"]
    _go(client, made, "archive")
    assert live() == []


def test_lists_are_newest_first_and_filtered_by_state(client: FlaskClient) -> None:
    made = [_made(client)["id"] for _ in range(3)]
    _go(client, {"id": made[1]}, "test")
    first = client.get("/v1/campaigns?limit=2").json
    rest = client.get(f"/v1/campaigns?limit=2&cursor={first['next_cursor']}").json

    assert [c["id"] for c in first["items"] + rest["items"]] == made[::-1]
    assert (first["total"], rest["next_cursor"]) == (3, None)
    assert [c["id"] for c in client.get("/v1/campaigns?state=test").json["items"]] == [made[1]]
    assert pointers(client.get("/v1/campaigns?state=flying")) == {"/state": "enum"}


def test_the_snapshot_listens_to_those_in_test_and_running(client: FlaskClient, house: House) -> None:
    made = [_made(client, priority=n) for n in range(3)]
    _go(client, made[0], "test")
    _go(client, made[1], "test", "run")
    listening = reading(house.engine, lambda conn: campaigns.listening(conn, house.workspace_id))

    assert [(c.id, c.state.value) for c in listening] == [(1, "test"), (2, "running")]
    assert listening[0].targeting.fence_ids == (1,)
    assert listening[0].message.title == "Welcome"


def test_a_campaign_opts_in_to_what_no_fix_proves(client: FlaskClient, house: House) -> None:
    trigger = {"kind": "dwell", "after_s": 600, "presumed": True}
    made = _made(client, trigger=trigger, infer_crossings=True)
    assert (made["trigger"], made["infer_crossings"]) == (trigger, True)
    client.post(f"/v1/campaigns/{made['id']}:test")
    now_ms = house.clock.now_ms()

    def heard() -> tuple[frozenset[int], bool]:
        snapshot = house.snapshots.current(house.workspace_id, now_ms=now_ms)
        [campaign] = next(iter(snapshot.listeners.values()))
        return snapshot.presuming_fences, campaign.infer_crossings

    assert heard() == ({1}, True)
    back = {"trigger": None, "infer_crossings": None}
    changed = client.patch(f"/v1/campaigns/{made['id']}", json=back).json
    assert changed["trigger"] == {"kind": "enter", "after_s": None, "presumed": False}
    assert heard() == (frozenset(), False)


def test_a_campaign_belongs_to_an_app_and_to_nobody_else(client: FlaskClient, house: House) -> None:
    app_id = second_app(house)
    nameless = client.post("/v1/campaigns", json={"name": "Which app"})
    assert pointers(nameless) == {"/app": "required"}

    made = _made(client, app="kr.example.second")
    assert made["app"] == f"app_{app_id}"
    assert _made(client, app=f"app_{app_id}")["app"] == f"app_{app_id}"
    assert client.post("/v1/campaigns", json={"name": "x", "app": "nobody"}).status_code == 404

    foreign_workspace, _ = second_workspace(house)
    for stranger in (
        key(house, workspace_id=foreign_workspace),
        key(house, app_id=1),  # the same workspace's other app
    ):
        address = f"/v1/campaigns/{made['id']}"
        assert client.get(address, headers=stranger).status_code == 404
        assert client.patch(address, json={"name": "mine"}, headers=stranger).status_code == 404
        assert client.delete(address, headers=stranger).status_code == 404
        for move in ("test", "copy"):
            assert client.post(f"{address}:{move}", headers=stranger).status_code == 404
        assert client.get("/v1/campaigns", headers=stranger).json["total"] == 0
    own = key(house, app_id=app_id)
    assert client.get("/v1/campaigns", headers=own).json["total"] == 2
    elsewhere = client.post("/v1/campaigns", json={"name": "x", "app": "default"}, headers=own)
    assert elsewhere.status_code == 404


def test_a_foreign_fence_cannot_be_targeted(client: FlaskClient, house: House) -> None:
    workspace_id, _ = second_workspace(house)
    stranger = key(house, workspace_id=workspace_id)
    foreign = client.post("/v1/fences", json={"name": "f", **GANGNAM}, headers=stranger).json["id"]
    answer = client.post("/v1/campaigns", json={"name": "x", "targeting": {"fence_ids": [foreign]}})

    assert pointers(answer) == {"/targeting/fence_ids/0": "not_found"}


# --- test devices -----------------------------------------------------------------------------------


def test_a_test_id_is_registered_for_30_days_and_renewed(either_client: FlaskClient) -> None:
    client = either_client
    made = client.post("/v1/test-devices", json={"ad_id": AD_ID.upper(), "name": "QA phone"})
    again = client.post("/v1/test-devices", json={"ad_id": AD_ID, "name": "Renamed"})

    assert (made.status_code, made.json["ad_id"], made.json["expired"]) == (201, AD_ID, False)
    assert again.json["id"] == made.json["id"]
    assert again.json["name"] == "Renamed"
    assert client.get("/v1/test-devices").json["items"] == [again.json]
    assert client.delete(f"/v1/test-devices/{made.json['id']}").status_code == 204
    assert client.delete(f"/v1/test-devices/{made.json['id']}").status_code == 404


def test_an_ad_id_of_zeros_is_no_test_id(client: FlaskClient) -> None:
    for ad_id in [ZEROS, "0", "  ", "00000000"]:
        answer = client.post("/v1/test-devices", json={"ad_id": ad_id, "name": "x"})

        assert pointers(answer) == {"/ad_id": "zero_ad_id"}


def test_test_ids_open_to_the_test_scope_and_to_their_workspace(
    client: FlaskClient, house: House
) -> None:
    tester = key(house, Scope.TEST)
    made = client.post("/v1/test-devices", json={"ad_id": AD_ID, "name": "QA"}, headers=tester)
    stranger = key(house, workspace_id=second_workspace(house)[0])

    assert made.status_code == 201
    assert client.get("/v1/test-devices", headers=stranger).json["total"] == 0
    address = f"/v1/test-devices/{made.json['id']}"
    assert client.delete(address, headers=stranger).status_code == 404
    assert client.delete(address, headers=key(house, Scope.INGEST)).status_code == 403


# --- webhooks ---------------------------------------------------------------------------------------


def test_a_webhook_shows_its_secret_once(either_client: FlaskClient) -> None:
    client = either_client
    made = client.post("/v1/webhooks", json={"name": "CRM", "url": "https://shop.example/hook"})

    assert made.status_code == 201
    assert made.json["secret"].startswith("whsec_")
    listed = client.get("/v1/webhooks").json["items"]
    assert listed == [{k: v for k, v in made.json.items() if k != "secret"}]
    assert client.delete(f"/v1/webhooks/{made.json['id']}").status_code == 204
    assert client.get("/v1/webhooks").json["total"] == 0


def test_an_address_that_is_none_is_refused(client: FlaskClient) -> None:
    for url in [
        "ftp://shop.example/",
        "https://",
        "https://user:pass@shop.example/",
        "https://shop.example/a b",
        "https://shop.example/\n",
        "//shop.example",
        "https://shop.example:99999/",
        "https://[::1",
    ]:
        answer = client.post("/v1/webhooks", json={"name": "x", "url": url})

        assert pointers(answer) == {"/url": "bad_url"}


def test_a_webhook_that_a_living_campaign_sends_to_is_kept(client: FlaskClient) -> None:
    hook = client.post("/v1/webhooks", json={"name": "CRM", "url": "https://a.example/"}).json["id"]
    made = _made(client, message={"channel": "webhook", "webhook_id": hook})
    assert made["message"]["webhook_id"] == hook
    _go(client, made, "test")

    kept = client.delete(f"/v1/webhooks/{hook}")
    assert (kept.status_code, kept.json["code"]) == (409, "not_allowed_now")


def test_another_workspaces_webhook_is_neither_seen_nor_used(client: FlaskClient, house: House) -> None:
    stranger = key(house, workspace_id=second_workspace(house)[0])
    body = {"name": "theirs", "url": "https://a.example/"}
    hook = client.post("/v1/webhooks", json=body, headers=stranger).json["id"]

    assert client.get("/v1/webhooks").json["total"] == 0
    assert client.delete(f"/v1/webhooks/{hook}").status_code == 404
    message = {"channel": "webhook", "webhook_id": hook}
    answer = client.post("/v1/campaigns", json={"name": "x", "message": message})
    assert pointers(answer) == {"/message/webhook_id": "not_found"}
