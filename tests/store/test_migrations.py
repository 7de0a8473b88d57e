"""The migrations make exactly the tables of `tables.py`, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from nearcast.store.engine import make_engine
from nearcast.store.migrate import current, differences, newest, upgrade
from nearcast.store.tables import metadata
from tests.postgres import Postgres


def test_migrated_tables_are_those_of_the_metadata(engine: sa.Engine) -> None:
    assert differences(engine) == [], "run `make migration` and commit what it writes"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_difference_would_be_seen(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    engine = make_engine(_url_of_an_empty_database(kind, tmp_path, request))
    upgrade(engine)
    with engine.begin() as conn:
        conn.exec_driver_sql("drop index ix_device_user")
        conn.exec_driver_sql("alter table device drop column user_id")
    seen = str(differences(engine))
    assert "ix_device_user" in seen
    assert "user_id" in seen
    engine.dispose()


def test_sqlite_gets_the_same_ddl_from_migrations_and_metadata(
    sqlite_engine: sa.Engine, tmp_path: Path
) -> None:
    """Alembic compares no table options: the tables without rowid are compared as text."""
    direct = make_engine(f"sqlite:///{tmp_path}/direct.db")
    metadata.create_all(direct)
    assert _without_rowid(sqlite_engine) == _without_rowid(direct)
    assert "presence" in _without_rowid(direct)
    direct.dispose()


def _without_rowid(engine: sa.Engine) -> set[str]:
    with engine.connect() as conn:
        listed = conn.exec_driver_sql("select name from pragma_table_list where wr = 1")
        return {name for (name,) in listed}


def test_every_referring_column_is_checked(engine: sa.Engine) -> None:
    wanted = {(t.name, f.parent.name) for t in metadata.tables.values() for f in t.foreign_keys}
    seen = {
        (table, column)
        for table in metadata.tables
        for key in sa.inspect(engine).get_foreign_keys(table)
        for column in key["constrained_columns"]
    }
    assert seen == wanted


def test_upgrade_again_changes_nothing(engine: sa.Engine) -> None:
    upgrade(engine)
    assert current(engine) == newest()


def test_a_database_without_tables_has_no_revision(tmp_path: Path) -> None:
    empty = make_engine(f"sqlite:///{tmp_path}/empty.db")
    assert current(empty) is None
    empty.dispose()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_processes_that_start_at_once_migrate_once(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = _url_of_an_empty_database(kind, tmp_path, request)
    engines = [make_engine(url) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(upgrade, engines))
    assert current(engines[0]) == newest()
    for engine in engines:
        engine.dispose()


def _url_of_an_empty_database(kind: str, folder: Path, request: pytest.FixtureRequest) -> str:
    if kind == "sqlite":
        return f"sqlite:///{folder}/own.db"
    server: Postgres = request.getfixturevalue("postgres")
    return server.url(server.create())
