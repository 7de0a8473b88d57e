"""`/v1/fences` from outside."""

from __future__ import annotations

import json

import pytest
from flask.testing import FlaskClient

from api.wiring import House
from nearcast.services.manage_workspace import Scope
from tests.api.doors import BOWTIE, GANGNAM, SQUARE, key, pointers, second_workspace


def _made(client: FlaskClient, **more: object) -> dict:
    answer = client.post("/v1/fences", json={"name": "강남점", **GANGNAM, **more})
    assert answer.status_code == 201, answer.json
    return answer.json


def test_a_circle_is_made_from_form_fields(either_client: FlaskClient) -> None:
    made = _made(either_client, tags=["coffee", "coffee"], brand="Kepi", metadata={"floor": "2"})

    assert made["circle"] == {"lat": 37.4979, "lng": 127.0276, "radius_m": 150}
    assert made["geometry"]["type"] == "Polygon"
    assert made["area_km2"] == pytest.approx(0.0707, abs=1e-4)
    assert (made["version"], made["tags"], made["time_zone"]) == (1, ["coffee"], "Asia/Seoul")
    assert either_client.get(f"/v1/fences/{made['id']}").json == made


def test_a_polygon_comes_as_geojson_wkt_or_text_and_says_what_was_mended(client: FlaskClient) -> None:
    geojson = client.post("/v1/fences", json={"name": "a", "geometry": SQUARE}).json
    wkt = "POLYGON((127 37.5,127 37.51,127.01 37.51,127.01 37.5,127 37.5))"
    turned = client.post("/v1/fences", json={"name": "b", "wkt": wkt}).json
    text = "37.5,127;37.5,127.01;37.51,127.01;37.51,127"
    opened = client.post("/v1/fences", json={"name": "c", "text": text}).json

    assert geojson["circle"] is None
    assert geojson["notes"] == []
    assert [note["code"] for note in turned["notes"]] == ["winding_fixed"]
    assert [note["code"] for note in opened["notes"]] == ["ring_closed"]
    assert geojson["area_km2"] == turned["area_km2"] == opened["area_km2"]


def test_notes_and_refusals_speak_korean_when_asked(client: FlaskClient) -> None:
    text = "37.5,127;37.5,127.01;37.51,127.01;37.51,127"
    korean = {"Accept-Language": "ko-KR,ko;q=0.9"}
    noted = client.post("/v1/fences", json={"name": "c", "text": text}, headers=_with(client, korean))
    refused = client.post(
        "/v1/fences",
        json={"name": "d", **GANGNAM, "radius_m": 49.99},
        headers=_with(client, korean),
    )

    assert noted.json["notes"][0]["message"] == "열린 고리를 닫았어요."
    assert "49.99" in refused.json["detail"]
    assert "반경" in refused.json["detail"]


def _with(client: FlaskClient, more: dict[str, str]) -> dict[str, str]:
    return {"Authorization": client.environ_base["HTTP_AUTHORIZATION"], **more}


@pytest.mark.parametrize(
    ("radius_m", "status", "code"),
    [
        (49.99, 422, "radius_too_small"),
        (50, 201, None),
        (50_000, 201, None),
        (50_000.01, 422, "radius_too_large"),
    ],
)
def test_the_bounds_of_a_radius_belong_to_it(
    client: FlaskClient, radius_m: float, status: int, code: str | None
) -> None:
    answer = client.post("/v1/fences", json={"name": "x", **GANGNAM, "radius_m": radius_m})

    assert answer.status_code == status
    if code:
        assert pointers(answer) == {"/radius_m": code}


