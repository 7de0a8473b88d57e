"""Alembic's entry: run the steps on the connection that `nearcast.store.migrate` opened."""

from __future__ import annotations

from alembic import context

from nearcast.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    transactional_ddl=True,  # both databases; on SQLite since we say BEGIN ourselves
    render_as_batch=connection.dialect.name == "sqlite",
)
with context.begin_transaction():
    context.run_migrations()
