"""`/v1/uploads` as a client meets it: form, states, rows, files, errors."""

from __future__ import annotations

import io
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import openpyxl
import pytest
from flask.testing import FlaskClient
from werkzeug.http import parse_options_header
from werkzeug.test import TestResponse

from api.routes.uploads import MAX_BODY_BYTES
from api.wiring import EXTENSION, House
from tests.doors import make_key, staying_here
from tests.server import Server

CSV = "지점명,매장코드,위도,경도\n강남점,S1,37.4979,127.0276\n뒤바뀐점,S2,127.0276,37.4979\n"
WAIT_S = 30.0


def send(
    client: FlaskClient, data: str | bytes = CSV, name: str = "매장.csv", **form: Any
) -> TestResponse:
    body = data.encode("cp949") if isinstance(data, str) else data
    fields = {"group": "카페", "radius_m": "100"} | form
    return client.post("/v1/uploads", data=fields | {"file": (io.BytesIO(body), name)})


def sent(client: FlaskClient, *args: Any, **form: Any) -> str:
    answer = send(client, *args, **form)
    assert answer.status_code == 202, answer.text
    return str(answer.json["id"])


def got(client: FlaskClient, upload_id: str, **headers: str) -> dict[str, Any]:
    answer = client.get(f"/v1/uploads/{upload_id}", headers=headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json
    return found


def did(client: FlaskClient, upload_id: str, verb: str, body: Any = None) -> dict[str, Any]:
    answer = client.post(f"/v1/uploads/{upload_id}:{verb}", json=body)
    assert answer.status_code == 202, answer.text
    return got(client, upload_id)


def book(answer: TestResponse) -> openpyxl.Workbook:
    assert answer.status_code == 200, answer.text
    return openpyxl.load_workbook(io.BytesIO(answer.data))


def test_u4_upload_check_apply_undo(either_client: FlaskClient) -> None:
    client = either_client
    answer = send(client)
    assert answer.status_code == 202
    assert answer.json["state"] == "checking"
    assert answer.json["options"]["group"] == "카페"

    upload_id = answer.json["id"]
    checked = got(client, upload_id)
    assert checked["state"] == "checked"
    assert checked["counts"] == {"new": 1, "changed": 0, "same": 0, "refused": 1, "missing": 0}
    assert checked["file_name"] == "매장.csv"
    (sheet,) = checked["report"]["sheets"]
    assert (sheet["encoding"], sheet["mapping"]["name"]) == ("cp949", "지점명")
    assert client.get("/v1/fences").json["total"] == 0

    options = checked["options"] | {"accept": ["swapped"]}
    assert did(client, upload_id, "check", options)["counts"]["new"] == 2
    assert did(client, upload_id, "apply")["state"] == "applied"
    assert client.get("/v1/fences?group=카페").json["total"] == 2
    review = client.get(f"/v1/uploads/{upload_id}/undo").json
    assert (review["delete"], review["restore"], review["edited"], review["used"]) == (2, 0, [], [])
    assert did(client, upload_id, "undo")["state"] == "undone"
    assert client.get("/v1/fences").json["total"] == 0


def test_u5_rows_say_where_what_and_how_to_mend_it_in_both_languages(client: FlaskClient) -> None:
    upload_id = sent(client)
    rows = client.get(f"/v1/uploads/{upload_id}/rows?status=refused", headers={"Accept-Language": "ko"})
    (row,) = rows.json["items"]
    assert (row["status"], row["row"], row["name"]) == ("refused", 3, "뒤바뀐점")
    (problem,) = row["problems"]
    assert (problem["heading"], problem["cell"], problem["value"]) == ("위도", "C3", "127.0276")
    assert "바뀐" in problem["message"]
    assert problem["proposal"]["values"] == {"lat": 37.4979, "lng": 127.0276}

    english = got(client, upload_id, **{"Accept-Language": "en"})["report"]["problems"]
    assert english == [
        {
            "code": "swapped",
            "count": 1,
            "acceptable": 1,
            "heading": "위도",
            "message": english[0]["message"],
            "proposal": english[0]["proposal"],
            "rows": [{"sheet": None, "row": 3}],
        }
    ]
    assert "swapped" in english[0]["message"]


def test_new_rows_show_the_fence_and_its_shape(client: FlaskClient) -> None:
    upload_id = sent(client)
    (row,) = client.get(f"/v1/uploads/{upload_id}/rows?status=new").json["items"]
    assert row["shape"] == {
        "circle": {"lat": 37.4979, "lng": 127.0276, "radius_m": 100.0},
        "geometry": None,
    }
    assert row["after"]["external_id"] == "S1"
    assert row["fence_id"] is None


def test_rows_come_in_pages_and_by_code(client: FlaskClient) -> None:
    rows = "".join(f"점{n},C{n},37.5,127.0\n" for n in range(130))
    upload_id = sent(client, CSV.splitlines()[0] + "\n" + rows + "나쁜점,X,,\n")
    seen, cursor = [], ""
    while cursor is not None:
        at = f"&cursor={cursor}" if cursor else ""
        page = client.get(f"/v1/uploads/{upload_id}/rows?limit=50{at}").json
        seen += [item["row"] for item in page["items"]]
        assert page["total"] == 131
        cursor = page["next_cursor"]
    assert seen == [132, *range(2, 132)]
    bad = client.get(f"/v1/uploads/{upload_id}/rows?code=missing").json["items"]
    assert [item["row"] for item in bad] == [132]
    assert client.get(f"/v1/uploads/{upload_id}/rows?status=odd").status_code == 422
    assert client.get(f"/v1/uploads/{upload_id}/rows?cursor=odd").status_code == 422


def test_u3_options_as_json_map_headings(client: FlaskClient) -> None:
    odd = "가게이름표,세로값,가로값\n강남점,37.4979,127.0276\n"
    mapping = {"가게이름표": "name", "세로값": "lat", "가로값": "lng"}
    upload_id = sent(client, odd, options=json.dumps({"mapping": mapping}))
    found = got(client, upload_id)
    assert found["counts"]["new"] == 1
    assert found["report"]["sheets"][0]["mapping_source"] == "given"
    assert found["options"]["mapping"] == mapping


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ("[1]", "/options"),
        ('{"mapping": 3}', "/options/mapping"),
        ('{"colour": 3}', "/options/colour"),
        ('{"countries": ["kr"]}', "/options/countries/0"),
        ('{"heading_row": -1}', "/options/heading_row"),
        ('{"accept_rows": [{"row": 2, "codes": []}]}', "/options/accept_rows/0/codes"),
        ('{"grid": "EPSG:4326"}', "/grid"),
        ('{"mapping": {"가/게": "nmae"}}', "/mapping/가~1게"),
        ('{"sheet_mappings": {"1": {"가게": "이름"}}}', "/sheet_mappings/1/가게"),
        ('{"countries": ["KR", "ZZ"]}', "/countries/1"),
    ],
)
def test_odd_options_are_refused_with_their_place(
    client: FlaskClient, options: str, pointer: str
) -> None:
    answer = send(client, options=options)
    assert answer.status_code == 422
    assert [e["pointer"] for e in answer.json["errors"]] == [pointer]


