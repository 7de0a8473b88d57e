"""GeoJSON → a layer: RFC 7946, what came before it, and one feature per line."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from geo.sheets.cells import join_list
from geo.sheets.features import Layer, Nested, Shape, broken, check_size, merged
from geo.sheets.problems import SheetRefused
from geo.sheets.table import Broken, Cell, SheetLimits

_MAX_INT = 1 << 53  # larger ones lose digits as a spreadsheet's number and travel as text
_SURROGATES = re.compile("[\ud800-\udfff]")
#: GeoJSON type → how deep its lists of positions lie; a Point is one position
_DEPTHS = {
    "Point": -1,
    "MultiPoint": 0,
    "LineString": 0,
    "MultiLineString": 1,
    "Polygon": 1,
    "MultiPolygon": 2,
}


def read_geojson(text: str, *, limits: SheetLimits) -> Layer:
    """The features of a GeoJSON text: a collection, one feature, a bare geometry, or one per line.

    Properties are the columns, in the order in which they appear; lists and objects come as JSON
    text. A feature's `id` is a column where no property has that name. The old `crs` member is
    honoured. A feature that cannot be read is a row with a `Broken` shape.
    Raises `SheetRefused`: `not_features`, `damaged_features`, or too large.
    """
    try:
        return _layer(_documents(text), limits)
    except RecursionError as error:
        raise _damaged("its brackets are nested too deep", "괄호가 너무 깊게 겹쳐 있음") from error


def _layer(documents: list[dict[str, Any]], limits: SheetLimits) -> Layer:
    features = [feature for document in documents for feature in _features_of(document)]
    check_size("GeoJSON", len(features), 0, limits)
    fields = _fields_of(features, limits)
    first = documents[0]
    name = first.get("name")
    return Layer(
        name=clean(name)[:200] if isinstance(name, str) and name.strip() else "GeoJSON",
        fields=[clean(field) for field in fields],
        rows=[[_property(feature, field) for field in fields] for feature in features],
        shapes=[_shape_of(feature) for feature in features],
        crs=_crs_member(first),
    )


def _documents(text: str) -> list[dict[str, Any]]:
    """One JSON document, or several on lines of their own (RFC 8142 may put a mark before each)."""
    text = text.lstrip("\ufeff\x1e \t\r\n")
    try:
        document, end = json.JSONDecoder().raw_decode(text)
        documents = [document]
        if text[end:].strip("\x1e \t\r\n"):
            # split at line feeds only: a property may hold other line separators
            lines = (line.strip("\x1e \t\r") for line in text.split("\n"))
            documents = [json.loads(line) for line in lines if line]
    except ValueError as error:
        raise _damaged(f"it is no JSON ({str(error)[:100]})", "JSON 형식이 아님") from error
    if not all(isinstance(document, dict) for document in documents):
        raise _not_features("JSON without a GeoJSON type", "GeoJSON type이 없는 JSON이에요")
    return documents


def _features_of(document: dict[str, Any]) -> list[Any]:
    kind = document.get("type")
    if kind == "FeatureCollection":
        features = document.get("features")
        if not isinstance(features, list):
            raise _not_features(
                "a FeatureCollection without a list of features", "features 목록이 없는 GeoJSON이에요"
            )
        return features
    if kind == "Feature":
        return [document]
    if kind == "GeometryCollection" or (isinstance(kind, str) and kind in _DEPTHS):
        return [{"geometry": document}]
    if kind == "Topology":
        raise _not_features("a TopoJSON", "TopoJSON이에요")
    raise _not_features("JSON without a GeoJSON type", "GeoJSON type이 없는 JSON이에요")


def _not_features(what: str, what_ko: str) -> SheetRefused:
    return SheetRefused("not_features", what=what, what_ko=what_ko)


def _damaged(what: str, what_ko: str) -> SheetRefused:
    return SheetRefused("damaged_features", what=what, what_ko=what_ko)


def _fields_of(features: Sequence[Any], limits: SheetLimits) -> list[str]:
    """Names of all properties; the width is checked while they are gathered."""
    names: dict[str, None] = {}
    has_id = False
    for feature in features:
        if isinstance(feature, dict):
            names.update(dict.fromkeys(_properties(feature)))
            has_id = has_id or feature.get("id") is not None
            if len(names) >= limits.max_columns:
                check_size("GeoJSON", len(features), len(names), limits)
    if has_id and "id" not in names:
        names = {"id": None, **names}
    check_size("GeoJSON", len(features), len(names), limits)
    return list(names)


def _properties(feature: dict[str, Any]) -> dict[str, Any]:
    found = feature.get("properties")
    return found if isinstance(found, dict) else {}


def _property(feature: Any, field: str) -> Cell:
    if not isinstance(feature, dict):
        return None
    own = _properties(feature)
    return as_cell(own[field] if field in own else feature.get("id") if field == "id" else None)


def as_cell(value: Any) -> Cell:
    """A property as a cell: numbers, text and truth as they are, a list of texts as one writes it in a
    sheet, other lists and objects as JSON text."""
    match value:
        case None | bool():
            return value
        case str():
            return clean(value) or None
        case float():
            return None if math.isnan(value) else value if math.isfinite(value) else repr(value)
        case int():
            return value if abs(value) < _MAX_INT else str(value)[:400]
        case list() if value and all(isinstance(item, str) for item in value):
            return clean(join_list(value))
        case _:
            return clean(json.dumps(value, ensure_ascii=False))


def clean(text: str) -> str:
    """The text without lone surrogates, which no encoding can write."""
    return _SURROGATES.sub("\ufffd", text)


def _crs_member(document: dict[str, Any]) -> str | None:
    """`{"crs": {"type": "name", "properties": {"name": …}}}` of GeoJSON before RFC 7946."""
    crs = document.get("crs")
    named = crs.get("properties") if isinstance(crs, dict) else None
    name = named.get("name") if isinstance(named, dict) else None
    return name if isinstance(name, str) and name.strip() else None


def _shape_of(feature: Any) -> Shape | Broken | None:
    if not isinstance(feature, dict):
        return broken("bad_geometry", "this is no feature")
    return _geometry(feature.get("geometry"))


def _geometry(value: Any, *, collections: bool = True) -> Shape | Broken | None:
    """A GeoJSON geometry; structure is checked, whether the outline makes sense is not."""
    if value is None:
        return None
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "GeometryCollection" and collections and isinstance(value.get("geometries"), list):
        # a collection within a collection is read by nobody (RFC 7946, 3.1.8)
        return merged([_geometry(part, collections=False) for part in value["geometries"]])
    if not isinstance(kind, str) or kind not in _DEPTHS:
        return broken("bad_geometry", f"unknown type {str(kind)[:40]}")
    try:
        return _simplest(kind, _lists(value.get("coordinates"), _DEPTHS[kind]))
    except (TypeError, ValueError, OverflowError) as error:
        return broken("bad_geometry", str(error)[:80])


def _simplest(kind: str, nested: Nested) -> Shape:
    if kind == "MultiPoint" and len(nested) == 1:
        return Shape("POINT", nested)
    return Shape(kind.upper(), nested)


def _lists(value: Any, depth: int) -> Nested:
    """The coordinates with each path as an array; raises TypeError or ValueError where they differ."""
    if not isinstance(value, list):
        raise TypeError("coordinates are no list")
    if depth > 0:
        return [_lists(inner, depth - 1) for inner in value]
    positions = value if depth == 0 else [value] if value else []
    if not all(isinstance(p, list) and len(p) >= 2 and _numbers(p) for p in positions):
        raise ValueError("a position is not two numbers")
    return np.array([p[:2] for p in positions], dtype=np.float64).reshape(-1, 2)


def _numbers(position: list[Any]) -> bool:
    """Neither text nor True, both of which NumPy takes for numbers."""
    return type(position[0]) in (float, int) and type(position[1]) in (float, int)
