"""Fences out: a spreadsheet that can be imported again as it is, or GeoJSON (product U6)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from geo.fences.columns import fences_to_rows
from geo.fences.fence import CircleShape
from geo.fences.shapes import to_geojson
from geo.sheets.workbook import to_csv, to_xlsx
from nearcast.services.ids import public
from nearcast.services.report_files import CSV_MIMETYPE, XLSX_MIMETYPE
from nearcast.store import fences
from nearcast.store.fences import Filter, StoredFence, attributes_of


class Format(StrEnum):
    """What fences can be written as; also the ending of a file."""

    XLSX = "xlsx"
    CSV = "csv"
    GEOJSON = "geojson"


MIMETYPES = {
    Format.XLSX: XLSX_MIMETYPE,
    Format.CSV: CSV_MIMETYPE,
    Format.GEOJSON: "application/geo+json",
}


def export_fences(
    conn: sa.Connection, kind: Format, *, workspace_id: int, group: str | None, lang: str
) -> tuple[bytes, int]:
    """A file's bytes, and how many fences are in it; without a group, all of the workspace.

    Raises:
        SheetRefused: a text is longer than a cell of XLSX holds.
    """
    only = Filter(group=group)
    found = fences.all_of(conn, workspace_id=workspace_id, only=only)
    return written(kind, found, lang), len(found)


def written(kind: Format, found: Sequence[StoredFence], lang: str) -> bytes:
    """The fences in a format, headed in English (`en`) or Korean (`ko`)."""
    if kind is Format.GEOJSON:
        collection = {"type": "FeatureCollection", "features": [feature(stored) for stored in found]}
        return json.dumps(collection, ensure_ascii=False).encode()
    rows = fences_to_rows((stored.fence for stored in found), lang=lang)
    return to_xlsx(rows, sheet="fences") if kind is Format.XLSX else to_csv(rows)


def feature(stored: StoredFence) -> dict[str, Any]:
    """A fence as a GeoJSON feature; a circle's own measures are among its properties."""
    properties = attributes_of(stored.fence)
    if isinstance(stored.fence.shape, CircleShape):  # the outline is an approximation; this is it
        circle = stored.fence.shape
        properties |= {"lat": circle.lat, "lng": circle.lon, "radius_m": circle.radius_m}
    return {
        "type": "Feature",
        "id": public("fnc", stored.id),
        "geometry": to_geojson(stored.fence.shape),
        "properties": properties,
    }
