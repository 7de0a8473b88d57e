"""Fences → rows of a sheet, which `columns.read_fences` reads back as the same (product U6)."""

from __future__ import annotations

from collections.abc import Iterable

from geo.fences.column_list import COLUMNS
from geo.fences.fence import CircleShape, Fence, PolygonShape
from geo.fences.identity import MEMO
from geo.fences.shapes import to_wkt
from geo.sheets.cells import join_list
from geo.sheets.table import Cell

POLYGON_CELL_CHARS = 32_000  # below Excel's 32,767 of a cell; longer outlines go on beside it


def fences_to_rows(fences: Iterable[Fence], *, lang: str = "en") -> list[list[Cell]]:
    """Headings, then a row per fence, which `read_fences` reads back as the same (product U6).

    Circles have lat, lng and radius_m, polygons WKT to the last bit, in as many cells side by side as
    it takes. What has no column (opening hours, validity, other metadata) is not exported; reading
    the rows back leaves it as it is.
    """
    rows = [_row_of(fence) for fence in fences]
    used = {name for row in rows for name in row} | _ALWAYS
    columns = [column for column in COLUMNS if column.name in used]
    headings: list[Cell] = [c.label_ko if lang == "ko" else c.label_en for c in columns]
    return [headings, *([row.get(c.name) for c in columns] for row in rows)]


_ALWAYS = {c.name for c in COLUMNS if not c.name.startswith("polygon_")} - {"radius_km"}


def _row_of(fence: Fence) -> dict[str, Cell]:
    row: dict[str, Cell] = {
        "name": fence.name,
        "external_id": fence.external_id,
        "group": join_list(fence.groups) or None,
        "brand": fence.brand,
        "category": fence.category,
        "store": fence.store,
        "address": fence.address,
        "tags": join_list(fence.tags) or None,
        "memo": fence.metadata.get(MEMO),
    }
    match fence.shape:
        case CircleShape(lon=lon, lat=lat, radius_m=radius_m):
            row |= {"lat": lat, "lng": lon, "radius_m": radius_m}
        case PolygonShape():
            for n, piece in enumerate(_pieces(to_wkt(fence.shape)), 1):
                row["polygon" if n == 1 else f"polygon_{n}"] = piece
    return row


def _pieces(wkt: str) -> list[str]:
    """WKT cut after commas, where a space lost at the end of a cell does no harm."""
    pieces = []
    while len(wkt) > POLYGON_CELL_CHARS:
        cut = wkt.rindex(",", 0, POLYGON_CELL_CHARS) + 1
        pieces.append(wkt[:cut])
        wkt = wkt[cut:].lstrip()
    return [*pieces, wkt]
