"""Shapes in and out: GeoJSON, WKT, text and form fields ↔ a shape with notes (product F4).

Structure is checked in plain Python before shapely sees anything: shapely takes strings, `True` and
unclosed rings without a word, and dies on deep nesting (quality.md §2).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geo.antimeridian import normalize_lon, spans_antimeridian, split, unwrap, unwrap_ring
from geo.fences.fence import CircleShape, PolygonShape, Shape
from geo.fences.limits import (
    MAX_AREA_KM2,
    MAX_RADIUS_M,
    MAX_VERTICES,
    check_area,
    check_radius,
)
from geo.fences.refusals import Proposal, ShapeRefused
from geo.measure import circle_area_km2, circle_ring, geodesic_area_m2, projected_area_m2

MAX_TEXT_BYTES = 8 << 20  # quality Q5
MAX_DEPTH = 32  # quality Q5
_INVALID_AT = re.compile(r"^(?P<what>[^\[]+)\[(?P<lon>\S+) (?P<lat>\S+)\]")

#: code → English, Korean
NOTES: dict[str, tuple[str, str]] = {
    "ring_closed": ("A ring was closed.", "열린 고리를 닫았어요."),
    "winding_fixed": ("The direction of a ring was turned.", "고리의 방향을 바로잡았어요."),
    "repeated_points_dropped": ("Repeated points were dropped.", "겹친 점을 지웠어요."),
    "z_dropped": ("Heights were dropped.", "높이 값을 뺐어요."),
    "antimeridian_split": (
        "The shape crosses longitude 180° and was split there.",
        "도형이 경도 180°를 지나 그 선에서 나누었어요.",
    ),
}

Ring = NDArray[np.float64]
Rings = list[list[Ring]]  # parts, each a shell and its holes


@dataclass(frozen=True, kw_only=True)
class ReadShape:
    """A shape within the limits, what was done to it, and its area.

    Attributes:
        notes: codes of `NOTES`: changes that change no area.
    """

    shape: Shape
    notes: tuple[str, ...]
    area_km2: float


def read_form(
    *, lat: object, lng: object, radius_m: object, max_radius_m: float = MAX_RADIUS_M
) -> ReadShape:
    """A circle from form fields. Raises `ShapeRefused` for numbers that are none or out of bounds."""
    names = ("lat", "lng", "radius_m")
    numbers = [_number(v, f"/{name}") for name, v in zip(names, (lat, lng, radius_m), strict=True)]
    place = numbers[1], numbers[0]
    _check_place(*place, index=1, pointer="/lat" if abs(place[1]) > 90 else "/lng")
    circle = CircleShape(lon=float(normalize_lon(place[0])), lat=place[1], radius_m=numbers[2])
    check_radius(circle, max_radius_m=max_radius_m)
    return ReadShape(shape=circle, notes=(), area_km2=circle_area_km2(circle.radius_m))


def read_geojson(value: object) -> ReadShape:
    """A polygon from decoded GeoJSON: Polygon, MultiPolygon, or a Feature with one of them."""
    if not isinstance(value, dict):
        raise _malformed("This is no GeoJSON object.", "GeoJSON 객체가 아니에요.")
    pointer = ""
    if value.get("type") == "Feature":
        value, pointer = value.get("geometry"), "/geometry"
        if not isinstance(value, dict):
            raise _malformed("The feature has no geometry.", "geometry가 없어요.", pointer)
    kind, listed = value.get("type"), value.get("coordinates")
    if kind not in ("Polygon", "MultiPolygon"):
        given = str(kind)[:40]
        raise ShapeRefused("wrong_type", pointer=f"{pointer}/type", given=given)
    parts = _list(listed if kind == "MultiPolygon" else [listed], f"{pointer}/coordinates")
    read = _Reading()
    for n, part in enumerate(parts):
        at = f"{pointer}/coordinates" + (f"/{n}" if kind == "MultiPolygon" else "")
        rings = [read.ring(ring, f"{at}/{m}") for m, ring in enumerate(_list(part, at))]
        if not rings:
            raise ShapeRefused("empty", pointer=at)
        read.parts.append(rings)
    return _polygon(read)


def read_wkt(text: object) -> ReadShape:
    """A polygon from WKT (`POLYGON`, `MULTIPOLYGON`, also with Z); EWKT's `SRID=4326;` is taken."""
    if not isinstance(text, str):
        raise _malformed("WKT comes as text.", "WKT는 글자여야 해요.")
    _check_text(text)
    body = re.sub(r"^\s*SRID=4326;", "", text)
    kind = body.strip().split("(")[0].split(" ")[0].upper()
    if kind not in ("POLYGON", "MULTIPOLYGON"):
        raise ShapeRefused("wrong_type", given=kind[:40] or "…")
    try:
        geometry = shapely.from_wkt(body)
    except shapely.errors.ShapelyError as error:
        reason = str(error).splitlines()[0][:120]
        raise _malformed(
            f"The WKT cannot be read: {reason}.", f"WKT를 읽을 수 없어요: {reason}."
        ) from error
    if geometry is None or geometry.is_empty:
        raise ShapeRefused("empty")
    read = _Reading()
    if geometry.has_z:
        read.notes.add("z_dropped")
    for part in shapely.get_parts(geometry):
        rings = [part.exterior, *part.interiors]
        read.parts.append([read.ring(shapely.get_coordinates(r).tolist(), "") for r in rings])
    return _polygon(read)


