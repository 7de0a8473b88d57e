"""Write docs/reference.md from the code: commands, settings, error codes, outcomes, reasons.

python scripts/write_reference.py           write it
python scripts/write_reference.py --check   exit 1 when it is not what would be written
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TypeVar

import click

from api.cli import main as cli
from api.settings import PREFIX, Settings
from campaigns.deciding.explain import Worked
from campaigns.deciding.gates import Reason
from geo.errors import NearcastError
from geo.fences import refusals
from geo.matching.pings import Outcome, PingReason
from geo.sheets import problems as sheets
from nearcast.services.manage_workspace import Scope
from nearcast.store.deliveries import DeliveryState
from nearcast.store.uploads import UploadState

ROOT = Path(__file__).parents[1]
T = TypeVar("T")
PAGE = ROOT / "docs" / "reference.md"
FLOORS = ("geo", "campaigns", "nearcast", "api")
#: modules whose errors never become an answer of the HTTP interface
SILENT = ("api.commands", "api.demo", "nearcast.channels", "geo.sheets")
#: codes of answers that no error class stands for
HTTP_CODES = {
    "method_not_allowed": (405, "This address does not take that method."),
    "http_error": ("4xx", "Another fault of the request, named in `detail`."),
    "database_unavailable": (503, "The database does not answer. Nothing was changed."),
    "internal_error": (500, "A fault of the server; it was logged."),
}
OUTCOMES = {
    Outcome.REJECTED: "Not taken; `reason` says why.",
    Outcome.DUPLICATE: "Taken before; it has no effect again.",
    Outcome.QUARANTINED: "Kept apart and counted, but it has no effect; `reason` says why.",
    Outcome.LATE: "Counts for visits, but is too old to send anything.",
    Outcome.ACCEPTED: "Counts for everything.",
}
PING_REASONS = {
    PingReason.INVALID_ITEM: "The item is no ping; `detail` says where it breaks.",
    PingReason.NO_IDENTITY: "Neither a device_id nor an ad id that is not all zeros.",
    PingReason.APP_UNKNOWN: "The key's workspace has no such app, or the key is bound to another.",
    PingReason.NOT_FINITE: "A coordinate or the accuracy is no finite number.",
    PingReason.OUT_OF_RANGE: "Off the map: ±180, ±90.",
    PingReason.NEGATIVE_ACCURACY: "An accuracy below zero.",
    PingReason.IN_FUTURE: "More than 5 min ahead of the clock.",
    PingReason.TOO_OLD: "Older than the amendment horizon (7 days); use `mode=backfill` for history.",
    PingReason.LOCATION_CONSENT_MISSING: "No consent: not in the ping, not stored, not by the key.",
    PingReason.MOCKED: "The phone says that the fix is made up.",
    PingReason.NULL_ISLAND: "At 0, 0: a missing fix, not a place.",
    PingReason.ACCURACY_TOO_LOW: "Coarser than 10 km.",
}
REASONS = {
    Reason.SUSPECT_FIX: "The fix looks forged or impossible.",
    Reason.LOW_CONFIDENCE: "Less certain to be inside than the campaign asks for.",
    Reason.INFERRED_CROSSING_REFUSED: "An enter inferred from a move; the campaign takes no such.",
    Reason.FENCE_CLOSED: "Outside the fence's opening hours.",
    Reason.OUTSIDE_HOURS: "Outside the campaign's days and hours.",
    Reason.NOT_IN_SEGMENT: "The person is not in the campaign's audience.",
    Reason.FREQUENCY_CAPPED: "The person got it already, as often as the campaign allows.",
    Reason.SENT: "A message went into the outbox.",
    Reason.SENT_TEST: "The same for a test id; counted nowhere.",
    Reason.COUNTED_ONLY: "All gates open; the campaign only counts.",
}
WORKED = {
    Worked.NO_TRIGGER: "Nothing happened that the campaign listens to.",
    Worked.STALE_PING: "The ping came too late to send anything.",
    Worked.CAMPAIGN_NOT_RUNNING: "The campaign was not running then.",
    Worked.OUTSIDE_PERIOD: "Before or after the campaign's period.",
    Worked.APP_MISMATCH: "Only another app of the workspace knows the person.",
    Worked.FENCE_DISABLED: "The fence was off then.",
    Worked.QUARANTINED: "The fix was kept apart.",
}
SCOPES = {
    Scope.INGEST: "Post pings, match places, read inboxes.",
    Scope.MANAGE: "Fences, groups, layers, campaigns, webhooks, reports; `mode=backfill`.",
    Scope.TEST: "Register test ids.",
    Scope.ADMIN: "Everything, keys included.",
}
UPLOAD_STATES = {
    UploadState.CHECKING: "The file is being read and compared; nothing is written.",
    UploadState.CHECKED: "`report` and the rows say what would happen; `:apply` does it.",
    UploadState.APPLYING: "Its fences are being written, all or none.",
    UploadState.APPLIED: "Its fences are there; `:undo` brings back what was before.",
    UploadState.UNDOING: "What was before is being brought back, all or none.",
    UploadState.UNDONE: "As if it had not been; `:check` begins anew.",
    UploadState.FAILED: "The file cannot be read; `error` says why and how to mend it.",
}
DELIVERIES = {
    DeliveryState.QUEUED: "Waits in the outbox.",
    DeliveryState.LEASED: "A worker is sending it.",
    DeliveryState.SENT: "The other side took it; inbox: it can be fetched.",
    DeliveryState.DELIVERED: "The other side says that it arrived.",
    DeliveryState.FAILED: "Refused for good.",
    DeliveryState.DEAD: "Given up after 3 days of attempts.",
    DeliveryState.UNCERTAIN: "Perhaps sent; a person must say.",
    DeliveryState.EXPIRED: "Too late to be worth sending.",
    DeliveryState.CANCELLED: "Taken back before it was sent.",
}


def main() -> int:
    written = page()
    if "--check" in sys.argv:
        return int(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != written)
    PAGE.write_text(written, encoding="utf-8")
    print(PAGE.relative_to(ROOT))
    return 0


INTRO = """# Reference

