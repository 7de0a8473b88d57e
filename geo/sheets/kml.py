"""KML → layers: its folders, with the placemarks that lie right in them.

Our own, since GDAL's LIBKML turns headings such as 반경 into `______`. Element names are taken without
their namespace, of which KML has had five.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element, ParseError

import numpy as np
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from geo.sheets.features import Layer, Nested, Path, Shape, broken, check_size, merged
from geo.sheets.problems import SheetRefused
from geo.sheets.table import Broken, SheetLimits

_FOLDERS = frozenset({"kml", "Document", "Folder"})
_GEOMETRIES = frozenset(
    {"Point", "LineString", "LinearRing", "Polygon", "MultiGeometry", "Track", "MultiTrack"}
)
#: what a placemark says of itself, beside its extended data
_OWN_FIELDS = ("name", "description", "address", "phoneNumber")
_MAX_DEPTH = 32  # of geometries within geometries


def read_kml(data: bytes, *, limits: SheetLimits) -> list[Layer]:
    """The folders of a KML that hold placemarks, in the order of the file.

    Columns are `name`, `description`, `address`, `phoneNumber` where any placemark has them, and
    all extended data, as text. Areas of a MultiGeometry become one MULTIPOLYGON; heights are left
    out. A placemark without a shape, or with one that cannot be read, is a row all the same.
    Raises `SheetRefused`: `damaged_features`, `bomb` for declared entities, or too large.
    """
    try:
        root = fromstring(data, forbid_dtd=True)
    except DefusedXmlException as error:
        raise SheetRefused("bomb", what="it declares XML entities", what_ko="XML 엔터티 선언") from error
    except (ParseError, ValueError) as error:
        raise SheetRefused("damaged_features", what=f"its XML breaks off: {error}"[:200]) from error
    layers = []
    for folder in root.iter():
        marks = [e for e in folder if _tag(e) == "Placemark"] if _tag(folder) in _FOLDERS else []
        if marks:
            layers.append(_layer(_text(folder, "name") or "KML", marks, limits))
    return layers


def _layer(name: str, marks: list[Element], limits: SheetLimits) -> Layer:
    check_size(name, len(marks), 0, limits)
    values = [dict(_values(mark)) for mark in marks]
    named = dict.fromkeys(key for row in values for key in row)
    fields = [*(key for key in _OWN_FIELDS if key in named), *(k for k in named if k not in _OWN_FIELDS)]
    check_size(name, len(marks), len(fields), limits)
    return Layer(
        name=name,
        fields=fields,
        rows=[[row.get(field) for field in fields] for row in values],
        shapes=[_shape(mark) for mark in marks],
        crs="EPSG:4326",  # by definition [KML 2.3, 9.1]
    )


def _values(mark: Element) -> Iterator[tuple[str, str]]:
    """(field, text) of what the placemark says; its own elements before extended data of the name."""
    own = [(field, _text(mark, field)) for field in _OWN_FIELDS]
    for element in mark.iter():
        if _tag(element) == "Data":
            own.append((element.get("name", ""), _text(element, "value")))
        elif _tag(element) == "SimpleData":
            own.append((element.get("name", ""), (element.text or "").strip()))
    for field, text in reversed(own):
        if field.strip() and text:
            yield field.strip(), text


def _shape(mark: Element) -> Shape | Broken | None:
    found = [e for e in mark if _tag(e) in _GEOMETRIES]
    try:
        return merged([_geometry(element, 0) for element in found])
    except (ValueError, OverflowError) as error:
        return broken("bad_geometry", str(error))


def _geometry(element: Element, depth: int) -> Shape | Broken | None:
    """Raises ValueError where coordinates are no numbers."""
    match _tag(element):
        case "Point":
            path = _path(_text(element, "coordinates"))
            return Shape("POINT", path[:1]) if len(path) else None
        case "LineString" | "LinearRing":
            return Shape("LINESTRING", _path(_text(element, "coordinates")))
        case "Polygon":
            return Shape("POLYGON", _rings(element))
        case "Track":
            moments = [(c.text or "").split()[:2] for c in element if _tag(c) == "coord"]
            return Shape("LINESTRING", _array(moments))
    if depth > _MAX_DEPTH:
        raise ValueError("geometries are nested too deep")
    return merged([_geometry(e, depth + 1) for e in element if _tag(e) in _GEOMETRIES])


def _rings(polygon: Element) -> Nested:
    """The outer ring first; a polygon without one has no rings."""
    outer, inner = (
        [ring for side in polygon if _tag(side) == name for ring in side if _tag(ring) == "LinearRing"]
        for name in ("outerBoundaryIs", "innerBoundaryIs")
    )
    rings = [_path(_text(ring, "coordinates")) for ring in (*outer[:1], *inner)]
    return rings if outer else []


def _path(text: str) -> Path:
    """`lon,lat[,height]` between spaces; spaces beside the commas, which people write, are let by."""
    joined = re.sub(r"\s*,\s*", ",", text)
    return _array([position.split(",")[:2] for position in joined.split()])


def _array(positions: list[list[str]]) -> Path:
    for position in positions:
        if len(position) < 2:
            raise ValueError(f"'{' '.join(position)[:40]}' is no longitude and latitude")
    return np.array([[float(x), float(y)] for x, y in positions], dtype=np.float64).reshape(-1, 2)


def _text(element: Element, child: str) -> str:
    """The text of the first child of that name, else ""."""
    found = next((e for e in element if _tag(e) == child), None)
    return (found.text or "").strip() if found is not None else ""


def _tag(element: Element) -> str:
    tag: Any = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""
