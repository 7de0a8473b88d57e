"""Every error is a problem, and no input gives a 5xx."""

from __future__ import annotations

import json
import threading
from io import BytesIO
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from api import problems
from api.app import create_app
from api.wiring import House
from geo.errors import NearcastError
from nearcast.services.answer_once import KEPT_MS, forget_answers
from nearcast.store import idempotency
from nearcast.store.engine import in_transaction, reading
from nearcast.store.tables import fence
from tests.api.doors import GANGNAM, SQUARE, key, second_workspace

BODY = {"name": "a", **GANGNAM}


def _post(client: FlaskClient, data: bytes, **more: Any) -> Any:
    return client.post("/v1/fences", data=data, content_type="application/json", **more)


def test_a_problem_has_the_members_of_rfc_9457_and_ours(client: FlaskClient) -> None:
    answer = client.get("/v1/fences/fnc_99")

    assert answer.mimetype == "application/problem+json"
    assert set(answer.json) == {"type", "title", "status", "detail", "code", "errors"}
    assert (answer.json["status"], answer.json["title"]) == (404, "Not Found")


def test_a_body_that_is_no_json_is_400(client: FlaskClient) -> None:
    for data, what in [
        (b'{"name": "a", "lat": NaN}', "byte 21"),
        (b'{"name": "a"', "truncated"),
        (b'{"name": "a"} x', "(byte 1"),
        (b'{"name": "\xff"}', ""),
        (b'{"name": "\\ud800"}', "truncated"),
        (b'{"name": "\\ud800 and more text"}', "byte"),
        (b'{"name": "\\u0000"}', "U+0000"),
        (b'{"\\u0000": 1}', "U+0000"),
        (b"", "empty"),
        (b"  ", "empty"),
        (b'{"lat": 1e999}', ""),
        (b'{"geometry": ' + b'{"a":' * 40 + b"1" + b"}" * 41, "deeper than 32"),
        (b"[" * 100_000, "deeper than 32"),
        (b'{"a":' * 100_000, "deeper than 32"),
    ]:
        answer = _post(client, data)

        assert (answer.status_code, answer.json["code"]) == (400, "malformed_body")
        assert what in answer.json["detail"]


def test_json_of_another_kind_is_422(client: FlaskClient) -> None:
    for data in [b"[]", b"1", b"null", b'"x"', b"true"]:
        assert _post(client, data).status_code == 422


def test_nesting_of_32_levels_is_read(client: FlaskClient) -> None:
    deep = b'{"name": "a", "geometry": ' + b'{"a":' * 30 + b"[]" + b"}" * 30 + b"}"

    assert _post(client, deep).json["code"] == "wrong_type"


def test_another_type_of_body_is_415(client: FlaskClient) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = client.post("/v1/fences", data=b"{}", content_type=content_type)
        assert (answer.status_code, answer.json["code"]) == (415, "unsupported_media_type")