@pytest.mark.parametrize("options", ["{", "NaN", '{"radius_m": NaN}', '"\\ud800"', "[" * 50 + "]" * 50])
def test_options_that_are_no_json_are_refused(client: FlaskClient, options: str) -> None:
    assert send(client, options=options).status_code in (400, 422)


def test_a_form_without_a_file_is_refused(client: FlaskClient) -> None:
    answer = client.post("/v1/uploads", data={"group": "g"}, content_type="multipart/form-data")
    assert answer.status_code == 422, answer.text
    assert [e["pointer"] for e in answer.json["errors"]] == ["/file"], answer.text
    named = {"file": "no file", "group": "g"}
    assert client.post("/v1/uploads", data=named).status_code == 422


def test_a_larger_file_is_refused_before_it_is_read(client: FlaskClient) -> None:
    claimed = {"CONTENT_LENGTH": str(MAX_BODY_BYTES + 1)}
    answer = client.post(
        "/v1/uploads", data=b"", content_type="multipart/form-data", environ_overrides=claimed
    )
    assert answer.status_code == 413
    assert "50 MiB" in answer.json["detail"]


def test_a_file_that_is_no_sheet_fails_with_words_in_both_languages(client: FlaskClient) -> None:
    upload_id = sent(client, b"%PDF-1.7 " + bytes(50), "매장.xlsx")
    english = got(client, upload_id, **{"Accept-Language": "en"})
    korean = got(client, upload_id, **{"Accept-Language": "ko"})
    assert english["state"] == "failed"
    assert english["error"]["code"] == "not_a_sheet"
    assert "a PDF" in english["error"]["message"]
    assert "PDF" in korean["error"]["message"]
    assert korean["error"]["message"] != english["error"]["message"]
    assert client.get(f"/v1/uploads/{upload_id}/report.xlsx").status_code == 409