Written by `make reference` from the code; do not edit. The HTTP interface has a page of its own at
`/docs` of a running server, and `nearcast openapi` prints its document.
"""
COMMANDS = """## Commands

`nearcast COMMAND --help` says the same on the terminal.
"""
SETTINGS = """## Settings

Environment variables, read once when a process starts. `NEARCAST_KEY` is read by `nearcast replay`
alone.
"""
DECISIONS = """## Reasons of decisions

In the order of the gates; the first closed one is the reason.
"""
STATES = """## States of deliveries

Fetched, clicked and visited are facts about a delivery, not states.
"""
UPLOADS = """## States of uploads

`checking`, `applying` and `undoing` are work in progress; `stage` and `progress` say how far it is.
"""
ERRORS = """## Error codes

HTTP answers them in `code` of an `application/problem+json` (RFC 9457); the command line prints the
message and ends with 1. A dash: not an answer of the HTTP interface.
"""
SHAPES = """### Why a shape is refused

English and Korean by `Accept-Language`; `errors` holds the place and, where there is one, a proposal.
"""


def page() -> str:
    """The whole page."""
    outcomes = ((o.name.lower(), text) for o, text in _all(Outcome, OUTCOMES))
    parts = [
        INTRO,
        COMMANDS,
        *_commands(cli, "nearcast"),
        SETTINGS,
        _table(("variable", "default", "meaning"), _settings()),
        "## Scopes of API keys\n",
        _codes("scope", _all(Scope, SCOPES)),
        "## Outcomes of pings\n",
        _codes("outcome", outcomes),
        "Reasons of those rejected or quarantined:\n",
        _codes("reason", _all(PingReason, PING_REASONS)),
        DECISIONS,
        _codes("reason", _all(Reason, REASONS)),
        "Reasons that `explain` works out where there was no decision:\n",
        _codes("reason", _all(Worked, WORKED)),
        STATES,
        _codes("state", _all(DeliveryState, DELIVERIES)),
        UPLOADS,
        _codes("state", _all(UploadState, UPLOAD_STATES)),
        ERRORS,
        _table(("code", "HTTP", "meaning"), _errors()),
        SHAPES,
        _codes("code", ((code, texts[0]) for code, texts in refusals.MESSAGES.items())),
        "### Why a file is refused\n",
        _codes("code", ((code, texts[0]) for code, texts in sheets.REFUSALS.items())),
    ]
    return "\n".join(parts)


def _codes(heading: str, rows: Iterable[tuple[str, str]]) -> str:
    return _table((heading, "meaning"), ((f"`{code}`", text) for code, text in rows))


def _commands(command: click.Command, path: str) -> Iterator[str]:
    context = click.Context(command, info_name=path)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None:
                yield from _commands(found, f"{path} {name}")
        return
    pieces = " ".join(command.collect_usage_pieces(context))
    help_ = inspect.cleandoc(command.help or "")
    yield f"### `{path}`\n\n`{path} {pieces}`\n\n{help_}\n"
    options = [p for p in command.params if isinstance(p, click.Option)]
    records = [p.get_help_record(context) for p in options]
    rows = [(f"`{record[0]}`", record[1] or "") for record in records if record]
    if rows:
        yield _table(("option", "meaning"), rows)


def _settings() -> Iterator[tuple[str, str, str]]:
    documented = dict(re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", _doc(Settings), re.MULTILINE))
    for field in fields(Settings):
        default = "" if field.default is MISSING else f"`{_plain(field.default)}`"
        meaning = re.sub(r" \(product \w+\)", "", " ".join(documented[field.name].split()))
        yield f"`{PREFIX}{field.name.upper()}`", default, meaning


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _errors() -> Iterator[tuple[str, str, str]]:
    from api.problems import status_of

    for floor in FLOORS:
        package = importlib.import_module(floor)
        for module in pkgutil.walk_packages(package.__path__, f"{floor}."):
            if ".migrations" not in module.name:  # those run by Alembic only
                importlib.import_module(module.name)
    found: dict[str, tuple[str, str]] = {}
    for kind in _below(NearcastError):
        if "code" in vars(kind) and kind.__module__.split(".")[0] in FLOORS:
            spoken = not kind.__module__.startswith(SILENT)
            status = str(status_of(kind.__new__(kind))) if spoken else "–"
            found[kind.code] = (status, _doc(kind).split("\n\n")[0].replace("\n", " "))
    found |= {code: (str(status), text) for code, (status, text) in HTTP_CODES.items()}
    for code, (status, meaning) in sorted(found.items()):
        yield f"`{code}`", status, meaning


def _below(kind: type[NearcastError]) -> Iterator[type[NearcastError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _below(child)


def _doc(kind: type) -> str:
    return inspect.cleandoc(kind.__doc__ or "")


def _all(kind: Iterable[T], texts: dict[T, str]) -> Iterator[tuple[T, str]]:
    """Each member with its text; a member without one is a fault of this script."""
    for member in kind:
        yield member, texts[member]


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [headings, tuple("---" for _ in headings), *rows]
    escaped = ((cell.replace("|", "\\|").replace("\n", " ") for cell in line) for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in escaped)


if __name__ == "__main__":
    sys.exit(main())
