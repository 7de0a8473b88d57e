"""Shapes in and out: GeoJSON, WKT, text and form fields ↔ a shape with notes (product F4)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
import shapely.geometry

from geo.antimeridian import Polygonal, normalize_lon, split, unwrap
from geo.fences.fence import CircleShape, PolygonShape, Shape
from geo.fences.limits import MAX_RADIUS_M, check_area, check_circle
from geo.fences.proposals import mended, normal_form
from geo.fences.refusals import Note, Proposal, ShapeRefused, malformed
from geo.fences.rings import (
    Part,
    Reading,
    Ring,
    as_list,
    as_number,
    check_place,
    check_size,
    text_lists,
    wkt_lists,
)
from geo.measure import circle_area_km2, circle_ring

__all__ = [
    "READERS",
    "Note",
    "Proposal",
    "ReadShape",
    "ShapeRefused",
    "read_form",
    "read_geojson",
    "read_text",
    "read_wkt",
    "representative_point",
    "to_geojson",
    "to_wkt",
]

_INVALID_AT = re.compile(r"^(?P<what>[^\[]+)\[(?P<lon>\S+) (?P<lat>[^\s\]]+)")


@dataclass(frozen=True, kw_only=True)
class ReadShape:
    """A shape within the limits, what was done to it, and its area.

    Attributes:
        notes: changes that change no area, in the order of their codes.
        area_km2: of a polygon as F2 measures it, of a circle its cap.
    """

    shape: Shape
    notes: tuple[Note, ...]
    area_km2: float


def read_form(
    *, lat: object, lng: object, radius_m: object, max_radius_m: float = MAX_RADIUS_M
) -> ReadShape:
    """A circle from form fields: numbers, not text.

    Raises:
        ShapeRefused: a field is missing, no number, out of range (with a proposal where latitude
            and longitude look swapped), or the radius is out of bounds.
    """
    if lat is None or lng is None or radius_m is None:
        raise ShapeRefused("radius_missing")
    x, y, r = (
        as_number(value, f"/{name}", name, name)
        for name, value in (("lng", lng), ("lat", lat), ("radius_m", radius_m))
    )
    try:
        check_place(x, y, pointer="/lat" if abs(y) > 90 else "/lng", where="The centre", where_ko="중심")
    except ShapeRefused as refused:
        if abs(y) <= 180 and abs(x) <= 90:
            refused.proposal = _swapped(
                lambda: read_form(lat=x, lng=y, radius_m=r, max_radius_m=max_radius_m)
            )
        raise
    circle = CircleShape(lon=float(normalize_lon(x)), lat=y, radius_m=r)
    check_circle(circle, max_radius_m=max_radius_m)
    return ReadShape(shape=circle, notes=(), area_km2=circle_area_km2(r))


def read_geojson(value: object) -> ReadShape:
    """A polygon from GeoJSON: Polygon, MultiPolygon, or a Feature with one of them.

    Args:
        value: the decoded object, or its JSON as text.
    Raises:
        ShapeRefused: and nothing else, whatever comes in.
    """
    if isinstance(value, str):
        value = _decoded(value)
    if not isinstance(value, dict):
        raise malformed("This is no GeoJSON object.", "GeoJSON 객체가 아니에요.")
    pointer = ""
    if value.get("type") == "Feature":
        value, pointer = value.get("geometry"), "/geometry"
        if not isinstance(value, dict):
            raise malformed("The feature has no geometry.", "geometry가 없어요.", pointer)
    kind = value.get("type")
    if kind not in ("Polygon", "MultiPolygon"):
        given = kind[:40] if isinstance(kind, str) else type(kind).__name__
        raise ShapeRefused("wrong_type", pointer=f"{pointer}/type", given=given)
    at = f"{pointer}/coordinates"
    listed = value.get("coordinates")
    if kind == "Polygon":
        return _read([listed], lambda _: at)
    parts = as_list(listed, at)
    if not parts:
        raise ShapeRefused("empty", pointer=at)
    return _read(parts, lambda n: f"{at}/{n}")


def read_wkt(text: object) -> ReadShape:
    """A polygon from WKT (`POLYGON`, `MULTIPOLYGON`, also with Z or M, also `SRID=4326;`).

    Rings may be open; they are closed with a note. Raises only `ShapeRefused`.
    """
    if not isinstance(text, str):
        raise malformed("WKT comes as text.", "WKT는 글자여야 해요.")
    parts = wkt_lists(text)
    several = len(parts) > 1
    return _read(parts, lambda n: f"/coordinates/{n}" if several else "/coordinates")


def read_text(text: object) -> ReadShape:
    """A polygon from `lat,lng;lat,lng;…`, latitude first, as people copy it from a map.

    Raises only `ShapeRefused`.
    """
    if not isinstance(text, str):
        raise malformed("Points come as text.", "좌표는 글자여야 해요.")
    return _read(text_lists(text), lambda _: "/coordinates")


def to_geojson(shape: Shape, *, circle_points: int = 64) -> dict[str, Any]:
    """GeoJSON Polygon or MultiPolygon, split at 180° (RFC 7946).

    A circle comes as a ring of `circle_points` on its rim, for drawing: it misses up to 60 m of a
    50 km circle. Give the circle's own lat, lng and radius_m beside it.
    """
    return dict(shapely.geometry.mapping(_drawn(shape, circle_points)))


def to_wkt(shape: Shape, *, circle_points: int = 64) -> str:
    """WKT that reads back to the last bit (GEOS's own stops at 16 decimals); circles as above."""
    drawn = _drawn(shape, circle_points)
    polygons = [
        "(" + ", ".join(_wkt_ring(ring) for ring in (part.exterior, *part.interiors)) + ")"
        for part in shapely.get_parts(drawn)
    ]
    if drawn.geom_type == "Polygon":
        return f"POLYGON {polygons[0]}"
    return f"MULTIPOLYGON ({', '.join(polygons)})"


def representative_point(shape: Shape) -> tuple[float, float]:
    """(lon, lat) of a place inside: the centre of a circle, a point on a polygon's surface."""
    if isinstance(shape, CircleShape):
        return shape.lon, shape.lat
    point = shapely.point_on_surface(unwrap(shape.geometry))
    return float(normalize_lon(point.x)), float(point.y)


def _wkt_ring(ring: shapely.LinearRing) -> str:
    numbers = [
        [repr(n).removesuffix(".0") for n in point] for point in shapely.get_coordinates(ring).tolist()
    ]
    return "(" + ", ".join(" ".join(pair) for pair in numbers) + ")"


def _drawn(shape: Shape, circle_points: int) -> Polygonal:
    if isinstance(shape, PolygonShape):
        return shape.geometry
    ring = circle_ring(lon=shape.lon, lat=shape.lat, radius_m=shape.radius_m, points=circle_points)
    return normal_form(shapely.get_parts(split(shapely.Polygon(ring))))


def _decoded(text: str) -> object:
    check_size(text)
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ShapeRefused("too_deep") from error
    except ValueError as error:
        raise malformed("The text is no JSON.", "JSON이 아니에요.") from error


def _read(parts: Sequence[object], pointer_of: Callable[[int], str]) -> ReadShape:
    """Judge polygons nested as in a MultiPolygon; propose swapped coordinates where that helps."""
    try:
        return _judge(parts, pointer_of, Reading())
    except ShapeRefused as refused:
        if refused.code == "out_of_range":
            refused.proposal = _swapped(lambda: _judge(parts, pointer_of, Reading(swapped=True)))
        raise


def _swapped(read: Callable[[], ReadShape]) -> Proposal | None:
    """The shape with latitude and longitude swapped, if that is one."""
    try:
        found = read()
    except ShapeRefused:
        return None
    return Proposal(code="swapped", shape=found.shape, area_km2=found.area_km2, area_change_km2=None)


def _judge(parts: Sequence[object], pointer_of: Callable[[int], str], reading: Reading) -> ReadShape:
    """Each polygon in continuous longitudes first, then all of them split at 180°."""
    read = [reading.part(part, pointer_of(n)) for n, part in enumerate(parts)]
    polygons = [_polygon(part, reading.notes) for part in read]
    for part, polygon in zip(read, polygons, strict=True):
        if not polygon.is_valid:
            raise _invalid(polygon, polygons, _faulty_ring(part))
    pieces = [list(shapely.get_parts(split(polygon))) for polygon in polygons]
    if any(len(of_one) > 1 for of_one in pieces):
        reading.notes.add(Note.ANTIMERIDIAN_SPLIT)
    geometry = normal_form([piece for of_one in pieces for piece in of_one])
    if not geometry.is_valid:
        raise _invalid(geometry, polygons, "")
    shape = PolygonShape(geometry=geometry)
    area_km2 = check_area(shape)
    return ReadShape(shape=shape, notes=tuple(sorted(reading.notes)), area_km2=area_km2)


def _polygon(part: Part, notes: set[Note]) -> shapely.Polygon:
    """A polygon in continuous longitudes, its holes moved by whole turns next to its shell."""
    shell, *holes = part.rings
    if shapely.convex_hull(shapely.MultiPoint(shell)).area == 0:
        place = float(normalize_lon(shell[0, 0])), float(shell[0, 1])
        raise ShapeRefused("no_area", pointer=part.pointers[0], place=place)
    if not _is_ccw(shell) or any(_is_ccw(hole) for hole in holes):
        notes.add(Note.WINDING_FIXED)
    return shapely.Polygon(shell, [_beside(hole, shell) for hole in holes])


def _beside(ring: Ring, shell: Ring) -> Ring:
    """The ring moved by whole turns so that its middle lies as near to the shell's as it can."""
    middle, own = ((r[:, 0].min() + r[:, 0].max()) / 2 for r in (shell, ring))
    return ring + np.array([360.0 * round((middle - own) / 360.0), 0.0])


def _is_ccw(ring: Ring) -> bool:
    return bool(shapely.is_ccw(shapely.LinearRing(ring)))


def _faulty_ring(part: Part) -> str:
    """The pointer of the one ring that is invalid by itself, else of the whole polygon."""
    for ring, pointer in zip(part.rings, part.pointers, strict=True):
        if not shapely.Polygon(ring).is_valid:
            return pointer
    return part.pointer


def _invalid(faulty: Polygonal, drawn: Sequence[shapely.Polygon], pointer: str) -> ShapeRefused:
    """The refusal of an invalid shape, with its place and, where there is one, a way to mend it."""
    reason = str(shapely.is_valid_reason(faulty))
    found = _INVALID_AT.match(reason)
    lon, lat = (float(found["lon"]), float(found["lat"])) if found else faulty.exterior.coords[0][:2]
    place = float(normalize_lon(lon)), float(lat)
    outside = "hole lies outside" in reason.lower()
    return ShapeRefused(
        "hole_outside_shell" if outside else "self_intersection",
        pointer=pointer,
        place=place,
        proposal=mended(drawn),
        lon=f"{place[0]:.7g}",
        lat=f"{place[1]:.7g}",
    )


#: by the name of the field a shape comes in
READERS: dict[str, Callable[[object], ReadShape]] = {
    "geometry": read_geojson,
    "wkt": read_wkt,
    "text": read_text,
}
