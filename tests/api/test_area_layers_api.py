"""`/v1/area-layers` from outside: layers are loaded, mended, linked to fences and dropped."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.datastructures import FileStorage
from werkzeug.test import encode_multipart

from api.wiring import House
from nearcast.services.manage_workspace import Scope
from tests.api.doors import GANGNAM, key, pointers, second_workspace


def _box(name: str, west: float, south: float, east: float, north: float) -> dict:
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return _feature(name, [ring])


def _feature(name: str, rings: list) -> dict:
    return {
        "type": "Feature",
        "properties": {"name": name, "code": f"c-{name}"},
        "geometry": {"type": "Polygon", "coordinates": rings},
    }


def _file(*features: dict) -> bytes:
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


GANGNAM_GU = _box("강남구", 127.0, 37.45, 127.1, 37.55)
SEOCHO_GU = _box("서초구", 126.9, 37.45, 127.0, 37.55)


def _load(client: FlaskClient, data: bytes, **more: Any) -> Any:
    fields = {"name": "gu", "kind": "region", "name_column": "name", **more}
    headers = fields.pop("headers", None)
    file = FileStorage(BytesIO(data), filename="layer.geojson")
    boundary, form = encode_multipart({**fields, "file": file})
    content_type = f"multipart/form-data; boundary={boundary}"
    return client.post("/v1/area-layers", data=form, content_type=content_type, headers=headers)


def test_a_layer_is_loaded_and_every_fence_knows_its_areas(either_client: FlaskClient) -> None:
    client = either_client
    before = client.post("/v1/fences", json={"name": "a", **GANGNAM}).json
    loaded = _load(client, _file(GANGNAM_GU, SEOCHO_GU), code_column="code")
    trade = _load(client, _file(_box("역삼", 127.02, 37.49, 127.04, 37.51)), name="t", kind="trade_area")
    after = client.post("/v1/fences", json={"name": "b", **GANGNAM}).json

    assert (loaded.status_code, loaded.json["areas"], loaded.json["repaired"]) == (201, 2, 0)
    assert before["regions"] == before["trade_areas"] == []
    for fence in (client.get(f"/v1/fences/{before['id']}").json, after):
        assert (fence["regions"], fence["trade_areas"]) == (["강남구"], ["역삼"])
    assert [layer["name"] for layer in client.get("/v1/area-layers").json["items"]] == ["gu", "t"]

    assert client.delete(f"/v1/area-layers/{trade.json['id']}").status_code == 204
    assert client.get(f"/v1/fences/{after['id']}").json["trade_areas"] == []
    assert client.delete(f"/v1/area-layers/{trade.json['id']}").status_code == 404


def test_a_fence_that_moves_changes_its_areas(client: FlaskClient) -> None:
    _load(client, _file(GANGNAM_GU, SEOCHO_GU))
    made = client.post("/v1/fences", json={"name": "a", **GANGNAM}).json
    moved = client.patch(f"/v1/fences/{made['id']}", json={**GANGNAM, "lng": 126.95}).json
    away = client.patch(f"/v1/fences/{made['id']}", json={**GANGNAM, "lng": 128.0}).json

    assert [f["regions"] for f in (made, moved, away)] == [["강남구"], ["서초구"], []]


def test_a_place_on_a_border_lies_in_both(client: FlaskClient) -> None:
    _load(client, _file(GANGNAM_GU, SEOCHO_GU))
    made = client.post("/v1/fences", json={"name": "a", **GANGNAM, "lng": 127.0}).json

    assert made["regions"] == ["강남구", "서초구"]


def test_an_area_that_comes_invalid_is_mended_and_reported(client: FlaskClient) -> None:
    crossed = [[127.0, 37.5], [127.02, 37.52], [127.02, 37.5], [127.0, 37.51], [127.0, 37.5]]
    loaded = _load(client, _file(_feature("crossed", [crossed]), GANGNAM_GU)).json
    repair = loaded["repairs"][0]

    assert (loaded["areas"], loaded["repaired"]) == (2, 1)
    assert repair["name"] == "crossed"
    assert "Self-intersection" in repair["fault"]
    assert repair["area_after_km2"] > repair["area_before_km2"]


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"kind": "planet"}, "/kind"),
        ({"name": " "}, "/name"),
        ({"name": "a\0b"}, None),
        ({"colour": "red"}, "/colour"),
    ],
)
def test_a_form_that_is_not_right_is_refused(
    client: FlaskClient, fields: dict, pointer: str | None
) -> None:
    answer = _load(client, _file(GANGNAM_GU), **fields)

    assert answer.status_code == (400 if pointer is None else 422)
    assert list(pointers(answer)) == ([] if pointer is None else [pointer])


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (b"", {}),
        (b"no layer at all", {}),
        (_file(GANGNAM_GU), {"name_column": "title"}),
        (_file(GANGNAM_GU), {"code_column": "number"}),
        (_file(GANGNAM_GU), {"crs": "EPSG:nonsense"}),
        (b'{"type": "FeatureCollection", "features": []}', {}),
    ],
)
def test_a_file_that_is_no_layer_is_refused_and_nothing_is_kept(
    client: FlaskClient, data: bytes, fields: dict
) -> None:
    answer = _load(client, data, **fields)

    # a file that says its own coordinate system needs no crs, however odd the one given
    assert answer.status_code == (201 if "crs" in fields else 422), answer.json
    assert client.get("/v1/area-layers").json["total"] == (1 if "crs" in fields else 0)


def test_a_file_is_needed_and_a_name_is_given_once(client: FlaskClient) -> None:
    fields = {"name": "gu", "kind": "region", "name_column": "name"}
    without = client.post("/v1/area-layers", data=fields, content_type="multipart/form-data")
    _load(client, _file(GANGNAM_GU))
    again = _load(client, _file(GANGNAM_GU))

    assert pointers(without) == {"/file": "required"}
    assert (again.status_code, again.json["code"]) == (409, "already_exists")


def test_a_repeated_load_with_one_key_is_one_layer(client: FlaskClient) -> None:
    headers = {
        "Authorization": client.environ_base["HTTP_AUTHORIZATION"],
        "Idempotency-Key": "layer-1",
    }
    first = _load(client, _file(GANGNAM_GU), headers=headers)
    again = _load(client, _file(GANGNAM_GU), headers=headers)
    other = _load(client, _file(SEOCHO_GU), headers=headers)

    assert (first.status_code, again.status_code, again.data) == (201, 201, first.data)
    assert (other.status_code, other.json["code"]) == (422, "idempotency_key_reused")


def test_a_large_file_leaves_nothing_open(client: FlaskClient) -> None:
    # over 500 kB the form's file lies on disk; an unclosed one is a warning, and so an error here
    data = _file(GANGNAM_GU) + b" " * 1_000_000

    assert _load(client, data).status_code == 201
    assert _load(client, data, kind="planet").status_code == 422


def test_layers_are_their_workspaces_own(client: FlaskClient, house: House) -> None:
    layer = _load(client, _file(GANGNAM_GU)).json["id"]
    stranger = key(house, workspace_id=second_workspace(house)[0])
    fence = client.post("/v1/fences", json={"name": "a", **GANGNAM}, headers=stranger).json

    assert fence["regions"] == []
    assert client.get("/v1/area-layers", headers=stranger).json["total"] == 0
    assert client.delete(f"/v1/area-layers/{layer}", headers=stranger).status_code == 404
    refused = _load(client, _file(GANGNAM_GU), headers=key(house, Scope.INGEST))
    assert refused.status_code == 403