def read_text(text: object) -> ReadShape:
    """A polygon from `lat,lng;lat,lng;…`, latitude first, as people copy it from a map."""
    if not isinstance(text, str):
        raise _malformed("Points come as text.", "좌표는 글자여야 해요.")
    _check_text(text)
    points = [re.split(r"[,\s]+", pair.strip()) for pair in text.split(";") if pair.strip()]
    for n, pair in enumerate(points, 1):
        if len(pair) != 2:
            raise _malformed(
                f"Point {n} is not 'lat,lng': {';'.join(pair)[:40]}.",
                f"{n}번째 점이 '위도,경도' 형식이 아니에요: {';'.join(pair)[:40]}.",
            )
    read = _Reading()
    read.parts.append([read.ring([[_text_number(b), _text_number(a)] for a, b in points], "")])
    return _polygon(read)


def to_geojson(shape: Shape, *, circle_points: int = 64) -> dict[str, Any]:
    """GeoJSON Polygon or MultiPolygon; a circle comes as a ring of points on its rim for drawing."""
    if isinstance(shape, PolygonShape):
        return dict(shapely.geometry.mapping(shape.geometry))
    ring = circle_ring(lon=shape.lon, lat=shape.lat, radius_m=shape.radius_m, points=circle_points)
    if abs(shape.lat) + math.degrees(shape.radius_m / 6.3e6) >= 90:
        return {"type": "Polygon", "coordinates": [ring.tolist()]}
    return dict(shapely.geometry.mapping(split(shapely.Polygon(ring))))


def to_wkt(shape: PolygonShape) -> str:
    """WKT to the last bit."""
    return str(shapely.to_wkt(shape.geometry, rounding_precision=-1))


def representative_point(shape: Shape) -> tuple[float, float]:
    """(lon, lat) of a place inside: the centre of a circle, a point on a polygon's surface."""
    if isinstance(shape, CircleShape):
        return shape.lon, shape.lat
    point = shapely.point_on_surface(unwrap(shape.geometry))
    return float(normalize_lon(point.x)), float(point.y)