def test_every_fault_of_a_body_is_named_by_its_pointer(client: FlaskClient) -> None:
    for body, faults in [
        ({}, {"/name": "required"}),
        ({"name": "x"}, {"/geometry": "required"}),
        ({"name": "x", **GANGNAM, "geometry": SQUARE}, {"/geometry": "ambiguous_shape"}),
        ({"name": "x", "lat": 37.5, "lng": 127}, {"/radius_m": "radius_missing"}),
        ({"name": "x", "lat": "37.5", "lng": 127, "radius_m": 100}, {"/lat": "float_type"}),
        ({"name": "x", "lat": True, "lng": 127, "radius_m": 100}, {"/lat": "float_type"}),
        ({"name": "   ", **GANGNAM}, {"/name": "value_error"}),
        ({"name": "x", **GANGNAM, "colour": 1}, {"/colour": "unknown_field"}),
        ({"name": "x", "geometry": {"type": "Point"}}, {"/geometry/type": "wrong_type"}),
        ({"name": "x", "wkt": "POINT(1 2)"}, {"/wkt": "wrong_type"}),
        (
            {"name": "x", **GANGNAM, "metadata": {str(n): "" for n in range(17)}},
            {"/metadata": "too_long"},
        ),
        (
            {"name": "x", **GANGNAM, "opening_hours": {"mon": ["9-18"]}},
            {"/opening_hours": "value_error"},
        ),
        ({"name": "x", **GANGNAM, "valid_from": "2026-01-01T00:00:00"}, {"/valid_from": "value_error"}),
        ({"name": "x", **GANGNAM, "valid_from": 1_700_000_000}, {"/valid_from": "value_error"}),
        (
            {"name": "x", **GANGNAM, "valid_from": "0001-01-01T00:00:00+14:00"},
            {"/valid_from": "value_error"},
        ),
        (
            {
                "name": "x",
                **GANGNAM,
                "valid_from": "2026-02-01T00:00:00Z",
                "valid_until": "2026-02-01T00:00:00Z",
            },
            {"/valid_until": "empty_period"},
        ),
        ({"name": "x", **GANGNAM, "dwell_after_s": 0}, {"/dwell_after_s": "greater_than_equal"}),
        ({"name": "x", **GANGNAM, "dwell_after_s": 10**30}, {"/dwell_after_s": "less_than_equal"}),
    ]:
        answer = client.post("/v1/fences", json=body)

        assert answer.status_code == 422
        assert answer.mimetype == "application/problem+json"
        assert pointers(answer) == faults


def test_a_crossed_outline_is_refused_with_its_place_and_a_proposal_that_may_be_accepted(
    client: FlaskClient,
) -> None:
    refused = client.post("/v1/fences", json={"name": "x", "geometry": BOWTIE})
    fault = refused.json["errors"][0]

    assert (refused.status_code, refused.json["code"]) == (422, "self_intersection")
    assert fault["pointer"].startswith("/geometry")
    assert 127.0 < fault["place"]["lng"] < 127.02
    assert fault["proposal"]["area_km2"] > 0

    accepted = client.post("/v1/fences", json={"name": "x", "geometry": BOWTIE, "accept_proposal": True})

    assert accepted.status_code == 201
    assert accepted.json["geometry"] == json.loads(json.dumps(fault["proposal"]["geometry"]))
    assert accepted.json["area_km2"] == fault["proposal"]["area_km2"]
    assert [note["code"] for note in accepted.json["notes"]] == ["proposal_accepted"]


def test_accepting_a_proposal_where_there_is_none_stays_a_refusal(client: FlaskClient) -> None:
    body = {"name": "x", **GANGNAM, "radius_m": 10, "accept_proposal": True}

    assert client.post("/v1/fences", json=body).json["code"] == "radius_too_small"


def test_validating_measures_and_lists_problems_and_saves_nothing(client: FlaskClient) -> None:
    good = client.post("/v1/fences:validate", json={"name": "x", **GANGNAM})
    bad = client.post("/v1/fences:validate", json={"name": "x", "geometry": BOWTIE})

    assert good.json["valid"] is True
    assert good.json["area_km2"] > 0
    assert (bad.status_code, bad.json["valid"]) == (200, False)
    assert bad.json["errors"][0]["code"] == "self_intersection"
    assert bad.json["errors"][0]["proposal"]["area_change_km2"] is not None
    assert client.get("/v1/fences").json["total"] == 0


