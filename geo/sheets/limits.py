"""The refusal of a sheet that spans too much."""

from __future__ import annotations

from geo.sheets.problems import SheetRefused
from geo.sheets.table import HEADING_WITHIN_ROWS, SheetLimits, column_letters


def check_extent(
    sheet: str | None, rows: int, columns: int, limits: SheetLimits, *, before: int = 0
) -> None:
    """Refuse a sheet whose last value lies too far down or to the right.

    `before` are the cells of the sheets read before it, which count towards `max_cells`.
    """
    where = {"where": "The file", "where_ko": "파일"}
    if sheet is not None:
        where = {"where": f"Sheet '{sheet}'", "where_ko": f"'{sheet}' 시트"}
    if columns > limits.max_columns:
        given, bound = column_letters(columns - 1), f"{limits.max_columns}"
        raise SheetRefused("too_many_columns", **where, given=given, bound=bound)
    if rows > limits.max_rows + HEADING_WITHIN_ROWS:
        given, bound = f"{rows:,}", f"{limits.max_rows:,}"
        raise SheetRefused("too_many_rows", **where, given=given, bound=bound)
    cells = rows * columns + before
    if cells > limits.max_cells:
        given, bound = f"{cells:,}", f"{limits.max_cells:,}"
        raise SheetRefused("too_many_cells", **where, given=given, bound=bound)
