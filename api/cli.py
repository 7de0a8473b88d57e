"""The command line: `nearcast <command>`. A command is one function of `api/commands/`."""

from __future__ import annotations

import sys
from typing import Any

import click

from api.commands.demo import demo
from api.commands.doctor import doctor
from api.commands.explaining import explain
from api.commands.keys import keys
from api.commands.recorded import pings
from api.commands.replaying import replay
from api.commands.reports import report
from api.commands.serving import migrate, openapi, serve, worker
from api.commands.sheets import export, import_, undo
from geo.errors import NearcastError


class _Group(click.Group):
    """Tells our own errors, and a database that does not answer, in one line without a trace."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except NearcastError as error:
            raise _told(error) from error
        except Exception as error:
            # sqlalchemy is imported by then if the error is one of its own
            known = sys.modules.get("sqlalchemy")
            if known is None or not isinstance(error, known.exc.DBAPIError):
                raise
            told = str(error.orig).splitlines()[0]
            raise click.ClickException(f"the database does not answer: {told}") from error


def _told(error: NearcastError) -> click.ClickException:
    fields = [found for found in getattr(error, "errors", ()) if found.message != error.message]
    lines = [error.message, *(f"  {found.pointer}: {found.message}" for found in fields)]
    return click.ClickException("\n".join(lines))


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="nearcast")
def main() -> None:
    """Nearcast: geofences, pings, visits, messages and honest reports, on your own machines.

    The database and the rest come from NEARCAST_… variables: see docs/reference.md.
    """


for _command in (
    demo,
    doctor,
    explain,
    export,
    import_,
    undo,
    keys,
    migrate,
    openapi,
    pings,
    replay,
    report,
    serve,
    worker,
):
    main.add_command(_command)

if __name__ == "__main__":
    main()
