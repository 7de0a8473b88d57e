"""`nearcast import` and `export`: fences from a spreadsheet and into one (product U1–U7)."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from api.commands.opening import ACTOR, Opened, opened
from api.commands.printing import json_option, print_json, print_table

if TYPE_CHECKING:
    from campaigns.campaign.plans import Plan
    from geo.fences.fence import Fence
    from geo.sheets.problems import Problem
    from nearcast.services.upload import Checked
    from nearcast.store.fences import StoredFence

FORMATS = ("xlsx", "csv", "geojson")
MAX_SHOWN = 30
_PAGE = 5_000


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--group", required=True, help="The group for rows that name none.")
@click.option("--radius", "radius_m", type=float, help="Metres, for rows that give no radius.")
@click.option("--brand", help="For rows that name none.")
@click.option("--category", help="For rows that name none.")
@click.option("--sheet", help="Only this sheet of a workbook.")
@click.option("--lang", type=click.Choice(["en", "ko"]), default="en", show_default=True)
@click.option("--apply", "write", is_flag=True, help="Write without asking.")
@json_option
def import_(
    file: Path,
    group: str,
    radius_m: float | None,
    brand: str | None,
    category: str | None,
    sheet: str | None,
    lang: str,
    write: bool,
    as_json: bool,
) -> None:
    """Check FILE (xlsx, xls, ods, csv) and show what it would change.

    Writes only with --apply, or after a yes on a terminal. Rows with a problem are left out.
    """
    from geo.fences.columns import FenceDefaults
    from nearcast.services import upload

    defaults = FenceDefaults(radius_m=radius_m, group=group, brand=brand, category=category)
    with opened() as home:
        read = upload.read_file(file.read_bytes(), defaults=defaults, sheet=sheet)
        plan = home.plan
        checked = home.read(
            lambda conn: upload.check(conn, read, workspace_id=home.workspace_id, plan=plan)
        )
        if not as_json:
            _show(checked, lang, title=file.name)
        applied = bool(checked.wanted) and (write or (not as_json and _agreed(len(checked.wanted))))
        if applied:
            _apply(home, checked, plan)
    if as_json:
        print_json(_as_json(checked, lang) | {"applied": applied})
    elif applied:
        click.echo(f"{len(checked.wanted):,} fences written.")
    elif checked.wanted:
        click.echo("Nothing was written. To write: the same with --apply.")


def _apply(home: Opened, checked: Checked, plan: Plan) -> None:
    from nearcast.services import upload

    home.write(
        lambda conn: upload.apply(
            conn,
            checked,
            workspace_id=home.workspace_id,
            plan=plan,
            now_ms=home.now_ms,
            actor=ACTOR,
        )
    )


def _agreed(count: int) -> bool:
    """Asked on a terminal; elsewhere nobody can agree."""
    return sys.stdin.isatty() and click.confirm(f"Write these {count:,} fences?", default=False)


def _show(checked: Checked, lang: str, *, title: str) -> None:
    print_table(["rows", "count"], [(s.value, n) for s, n in checked.counts.items()], title=title)
    found = checked.problems
    if not found:
        return
    codes = ", ".join(f"{code} {n:,}" for code, n in Counter(p.code for p in found).most_common())
    rows = [(p.sheet, p.row, p.heading, p.value, p.message(lang)) for p in found[:MAX_SHOWN]]
    print_table(["sheet", "row", "heading", "value", "problem"], rows, title=f"Problems: {codes}")
    if len(found) > MAX_SHOWN:
        click.echo(f"… and {len(found) - MAX_SHOWN:,} more; --json lists them all.")


def _as_json(checked: Checked, lang: str) -> dict[str, Any]:
    return {
        "counts": {state.value: count for state, count in checked.counts.items()},
        "mapping": [dict(sheet.mapping) for sheet in checked.read],
        "unknown_headings": [name for sheet in checked.read for name in sheet.unknown_headings],
        "problems": [_problem(problem, lang) for problem in checked.problems],
    }


def _problem(problem: Problem, lang: str) -> dict[str, Any]:
    return {
        "sheet": problem.sheet,
        "row": problem.row,
        "heading": problem.heading,
        "cell": problem.cell,
        "value": problem.value,
        "code": problem.code,
        "message": problem.message(lang),
    }


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--group", help="Only the fences of this group.")
@click.option("--lang", type=click.Choice(["en", "ko"]), default="en", show_default=True)
def export(file: Path, group: str | None, lang: str) -> None:
    """Write the fences to FILE; its ending says how: .xlsx, .csv or .geojson.

    A sheet can be imported again as it is.
    """
    kind = file.suffix.lower().lstrip(".")
    if kind not in FORMATS:
        raise click.UsageError(f"'{file.name}' must end in {', '.join('.' + f for f in FORMATS)}.")
    with opened() as home:
        found = home.read(lambda conn: list(_stored(conn, home.workspace_id, group)))
    file.write_bytes(_written(kind, found, lang))
    click.echo(f"{len(found):,} fences in {file}")


def _stored(conn: Any, workspace_id: int, group: str | None) -> Iterator[StoredFence]:
    from nearcast.store import fences

    if group is not None:
        yield from fences.of_group(conn, workspace_id=workspace_id, group=group)
        return
    after = 0
    while True:
        page, _ = fences.listed(conn, workspace_id=workspace_id, after_id=after, limit=_PAGE)
        if not page:
            return
        yield from page
        after = page[-1].id


def _written(kind: str, found: Sequence[StoredFence], lang: str) -> bytes:
    from geo.fences.columns import fences_to_rows
    from geo.sheets.workbook import to_csv, to_xlsx

    if kind == "geojson":
        features = [_feature(stored.id, stored.fence) for stored in found]
        collection = {"type": "FeatureCollection", "features": features}
        return json.dumps(collection, ensure_ascii=False).encode()
    rows = fences_to_rows((stored.fence for stored in found), lang=lang)
    return to_xlsx(rows, sheet="fences") if kind == "xlsx" else to_csv(rows)


def _feature(fence_id: int, fence: Fence) -> dict[str, Any]:
    from geo.fences.fence import CircleShape
    from geo.fences.shapes import to_geojson
    from nearcast.services.ids import public
    from nearcast.store.fences import attributes_of

    properties = attributes_of(fence)
    if isinstance(fence.shape, CircleShape):  # the outline is an approximation; this is the circle
        circle = fence.shape
        properties |= {"lat": circle.lat, "lng": circle.lon, "radius_m": circle.radius_m}
    return {
        "type": "Feature",
        "id": public("fnc", fence_id),
        "geometry": to_geojson(fence.shape),
        "properties": properties,
    }