def test_a_body_over_8_mib_is_413_chunked_or_not(client: FlaskClient) -> None:
    large = b'{"name": "' + b"x" * (8 << 20) + b'"}'
    chunked = {
        "input_stream": BytesIO(large),
        "environ_overrides": {"wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
    }

    for answer in (
        _post(client, large),
        client.post("/v1/fences", content_type="application/json", **chunked),
    ):
        assert (answer.status_code, answer.json["code"]) == (413, "body_too_large")


def test_a_chunked_body_of_8_mib_is_not_cut(client: FlaskClient) -> None:
    exact = b'{"name": "' + b"x" * ((8 << 20) - 12) + b'"}'
    answer = client.post(
        "/v1/fences",
        content_type="application/json",
        input_stream=BytesIO(exact),
        environ_overrides={"wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
    )

    assert len(exact) == 8 << 20
    assert answer.status_code == 422  # read to its end: the name is too long
    assert answer.json["errors"][0]["code"] == "string_too_long"


def test_addresses_and_methods_that_are_none(client: FlaskClient) -> None:
    nowhere, wrong = client.get("/v1/nowhere"), client.put("/v1/campaigns")

    assert (nowhere.status_code, nowhere.json["code"]) == (404, "not_found")
    assert (wrong.status_code, wrong.json["code"]) == (405, "method_not_allowed")
    assert "POST" in wrong.headers["Allow"]


def test_odd_characters_in_an_address_are_no_fault_of_the_server(either_client: FlaskClient) -> None:
    for address in (
        "/v1/fences?q=%00",
        "/v1/fences?tag=a&brand=%00",
        "/v1/fences/%00",
        "/v1/fences?q=%ff%fe",
    ):
        assert either_client.get(address).status_code in (200, 400, 404), address


def test_an_unforeseen_error_is_a_problem_that_tells_nothing(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(house)
    app.add_url_rule("/broken", "broken", lambda: 1 / 0)
    answer = app.test_client().get("/broken")

    assert (answer.status_code, answer.json["code"]) == (500, "internal_error")
    assert "ZeroDivision" not in answer.text
    assert "ZeroDivisionError" in caplog.text


def test_a_database_that_does_not_answer_is_503_with_retry_after(house: House) -> None:
    def failing() -> None:
        raise sa.exc.OperationalError("select 1", {}, Exception("server closed the connection"))

    app = create_app(house)
    app.add_url_rule("/down", "down", failing)
    answer = app.test_client().get("/down")

    assert (answer.status_code, answer.json["code"]) == (503, "database_unavailable")
    assert answer.headers["Retry-After"] == "1"
    assert "select 1" not in answer.text


def test_every_class_of_errors_has_a_status() -> None:
    def below(kind: type[NearcastError]) -> list[type[NearcastError]]:
        return [kind, *(found for child in kind.__subclasses__() for found in below(child))]

    statuses = {kind.__name__: problems.status_of_class(kind) for kind in below(NearcastError)}

    assert set(statuses.values()) <= set(problems._TITLES)
    assert (statuses["ShapeRefused"], statuses["IllegalMove"], statuses["Conflict"]) == (422, 409, 503)


def test_answers_tell_browsers_to_guess_nothing_and_keep_nothing(client: FlaskClient) -> None:
    answer = client.get("/v1/fences")

    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"


# --- Idempotency-Key --------------------------------------------------------------------------------


def _once(client: FlaskClient, token: str, body: dict, **headers: str) -> Any:
    own = {"Authorization": client.environ_base["HTTP_AUTHORIZATION"]}
    return client.post("/v1/fences", json=body, headers={**own, "Idempotency-Key": token, **headers})


def test_a_repeat_gets_the_same_answer_and_has_no_effect(either_client: FlaskClient) -> None:
    first, again = _once(either_client, "k1", BODY), _once(either_client, "k1", BODY)

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.data == first.data
    assert either_client.get("/v1/fences").json["total"] == 1
    assert _once(either_client, "k2", BODY).json["id"] != first.json["id"]


def test_a_key_with_another_body_is_refused(client: FlaskClient) -> None:
    _once(client, "k1", BODY)
    other = _once(client, "k1", {**BODY, "name": "b"})

    assert (other.status_code, other.json["code"]) == (422, "idempotency_key_reused")
    assert client.get("/v1/fences").json["total"] == 1


def test_a_request_that_failed_leaves_its_key_free(client: FlaskClient) -> None:
    assert _once(client, "k1", {**BODY, "external_id": "a"}).status_code == 201
    assert _once(client, "k2", {**BODY, "external_id": "a"}).status_code == 409
    assert _once(client, "k2", {**BODY, "external_id": "b"}).status_code == 201


def test_while_the_first_is_at_work_a_repeat_is_409_until_it_is_given_up(
    client: FlaskClient, house: House
) -> None:
    made = _once(client, "k1", BODY).json

    def age(status: int | None, created_ms: int) -> None:
        """As if the first request had begun then and, without a status, not come back."""
        table = idempotency.idempotency
        in_transaction(
            house.engine,
            lambda conn: conn.execute(sa.update(table).values(status=status, created_ms=created_ms)),
        )

    now_ms = house.clock.now_ms()
    age(None, now_ms)
    running = _once(client, "k1", BODY)
    assert (running.status_code, running.json["code"]) == (409, "still_running")

    age(None, now_ms - 61_000)  # its process died before it changed anything
    assert _once(client, "k1", BODY).json["id"] != made["id"]

    age(201, now_ms - 24 * 3_600_000 - 1)  # answers are kept for a day
    assert _once(client, "k1", {**BODY, "name": "tomorrow"}).status_code == 201


def test_answers_are_forgotten_after_a_day(either_client: FlaskClient) -> None:
    first = _once(either_client, "k1", BODY).json
    home: House = either_client.application.extensions["nearcast"]
    made_ms = home.clock.now_ms()

    def forgotten(now_ms: int) -> int:
        return in_transaction(home.engine, lambda conn: forget_answers(conn, now_ms=now_ms))

    assert forgotten(made_ms + KEPT_MS - 60_000) == 0
    assert _once(either_client, "k1", BODY).json == first
    assert forgotten(made_ms + KEPT_MS + 60_000) == 1
    assert _once(either_client, "k1", BODY).json["id"] != first["id"]


def test_keys_belong_to_their_workspace_and_address(client: FlaskClient, house: House) -> None:
    own = _once(client, "k1", BODY)
    stranger = key(house, workspace_id=second_workspace(house)[0])
    theirs = _once(client, "k1", BODY, **stranger)

    assert (own.status_code, theirs.status_code) == (201, 201)
    assert own.json["id"] != theirs.json["id"]
    headers = {"Authorization": client.environ_base["HTTP_AUTHORIZATION"], "Idempotency-Key": "k1"}
    elsewhere = client.post("/v1/fence-groups", json=BODY | {"name": "g"}, headers=headers)
    assert elsewhere.status_code == 422


@pytest.mark.parametrize("token", ["", "x" * 256])
def test_a_key_has_1_to_255_characters(client: FlaskClient, token: str) -> None:
    assert _once(client, token, BODY).json["errors"][0]["code"] == "length"


def test_twenty_at_once_with_one_key_make_one_fence(either_house: House) -> None:
    app, headers = create_app(either_house), key(either_house)
    answers: list[tuple[int, bytes]] = []

    def call() -> None:
        answer = app.test_client().post(
            "/v1/fences", json=BODY, headers={**headers, "Idempotency-Key": "one"}
        )
        answers.append((answer.status_code, answer.data))

    threads = [threading.Thread(target=call) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    count = sa.select(sa.func.count()).select_from(fence)

    assert reading(either_house.engine, lambda conn: conn.execute(count).scalar_one()) == 1
    assert {status for status, _ in answers} <= {201, 409}
    assert len({data for status, data in answers if status == 201}) == 1


def test_ten_puts_at_once_make_one_fence_with_a_version_each(either_house: House) -> None:
    app, headers = create_app(either_house), key(either_house)
    statuses: list[int] = []

    def call(n: int) -> None:
        body = {"name": "a", **GANGNAM, "radius_m": 100 + n}
        statuses.append(app.test_client().put("/v1/fences/s1", json=body, headers=headers).status_code)

    threads = [threading.Thread(target=call, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client = app.test_client()
    made = client.get("/v1/fences", headers=headers).json["items"][0]
    versions = client.get(f"/v1/fences/{made['id']}/versions", headers=headers).json["items"]

    assert sorted(statuses) == [200] * 9 + [201]
    assert [version["version"] for version in versions] == list(range(10, 0, -1))
    assert [version["until"] is None for version in versions] == [True] + [False] * 9


def test_large_but_legal_geometry_is_taken(client: FlaskClient) -> None:
    ring = [[127 + 0.01 * n / 5_000, 37.5] for n in range(5_000)]
    ring += [[127.01 - 0.01 * n / 4_998, 37.51] for n in range(4_999)]
    body = {"name": "a", "geometry": {**SQUARE, "coordinates": [[*ring, ring[0]]]}}

    assert _post(client, json.dumps(body).encode()).status_code == 201
