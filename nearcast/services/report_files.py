"""A report as files: a workbook with a sheet for each part, and one CSV with all parts (product R2)."""

from __future__ import annotations

import io
from dataclasses import asdict
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from openpyxl.worksheet._write_only import WriteOnlyWorksheet

from campaigns.measuring.reports import Figures, Report
from geo.sheets.workbook import Cell, to_csv
from nearcast.services.ids import public

Rows = list[list[Cell]]

XLSX_MIMETYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
CSV_MIMETYPE = "text/csv"
FIGURES = (
    "targets",
    "triggers",
    "receivers",
    "messages",
    "clickers",
    "clicked",
    "response_rate",
    "visitors",
    "visits",
)
_VISIT_FIGURES = ("visitors", "visits")


def to_workbook(report: Report) -> bytes:
    """The report as XLSX: sheets `summary`, `days`, `fences`, `reasons`; no cell is a formula (Q15)."""
    book = Workbook(write_only=True)
    for name, rows in (
        ("summary", _summary(report)),
        ("days", _days(report)),
        ("fences", _fences(report)),
        ("reasons", _reasons(report)),
    ):
        page = book.create_sheet(name)
        page.freeze_panes = "A2"
        for row in rows:
            page.append([_cell(page, value) for value in row])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def to_table(report: Report) -> bytes:
    """The report as one CSV: each row says in `part` whether it is a total, a day, a fence, a reason."""
    head: list[Cell] = ["part", "key", "name", *FIGURES, "decisions", "persons"]
    blank: list[Cell] = [None] * len(FIGURES)
    rows: Rows = [head]
    rows.append(["total", None, report.name, *_figures(report, report.totals), report.decisions, None])
    rows += [["day", str(day.day), None, *_figures(report, day), None, None] for day in report.per_day]
    for fence in report.per_fence:
        key = fence.external_id or public("fnc", fence.fence_id)
        rows.append(["fence", key, fence.name, *_figures(report, fence), None, None])
    rows += [["reason", r.code, None, *blank, r.count, r.persons] for r in report.reasons]
    return to_csv(rows)


def _summary(report: Report) -> Rows:
    shown: list[tuple[str, Cell]] = [
        ("campaign", report.name),
        ("campaign_id", public("cmp", report.campaign_id)),
        ("state", report.state),
        ("time_zone", report.time_zone),
        ("from", _local(report, report.from_ms)),
        ("until", _local(report, report.until_ms)),
        ("visits_until", _local(report, report.visits_until_ms)),
        ("as_of", _local(report, report.as_of_ms)),
        *zip(FIGURES, _figures(report, report.totals), strict=True),
        ("decisions", report.decisions),
    ]
    rows: Rows = [["figure", "value"]]
    rows += [[name, value] for name, value in shown]
    return rows


def _days(report: Report) -> Rows:
    rows: Rows = [["day", *FIGURES]]
    rows += [[day.day, *_figures(report, day)] for day in report.per_day]
    return rows


def _fences(report: Report) -> Rows:
    rows: Rows = [["fence_id", "external_id", "name", "brand", *FIGURES]]
    for fence in report.per_fence:
        names: list[Cell] = [public("fnc", fence.fence_id), fence.external_id, fence.name, fence.brand]
        rows.append(names + _figures(report, fence))
    return rows


def _reasons(report: Report) -> Rows:
    rows: Rows = [["reason", "decisions", "persons"]]
    rows += [[reason.code, reason.count, reason.persons] for reason in report.reasons]
    return rows


def _figures(report: Report, counted: Figures) -> list[Cell]:
    found = asdict(counted) | {"response_rate": counted.response_rate}
    if not report.has_visits:
        found |= dict.fromkeys(_VISIT_FIGURES)
    return [found[name] for name in FIGURES]


def _local(report: Report, at_ms: int) -> str:
    at = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZoneInfo(report.time_zone))
    return at.isoformat(timespec="seconds")


def _cell(page: WriteOnlyWorksheet, value: Cell) -> WriteOnlyCell | Cell:
    """A cell whose text is text: `=1+1` would become a formula, `#N/A` an error."""
    if not isinstance(value, str):
        return value
    cell = WriteOnlyCell(page, value=ILLEGAL_CHARACTERS_RE.sub("", value))
    cell.data_type = "s"
    return cell
