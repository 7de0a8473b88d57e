"""What many tests need: real databases, a wired house, a client, a real server, a place for proofs."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from hypothesis import HealthCheck, settings

from api.settings import Settings
from api.wiring import House, build
from nearcast.store.engine import make_engine
from nearcast.store.migrate import upgrade
from tests.doors import client_of, staying_here
from tests.doors import make_key as make_key
from tests.postgres import NoPostgres, Postgres
from tests.server import Server

# a shared machine has slow moments: no deadlines; CI repeats the same cases each time
_SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile("dev", deadline=None, suppress_health_check=_SLOW)
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True, database=None)
settings.register_profile("quick", settings.get_profile("dev"), max_examples=15)  # `make check`
settings.load_profile("ci" if os.environ.get("CI") else "dev")

DATABASES = ["sqlite", "postgresql"]
PUBLIC_URL = "http://nearcast.test"


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Bytes are named by their argument: packed ones hold the time, and two workers must agree."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running PostgreSQL. Without its programs: skipped loudly, in CI a failure."""
    try:
        server = Postgres()
    except NoPostgres as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres) -> str:
    """A migrated database that others are copied from."""
    name = postgres.create()
    migrated = make_engine(postgres.url(name))
    upgrade(migrated)
    migrated.dispose()
    return name


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file that others are copied from."""
    path = tmp_path_factory.mktemp("template") / "nearcast.db"
    migrated = make_engine(f"sqlite:///{path}")
    upgrade(migrated)
    migrated.dispose()  # the last connection takes the log back into the file
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The URL of a fresh, migrated SQLite database."""
    path = tmp_path / "nearcast.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def _postgres_database(postgres: Postgres, postgres_template: str) -> str:
    return postgres.create(postgres_template)


@pytest.fixture
def postgres_url(postgres: Postgres, _postgres_database: str) -> Iterator[str]:
    """The URL of an empty, migrated PostgreSQL database; who changes its tables takes an own one."""
    yield postgres.url(_postgres_database)
    postgres.empty(_postgres_database)


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a fresh, migrated database: the test runs once on each of the two."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


def _opened(url: str) -> Iterator[sa.Engine]:
    opened = make_engine(url)
    yield opened
    opened.dispose()


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """A fresh, migrated database: the test runs once on each of the two."""
    yield from _opened(database_url)


@pytest.fixture
def sqlite_engine(sqlite_url: str) -> Iterator[sa.Engine]:
    """A fresh, migrated SQLite database, for tests that the other would teach nothing."""
    yield from _opened(sqlite_url)


def _built(url: str, folder: Path) -> Iterator[House]:
    # webhooks of tests live on 127.0.0.1
    settings = Settings(
        database_url=url,
        public_url=PUBLIC_URL,
        allow_private_targets=True,
        ping_files=str(folder / "pings"),
    )
    wired = build(settings)
    yield staying_here(wired)
    wired.engine.dispose()


@pytest.fixture
def house(sqlite_url: str, tmp_path: Path) -> Iterator[House]:
    """The parts of one process, wired as in production, on SQLite and the wall clock."""
    yield from _built(sqlite_url, tmp_path)


@pytest.fixture
def either_house(database_url: str, tmp_path: Path) -> Iterator[House]:
    """The same; the test runs once on each of the two databases."""
    yield from _built(database_url, tmp_path)


@pytest.fixture
def client(house: House) -> FlaskClient:
    """A client of `house` with a key of all scopes; `headers=` of a call override it."""
    return client_of(house)


@pytest.fixture
def either_client(either_house: House) -> FlaskClient:
    """The same; the test runs once on each of the two databases."""
    return client_of(either_house)


@pytest.fixture
def server(sqlite_url: str, tmp_path: Path) -> Iterator[Server]:
    """`nearcast serve` as a process of its own, on SQLite and the wall clock; slow to start (~1 s)."""
    with Server(sqlite_url, tmp_path) as running:
        yield running


@pytest.fixture
def proof(request: pytest.FixtureRequest) -> Callable[[str, int], None]:
    """Note what a proof has shown: `proof("Q4 …", 400)`; `make prove` prints it in docs/proofs.md."""
    began = time.monotonic()

    def note(name: str, count: int) -> None:
        line = {
            "name": name,
            "count": count,
            "seconds": round(time.monotonic() - began, 2),
            "test": request.node.nodeid,
        }
        if wanted := os.environ.get("NEARCAST_PROOFS"):
            with Path(wanted).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")

    return note
