"""`nearcast import`, `undo` and `export`: fences from a file, back again, into one (product U1–U7)."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from api.commands.opening import ACTOR, Opened, opened
from api.commands.printing import json_option, print_json, print_table

if TYPE_CHECKING:
    import sqlalchemy as sa

    from nearcast.services.run_campaigns import Author
    from nearcast.services.upload_options import UploadOptions

LANGUAGES = click.Choice(["en", "ko"])
MAX_SHOWN = 30
#: how often to ask how far a server's process is that took the upload first
LOOK_EVERY_S = 0.2
_ACCEPTABLE = "Taken with --accept CODE."


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--group", help="The group for rows that name none.")
@click.option("--radius", "radius_m", type=float, help="Metres, for rows that give no radius.")
@click.option("--brand", help="For rows that name none.")
@click.option("--category", help="For rows that name none.")
@click.option("--sheet", "sheets", multiple=True, help="Only this sheet or layer; may be repeated.")
@click.option("--encoding", help="Of a CSV, such as cp949, where the guess is wrong.")
@click.option("--delimiter", help="Of a CSV, where the guess is wrong.")
@click.option("--heading-row", type=int, help="As Excel numbers it, where the guess is wrong.")
@click.option("--map", "mapped", multiple=True, help="HEADING=COLUMN, or HEADING= to leave it out.")
@click.option("--crs", help="Of a geo file that does not say: EPSG:5181.")
@click.option("--grid", help="Of columns in metres: EPSG:5174.")
@click.option("--accept", multiple=True, metavar="CODE", help="Take the proposals for this problem.")
@click.option("--country", "countries", multiple=True, help="Rows may lie here only, such as KR.")
@click.option("--delete-missing", is_flag=True, help="Delete fences of its groups it does not name.")
@click.option("--marked", type=click.Path(path_type=Path), help="Write the sheet with its faults here.")
@click.option("--lang", type=LANGUAGES, default="en", show_default=True)
@click.option("--apply", "write", is_flag=True, help="Write without asking.")
@json_option
def import_(
    file: Path,
    mapped: tuple[str, ...],
    delete_missing: bool,
    marked: Path | None,
    lang: str,
    write: bool,
    as_json: bool,
    **said: Any,
) -> None:
    """Check FILE and show what it would change.

    Takes xlsx, xls, ods, csv, GeoJSON, KML, GPX, GeoPackage and zipped Shapefiles. Writes only with
    --apply, or after a yes on a terminal. Rows with a problem are left out.
    """
    from nearcast.services import upload

    options = _options(said, mapped, delete_missing=delete_missing)
    with opened() as home, _bar(hidden=as_json) as told:
        author = _author(home)
        data = file.read_bytes()
        upload_id = home.write(
            lambda conn: upload.receive(conn, data, file_name=file.name, options=options, author=author)
        )
        row = _worked(home, upload_id, told)
        if row["state"] != "checked":
            raise click.ClickException(_reason(row, lang))
        if marked is not None:
            _mark(home, upload_id, marked, lang)
        wanted = _wanted(row, delete_missing=delete_missing)
        if not as_json:
            _show(home, row, lang, title=file.name)
        applied = bool(wanted) and (write or (not as_json and _agreed(wanted)))
        if applied:
            home.write(lambda conn: upload.apply(conn, upload_id, author=author))
            row = _worked(home, upload_id, told)
            if row["state"] != "applied":
                raise click.ClickException(_reason(row, lang))
        if as_json:
            print_json(_as_json(home, row, lang) | {"applied": applied})
    if as_json:
        return
    name = f"upl_{upload_id}"
    if applied:
        click.echo(f"{wanted:,} fences written. To take it back: nearcast undo {name}")
    elif wanted:
        click.echo("Nothing was written. To write: the same with --apply.")


def _options(said: dict[str, Any], mapped: Sequence[str], *, delete_missing: bool) -> UploadOptions:
    from nearcast.services.upload_options import UploadOptions

    given = {name: value for name, value in said.items() if value not in (None, ())}
    given["mapping"] = dict(_mapping(text) for text in mapped)
    return UploadOptions.from_json(given | {"missing": "delete" if delete_missing else "keep"})


def _mapping(text: str) -> tuple[str, str | None]:
    heading, equals, column = text.rpartition("=")
    if not equals or not heading:
        raise click.UsageError(f"--map '{text}' must look like HEADING=COLUMN.")
    return heading, column or None


def _author(home: Opened) -> Author:
    from nearcast.services.run_campaigns import Author

    return Author(workspace_id=home.workspace_id, plan=home.plan, actor=ACTOR, now_ms=home.now_ms)


def _worked(home: Opened, upload_id: int, told: Callable[[int, str, float], None]) -> sa.RowMapping:
    """Have the upload's next step done, here if no server's process took it; the row after it."""
    from nearcast.services import upload
    from nearcast.services.work_uploads import work_off
    from nearcast.store.uploads import AT_WORK

    while True:
        work_off(
            home.engine,
            home.clock,
            only=upload_id,
            max_radius_m=home.settings.max_radius_m,
            told=told,
        )
        row = home.read(lambda conn: upload.load(conn, upload_id, workspace_id=home.workspace_id))
        if row["state"] not in AT_WORK:
            return row
        told(upload_id, row["stage"] or "waiting", row["progress"])
        time.sleep(LOOK_EVERY_S)


@contextmanager
def _bar(*, hidden: bool) -> Iterator[Callable[[int, str, float], None]]:
    """A bar on a terminal's error channel, gone once the work is done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<10}"), BarColumn(), TaskProgressColumn())
    unseen = hidden or not console.is_terminal
    with Progress(*columns, console=console, disable=unseen, transient=True) as bar:
        task = bar.add_task("waiting", total=1.0)
        yield lambda _, stage, share: bar.update(task, description=stage, completed=share)