def test_putting_by_external_id_makes_then_replaces_then_does_nothing(
    either_client: FlaskClient,
) -> None:
    address = "/v1/fences/store/17"  # a key of the user's may hold a slash
    first = either_client.put(address, json={"name": "a", **GANGNAM})
    again = either_client.put(address, json={"name": "a", **GANGNAM})
    moved = either_client.put(address, json={"name": "a", **GANGNAM, "radius_m": 200})

    assert [a.status_code for a in (first, again, moved)] == [201, 200, 200]
    assert [a.json["version"] for a in (first, again, moved)] == [1, 1, 2]
    assert {a.json["id"] for a in (first, again, moved)} == {first.json["id"]}
    assert moved.json["external_id"] == "store/17"


def test_a_put_that_names_two_keys_is_refused(client: FlaskClient) -> None:
    answer = client.put("/v1/fences/a", json={"name": "a", "external_id": "b", **GANGNAM})

    assert pointers(answer) == {"/external_id": "differs"}


def test_an_external_id_belongs_to_one_living_fence(client: FlaskClient) -> None:
    first = _made(client, external_id="s1")
    taken = client.post("/v1/fences", json={"name": "b", "external_id": "s1", **GANGNAM})

    assert (taken.status_code, taken.json["code"]) == (409, "already_exists")
    assert first["id"] in taken.json["detail"]

    assert client.delete(f"/v1/fences/{first['id']}").status_code == 204
    assert _made(client, external_id="s1")["id"] != first["id"]


def test_patching_changes_what_is_said_and_null_takes_away(client: FlaskClient) -> None:
    made = _made(client, brand="Kepi", tags=["a"], opening_hours={"mon": ["09:00-18:00"]})
    patched = client.patch(
        f"/v1/fences/{made['id']}", json={"brand": None, "tags": [], "name": "New", "enabled": False}
    ).json

    assert (patched["brand"], patched["tags"], patched["name"]) == (None, [], "New")
    assert patched["enabled"] is False
    assert patched["opening_hours"] == {"mon": ["09:00-18:00"]}
    assert (patched["version"], patched["circle"]) == (2, made["circle"])

    reshaped = client.patch(f"/v1/fences/{made['id']}", json={"geometry": SQUARE}).json
    assert (reshaped["version"], reshaped["circle"]) == (3, None)
    assert reshaped["area_km2"] == pytest.approx(0.98, abs=0.05)

    nameless = client.patch(f"/v1/fences/{made['id']}", json={"name": None})
    assert nameless.status_code == 422


def test_every_edit_is_a_version_with_its_time(client: FlaskClient) -> None:
    made = _made(client)
    client.patch(f"/v1/fences/{made['id']}", json={"radius_m": 300, "lat": 37.4979, "lng": 127.0276})
    newest, oldest = client.get(f"/v1/fences/{made['id']}/versions").json["items"]

    assert (newest["version"], oldest["version"]) == (2, 1)
    assert newest["until"] is None
    assert oldest["until"] == newest["from"]
    assert oldest["circle"]["radius_m"] == 150
    assert newest["by"].startswith("key_")


def test_a_deleted_fence_is_gone(client: FlaskClient) -> None:
    made = _made(client)

    assert client.delete(f"/v1/fences/{made['id']}").data == b""
    for method in (client.get, client.delete):
        answer = method(f"/v1/fences/{made['id']}")
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")
    assert client.get("/v1/fences").json["total"] == 0


def test_an_id_of_nothing_is_404(client: FlaskClient) -> None:
    for fence in ["fnc_9999", "fnc_", "fnc_x", "grp_1", "fnc_²", "fnc_" + "9" * 5000, "-1"]:
        assert client.get(f"/v1/fences/{fence}").status_code == 404