class _Reading:
    """Rings as they are read, and what had to be done to them."""

    def __init__(self) -> None:
        self.parts: Rings = []
        self.notes: set[str] = set()
        self._vertices = 0

    def ring(self, listed: object, pointer: str) -> Ring:
        """One ring: numbers checked, closed, repeats dropped, unwrapped across 180°."""
        points = _list(listed, pointer)
        self._vertices += len(points)
        if self._vertices > MAX_VERTICES + 1:
            raise ShapeRefused(
                "too_many_vertices",
                pointer=pointer,
                given=f"over {MAX_VERTICES:,}",
                bound=MAX_VERTICES,
            )
        ring = np.array([self._point(p, n, pointer) for n, p in enumerate(points)]).reshape(-1, 2)
        distinct = len({tuple(point) for point in ring.tolist()})
        if distinct < 3:
            code = "too_few_points" if distinct else "empty"
            raise ShapeRefused(code, pointer=pointer, given=distinct)
        if (ring[0] != ring[-1]).any():
            self.notes.add("ring_closed")
            ring = np.vstack([ring, ring[:1]])
        repeated = (np.diff(ring, axis=0) == 0).all(axis=1)
        if repeated.any():
            self.notes.add("repeated_points_dropped")
            ring = ring[np.append(True, ~repeated)]
        unwrapped = unwrap_ring(ring)
        if unwrapped[0, 0] != unwrapped[-1, 0]:
            raise ShapeRefused("encloses_pole", pointer=pointer)
        return unwrapped

    def _point(self, listed: object, index: int, pointer: str) -> tuple[float, float]:
        at = f"{pointer}/{index}"
        values = _list(listed, at)
        if len(values) not in (2, 3, 4):
            raise _malformed(
                f"Point {index + 1} has {len(values)} numbers; give longitude and latitude.",
                f"{index + 1}번째 점의 숫자가 {len(values)}개예요. 경도와 위도를 적어 주세요.",
                at,
            )
        if len(values) > 2:
            self.notes.add("z_dropped")
        lon, lat = _number(values[0], at, index + 1), _number(values[1], at, index + 1)
        _check_place(lon, lat, index=index + 1, pointer=at)
        return lon, lat


def _polygon(read: _Reading) -> ReadShape:
    """Judge the rings as a whole, bring them into normal form and measure them."""
    drawn = _assemble(read)
    if not drawn.is_valid:
        raise _invalid(drawn)
    geometry = _normal(drawn)
    if geometry.is_empty or not geometry.is_valid:
        raise ShapeRefused("invalid_structure", given=shapely.is_valid_reason(geometry))
    if spans_antimeridian(geometry):
        read.notes.add("antimeridian_split")
    shape = PolygonShape(geometry=geometry)
    return ReadShape(shape=shape, notes=tuple(sorted(read.notes)), area_km2=check_area(shape))


def _assemble(read: _Reading) -> shapely.Polygon | shapely.MultiPolygon:
    """Parts in unwrapped longitudes, holes and parts shifted by whole turns next to the first shell."""
    polygons = []
    for shell, *holes in read.parts:
        beside = [_beside(hole, shell) for hole in holes]
        turned = [_is_ccw(shell) is False, *(_is_ccw(hole) is True for hole in beside)]
        if any(turned):
            read.notes.add("winding_fixed")
        polygons.append(shapely.Polygon(shell, beside))
    if len(polygons) == 1:
        return polygons[0]
    first = np.asarray(polygons[0].exterior.coords)
    rest = [
        shapely.Polygon(
            _beside(np.asarray(p.exterior.coords), first),
            [_beside(np.asarray(hole.coords), first) for hole in p.interiors],
        )
        for p in polygons[1:]
    ]
    return shapely.MultiPolygon([polygons[0], *rest])


def _beside(ring: Ring, shell: Ring) -> Ring:
    """The ring moved by whole turns so that it lies as near to the shell as it can."""
    centre = (shell[:, 0].min() + shell[:, 0].max()) / 2
    own = (ring[:, 0].min() + ring[:, 0].max()) / 2
    moved = ring.copy()
    moved[:, 0] += 360.0 * round((centre - own) / 360.0)
    return moved


def _is_ccw(ring: Ring) -> bool:
    return bool(shapely.is_ccw(shapely.LinearRing(ring)))


def _normal(
    drawn: shapely.Polygon | shapely.MultiPolygon,
) -> shapely.Polygon | shapely.MultiPolygon:
    """Split at 180°, shells counter-clockwise, holes clockwise (RFC 7946)."""
    pieces = [piece for part in shapely.get_parts(drawn) for piece in shapely.get_parts(split(part))]
    oriented = shapely.orient_polygons(pieces, exterior_cw=False)
    return oriented[0] if len(pieces) == 1 else shapely.MultiPolygon(list(oriented))


