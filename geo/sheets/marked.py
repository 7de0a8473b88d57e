"""The user's own sheets with every faulty cell coloured and commented, and a list of all problems (U5).

What is mended there can be uploaded again: the cells stand where they stood, and `is_problem_list`
knows the sheet that is ours.
"""

from __future__ import annotations

import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from openpyxl import Workbook
from openpyxl.comments import Comment
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.worksheet.properties import PageSetupProperties
from openpyxl.worksheet.worksheet import Worksheet

from geo.sheets.cells import as_text
from geo.sheets.problems import Problem
from geo.sheets.sheet_xml import FORMATS, Link, Page, Style, with_rows
from geo.sheets.table import HEADING_WITHIN_ROWS, Cell, Row, Table, cell_name, column_letters

MAX_COMMENTS = 2_000  # Excel opens a workbook with more of them slowly; colours are for all
MAX_LINKS = 65_530  # Excel's limit of a sheet
MAX_LISTED = 1_000_000  # Excel has 1,048,576 rows
_MAX_TITLE = 31  # Excel's limit of a sheet's name, in UTF-16 units
_MAX_FROZEN_ROWS = 12  # more would fill the window
_MEASURED_ROWS = 200
_WIDTHS = (6, 44)  # characters
_WRAPPED_UP_TO = 2_000  # problems; Excel measures each wrapped row when it opens the file
_COMMENT_CHARS = 2_000
_NOT_IN_TITLES = re.compile(r"[\[\]:*?/\\\x00-\x1f\ud800-\udfff\ufffe\uffff]")
_COLUMN = re.compile(r"([A-Z]{1,3})\d+")

#: headings of the list, none of which a column of fences goes by
HEADINGS = {
    "en": ("Sheet", "Row", "Heading", "Cell", "Value", "Problem code", "Problem", "Proposal"),
    "ko": ("시트", "행", "제목", "셀", "값", "문제 코드", "문제", "제안"),
}
_LIST_WIDTHS = (18, 8, 18, 8, 26, 24, 70, 44)
_LINKED = 3  # index of the list's column that leads to the cell
_TITLES = {"en": "Problems", "ko": "문제"}
_FEATURE = {"en": "feature", "ko": "피처"}
_MORE = {
    "en": "{n:,} more problems are not listed; mend these first.",
    "ko": "문제 {n:,}개는 싣지 못했어요. 먼저 이것부터 고쳐 주세요.",
}

_FACE = {"name": "Calibri", "size": 11}  # openpyxl's own, which cells without a font of theirs have
_FAULT = {"fill": PatternFill("solid", fgColor="FFFFC7CE"), "font": Font(**_FACE, color="FF9C0006")}
_ROW = {"fill": PatternFill("solid", fgColor="FFFFEB9C"), "font": Font(**_FACE, color="FF7F6000")}
_HEAD = {
    "fill": PatternFill("solid", fgColor="FFE8EAED"),
    "font": Font(**_FACE, bold=True),
    "alignment": Alignment(vertical="center"),
}
_BAD_HEAD = {"fill": _FAULT["fill"], "font": Font(**_FACE, bold=True, color="FF9C0006")}
_LINK = {
    "font": Font(**_FACE, color="FF0563C1", underline="single"),
    "alignment": Alignment(horizontal="left", vertical="top"),
}
_WRAP = {"alignment": Alignment(horizontal="left", vertical="top", wrap_text=True)}
_TOP = {"alignment": Alignment(horizontal="left", vertical="top")}


@dataclass
class _Marked:
    """One of the user's sheets in the workbook, while it is made.

    Attributes:
        shift: how far its columns move to the right, and its rows down.
        faults: (row, index) in the workbook → its problems; index None for the row as a whole.
    """

    table: Table
    title: str
    shift: int
    heading_row: int
    faults: dict[tuple[int, int | None], list[Problem]] = field(default_factory=dict)

    def place(self, problem: Problem) -> tuple[int, int | None]:
        """(row, index of the column) in the workbook; None where the row as a whole is meant."""
        found = _COLUMN.match(problem.cell or "")
        if found:
            return problem.row + self.shift, _index(found[1]) + self.shift
        # features have no cells that a person could look up, so their problems name the heading only
        heads = self.table.rows[0] if self.shift and self.table.rows else []
        at = heads.index(problem.heading) + self.shift if problem.heading in heads else None
        return problem.row + self.shift, at if problem.heading is not None else None


