"""Which rows of a sheet are circles with nothing wrong about them, told by whole columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geo.fences.evidence import FAR_DEG, GRID_FROM, Evidence
from geo.fences.grids import Floats
from geo.fences.limits import MIN_RADIUS_M
from geo.fences.open_sheet import OpenSheet, numbers_of
from geo.fences.reading import ReadOptions

_NUMBERS = {float, type(None)}


@dataclass(frozen=True, kw_only=True)
class PlainRows:
    """Columns of cleaned values, one per row of the sheet; None where a cell is empty.

    Attributes:
        are: per row whether nothing is wrong with it but perhaps a row above that is the same fence.
            Where it is not set, the other columns say nothing about the row.
        lat, lng: degrees; radius_m: metres; all within the limits.
        mended: index of a row → the code whose proposal, accepted for all rows, gave its degrees.
    """

    are: Sequence[bool]
    names: Sequence[str]
    external_ids: Sequence[str | None]
    groups: Sequence[tuple[str, ...] | None]
    addresses: Sequence[str | None]
    tags: Sequence[tuple[str, ...] | None]
    brands: Sequence[str | None]
    categories: Sequence[str | None]
    stores: Sequence[str | None]
    memos: Sequence[str | None]
    lat: Sequence[float]
    lng: Sequence[float]
    radius_m: Sequence[float]
    mended: Mapping[int, str]


def plain_rows(sheet: OpenSheet, seen: Evidence, options: ReadOptions) -> PlainRows:
    """The rows that need no second look.

    Such a row has a name, no outline, plain degrees on the map (180° is none: it becomes -180°) where
    the evidence has no doubt about them, a radius within the limits, and no refused cell.
    """
    lat, lng, mended = _with_leave(sheet, seen, options.accepted_everywhere())
    radius_m = _radii(sheet, options.defaults.radius_m)
    are = np.array([name is not None for name in sheet.column(sheet.named_by)], bool)
    # comparisons with NaN are false
    are &= (np.abs(lat) <= 90) & (lng >= -180) & (lng < 180)
    are &= (lat != 0) | (lng != 0)
    are &= (radius_m >= MIN_RADIUS_M) & (radius_m <= options.max_radius_m)
    are &= ~_doubtful(sheet, lat, lng, seen)
    are &= ~_faulty(sheet)
    return PlainRows(
        are=are.tolist(),
        names=sheet.column(sheet.named_by),
        external_ids=sheet.column("external_id"),
        groups=sheet.column("group"),
        addresses=sheet.column("address"),
        tags=sheet.column("tags"),
        brands=sheet.column("brand"),
        categories=sheet.column("category"),
        stores=sheet.column("store"),
        memos=sheet.column("memo"),
        lat=lat.tolist(),
        lng=lng.tolist(),
        radius_m=radius_m.tolist(),
        mended=mended,
    )


def _with_leave(
    sheet: OpenSheet, seen: Evidence, accepted: frozenset[str]
) -> tuple[Floats, Floats, dict[int, str]]:
    """Latitudes and longitudes, with the two proposals that whole files need where all rows have the
    user's leave: metres of a grid and swapped columns. See `places.place_faults`."""
    lat, lng = sheet.degrees("lat"), sheet.degrees("lng")
    mended: dict[int, str] = {}
    if "swapped" in accepted:
        turned = (np.abs(lat) > 90) & (np.abs(lat) <= 180) & (np.abs(lng) <= 90)
        lat, lng = np.where(turned, lng, lat), np.where(turned, lat, lng)
        mended |= dict.fromkeys(np.flatnonzero(turned).tolist(), "swapped")
    if "projected_metres" in accepted and seen.in_grid:
        at = np.flatnonzero(np.maximum(np.abs(lat), np.abs(lng)) >= GRID_FROM)
        pairs = zip(lat[at].tolist(), lng[at].tolist(), strict=True)
        for index, cells in zip(at.tolist(), pairs, strict=True):
            place = seen.in_grid.get(cells)
            if place is not None:
                lat[index], lng[index] = place
                mended[index] = "projected_metres"
    return lat, lng, mended


def _radii(sheet: OpenSheet, default_m: float | None) -> NDArray[np.float64]:
    """Metres: the column in metres before the one in kilometres before the default."""
    radii = np.full(len(sheet), np.nan if default_m is None else default_m)
    for name in ("radius_km", "radius_m"):
        if name in sheet.cells:
            own = numbers_of(sheet.column(name))
            radii = np.where(np.isnan(own), radii, own)
    return radii


def _doubtful(
    sheet: OpenSheet, lat: NDArray[np.float64], lng: NDArray[np.float64], seen: Evidence
) -> NDArray[np.bool_]:
    """Rows at which the plain way has to look: a hemisphere, another country, far from home."""
    doubtful = np.zeros(len(sheet), bool)
    for name in ("lat", "lng"):
        values = sheet.column(name)
        if not set(map(type, values)) <= _NUMBERS:
            doubtful |= np.array([type(value) not in _NUMBERS for value in values], bool)
    if seen.units:
        doubtful[:] = True
    if seen.countries:
        places = zip(lat.tolist(), lng.tolist(), strict=True)
        doubtful |= np.array([seen.outside(*place) for place in places], bool)
    elif seen.home is not None:
        away = np.maximum(np.abs(lat - seen.home.lat), np.abs(lng - seen.home.lng))
        doubtful |= away > FAR_DEG
    return doubtful


def _faulty(sheet: OpenSheet) -> NDArray[np.bool_]:
    """Rows with a refused cell, an outline, or in a CSV more values than headings."""
    faulty = np.zeros(len(sheet), bool)
    for cleaned in sheet.cells.values():
        faulty[list(cleaned.faults)] = True
    if "polygon" in sheet.cells:
        faulty |= np.array([value is not None for value in sheet.column("polygon")], bool)
    if sheet.table.delimiter is not None:
        start = sheet.first_row - sheet.table.first_row
        widths = np.array(list(map(len, sheet.table.rows[start:])), np.int64)
        faulty |= widths > sheet.headings.width
    return faulty