def test_pages_go_through_all_fences_once(client: FlaskClient) -> None:
    made = [_made(client, external_id=f"s{n}")["id"] for n in range(7)]
    seen, cursor, totals = [], None, set()
    while True:
        address = "/v1/fences?limit=3" + (f"&cursor={cursor}" if cursor else "")
        page = client.get(address).json
        seen += [item["id"] for item in page["items"]]
        totals.add(page["total"])
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert seen == made
    assert totals == {7}


def test_a_query_that_cannot_be_read_is_refused_by_name(client: FlaskClient) -> None:
    for query, pointer in [
        ("limit=0", "/limit"),
        ("limit=201", "/limit"),
        ("limit=x", "/limit"),
        ("cursor=7", "/cursor"),
        ("cursor=after_" + "9" * 19, "/cursor"),
        ("bbox=1,2,3", "/bbox"),
        ("bbox=1,nan,3,4", "/bbox"),
        ("bbox=1,4,3,2", "/bbox"),
        ("near=37.5", "/near"),
        ("near=91,0&radius_m=10", "/near"),
        ("near=37.5,127", "/radius_m"),
        ("near=37.5,127&radius_m=100001", "/radius_m"),
        ("colour=red", "/colour"),
    ]:
        answer = client.get(f"/v1/fences?{query}")

        assert answer.status_code == 422
        assert list(pointers(answer)) == [pointer]


def test_fences_are_found_by_box_place_group_tag_brand_and_name(either_client: FlaskClient) -> None:
    client = either_client
    gangnam = _made(client, tags=["coffee"], brand="Kepi", groups=["south"])["id"]
    square = client.post("/v1/fences", json={"name": "100%_Park", "geometry": SQUARE}).json["id"]
    fiji = client.post(
        "/v1/fences", json={"name": "Fiji", "lat": -17.0, "lng": 179.9999, "radius_m": 500}
    ).json["id"]

    def found(query: str) -> list[str]:
        page = client.get(f"/v1/fences?{query}").json
        assert page["total"] == len(page["items"])
        return [item["id"] for item in page["items"]]

    assert found("bbox=127.02,37.49,127.03,37.499") == [gangnam]
    assert found("bbox=170,-20,-170,-10") == [fiji]  # across 180°
    assert found("bbox=-180,-18,-179.999,-16") == [fiji]  # the part beyond 180°
    assert found("bbox=0,0,1,1") == []
    assert found("near=37.505,127.005&radius_m=1") == [square]  # inside it
    assert found("near=-17,-179.99&radius_m=2000") == [fiji]
    assert found("tag=coffee") == found("brand=Kepi") == found("group=south") == [gangnam]
    assert found("tag=cof") == found("group=nowhere") == found("brand=kepi") == []
    assert found("q=park") == found("q=100%25_") == [square]
    assert found("q=0_0") == []


def test_near_reckons_to_the_rim_not_to_the_centre(client: FlaskClient) -> None:
    made = _made(client)  # 150 m around 37.4979 N; a place 1,000 m to the north:
    north = 37.4979 + 1_000 / 110_988.0

    def total(radius_m: float) -> int:
        return client.get(f"/v1/fences?near={north},127.0276&radius_m={radius_m}").json["total"]

    assert total(849) == 0
    assert total(851) == 1
    assert made["id"]


def test_a_list_comes_as_geojson_when_asked(client: FlaskClient) -> None:
    made = _made(client)
    answer = client.get("/v1/fences", headers=_with(client, {"Accept": "application/geo+json"}))
    feature = answer.json["features"][0]

    assert answer.mimetype == "application/geo+json"
    assert answer.json["type"] == "FeatureCollection"
    assert (answer.json["numberMatched"], answer.json["numberReturned"]) == (1, 1)
    assert (feature["id"], feature["geometry"]) == (made["id"], made["geometry"])
    assert feature["properties"]["name"] == "강남점"
    assert "geometry" not in feature["properties"]


def test_a_scope_too_small_reads_but_does_not_write(client: FlaskClient, house: House) -> None:
    ingest = key(house, Scope.INGEST)

    assert client.get("/v1/fences", headers=ingest).status_code == 200
    refused = client.post("/v1/fences", json={"name": "x", **GANGNAM}, headers=ingest)
    assert (refused.status_code, refused.json["code"]) == (403, "forbidden")