def _reason(row: sa.RowMapping, lang: str) -> str:
    error = row["error"] or {}
    return str(error.get(lang) or f"The upload is {row['state']}.")


def _wanted(row: sa.RowMapping, *, delete_missing: bool) -> int:
    """How many fences applying would write."""
    states = ["new", "changed", *(["missing"] if delete_missing else [])]
    return sum(row["counts"].get(state, 0) for state in states)


def _agreed(count: int) -> bool:
    """Asked on a terminal; elsewhere nobody can agree."""
    return sys.stdin.isatty() and click.confirm(f"Write these {count:,} fences?", default=False)


def _mark(home: Opened, upload_id: int, path: Path, lang: str) -> None:
    from nearcast.services.mark_upload import mark_upload

    data = mark_upload(home.engine, upload_id, workspace_id=home.workspace_id, lang=lang)
    path.write_bytes(data)
    click.echo(f"The sheet with its faults: {path}", err=True)


def _show(home: Opened, row: sa.RowMapping, lang: str, *, title: str) -> None:
    report = row["report"]
    for sheet in report["sheets"]:
        click.echo(_sheet_line(sheet))
    print_table(["rows", "count"], list(row["counts"].items()), title=title)
    if not report["problems"]:
        return
    kinds = [
        (kind["code"], kind["count"], kind[f"message_{lang}"], kind[f"proposal_{lang}"])
        for kind in report["problems"]
    ]
    print_table(["problem", "count", "for example", "proposal"], kinds, title=f"Problems. {_ACCEPTABLE}")
    found = _problems(home, row["id"], lang)
    rows = [[p["sheet"], p["row"], p["heading"], p["value"], p["code"]] for p in found[:MAX_SHOWN]]
    print_table(["sheet", "row", "heading", "value", "problem"], rows)
    if len(found) > MAX_SHOWN:
        click.echo(f"… and {len(found) - MAX_SHOWN:,} more; --marked FILE.xlsx shows them in the sheet.")