def marked_workbook(
    tables: Sequence[Table],
    problems: Sequence[Problem],
    *,
    lang: str = "en",
    heading_rows: Mapping[str | None, int] | None = None,
) -> bytes:
    """An XLSX: first a list of all problems, each leading to its cell, then the sheets themselves.

    Each sheet keeps its name as far as Excel allows it, and every value its row and column; a faulty
    cell is red, the first cell of a row that is at fault as a whole is yellow. Comments with message
    and proposal stand at the first 2,000 of them. Nothing is hidden, texts are never formulas, and
    what is longer than a cell of Excel (32,767 characters) is cut. A layer of a geo file becomes the
    table of its properties: feature n in row n + 1, its number in a first column of its own.

    Args:
        tables: as they were read.
        problems: of these tables; those of other sheets are listed without a link.
        lang: of messages and our own headings: `en` or `ko`.
        heading_rows: sheet → its heading row as Excel numbers it; where it is not in there, the row
            that holds the headings of the problems, else the first of the widest rows of text.
    """
    pages = _pages(tables, problems, lang, heading_rows or {})
    book = Workbook()
    front = book.active
    front.title = _distinct([*(page.title for page in pages), _TITLES[lang]])[-1]
    styles = _Styles(front)
    sheets = [book.create_sheet(page.title) for page in pages]
    left = MAX_COMMENTS
    for sheet, page in zip(sheets, pages, strict=True):
        left -= _comment(sheet, page, lang, left)
        _lay_out(sheet, page, lang)
    _lay_out_list(front, len(problems))
    contents = [_list_page(problems, pages, styles, lang)]
    contents += [Page(rows=_rows(page, styles, lang), default=styles.plain) for page in pages]
    return with_rows(_saved(book), contents)


def is_problem_list(table: Table) -> bool:
    """Whether the sheet is the list that `marked_workbook` put in front, in either language."""
    first = tuple(table.rows[0]) if table.rows else ()
    return first in HEADINGS.values()


def _saved(book: Workbook) -> bytes:
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


# --- the sheets ----------------------------------------------------------------------------------


def _pages(
    tables: Sequence[Table],
    problems: Sequence[Problem],
    lang: str,
    heading_rows: Mapping[str | None, int],
) -> list[_Marked]:
    titles = _distinct([table.sheet if table.sheet is not None else "CSV" for table in tables])
    of_sheet: dict[str | None, list[Problem]] = {}
    for problem in problems:
        of_sheet.setdefault(problem.sheet, []).append(problem)
    pages = []
    for table, title in zip(tables, titles, strict=True):
        own = of_sheet.get(table.sheet, [])
        head = heading_rows.get(table.sheet)
        page = _Marked(
            table=table,
            title=title,
            shift=1 if table.kind == "features" else 0,
            heading_row=_heading_row(table, own) if head is None else head,
        )
        for problem in own:
            place = page.place(problem)
            if place[0] >= 1:
                page.faults.setdefault(place, []).append(problem)
        pages.append(page)
    return pages


def _heading_row(table: Table, problems: Sequence[Problem]) -> int:
    """Where the headings that the problems name stand; else the first of the widest rows of text."""
    if table.kind == "features":
        return table.first_row
    top = list(islice(enumerate(table.rows, table.first_row), HEADING_WITHIN_ROWS))
    named = {(p.heading, _index(found[1])) for p in problems if (found := _COLUMN.match(p.cell or ""))}
    hits = Counter({n: sum(_shows(row, index, text) for text, index in named) for n, row in top})
    if any(hits.values()):
        return max(hits, key=lambda n: (hits[n], -n))
    texts = {n: sum(isinstance(cell, str) for cell in row) for n, row in top}
    return max(texts, key=lambda n: (texts[n], -n), default=1)