def test_moves_that_do_not_fit_the_state_are_409(client: FlaskClient) -> None:
    upload_id = sent(client)
    assert client.post(f"/v1/uploads/{upload_id}:undo").status_code == 409
    assert client.get(f"/v1/uploads/{upload_id}/undo").status_code == 409
    did(client, upload_id, "apply")
    assert client.post(f"/v1/uploads/{upload_id}:apply").status_code == 409
    assert client.post(f"/v1/uploads/{upload_id}:check", json={}).status_code == 409


def test_undo_that_meets_edits_says_which(client: FlaskClient) -> None:
    upload_id = sent(client)
    did(client, upload_id, "apply")
    fence = client.get("/v1/fences").json["items"][0]
    assert client.patch(f"/v1/fences/{fence['id']}", json={"brand": "x"}).status_code == 200
    review = client.get(f"/v1/uploads/{upload_id}/undo").json
    assert review["edited"] == [{"id": fence["id"], "name": "강남점"}]
    refused = client.post(f"/v1/uploads/{upload_id}:undo")
    assert refused.status_code == 409
    assert "강남점" in refused.json["detail"]
    answer = client.post(f"/v1/uploads/{upload_id}:undo?leave_edited=true")
    assert answer.status_code == 202
    assert client.get("/v1/fences").json["total"] == 1


def test_u5_the_marked_workbook_is_the_users_own_sheet(client: FlaskClient) -> None:
    upload_id = sent(client)
    marked = book(client.get(f"/v1/uploads/{upload_id}/report.xlsx?lang=ko"))
    own = marked.worksheets[1]
    assert [cell.value for cell in own[1]][:2] == ["지점명", "매장코드"]
    faulty = own["C3"]
    assert faulty.comment is not None
    assert "바뀐" in faulty.comment.text
    assert faulty.fill.fgColor.rgb != own["C2"].fill.fgColor.rgb
    assert marked.worksheets[0].max_row == 2


