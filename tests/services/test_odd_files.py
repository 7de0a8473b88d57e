"""Odd files through the whole way of an upload: the table is `tests/odd_files.py`."""

from __future__ import annotations

import io
import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.datastructures import FileStorage
from werkzeug.test import encode_multipart

from api.settings import Settings
from api.wiring import build
from geo.sheets.table import SheetLimits
from tests.doors import client_of, staying_here
from tests.odd_books import WORKBOOKS
from tests.odd_files import OddFile, rows_of_bad
from tests.odd_geo_files import GEO_FILES
from tests.odd_texts import NO_TEXTS, TEXTS

pytestmark = pytest.mark.slow

FILES: list[OddFile] = [*TEXTS, *NO_TEXTS, *WORKBOOKS, *GEO_FILES]

BOMBS = [
    "ten million quotation marks",
    "values in A1 and XFD1048576",
    "a sheet of 1 GiB",
    "a sheet that unpacks to more than it says",
    "a billion laughs in the shared strings",
    "a million rows with nothing but a fill",
    "one merge over all cells",
    "100,000 merges below the values",
    "100,000 merges over all values",
    "GeoJSON in 100,000 brackets",
]


@pytest.fixture(scope="module")
def web(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """One database for all files, of which none is applied."""
    path = tmp_path_factory.mktemp("odd") / "nearcast.db"
    shutil.copyfile(sqlite_template, path)
    house = build(Settings(database_url=f"sqlite:///{path}", public_url="http://nearcast.test"))
    yield client_of(staying_here(house))
    house.engine.dispose()


@pytest.mark.parametrize("file", [pytest.param(file, id=file.name) for file in FILES])
def test_an_odd_file_becomes_what_the_table_says(web: FlaskClient, file: OddFile) -> None:
    options = json.dumps(dict(file.options))
    form = {"file": FileStorage(io.BytesIO(file.data), file.file_name), "options": options}
    boundary, body = encode_multipart(form)  # the client itself would leave a file on disk open
    kind = f'multipart/form-data; boundary="{boundary}"'
    answer = web.post("/v1/uploads", data=body, content_type=kind)
    assert answer.status_code == 202, answer.text
    at = f"/v1/uploads/{answer.json['id']}"
    found = web.get(at).json
    if file.error is not None:
        assert (found["state"], found["error"]["code"]) == ("failed", file.error)
        korean = web.get(at, headers={"Accept-Language": "ko"}).json["error"]["message"]
        assert korean != found["error"]["message"]
        assert web.get(f"{at}/report.xlsx").status_code == 409
        return
    assert (found["state"], found["error"]) == ("checked", None)
    _check_report(file, found)
    items = web.get(f"{at}/rows?status=refused&limit=100").json["items"]
    problems = [(p["code"], item["sheet"], item["row"]) for item in items for p in item["problems"]]
    assert problems == list(file.problems)
    where = {(w["sheet"], w["row"]) for kind in found["report"]["problems"] for w in kind["rows"]}
    assert where == {(sheet, row) for _, sheet, row in file.problems}
    counted = rows_of_bad(file)
    assert counted is None or counted == where
    if counted:
        assert web.get(f"{at}/report.xlsx?lang=ko").status_code == 200


def _check_report(file: OddFile, found: dict[str, Any]) -> None:
    refused = len({(sheet, row) for _, sheet, row in file.problems})
    counts = {"new": file.new, "changed": 0, "same": 0, "refused": refused, "missing": 0}
    assert found["counts"] == counts
    told = found["report"]["sheets"][0]
    assert {key: told[key] for key in file.sheet} == dict(file.sheet)
    if file.sheets is not None:
        listed = found["report"]["file_sheets"]
        assert [(s["name"], s["hidden"], s["rows"], s["taken"]) for s in listed] == list(file.sheets)


def test_the_table_is_as_large_as_promised() -> None:
    assert len({file.name for file in FILES}) == len(FILES) >= 30
    counted = [file for file in FILES if file.error is None and rows_of_bad(file)]
    assert len(counted) >= 30, "the files whose bad rows are counted by other means"


_READ = """
import resource, sys
from nearcast.store.sandbox import read_file
from geo.sheets.problems import SheetRefused
data = sys.stdin.buffer.read()
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
try:
    read_file(data)
except SheetRefused:
    pass
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.parametrize("name", BOMBS)
def test_the_worst_cost_no_more_memory_than_is_allowed(name: str) -> None:
    (file,) = [file for file in FILES if file.name == name]
    done = subprocess.run(
        [sys.executable, "-c", _READ],
        input=file.data,
        capture_output=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    limits = SheetLimits()
    bound = limits.geo_memory_bytes if name.startswith("GeoJSON") else limits.memory_bytes
    assert 0 < int(done.stdout) << 10 < bound
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10 < 2 << 30
