"""`nearcast keys`: make, list and revoke API keys (product W3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from api.commands.opening import ACTOR, opened
from api.commands.printing import json_option, print_json, print_table

if TYPE_CHECKING:
    import sqlalchemy as sa

SCOPES = ("ingest", "manage", "test", "admin")


@click.group()
def keys() -> None:
    """Make, list and revoke API keys."""


@keys.command()
@click.option("--name", default="command line", show_default=True, help="What the key is for.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    default=("ingest", "manage", "test"),
    show_default=True,
    help="What it opens; may be given several times.",
)
@click.option("--app", "bundle_id", help="Bind it to one app, by bundle id. Default: all apps.")
@click.option(
    "--holds-consent/--no-consent",
    default=False,
    help="Declare that your backend holds each user's location consent.",
)
@click.option("--quiet", is_flag=True, help="Print the key alone.")
@json_option
def create(
    name: str,
    scopes: tuple[str, ...],
    bundle_id: str | None,
    holds_consent: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Make a key. Its text is shown this once and kept nowhere."""
    from nearcast.services.ids import public
    from nearcast.services.manage_workspace import create_key

    with opened() as home:
        key_id, text = home.write(
            lambda conn: create_key(
                conn,
                workspace_id=home.workspace_id,
                app_id=_app(conn, home.workspace_id, bundle_id),
                name=name,
                scopes=scopes,
                holds_location_consent=holds_consent,
                now_ms=home.now_ms,
                actor=ACTOR,
            )
        )
    if as_json:
        print_json({"id": public("key", key_id), "key": text, "scopes": sorted(scopes)})
    elif quiet:
        click.echo(text)
    else:
        click.echo(f"{public('key', key_id)}  {text}\nKeep it now: it is not shown again.")


@keys.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the keys; of each only the first characters are known."""
    from nearcast.services.ids import public
    from nearcast.store import workspaces

    with opened() as home:
        found = home.read(lambda conn: workspaces.keys_of(conn, home.workspace_id))
    rows = [
        {
            "id": public("key", row["id"]),
            "name": row["name"],
            "begins": row["hint"],
            "scopes": row["scopes"],
            "holds_location_consent": row["holds_location_consent"],
            "revoked": row["revoked_ms"] is not None,
        }
        for row in found
    ]
    if as_json:
        print_json(rows)
    else:
        cells = [[" ".join(v) if isinstance(v, list) else v for v in row.values()] for row in rows]
        print_table(["id", "name", "begins", "scopes", "holds consent", "revoked"], cells)


@keys.command()
@click.argument("key_id")
def revoke(key_id: str) -> None:
    """Revoke a key by its id (key_1); every process refuses it within 2 s."""
    from nearcast.services.ids import parse
    from nearcast.services.manage_workspace import revoke_key

    with opened() as home:
        home.write(
            lambda conn: revoke_key(
                conn,
                parse("key", key_id),
                workspace_id=home.workspace_id,
                now_ms=home.now_ms,
                actor=ACTOR,
            )
        )
    click.echo(f"{key_id} is revoked.")


def _app(conn: sa.Connection, workspace_id: int, bundle_id: str | None) -> int | None:
    from nearcast.services.errors import NotFound
    from nearcast.store import workspaces

    if bundle_id is None:
        return None
    apps = workspaces.apps_of(conn, workspace_id)
    if bundle_id not in apps:
        raise NotFound(f"There is no app '{bundle_id}'. There are: {', '.join(apps)}.")
    return apps[bundle_id]