def test_a_large_sheet_is_marked_aside_and_the_same(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = sent(client)
    here = book(client.get(f"/v1/uploads/{upload_id}/report.xlsx?lang=en"))
    monkeypatch.setattr("api.routes.uploads.MARKED_HERE_BYTES", 0)
    aside = book(client.get(f"/v1/uploads/{upload_id}/report.xlsx?lang=en"))
    values = [[[c.value for c in row] for row in page.rows] for page in aside.worksheets]
    assert values == [[[c.value for c in row] for row in page.rows] for page in here.worksheets]


def test_u6_the_template_uploads_as_its_examples(client: FlaskClient) -> None:
    template = client.get("/v1/uploads/template.xlsx?lang=ko")
    assert "template" in template.headers["Content-Disposition"]
    upload_id = sent(client, template.data, "template.xlsx")
    found = got(client, upload_id)
    assert found["counts"]["new"] == 2
    assert found["report"]["problems"] == []


@pytest.mark.parametrize("ending", ["xlsx", "csv"])
@pytest.mark.parametrize("aside", [False, True])
def test_u6_a_groups_export_uploads_again_with_nothing_changed(
    client: FlaskClient, ending: str, aside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if aside:
        monkeypatch.setattr("api.routes.groups.EXPORTED_HERE", 0)
    upload_id = sent(client, options='{"accept": ["swapped"]}')
    did(client, upload_id, "apply")
    (group,) = client.get("/v1/fence-groups").json["items"]
    answer = client.get(f"/v1/fence-groups/{group['id']}/export.{ending}?lang=ko")
    assert answer.status_code == 200
    assert parse_options_header(answer.headers["Content-Disposition"])[1] == {
        "filename": f"카페.{ending}"
    }
    again = got(client, sent(client, answer.data, f"x.{ending}"))
    assert again["counts"] == {"new": 0, "changed": 0, "same": 2, "refused": 0, "missing": 0}


def test_a_groups_geojson_uploads_again_with_nothing_changed(client: FlaskClient) -> None:
    did(client, sent(client, options='{"accept": ["swapped"]}'), "apply")
    (group,) = client.get("/v1/fence-groups").json["items"]
    ring = [[127, 37], [127.01, 37], [127.01, 37.01], [127, 37]]
    across = [[179.99, 10], [-179.99, 10], [-179.99, 10.02], [179.99, 10.02], [179.99, 10]]
    for fence in (
        {"name": "다각", "geometry": {"type": "Polygon", "coordinates": [ring]}, "tags": ["a", "b, c"]},
        {"name": "날짜선", "geometry": {"type": "Polygon", "coordinates": [across]}},
        {"name": "날짜선 원", "lat": -16.5, "lng": 179.999, "radius_m": 5_000},
        {"name": "극", "lat": 89.99, "lng": 10, "radius_m": 20_000, "metadata": {"memo": "북극"}},
        {"name": "그냥 원", "lat": 60, "lng": 25, "radius_m": 50_000, "brand": "x"},
    ):
        made = client.post("/v1/fences", json=fence)
        members = {"fence_ids": [made.json["id"]]}
        client.post(f"/v1/fence-groups/{group['id']}/members", json=members)
    answer = client.get(f"/v1/fence-groups/{group['id']}/export.geojson")
    assert answer.json["type"] == "FeatureCollection"
    radii = {f["properties"].get("radius_m") for f in answer.json["features"]}
    assert radii == {100.0, 5_000.0, 20_000.0, 50_000.0, None}
    assert client.get(f"/v1/fence-groups/{group['id']}/export.pdf").status_code == 404
    again = got(client, sent(client, answer.data, "x.geojson"))
    assert again["counts"] == {"new": 0, "changed": 0, "same": 7, "refused": 0, "missing": 0}


def test_a_repeated_key_makes_one_upload(client: FlaskClient) -> None:
    body = {"file": (io.BytesIO(CSV.encode()), "a.csv"), "group": "g"}
    key = {"Idempotency-Key": "k1"}
    one = client.post("/v1/uploads", data=body, headers=key)
    body = {"file": (io.BytesIO(CSV.encode()), "a.csv"), "group": "g"}
    two = client.post("/v1/uploads", data=body, headers=key)
    assert one.json["id"] == two.json["id"]
    other = {"file": (io.BytesIO(b"a,b\n"), "a.csv"), "group": "g"}
    assert client.post("/v1/uploads", data=other, headers=key).status_code == 422


def test_uploads_are_listed_and_forgotten(client: FlaskClient) -> None:
    one, two = sent(client), sent(client)
    listed = client.get("/v1/uploads").json
    assert [item["id"] for item in listed["items"]] == [one, two]
    assert client.delete(f"/v1/uploads/{one}").status_code == 204
    assert client.get(f"/v1/uploads/{one}").status_code == 404
    assert client.get("/v1/uploads").json["total"] == 1


def test_without_the_scope_nothing_is_uploaded(house: House, client: FlaskClient) -> None:
    headers = {"Authorization": f"Bearer {make_key(house, 'ingest')}"}
    assert client.get("/v1/uploads", headers=headers).status_code == 403


@pytest.mark.slow
def test_a_real_server_works_uploads_off_in_a_process_aside(house: House, tmp_path: Path) -> None:
    key = make_key(house)
    with (
        Server(house.settings.database_url, tmp_path) as server,
        httpx.Client(
            base_url=server.url, headers={"Authorization": f"Bearer {key}"}, timeout=30
        ) as http,
    ):

        def until(upload_id: str, state: str) -> dict[str, Any]:
            end = time.monotonic() + WAIT_S
            while (found := http.get(f"/v1/uploads/{upload_id}").json())["state"] != state:
                assert time.monotonic() < end, found
                time.sleep(0.05)
            return dict(found)

        sent_file = {"file": ("매장.csv", CSV.encode("cp949"))}
        answer = http.post("/v1/uploads", files=sent_file, data={"group": "카페", "radius_m": "100"})
        upload_id = answer.json()["id"]
        assert until(upload_id, "checked")["counts"]["new"] == 1
        http.post(f"/v1/uploads/{upload_id}:apply")
        assert until(upload_id, "applied")["error"] is None
        assert http.get("/v1/fences").json()["total"] == 1
        large = http.get(f"/v1/uploads/{upload_id}/report.xlsx")
        assert large.status_code == 200


def test_f1_the_settings_largest_radius_holds_for_uploads(
    house: House, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheet = "지점명,위도,경도,반경\n강남점,37.4979,127.0276,60km\n역삼점,37.5,127.03,40km\n"
    assert got(client, sent(client, sheet))["counts"]["new"] == 1
    settings = replace(house.settings, max_radius_m=100_000.0)
    wide = staying_here(replace(house, settings=settings))
    monkeypatch.setitem(client.application.extensions, EXTENSION, wide)
    assert got(client, sent(client, sheet))["counts"]["new"] == 2
