"""`nearcast explain`: why somebody got a campaign's message, or did not (product C10)."""

from __future__ import annotations

from datetime import datetime

import click

from api.commands.opening import opened
from api.commands.printing import json_option, print_json, print_table


@click.command()
@click.argument("campaign")
@click.option("--device", "device_id", help="The device's id …")
@click.option("--ad-id", help="… or its ADID or IDFA …")
@click.option("--user", "user_id", help="… or the app's user: exactly one of them.")
@click.option("--at", help="An instant with its zone, 2026-11-23T09:05:00+09:00. Default: now.")
@click.option("--lang", type=click.Choice(["en", "ko"]), default="en", show_default=True)
@json_option
def explain(
    campaign: str,
    device_id: str | None,
    ad_id: str | None,
    user_id: str | None,
    at: str | None,
    lang: str,
    as_json: bool,
) -> None:
    """Say why a phone got the message of CAMPAIGN (cmp_1), or did not."""
    from api.routes.explain import explain_out
    from campaigns.campaign.campaign import to_ms
    from nearcast.services import run_campaigns
    from nearcast.services.explain import explain as explain_it
    from nearcast.services.ids import parse
    from nearcast.store import workspaces

    serial, instant = parse("cmp", campaign), _instant(at)
    with opened() as home:
        apps = home.read(lambda conn: workspaces.apps_of(conn, home.workspace_id))
        found = home.read(
            lambda conn: explain_it(
                conn,
                run_campaigns.load(conn, app_ids=list(apps.values()), campaign_id=serial),
                device_id=device_id,
                ad_id=ad_id,
                user_id=user_id,
                at_ms=None if instant is None else to_ms(instant),
                now_ms=home.now_ms,
                files=home.ping_files,
            )
        )
    answer = explain_out(found).model_dump()
    if as_json:
        print_json(answer)
        return
    click.echo(answer["sentence"][lang])
    names = ("reason", "because", "value", "bound", "at")
    rows = [(name, answer[name]) for name in names if answer[name] is not None]
    fix = answer["fix"]
    if fix is not None:
        where = f"{fix['verdict']}, {fix['distance_m']} m from the rim of {fix['fence']['name']}"
        rows.append(("fix", f"{fix['at']}: {where}"))
    print_table(["what", "value"], rows)


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError(f"'{text}' is no time like 2026-11-23T09:05:00+09:00.") from error
    if at.tzinfo is None:
        raise click.UsageError(f"'{text}' names no zone; write it like 2026-11-23T09:05:00+09:00.")
    return at
