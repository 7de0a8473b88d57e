"""What a check found, in few words: the sheets as they were read, and the kinds of problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from geo.fences.reading import ReadFences
from geo.sheets.problems import Problem
from geo.sheets.table import ReadFile, Table
from nearcast.store import uploads

#: rows that are named with each kind of problem; all of them are in the list of rows
_ROWS_NAMED = 20
#: of a heading; longer ones cannot be named in a mapping
_HEADING_CHARS = 1_000
#: of all sheets' headings and samples together: a report is read often
_SAMPLE_CHARS = 1 << 20


def report_of(
    file: ReadFile, read: Sequence[ReadFences], *, sources: Mapping[str | None, str]
) -> dict[str, Any]:
    """The report of a check as JSON.

    Args:
        sources: sheet → where its mapping is from: `given`, `remembered` or `found`.
    """
    tables = {table.sheet: table for table in file.tables}
    sheets = [_sheet(s, tables[s.sheet], sources.get(s.sheet, "found")) for s in read]
    return {
        "file_sheets": [
            {"name": s.name, "hidden": s.hidden, "rows": s.rows, "taken": s.taken} for s in file.sheets
        ],
        "sheets": _bounded(sheets),
        "problems": problem_kinds([problem for s in read for problem in s.problems]),
        "notes": dict(Counter(note.code for s in read for _, note in s.notes)),
        "mended": _summed(s.mended for s in read),
        "grids": _grids(read),
    }


def _bounded(sheets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The sheets, the later ones without samples where those of the earlier ones are many already."""
    left = _SAMPLE_CHARS
    for sheet in sheets:
        left -= sum(len(heading) + sum(map(len, found)) for heading, found in sheet["samples"].items())
        left -= sum(map(len, sheet["unknown_headings"]))
        if left < 0:
            sheet |= {"samples": {}, "unknown_headings": []}
    return sheets


def _cut(heading: str) -> str:
    return heading if len(heading) <= _HEADING_CHARS else heading[: _HEADING_CHARS - 1] + "…"


def _sheet(read: ReadFences, table: Table, source: str) -> dict[str, Any]:
    return {
        "name": read.sheet,
        "kind": table.kind,
        "encoding": table.encoding,
        "delimiter": table.delimiter,
        "crs": table.crs,
        "heading_row": read.heading_row,
        "mapping": {column: _cut(heading) for column, heading in read.mapping.items()},
        "mapping_source": source,
        "signature": uploads.kept_signature(read.headings.signature) if read.headings else None,
        "unknown_headings": [_cut(heading) for heading in read.unknown_headings],
        "samples": {_cut(heading): list(values) for heading, values in read.samples.items()},
        "title_rows": list(read.title_rows),
        "hidden": table.hidden,
        "hidden_columns": [_cut(heading) for heading in read.hidden_columns],
        "hidden_rows": read.hidden_rows,
    }


def problem_kinds(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """The problems by code, the most frequent first: how many, an example, and the first rows."""
    by_code: dict[str, list[Problem]] = {}
    for problem in problems:
        by_code.setdefault(problem.code, []).append(problem)
    return [
        _kind(code, found)
        for code, found in sorted(by_code.items(), key=lambda kv: (-len(kv[1]), kv[0]))
    ]


def _kind(code: str, found: Sequence[Problem]) -> dict[str, Any]:
    offered = [p for p in found if p.proposal is not None]
    example = (offered or found)[0]
    proposal = example.proposal
    return {
        "code": code,
        "count": len(found),
        "acceptable": len(offered),
        "heading": example.heading,
        "message_en": example.message_en,
        "message_ko": example.message_ko,
        "proposal_en": proposal.message_en if proposal else None,
        "proposal_ko": proposal.message_ko if proposal else None,
        "rows": [{"sheet": p.sheet, "row": p.row} for p in found[:_ROWS_NAMED]],
    }


def _summed(counts: Any) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(total)


def _grids(read: Sequence[ReadFences]) -> list[dict[str, Any]]:
    return [
        {
            "sheet": s.sheet,
            "grid": guess.epsg,
            "name": guess.name,
            "northing_in_lng": guess.northing_in_lng,
            "share": guess.share,
            "in_province": guess.in_province,
            "apart_m": guess.apart_m,
            "sample": [{"row": at.row, "lat": at.lat, "lng": at.lng} for at in guess.sample],
        }
        for s in read
        for guess in s.grids
    ]
