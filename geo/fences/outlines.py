"""The outline of a row: read from one cell or several, and held against the workspace's countries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import shapely

from geo.fences.column_list import MAX_POLYGON_CELLS
from geo.fences.evidence import Evidence
from geo.fences.fence import PolygonShape
from geo.fences.places import outline_outside_countries
from geo.fences.refusals import ShapeRefused
from geo.fences.shapes import (
    ReadShape,
    read_geojson,
    read_text,
    read_wkt,
    representative_point,
    to_wkt,
)
from geo.measure import distance_m
from geo.sheets.problems import CellRefused

_LEAST_RING = 16  # fewer vertices are a polygon that somebody meant
_ROUND = 1e-3  # share of the radius by which a drawn rim may be off
_MOSTLY = 0.8
_WKT_START = re.compile(r"\s*(?:SRID=\d+;\s*)?[A-Za-z]{4,}")


def outline(values: Mapping[str, Any]) -> ReadShape:
    """The polygon of a row; GeoJSON, WKT or points, by how it begins. Raises `ShapeRefused`."""
    numbered = (f"polygon_{n}" for n in range(2, MAX_POLYGON_CELLS + 1))
    text = "".join(values.get(name) or "" for name in ("polygon", *numbered))
    if text.startswith("{"):
        return read_geojson(text)
    return read_wkt(text) if _WKT_START.match(text) else read_text(text)


def outline_outside(shape: PolygonShape, seen: Evidence) -> CellRefused | None:
    """The outline lies in none of the countries of the workspace; proposed swapped if that helps."""
    if not seen.countries:
        return None
    lon, lat = representative_point(shape)
    if not seen.outside(lat, lon):
        return None
    swapped = None
    if seen.fits(lon, lat):
        turned = shapely.transform(shape.geometry, lambda points: np.flip(points, axis=1))
        try:
            swapped = to_wkt(read_wkt(to_wkt(PolygonShape(geometry=turned))).shape)
        except ShapeRefused:  # it is none, so there is nothing to propose
            swapped = None
    return outline_outside_countries(lat, lon, seen, swapped=swapped)


def is_ring_around(wkt: str, *, lon: float, lat: float) -> bool:
    """Whether an outline is a drawing of a circle around a place.

    Most of its vertices are equally far away; none is further, and what is nearer are corners at the
    antimeridian or a pole. False for what is no place or no outline.
    """
    geometry = shapely.from_wkt(wkt, on_invalid="ignore")
    places = shapely.get_coordinates(geometry)
    if len(places) < _LEAST_RING or not (abs(lat) <= 90 and np.isfinite(places).all()):
        return False
    if np.abs(places[:, 1]).max() > 90:
        return False
    away_m = distance_m(lon1=lon, lat1=lat, lon2=places[:, 0], lat2=places[:, 1])
    radius_m = away_m.max()
    on_rim = away_m > radius_m * (1 - _ROUND)
    return bool(on_rim.mean() > _MOSTLY)
