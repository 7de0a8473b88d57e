"""Write a migration from what differs between the migrations so far and `tables.metadata`.

python scripts/new_migration.py "fences carry a colour"     the next step
python scripts/new_migration.py --first                     0001 anew, while nothing is released
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext

from nearcast.store.engine import make_engine
from nearcast.store.migrate import SCRIPTS, newest, upgrade
from nearcast.store.tables import metadata

#: how Alembic writes the type of our serials, and the name it gets in the file
SERIAL = "sa.BigInteger().with_variant(sa.Integer(), 'sqlite')"
TEMPLATE = '''"""{title}."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = {before!r}
branch_labels = None
depends_on = None

#: SQLite counts rows by INTEGER only
Serial = {serial}


def upgrade() -> None:
    {body}
'''


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("title", nargs="?", default="The first tables")
    parser.add_argument("--first", action="store_true", help="write 0001 anew")
    asked = parser.parse_args()
    body = _steps(empty=asked.first)
    if not body:
        print("the migrations are up to date")
        return 0
    before = None if asked.first else newest()
    revision = f"{int(before or 0) + 1:04d}"
    slug = "first" if asked.first else re.sub(r"\W+", "_", asked.title.lower()).strip("_")
    path = SCRIPTS / "versions" / f"{revision}_{slug}.py"
    written = TEMPLATE.format(
        title=asked.title,
        revision=revision,
        before=before,
        serial=SERIAL,
        body=body.replace(SERIAL, "Serial"),
    )
    path.write_text(re.sub(r" *# ### .*\n", "", written), encoding="utf-8")
    ruff = [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length=100", "--quiet"]
    subprocess.run([*ruff, str(path)], check=True)
    print(f"{path}: read it before you commit it")
    return 0


def _steps(*, empty: bool) -> str:
    """The code that turns an empty database, or one with all migrations so far, into the tables."""
    with tempfile.TemporaryDirectory() as folder:
        engine = make_engine(f"sqlite:///{folder}/scratch.db")
        if not empty:
            upgrade(engine)
        with engine.connect() as conn:
            context = MigrationContext.configure(conn)
            steps = produce_migrations(context, metadata).upgrade_ops
            code = "" if steps is None or steps.is_empty() else _code(steps, batch=not empty)
        engine.dispose()
    return code


def _code(steps: object, *, batch: bool) -> str:
    return render_python_code(steps, render_as_batch=batch)


if __name__ == "__main__":
    sys.exit(main())
