"""`/v1/workspace`: the countries in which its places lie."""

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