def _shows(row: Row, index: int, text: str | None) -> bool:
    return index < len(row) and text is not None and as_text(row[index]) == text


def _rows(
    page: _Marked, styles: _Styles, lang: str
) -> Iterator[tuple[int, Sequence[Cell], dict[int, Style]]]:
    """The rows of the table with the styles of their cells, also rows that only a problem names."""
    marks: dict[int, dict[int, Style]] = {}
    head = page.heading_row + page.shift
    for row, index in page.faults:
        if index is None:
            marks.setdefault(row, {}).setdefault(0, styles.row)
        else:
            marks.setdefault(row, {})[index] = styles.bad_head if row == head else styles.fault
    last = 0
    for number, cells in enumerate(page.table.rows, page.table.first_row + page.shift):
        own = marks.get(number, {})
        if page.shift:
            label = _FEATURE[lang] if number == head else number - page.shift
            cells = [label, *cells]
        if number == head:
            own = dict.fromkeys(range(len(cells)), styles.head) | own
        yield number, cells, own
        last = number
    for number in sorted(number for number in marks if number > last):
        yield number, (), marks[number]


def _comment(sheet: Worksheet, page: _Marked, lang: str, most: int) -> int:
    """Comments at the first faulty cells, at most so many; how many there are now."""
    at: dict[tuple[int, int], list[Problem]] = {}
    for (row, index), problems in page.faults.items():
        at.setdefault((row, index or 0), []).extend(problems)
    for (row, index), problems in islice(sorted(at.items(), key=lambda one: one[0]), most):
        text = "\n\n".join(_said(problem, lang) for problem in problems)[:_COMMENT_CHARS]
        lines = sum(1 + _width(line) // 44 for line in text.split("\n"))
        height = min(400, 18 * lines + 12)
        sheet.cell(row, index + 1).comment = Comment(text, "Nearcast", width=330, height=height)
    return min(most, len(at))


def _said(problem: Problem, lang: str) -> str:
    offered = _offered(problem, lang)
    # comments go through openpyxl, which refuses what XML cannot hold
    said = problem.message(lang) + (f"\n→ {offered}" if offered else "")
    return _NOT_IN_COMMENTS.sub("", said)


_NOT_IN_COMMENTS = re.compile(r"[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")


def _offered(problem: Problem, lang: str) -> str | None:
    proposal = problem.proposal
    if proposal is None:
        return None
    return proposal.message_ko if lang == "ko" else proposal.message_en


def _fit_page(sheet: Worksheet) -> None:
    """On paper: lying, as wide as the sheet."""
    sheet.page_setup.orientation = "landscape"
    sheet.page_setup.fitToHeight = 0
    sheet.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)


def _lay_out(sheet: Worksheet, page: _Marked, lang: str) -> None:
    """Widths by what stands in the first rows; the headings stay in sight."""
    _fit_page(sheet)
    widths: dict[int, int] = {}
    start = max(0, page.heading_row - page.table.first_row)
    for row in islice(page.table.rows, start, start + _MEASURED_ROWS):
        for index, cell in enumerate(row, page.shift):
            widths[index] = max(widths.get(index, 0), _width(as_text(cell) or ""))
    if page.shift:
        widths[0] = _width(_FEATURE[lang])
    for index, width in widths.items():
        sheet.column_dimensions[column_letters(index)].width = min(
            max(width + 2, _WIDTHS[0]), _WIDTHS[1]
        )
    head = page.heading_row + page.shift
    if head <= _MAX_FROZEN_ROWS:
        sheet.freeze_panes = f"A{head + 1}"


def _width(text: str) -> int:
    """In characters of a fixed font, Korean ones counting two."""
    line = max(text[:200].split("\n"), key=len)
    return len(line) + sum(unicodedata.east_asian_width(c) in "WF" for c in line)


# --- the list ------------------------------------------------------------------------------------


