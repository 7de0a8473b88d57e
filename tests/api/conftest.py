"""What the tests of the HTTP interface share besides `tests/conftest.py`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from api.settings import Settings
from api.wiring import build
from tests.doors import client_of


@pytest.fixture(scope="module")
def door(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """One client for all cases: none of these bodies may leave anything that another one minds."""
    path = tmp_path_factory.mktemp("bodies") / "nearcast.db"
    shutil.copyfile(sqlite_template, path)
    home = build(Settings(database_url=f"sqlite:///{path}", public_url="http://nearcast.test"))
    yield client_of(home)
    home.engine.dispose()