def _sheet_line(sheet: dict[str, Any]) -> str:
    """How one sheet was read, in a line."""
    facts = [
        sheet["name"] or "sheet",
        sheet["encoding"],
        sheet["delimiter"] and repr(sheet["delimiter"]),
    ]
    facts += [sheet["crs"], f"headings in row {sheet['heading_row']}"]
    pairs = (f"{heading} → {column}" for column, heading in sheet["mapping"].items())
    line = ", ".join(str(fact) for fact in facts if fact) + ": " + ", ".join(pairs)
    unused = ", ".join(sheet["unknown_headings"])
    return f"{line}. Not used: {unused}." if unused else f"{line}."


def _problems(home: Opened, upload_id: int, lang: str) -> list[dict[str, Any]]:
    """Every problem of every row, in the order of the file."""
    from geo.sheets.changes import RowState
    from nearcast.services import upload_lines

    lines = home.read(lambda conn: list(upload_lines.kept(conn, upload_id, RowState.REFUSED)))
    return [
        {
            "sheet": line.sheet,
            "row": line.row,
            "heading": problem.heading,
            "cell": problem.cell,
            "value": problem.value,
            "code": problem.code,
            "message": problem.ko if lang == "ko" else problem.en,
            "proposal": problem.proposal and dict(problem.proposal.values),
        }
        for _, line in lines
        for problem in line.problems
    ]


def _as_json(home: Opened, row: sa.RowMapping, lang: str) -> dict[str, Any]:
    sheets = row["report"]["sheets"]
    return {
        "upload": f"upl_{row['id']}",
        "counts": row["counts"],
        "sheets": [{k: v for k, v in s.items() if k not in ("samples", "signature")} for s in sheets],
        "mended": row["report"]["mended"],
        "grids": row["report"]["grids"],
        "problems": _problems(home, row["id"], lang),
    }


@click.command()
@click.argument("upload")
@click.option("--leave-edited", is_flag=True, help="Leave fences that were edited since.")
@click.option("--lang", type=LANGUAGES, default="en", show_default=True)
def undo(upload: str, leave_edited: bool, lang: str) -> None:
    """Take back an import: UPLOAD is its id, such as upl_3.

    What the import made is deleted, what it changed or deleted is as before.
    """
    from nearcast.services import upload as uploads
    from nearcast.services.ids import parse

    with opened() as home, _bar(hidden=False) as told:
        upload_id, author = parse("upl", upload), _author(home)
        review = home.read(
            lambda conn: uploads.review_undo(conn, upload_id, workspace_id=home.workspace_id)
        )
        home.write(lambda conn: uploads.undo(conn, upload_id, leave_edited=leave_edited, author=author))
        row = _worked(home, upload_id, told)
    if row["state"] != "undone":
        raise click.ClickException(_reason(row, lang))
    deleted, back = len(review.delete), len(review.restore) + len(review.revive)
    click.echo(f"{deleted:,} fences deleted, {back:,} brought back.")
    for group, campaign_id, name in review.groups:
        click.echo(f"Note: cmp_{campaign_id} ({name}) names the group {group}, which lost fences.")


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--group", help="Only the fences of this group.")
@click.option("--lang", type=LANGUAGES, default="en", show_default=True)
def export(file: Path, group: str | None, lang: str) -> None:
    """Write the fences to FILE; its ending says how: .xlsx, .csv or .geojson.

    A sheet can be imported again as it is.
    """
    from nearcast.services.export_fences import Format, export_fences

    kind = file.suffix.lower().lstrip(".")
    endings = [known.value for known in Format]
    if kind not in endings:
        raise click.UsageError(f"'{file.name}' must end in {', '.join('.' + f for f in endings)}.")
    with opened() as home:
        data, count = home.read(
            lambda conn: export_fences(
                conn, Format(kind), workspace_id=home.workspace_id, group=group, lang=lang
            )
        )
    file.write_bytes(data)
    click.echo(f"{count:,} fences in {file}")
