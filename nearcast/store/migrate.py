"""Bring a database to the newest tables, from a program: there is no ini file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from nearcast.store.tables import metadata

SCRIPTS = Path(__file__).parent / "migrations"
#: two processes that start at once migrate one after the other; any number will do
_POSTGRES_LOCK = 0x6E656172


def upgrade(engine: sa.Engine) -> None:
    """Bring the database to the newest revision; nothing happens where it is there already.

    One transaction on both databases: a step that fails leaves the database as it was.
    """
    with engine.begin() as conn:
        if conn.dialect.name == "postgresql":
            conn.execute(sa.select(sa.func.pg_advisory_xact_lock(_POSTGRES_LOCK)))
        config = _config()
        config.attributes["connection"] = conn
        command.upgrade(config, "head")


def newest() -> str:
    """The revision that this code expects."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise LookupError(f"no migrations in {SCRIPTS}")
    return head


def current(engine: sa.Engine) -> str | None:
    """The database's revision, None before the first."""
    with engine.connect() as conn:
        return MigrationContext.configure(conn).get_current_revision()


def differences(engine: sa.Engine) -> list[Any]:
    """What Alembic would change to make the database equal to `tables.metadata`; [] when equal."""
    with engine.connect() as conn:
        return list(compare_metadata(MigrationContext.configure(conn), metadata))


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    # one path a line: a blank in the folder's name must not split it
    config.set_main_option("path_separator", "newline")
    return config
