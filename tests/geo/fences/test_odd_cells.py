"""Odd cells, each with what exactly becomes of it: the table is `fixtures/cases/odd_cells.json`.

The cells of one kind of file are written into one file, each in a row of its own, and read the real
way. Then every row is judged without the other odd ones, beside a plain row, so that none of them
says anything about its neighbours.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from geo.fences.column_list import BY_NAME
from geo.fences.columns import read_sheets
from geo.fences.fence import CircleShape, Fence
from geo.fences.reading import ReadFences
from geo.fences.shapes import to_wkt
from geo.sheets.table import Table, cell_name
from nearcast.store.sandbox import read_file
from tests.odd_sheets import Page, csv_text, ods, xlsx

HEADINGS = [name for name in BY_NAME if not name.startswith("polygon_")]
CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[3] / "fixtures/cases/odd_cells.json").read_text(encoding="utf-8")
)
USUAL = {"name": "시험점", "lat": 37.4979, "lng": 127.0276, "radius_m": 100.0}
PLAIN = {"name": "평범한 점", "lat": 37.5, "lng": 127.1, "radius_m": 100.0}
FIRST = 3  # the headings, the plain row, then the cases
KINDS = ["csv", "xlsx", "xlsx1904", "ods"]
_DAYS_TO_1904 = 1462


def _cells(case: dict[str, Any]) -> list[Any]:
    row: dict[str, Any] = dict(USUAL)
    if case["column"] == "radius_km":
        del row["radius_m"]
    row |= {case["column"]: case["cell"]} | case.get("beside", {})
    return [row.get(heading) for heading in HEADINGS]


def _of_kind(kind: str) -> list[dict[str, Any]]:
    return [case for case in CASES if kind in case["files"]]


@cache
def _table(kind: str) -> Table:
    """All cases of one kind of file, read by the guarded child."""
    rows = [HEADINGS, [PLAIN.get(h) for h in HEADINGS], *(_cells(case) for case in _of_kind(kind))]
    data = {
        "csv": lambda: csv_text(rows).encode(),
        "xlsx": lambda: xlsx(Page(rows=rows)),
        "xlsx1904": lambda: xlsx(Page(rows=rows), date_1904=True),
        "ods": lambda: ods(rows),
    }[kind]()
    (table,) = read_file(data).tables
    assert len(table.rows) == len(rows)
    return table


def _alone(case: dict[str, Any], kind: str) -> tuple[int, ReadFences]:
    """(number of its row, what the sheet says with all other cases taken out)."""
    table = _table(kind)
    number = FIRST + _of_kind(kind).index(case)
    rows = [row if n in (1, 2, number) else [] for n, row in enumerate(table.rows, 1)]
    if case.get("alone"):
        rows[1] = []
    (read,) = read_sheets([replace(table, rows=rows)])
    return number, read


def _given(fence: Fence, column: str) -> Any:
    """What the fence has of the column, as the table writes it."""
    shape = fence.shape
    if column in ("lat", "lng", "radius_m", "radius_km"):
        assert isinstance(shape, CircleShape)
        return {"lat": shape.lat, "lng": shape.lon}.get(column, shape.radius_m)
    if column == "polygon":
        if isinstance(shape, CircleShape):
            return {"circle": [shape.lon, shape.lat, shape.radius_m]}
        return {"wkt": to_wkt(shape)}
    if column == "memo":
        return fence.metadata.get("memo")
    value = getattr(fence, {"group": "groups"}.get(column, column))
    return list(value) if isinstance(value, tuple) else value


PAIRS = [
    pytest.param(case, kind, id=f"{case['name']} [{kind}]") for case in CASES for kind in case["files"]
]


@pytest.mark.parametrize(("case", "kind"), PAIRS)
def test_an_odd_cell_becomes_what_the_table_says(case: dict[str, Any], kind: str) -> None:
    number, read = _alone(case, kind)
    if "gives" in case:
        assert read.problems == []
        wanted = case["gives"]
        if isinstance(wanted, dict) and "notes" in wanted:
            assert [note.code for row, note in read.notes if row == number] == wanted["notes"]
            wanted = {"wkt": wanted["wkt"]}
        found = _given(dict(read.fences)[number], case["column"])
        assert found == (pytest.approx(wanted, rel=1e-15) if isinstance(wanted, float) else wanted)
        return
    (problem,) = read.problems
    assert (problem.row, problem.code) == (number, case["code"])
    assert problem.cell == cell_name(number, HEADINGS.index(case["column"]))
    assert problem.heading == case["column"]
    assert problem.message("ko") != problem.message("en")
    offered = problem.proposal and dict(problem.proposal.values)
    assert offered == (pytest.approx(case["proposal"]) if case["proposal"] else None)
    assert number not in dict(read.fences)


def test_the_table_is_as_large_as_promised_and_names_each_case_once() -> None:
    assert len({case["name"] for case in CASES}) == len(CASES) >= 60
    assert {kind for case in CASES for kind in case["files"]} == set(KINDS)
    assert all(("gives" in case) != ("code" in case) for case in CASES)
