"""Ways into a wired house for tests: a key, and a client that presents it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from api import aside
from api.aside import Aside
from api.wiring import House
from nearcast.services.manage_workspace import Scope, create_key
from nearcast.services.work_uploads import work_off
from nearcast.store.engine import in_transaction


def make_key(house: House, *scopes: Scope, app_id: int | None = None) -> str:
    """A living API key of the default workspace, with all scopes unless some are named."""
    return in_transaction(
        house.engine,
        lambda conn: create_key(
            conn,
            workspace_id=house.workspace_id,
            app_id=app_id,
            name="tests",
            scopes=scopes or list(Scope),
            holds_location_consent=True,
            now_ms=0,
            actor="tests",
        ),
    )[1]


def client_of(house: House) -> FlaskClient:
    """A client of the whole application, which presents a key with all scopes."""
    from api.app import create_app  # most tests have no need of it, and it takes half a second

    client = create_app(house).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {make_key(house)}"
    return client


class Here(Aside):
    """Does in this process, at once, what a server does in a process aside."""

    def __init__(self, house: House) -> None:
        super().__init__(house.settings)
        self._house = house

    def wake(self) -> None:
        house = self._house
        work_off(house.engine, house.clock, max_radius_m=house.settings.max_radius_m)

    def write(self, path: Path, *args: str) -> None:
        with pytest.MonkeyPatch.context() as patched:
            for name, value in self.settings.to_env().items():
                patched.setenv(name, value)
            aside.JOBS[args[0]](*args[1:], str(path))


def staying_here(house: House) -> House:
    """The house with its work aside done in this process: quick, and over when a call returns."""
    return replace(house, aside=Here(house))
