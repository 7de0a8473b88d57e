"""`/v1/uploads` and group files at their borders: odd names, endless lists, processes that are late."""

from __future__ import annotations

import io
import subprocess
import threading
from dataclasses import replace
from typing import Any

import openpyxl
import pytest
from flask.testing import FlaskClient

from api.aside import Aside, NotWritten
from api.commands import sheets
from api.commands.opening import Opened
from api.wiring import House
from campaigns.campaign.plans import Plan
from nearcast.services import upload, upload_job
from nearcast.services.run_campaigns import Author
from nearcast.services.upload_options import UploadOptions
from nearcast.services.work_uploads import work_off
from nearcast.store import uploads
from nearcast.store.engine import in_transaction
from tests.api.test_uploads_api import CSV, did, got, send, sent
from tests.doors import client_of

pytestmark = pytest.mark.slow


def receive(house: House, **options: Any) -> int:
    """An upload as the command line makes it: without the bounds of the API."""
    who = Author(workspace_id=house.workspace_id, plan=Plan.PREMIUM, actor="cli", now_ms=1)
    return in_transaction(
        house.engine,
        lambda c: upload.receive(
            c, CSV.encode(), file_name="x.csv", options=UploadOptions(**options), author=who
        ),
    )


@pytest.mark.parametrize(
    "options",
    [
        {"group": "g" * 300},
        {"delimiter": ";;"},
        {"encoding": "e" * 50},
        {"mapping": {"x" * 2_000: "name"}},
        {"accept_rows": ({"row": -1, "codes": ()},)},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_from_the_command_line_are_shown_whatever_they_are(
    house: House, client: FlaskClient, options: dict[str, Any]
) -> None:
    if "accept_rows" in options:
        options = {"accept_rows": UploadOptions.from_json(options).accept_rows}
    serial = receive(house, **options)
    shown = got(client, f"upl_{serial}")["options"]
    assert shown.keys() >= options.keys()
    assert client.get("/v1/uploads").json["total"] == 1


@pytest.mark.parametrize("group", ["a\r\nb", "a/b", 'a"b', "..", "é\u202e", "-x"])
@pytest.mark.parametrize("aside", [False, True])
def test_a_group_of_any_name_is_exported(
    client: FlaskClient, group: str, aside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if aside:
        monkeypatch.setattr("api.routes.groups.EXPORTED_HERE", 0)
    did(client, sent(client, group=group), "apply")
    (found,) = client.get("/v1/fence-groups").json["items"]
    answer = client.get(f"/v1/fence-groups/{found['id']}/export.csv")
    assert answer.status_code == 200, answer.text
    assert answer.text.count("강남점") == 1


def test_the_list_goes_on_after_a_cursor_and_shows_no_reports(client: FlaskClient) -> None:
    ids = [sent(client) for _ in range(3)]
    first = client.get("/v1/uploads?limit=2").json
    assert [item["id"] for item in first["items"]] == ids[:2]
    assert first["total"] == 3
    assert not first["items"][0].keys() & {"report", "options"}
    rest = client.get(f"/v1/uploads?limit=2&cursor={first['next_cursor']}").json
    assert [item["id"] for item in rest["items"]] == ids[2:]
    assert rest["next_cursor"] is None


def test_of_many_edited_fences_the_first_are_named_and_all_counted(client: FlaskClient) -> None:
    rows = "".join(f"점{n},C{n},37.5,127.0\n" for n in range(230))
    head = CSV.splitlines()[0] + "\n"
    one = sent(client, head + rows)
    did(client, one, "apply")
    did(client, sent(client, head + rows, radius_m="200", options='{"brand": "b"}'), "apply")
    review = client.get(f"/v1/uploads/{one}/undo").json
    assert (len(review["edited"]), review["edited_total"]) == (200, 230)
    assert (review["used"], review["used_total"], review["delete"]) == ([], 0, 0)


def test_a_small_file_of_many_rows_is_marked_aside(house: House) -> None:
    asked: list[tuple[str, ...]] = []

    class Noting(Aside):
        def wake(self) -> None:
            work_off(house.engine, house.clock)

        def write(self, path: Any, *args: str) -> None:
            asked.append(args)
            path.write_bytes(b"PK")

    client = client_of(replace(house, aside=Noting(house.settings)))
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("s")
    for row in (["지점명", "위도", "경도"], *[["점", 37.5, 127.0]] * 6_000):
        sheet.append(row)
    out = io.BytesIO()
    book.save(out)
    upload_id = sent(client, out.getvalue(), "s.xlsx")
    assert got(client, upload_id)["file_bytes"] < 256 << 10
    assert client.get(f"/v1/uploads/{upload_id}/report.xlsx").status_code == 200
    assert [args[0] for args in asked] == ["report"]


def test_a_system_without_room_for_a_process_refuses_no_upload(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", full)
    aside = Aside(house.settings)
    aside.wake()
    with pytest.raises(NotWritten):
        aside.write(tmp_path / "x", "report")


def test_the_command_line_waits_for_a_servers_process_that_was_first(house: House) -> None:
    home = Opened(
        settings=house.settings,
        engine=house.engine,
        workspace_id=house.workspace_id,
        clock=house.clock,
    )
    serial = receive(house, radius_m=100.0, group="g")
    now_ms = upload_job.wall_ms()
    in_transaction(
        house.engine,
        lambda c: uploads.lease_one(
            c, serial, holder="a server", wall_ms=now_ms, until_ms=now_ms + 60_000
        ),
    )

    def give_back() -> None:
        in_transaction(house.engine, lambda c: uploads.change(c, serial, lease_until_ms=0))

    later = threading.Timer(0.5, give_back)
    later.start()
    row = sheets._worked(home, serial, lambda *_: None)
    later.join()
    assert row["state"] == "checked"


def test_a_repeated_key_with_a_blank_group_is_no_group(client: FlaskClient) -> None:
    upload_id = send(client, group="").json["id"]
    did(client, upload_id, "apply")
    assert client.get("/v1/fence-groups").json["total"] == 0
    assert client.get("/v1/fences").json["total"] == 1