def _invalid(drawn: shapely.Polygon | shapely.MultiPolygon) -> ShapeRefused:
    """The refusal of an invalid shape, with its place and, where there is one, a way to mend it."""
    reason = str(shapely.is_valid_reason(drawn))
    found = _INVALID_AT.match(reason)
    proposal = _mended(drawn)
    if found is None:
        return ShapeRefused("invalid_structure", given=reason, proposal=proposal)
    lon, lat = float(normalize_lon(float(found["lon"]))), float(found["lat"])
    what = found["what"].lower()
    facts: dict[str, Any] = {"lon": f"{lon:.6f}", "lat": f"{lat:.6f}"}
    if "hole lies outside" in what:
        return ShapeRefused("hole_outside_shell", place=(lon, lat), proposal=proposal, **facts)
    return ShapeRefused("self_intersection", place=(lon, lat), proposal=proposal, **facts)


def _mended(drawn: shapely.Polygon | shapely.MultiPolygon) -> Proposal | None:
    """What `make_valid` (structure) makes of it, its polygonal parts, if that is within the limits."""
    mended = shapely.make_valid(drawn, method="structure", keep_collapsed=False)
    parts = [p for p in shapely.get_parts(mended) if p.geom_type == "Polygon"]
    if not parts:
        return None
    geometry = _normal(shapely.MultiPolygon(parts) if len(parts) > 1 else parts[0])
    area_km2 = projected_area_m2(geometry) / 1e6
    if not geometry.is_valid or area_km2 > MAX_AREA_KM2:
        return None
    before_km2 = sum(geodesic_area_m2(part) for part in shapely.get_parts(drawn)) / 1e6
    return Proposal(
        shape=PolygonShape(geometry=geometry),
        area_km2=area_km2,
        area_change_km2=area_km2 - before_km2,
    )


def _malformed(en: str, ko: str, pointer: str = "") -> ShapeRefused:
    return _Malformed(en, ko, pointer)


class _Malformed(ShapeRefused):
    """A structure that cannot be read; it says what in both languages."""

    def __init__(self, en: str, ko: str, pointer: str) -> None:
        self._ko = ko
        super().__init__("malformed", pointer=pointer, what=en)

    def text(self, lang: str = "en") -> str:
        if lang == "ko":
            self._facts = {"what": self._ko}
        return super().text(lang)


def _list(value: object, pointer: str) -> Sequence[object]:
    if not isinstance(value, (list, tuple)):
        what = type(value).__name__
        raise _malformed(
            f"A list is expected at '{pointer}', not {what}.",
            f"'{pointer}' 자리에는 목록이 있어야 해요. 지금은 {what}이에요.",
            pointer,
        )
    return value


def _number(value: object, pointer: str, index: int = 1) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        if value is None:
            raise ShapeRefused("radius_missing", pointer=pointer)
        raise ShapeRefused("not_finite", pointer=pointer, index=index, given=repr(value)[:40])
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ShapeRefused("not_finite", pointer=pointer, index=index, given=number)
    return number


def _text_number(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return text


def _check_place(lon: float, lat: float, *, index: int, pointer: str) -> None:
    if abs(lon) <= 180 and abs(lat) <= 90:
        return
    swapped = abs(lat) <= 180 and abs(lon) <= 90
    raise ShapeRefused(
        "out_of_range",
        pointer=pointer,
        place=None,
        index=index,
        lon=lon,
        lat=lat,
        hint=" Latitude and longitude look swapped." if swapped else "",
        hint_ko=" 위도와 경도가 바뀐 것 같아요." if swapped else "",
    )


def _check_text(text: str) -> None:
    if len(text) > MAX_TEXT_BYTES:
        raise ShapeRefused("too_large", bound=f"{MAX_TEXT_BYTES:,}")
    depth = deepest = 0
    for mark in text:
        depth += (mark == "(") - (mark == ")")
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise ShapeRefused("too_deep", bound=MAX_DEPTH)


READERS: dict[str, Callable[[object], ReadShape]] = {
    "geometry": read_geojson,
    "wkt": read_wkt,
    "text": read_text,
}
