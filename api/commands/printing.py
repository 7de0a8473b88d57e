"""What commands print: tables for people, JSON for machines, progress on the error channel."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def json_option(command: F) -> F:
    """Give a command `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")(command)


def print_json(value: Any) -> None:
    """One JSON value, indented, Korean as it is."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def print_table(
    headings: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None
) -> None:
    """A table on the terminal; numbers stand to the right, None is a dash."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    listed = [list(row) for row in rows]
    table = Table(header_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for place, heading in enumerate(headings):
        numbers = all(isinstance(row[place], int | float) for row in listed) and bool(listed)
        justify: Literal["left", "right"] = "right" if numbers else "left"
        table.add_column(heading, justify=justify, overflow="fold", no_wrap=numbers)
    for row in listed:
        table.add_row(*map(_cell, row))
    if title:
        click.echo(title)  # not the table's own: it would be broken at a narrow table's width
    Console(highlight=False).print(table)


def _cell(value: Any) -> str:
    from rich.markup import escape

    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else escape(str(value))