def test_another_workspace_sees_nothing_of_it(client: FlaskClient, house: House) -> None:
    made = _made(client, external_id="s1")
    stranger = key(house, workspace_id=second_workspace(house)[0])
    address = f"/v1/fences/{made['id']}"

    assert client.get("/v1/fences", headers=stranger).json["total"] == 0
    assert client.get(address, headers=stranger).status_code == 404
    assert client.get(f"{address}/versions", headers=stranger).status_code == 404
    assert client.patch(address, json={"name": "mine"}, headers=stranger).status_code == 404
    assert client.delete(address, headers=stranger).status_code == 404
    own = client.put("/v1/fences/s1", json={"name": "own", **GANGNAM}, headers=stranger)
    assert (own.status_code, own.json["id"] != made["id"]) == (201, True)
    assert client.get(address).json == made


def test_a_fence_that_a_living_campaign_names_is_kept(client: FlaskClient) -> None:
    made = _made(client)
    campaign = client.post(
        "/v1/campaigns",
        json={
            "name": "Named",
            "targeting": {"fence_ids": [made["id"]]},
            "period": {"start": "2026-01-01T00:00:00Z", "end": "2040-01-01T00:00:00Z"},
            "message": {"channel": "none"},
        },
    ).json
    client.post(f"/v1/campaigns/{campaign['id']}:test")
    kept = client.delete(f"/v1/fences/{made['id']}")

    assert (kept.status_code, kept.json["code"]) == (409, "not_allowed_now")
    assert "Named" in kept.json["detail"]

    client.post(f"/v1/campaigns/{campaign['id']}:draft")
    assert client.delete(f"/v1/fences/{made['id']}").status_code == 204


def test_a_fence_has_rules_of_its_own(client: FlaskClient, house: House) -> None:
    rules = {"enter_p": 0.8, "exit_fixes": 3}
    body = {"name": "strict", **GANGNAM, "presence": rules}
    made = client.post("/v1/fences", json=body).json
    assert (made["presence"], made["version"]) == (rules, 1)
    address = f"/v1/fences/{made['id']}"
    renamed = client.patch(address, json={"name": "still strict"}).json
    assert (renamed["presence"], renamed["version"]) == (rules, 2)
    changed = client.patch(address, json={"presence": {"far_m": 60}}).json
    assert (changed["presence"], changed["version"]) == ({"far_m": 60}, 3)
    assert client.patch(address, json={"presence": {"far_m": 60.0}}).json["version"] == 3
    listed = client.get(f"{address}/versions").json["items"]
    assert [v["attributes"].get("presence") for v in listed] == [{"far_m": 60}, rules, rules]

    snapshot = house.snapshots.current(house.workspace_id, now_ms=house.clock.now_ms())
    assert [own.far_m for own in snapshot.own_rules.values()] == [None, None, 60]  # by version
    assert snapshot.certainty_rules is not None
    without = client.patch(address, json={"presence": None}).json
    assert (without["presence"], without["version"]) == (None, 4)
    assert client.patch(address, json={"presence": {}}).json["version"] == 4


def test_rules_of_a_fence_out_of_bounds_are_refused(client: FlaskClient) -> None:
    for rules, pointer, code in [
        ({"enter_p": 0.4}, "/presence/enter_p", "out_of_range"),
        ({"far_m": -1}, "/presence/far_m", "out_of_range"),
        ({"exit_span_s": 1.5}, "/presence/exit_span_s", "int_type"),
        ({"gap_s": 60}, "/presence/gap_s", "unknown_field"),
    ]:
        answer = client.post("/v1/fences", json={"name": "x", **GANGNAM, "presence": rules})
        assert answer.status_code == 422, rules
        faults = {fault["pointer"]: fault["code"] for fault in answer.json["errors"]}
        assert faults == {pointer: code}
