"""Merged cells: their value stands in every cell of their range, as a person sees it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from geo.sheets.marks import Span
from geo.sheets.problems import SheetRefused
from geo.sheets.table import Cell, Row

Corners = tuple[tuple[int, int], tuple[int, int]]


class Spans:
    """The merged cells of one sheet, cut to the extent of its values.

    Their areas may not add up to more than that extent: merged cells that overlap exist in no
    spreadsheet program, and 100,000 of them over the whole sheet would take hours to fill.
    """

    def __init__(self, spans: Iterable[Span | Corners], rows: int, columns: int) -> None:
        """Rows and columns of a span count from 0, the last ones included. Raises `bomb`."""
        self._from_row: dict[int, list[tuple[int, int, int]]] = {}
        area = 0
        for span in spans:
            top, left, bottom, right = _flat(span)
            bottom, right = min(bottom, rows - 1), min(right, columns - 1)
            if top <= bottom and left <= right and (top, left) != (bottom, right):
                area += (bottom - top + 1) * (right - left + 1)
                self._from_row.setdefault(top, []).append((left, right, bottom))
            if area > rows * columns:
                raise SheetRefused("bomb", what="merged cells overlap", what_ko="겹친 병합 셀")

    def filled(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The rows with the merged values; each row is as wide as the sheet."""
        if not self._from_row:
            yield from rows
            return
        open_spans: list[tuple[int, int, int, Cell]] = []
        for number, row in enumerate(rows):
            for left, right, bottom in self._from_row.get(number, ()):
                open_spans.append((left, right, bottom, row[left]))
            if open_spans:
                for left, right, _, value in open_spans:
                    row[left : right + 1] = [value] * (right + 1 - left)
                open_spans = [span for span in open_spans if span[2] > number]
            yield row


def _flat(span: Span | Corners) -> Span:
    if len(span) == 4:
        return span
    (top, left), (bottom, right) = span
    return top, left, bottom, right
