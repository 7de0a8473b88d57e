"""Shapes as requests give them and answers show them (product F4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from api.answers import In, Out
from api.fields import Flag, Number
from api.problems import language
from geo.fences.fence import CircleShape, Shape
from geo.fences.refusals import Note, ShapeRefused
from geo.fences.shapes import READERS, ReadShape, read_form
from nearcast.services.errors import FieldError, Invalid

_FORM = ("lat", "lng", "radius_m")
ACCEPTED = "proposal_accepted"
_ACCEPTED_TEXT = ("The proposed shape was taken.", "제안한 도형으로 저장했어요.")


class ShapeIn(In):
    """A shape in one of four forms: a circle's `lat`, `lng`, `radius_m`; GeoJSON; WKT; or text."""

    lat: Annotated[Number | None, Field(examples=[37.4979])] = None
    lng: Annotated[Number | None, Field(examples=[127.0276])] = None
    radius_m: Annotated[Number | None, Field(examples=[150])] = None
    geometry: Annotated[
        dict[str, Any] | None, Field(description="GeoJSON Polygon, MultiPolygon or a Feature of one")
    ] = None
    wkt: str | None = None
    text: Annotated[str | None, Field(description="lat,lng;lat,lng;…")] = None
    accept_proposal: Annotated[
        Flag, Field(description="Save what a refusal of this shape would propose")
    ] = False


class CircleOut(Out):
    """A circle; it holds every place within `radius_m` of its centre, the rim included."""

    lat: float
    lng: float
    radius_m: float


class NoteOut(Out):
    """What was done to a shape that changes no area."""

    code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class GivenShape:
    """A shape of a request, as it will be kept."""

    shape: Shape
    area_km2: float
    notes: tuple[NoteOut, ...]


def is_given(body: ShapeIn) -> bool:
    """Whether a body gives a shape, or some part of one."""
    return bool(_ways(body))


def read_shape(body: ShapeIn, *, max_radius_m: float, pointer: str = "") -> GivenShape:
    """The shape of a body that must give exactly one.

    Args:
        pointer: where the shape stands in the whole body.
    Raises:
        Invalid: none is given, or several.
        ShapeRefused: it cannot become a fence; with a proposal that `accept_proposal` takes.
    """
    ways = _ways(body)
    if len(ways) != 1:
        what = "Give one shape" if not ways else f"{' and '.join(ways)} are too many: give one shape"
        message = f"{what}: lat, lng and radius_m, or geometry, or wkt, or text."
        code = "required" if not ways else "ambiguous_shape"
        raise Invalid(errors=[FieldError(pointer=pointer or "/geometry", code=code, message=message)])
    try:
        return _noted(_read(body, ways[0], max_radius_m))
    except ShapeRefused as error:
        if body.accept_proposal and error.proposal is not None:
            text = _ACCEPTED_TEXT[language() == "ko"]
            return GivenShape(
                shape=error.proposal.shape,
                area_km2=error.proposal.area_km2,
                notes=(NoteOut(code=ACCEPTED, message=text),),
            )
        error.pointer = pointer + (_pointer(ways[0], error.pointer) or _missing(body))
        raise


def circle_out(shape: Shape) -> CircleOut | None:
    """The centre and radius of a circle, None for a polygon."""
    if not isinstance(shape, CircleShape):
        return None
    return CircleOut(lat=shape.lat, lng=shape.lon, radius_m=shape.radius_m)


def _ways(body: ShapeIn) -> list[str]:
    form = ["lat, lng, radius_m"] if any(getattr(body, name) is not None for name in _FORM) else []
    return form + [name for name in READERS if getattr(body, name) is not None]


def _read(body: ShapeIn, way: str, max_radius_m: float) -> ReadShape:
    if way in READERS:
        return READERS[way](getattr(body, way))
    return read_form(lat=body.lat, lng=body.lng, radius_m=body.radius_m, max_radius_m=max_radius_m)


def _pointer(way: str, within: str) -> str:
    if way == "geometry":
        return f"/geometry{within}"
    return f"/{way}" if way in READERS else within  # a place inside a text has no pointer


def _missing(body: ShapeIn) -> str:
    return next((f"/{name}" for name in _FORM if getattr(body, name) is None), "")


def _noted(read: ReadShape) -> GivenShape:
    return GivenShape(
        shape=read.shape,
        area_km2=read.area_km2,
        notes=tuple(_note(note) for note in read.notes),
    )


def _note(note: Note) -> NoteOut:
    return NoteOut(code=note.code, message=note.text(language()))