def _list_page(
    problems: Sequence[Problem], pages: Sequence[_Marked], styles: _Styles, lang: str
) -> Page:
    page_of = {page.table.sheet: page for page in pages}
    body: dict[int, Style] = dict.fromkeys(range(len(HEADINGS[lang])), styles.top)
    if len(problems) <= _WRAPPED_UP_TO:
        body |= dict.fromkeys(range(4, len(HEADINGS[lang])), styles.wrap)
    linked = body | {_LINKED: styles.link}
    links: list[Link] = []
    rows: list[tuple[int, Sequence[Cell], dict[int, Style]]] = [
        (1, HEADINGS[lang], dict.fromkeys(range(len(HEADINGS[lang])), styles.head))
    ]
    for number, problem in enumerate(problems[:MAX_LISTED], 2):
        page = page_of.get(problem.sheet)
        row, index = page.place(problem) if page else (problem.row, None)
        at = problem.cell if page is None or index is None else cell_name(row, index)
        has_link = page is not None and len(links) < MAX_LINKS
        if page is not None and has_link:
            target = cell_name(row, index or 0)
            quoted = page.title.replace("'", "''")
            links.append(Link(cell_name(number, _LINKED), f"'{quoted}'!{target}"))
            at = target
        rows.append((number, _listed(problem, row, at, lang), linked if has_link else body))
    if len(problems) > MAX_LISTED:
        more = _MORE[lang].format(n=len(problems) - MAX_LISTED)
        rows.append((MAX_LISTED + 2, [*[None] * 6, more], body))
    return Page(rows=rows, default=styles.plain, links=links)


def _listed(problem: Problem, row: int, at: str | None, lang: str) -> list[Cell]:
    return [
        problem.sheet,
        row,
        problem.heading,
        at,
        problem.value,
        problem.code,
        problem.message(lang),
        _offered(problem, lang),
    ]


def _lay_out_list(front: Worksheet, problems: int) -> None:
    _fit_page(front)
    for index, width in enumerate(_LIST_WIDTHS):
        front.column_dimensions[column_letters(index)].width = width
    front.freeze_panes = "A2"
    front.auto_filter.ref = f"A1:{column_letters(len(_LIST_WIDTHS) - 1)}{min(problems, MAX_LISTED) + 1}"


# --- names and styles ----------------------------------------------------------------------------


def _distinct(names: Iterable[str]) -> list[str]:
    """Names that Excel allows for sheets, no two of them alike whatever their case."""
    taken: set[str] = {"history"}  # Excel keeps it to itself
    distinct = []
    for name in names:
        plain = _NOT_IN_TITLES.sub("_", name).strip().strip("'") or "Sheet"
        title, n = _fitting(plain, ""), 1
        while title.casefold() in taken:
            n += 1
            title = _fitting(plain, f" ({n})")
        taken.add(title.casefold())
        distinct.append(title)
    return distinct


def _fitting(name: str, ending: str) -> str:
    room = 2 * (_MAX_TITLE - len(ending))
    cut = name.encode("utf-16-le")[:room].decode("utf-16-le", "ignore")
    return (cut.rstrip(" '") or "Sheet") + ending


class _Styles:
    """The numbers of our styles in a workbook: openpyxl counts them when cells get them."""

    def __init__(self, scratch: Worksheet) -> None:
        self._scratch = scratch
        self._used = 0
        self.plain = self._style({})
        self.fault = self._style(_FAULT)
        self.row = self._style(_ROW)
        self.head = self._style(_HEAD)
        self.bad_head = self._style(_BAD_HEAD)
        self.link = self._style(_LINK)
        self.wrap = self._style(_WRAP)
        self.top = self._style(_TOP)

    def _style(self, look: Mapping[str, Any]) -> Style:
        numbers = []
        for number_format in FORMATS:
            # a cell of its own: openpyxl changes the style of a cell in place, also where it is listed
            self._used += 1
            cell = self._scratch.cell(self._used, 1)
            for name, value in look.items():
                setattr(cell, name, value)
            cell.number_format = number_format
            numbers.append(int(cell.style_id))
        return Style(tuple(numbers))


def _index(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1
