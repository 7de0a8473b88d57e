"""`/v1/workspace`: the countries in which its places lie, and how presence is judged."""

from __future__ import annotations

import io

from flask.testing import FlaskClient

from api.wiring import House
from nearcast.store import workspaces
from nearcast.store.engine import reading
from tests.doors import make_key

#: Seoul, and the same place with longitude 127 become 12.7: Austria's neighbourhood
CSV = "지점명,위도,경도\n강남점,37.4979,127.0276\n먼점,37.4979,12.70276\n"


def test_the_workspace_shows_itself(client: FlaskClient) -> None:
    found = client.get("/v1/workspace").json
    assert found["id"] == "wsp_1"
    assert found["countries"] == []


def test_u5_rows_outside_the_workspaces_countries_are_questioned(client: FlaskClient) -> None:
    answer = client.patch("/v1/workspace", json={"countries": ["KR"]})
    assert (answer.status_code, answer.json["countries"]) == (200, ["KR"])
    form = {"group": "g", "radius_m": "100", "file": (io.BytesIO(CSV.encode()), "a.csv")}
    upload = client.post("/v1/uploads", data=form).json["id"]
    found = client.get(f"/v1/uploads/{upload}").json
    assert found["counts"]["refused"] == 1
    (row,) = client.get(f"/v1/uploads/{upload}/rows?status=refused").json["items"]
    assert row["row"] == 3
    assert "outside_countries" in [p["code"] for p in row["problems"]]

    anywhere = {"group": "g", "radius_m": "100", "options": '{"countries": []}'}
    form = anywhere | {"file": (io.BytesIO(CSV.encode()), "a.csv")}
    other = client.post("/v1/uploads", data=form).json["id"]
    assert client.get(f"/v1/uploads/{other}").json["counts"]["refused"] == 0


def test_unknown_codes_are_refused_by_name_and_nothing_changes(client: FlaskClient) -> None:
    answer = client.patch("/v1/workspace", json={"countries": ["KR", "kr", "ZZ"]})
    assert answer.status_code == 422
    assert [e["pointer"] for e in answer.json["errors"]] == ["/countries/1", "/countries/2"]
    assert client.get("/v1/workspace").json["countries"] == []
    assert client.patch("/v1/workspace", json={"plan": "premium"}).status_code == 422


def test_a_change_is_audited_and_needs_the_scope(client: FlaskClient, house: House) -> None:
    client.patch("/v1/workspace", json={"countries": ["JP", "KR", "JP"]})
    assert client.get("/v1/workspace").json["countries"] == ["JP", "KR"]
    (newest,) = reading(house.engine, lambda c: workspaces.audit_of(c, house.workspace_id, limit=1))
    assert (newest["action"], newest["detail"]) == ("workspace.changed", {"countries": ["JP", "KR"]})
    headers = {"Authorization": f"Bearer {make_key(house, 'ingest')}"}
    assert client.get("/v1/workspace", headers=headers).status_code == 403


def test_the_policies_are_shown_with_their_defaults_and_set_in_parts(
    either_client: FlaskClient,
) -> None:
    client = either_client
    shown = client.get("/v1/workspace").json
    assert (shown["presence"]["gap_s"], shown["certainty"]["enter_p"]) == (1800, 0.5)
    change = {"presence": {"gap_s": 600, "far_m": 50}, "certainty": {"enter_p": 0.7}}
    changed = client.patch("/v1/workspace", json=change)
    assert (changed.status_code, changed.json["presence"]["gap_s"]) == (200, 600)
    assert changed.json["presence"] == shown["presence"] | {"gap_s": 600, "far_m": 50.0}
    assert changed.json["certainty"] == shown["certainty"] | {"enter_p": 0.7}
    client.patch("/v1/workspace", json={"countries": ["KR"]})
    back = client.patch("/v1/workspace", json={"presence": {"gap_s": None}}).json
    assert (back["presence"]["gap_s"], back["presence"]["far_m"]) == (1800, 50.0)
    assert back["countries"] == ["KR"]


def test_policies_reach_the_snapshot_and_the_audit_log(client: FlaskClient, house: House) -> None:
    before = house.snapshots.current(house.workspace_id, now_ms=house.clock.now_ms())
    client.patch("/v1/workspace", json={"presence": {"exit_fixes": 3}, "certainty": {"exit_p": 0.2}})
    after = house.snapshots.current(house.workspace_id, now_ms=house.clock.now_ms())
    assert (after.presence.exit_fixes, after.certainty.exit_p) == (3, 0.2)
    assert after.version > before.version
    client.patch("/v1/workspace", json={"presence": {"exit_fixes": 3}})
    same = house.snapshots.current(house.workspace_id, now_ms=house.clock.now_ms())
    assert same.version == after.version
    lines = reading(house.engine, lambda conn: workspaces.audit_of(conn, house.workspace_id, limit=5))
    [line] = [line for line in lines if line["action"] == "workspace.changed"]
    assert line["detail"]["exit_fixes"] == {"from": None, "to": 3}


def test_a_policy_out_of_its_bounds_is_refused_with_them(client: FlaskClient) -> None:
    for part, pointer, code, said in [
        ({"presence": {"gap_s": 59}}, "/presence/gap_s", "out_of_range", "from 60 to 86,400"),
        ({"presence": {"amend_horizon_s": 86_399}}, "/presence/amend_horizon_s", "out_of_range", ""),
        ({"presence": {"exit_fixes": 0}}, "/presence/exit_fixes", "out_of_range", "from 1 to 20"),
        ({"presence": {"exit_fixes": 2.5}}, "/presence/exit_fixes", "int_type", ""),
        ({"presence": {"speed": 1}}, "/presence/speed", "unknown_field", ""),
        ({"certainty": {"enter_p": 0.49}}, "/certainty/enter_p", "out_of_range", "from 0.5 to 0.999"),
        ({"certainty": {"exit_p": 0.5}}, "/certainty/exit_p", "out_of_range", "to 0.49"),
        ({"certainty": {"sigma_floor_m": 5}}, "/certainty/sigma_floor_m", "unknown_field", ""),
    ]:
        answer = client.patch("/v1/workspace", json=part)
        assert answer.status_code == 422, part
        [fault] = answer.json["errors"]
        assert (fault["pointer"], fault["code"]) == (pointer, code)
        assert said in fault["message"]
    assert client.get("/v1/workspace").json["presence"]["gap_s"] == 1800
