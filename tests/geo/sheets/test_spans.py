"""Merged cells: the quick filling agrees with the plain one, and costs no more than the sheet has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo.sheets.marks import Span
from geo.sheets.problems import SheetRefused
from geo.sheets.spans import Spans
from geo.sheets.table import Row


def _plainly(rows: list[Row], spans: list[Span]) -> list[Row]:
    """The plain twin: each cell of each range, one after the other."""
    filled = [list(row) for row in rows]
    for top, left, bottom, right in spans:
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                if row < len(rows) and column < len(rows[0]) and top < len(rows):
                    filled[row][column] = rows[top][left] if left < len(rows[0]) else None
    return filled


@st.composite
def _merged(draw: st.DrawFn) -> tuple[list[Row], list[Span]]:
    """Numbered cells and ranges that do not overlap, some beyond the last row and column."""
    height, width = draw(st.integers(1, 7)), draw(st.integers(1, 6))
    rows: list[Row] = [[row * 10 + column for column in range(width)] for row in range(height)]
    taken: set[tuple[int, int]] = set()
    spans: list[Span] = []
    for _ in range(draw(st.integers(0, 5))):
        top, left = draw(st.integers(0, height)), draw(st.integers(0, width))
        bottom, right = draw(st.integers(top, height + 2)), draw(st.integers(left, width + 2))
        cells = {(r, c) for r in range(top, bottom + 1) for c in range(left, right + 1)}
        if not cells & taken:
            taken |= cells
            spans.append((top, left, bottom, right))
    return rows, spans


@given(_merged())
def test_filling_agrees_with_the_plain_twin(made: tuple[list[Row], list[Span]]) -> None:
    rows, spans = made
    wanted = _plainly(rows, spans)
    corners = [((top, left), (bottom, right)) for top, left, bottom, right in spans]
    for given_as in (spans, corners):
        filled = Spans(given_as, len(rows), len(rows[0])).filled([list(row) for row in rows])
        assert list(filled) == wanted


def test_areas_beyond_the_sheet_are_refused_at_once() -> None:
    whole = (0, 0, 1_048_575, 16_383)
    assert list(Spans([whole], 2, 2).filled([[1, 2], [3, 4]])) == [[1, 1], [1, 1]]
    with pytest.raises(SheetRefused, match="merged cells overlap"):
        Spans([whole, (0, 0, 0, 1)], 2, 2)


def test_an_empty_sheet_has_nothing_to_fill() -> None:
    assert list(Spans([(0, 0, 5, 5)], 0, 0).filled([])) == []
