"""Features of geo files as tables: GeoJSON in, shapes reprojected to WGS84, WKT out. Knows no fence.

A `Layer` is a list of rows and a list of shapes beside it. What a shape says is not judged here: an
open ring or a crossing outline comes out as it went in, so that the one who reads the cell can say
what is wrong with it and how to mend it. Only what cannot be written as WKT becomes a `Broken` cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from geo.sheets.problems import SheetRefused
from geo.sheets.table import (
    Broken,
    BrokenCode,
    Cell,
    Row,
    SheetLimits,
    Table,
    column_letters,
)

GEOMETRY = "geometry"  # heading of the last column of every table of features
_LINES = frozenset({"LINESTRING", "MULTILINESTRING"})

Path = NDArray[np.float64]
#: a path of positions, or lists of them: the rings of a polygon, the polygons of a multipolygon
Nested = Any


class Shape(NamedTuple):
    """A shape as it stands in the file.

    Attributes:
        kind: as WKT calls it, such as `MULTIPOLYGON`.
        nested: an array (n, 2) of longitude and latitude (or x and y of the file's grid) for a
            point and a line; lists of such arrays as GeoJSON nests them for all else.
    """

    kind: str
    nested: Nested


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of a geo file.

    Attributes:
        fields: property names; `rows` has a cell for each.
        shapes: one per row; None where the feature has none, `Broken` where it cannot be read.
        crs: what the file says; None where it says nothing.
    """

    name: str
    fields: list[str]
    rows: list[Row]
    shapes: list[Shape | Broken | None]
    crs: str | None = None

    def has_places(self) -> bool:
        """Whether any feature is a point or an area, or could be one; lines are no places."""
        return any(shape is not None and not is_line(shape) for shape in self.shapes)


def is_line(shape: Shape | Broken) -> bool:
    """Whether the shape is a line or several."""
    return isinstance(shape, Shape) and shape.kind in _LINES


def broken(code: BrokenCode, shown: str) -> Broken:
    """A cell of a shape that cannot be given (`bad_geometry`, `too_many_vertices`), and why."""
    return Broken(code, shown[:80])


def to_table(layer: Layer, *, crs: str | None, limits: SheetLimits) -> Table:
    """The layer as a table of features; see `Table`.

    Args:
        layer: its shapes in WGS84 already (`feature_crs.placed`).
        crs: what they were reprojected from; None where they were not.
    Raises:
        SheetRefused: the layer is too large.
    """
    check_size(layer.name, len(layer.rows), len(layer.fields), limits)
    headings: Row = [*_free_of_geometry(layer.fields), GEOMETRY]
    cells = (wkt_cell(shape, limits.max_cell_chars) for shape in layer.shapes)
    rows = [headings, *([*row, cell] for row, cell in zip(layer.rows, cells, strict=True))]
    return Table(sheet=layer.name, rows=rows, first_row=0, kind="features", crs=crs)


def check_size(name: str, rows: int, fields: int, limits: SheetLimits, *, before: int = 0) -> None:
    """Refuse a layer of more features, properties or cells than are taken.

    `before` are the cells of layers read before it.
    """
    where = {"where": f"Layer '{name}'", "where_ko": f"'{name}' 레이어"}
    columns = fields + 1
    if rows > limits.max_rows:
        bound = f"{limits.max_rows:,}"
        raise SheetRefused("too_many_rows", **where, given=f"{rows:,}", bound=bound)
    if columns > limits.max_columns:
        given = column_letters(columns - 1)
        raise SheetRefused("too_many_columns", **where, given=given, bound=f"{limits.max_columns}")
    if before + rows * columns > limits.max_cells:
        given, bound = f"{before + rows * columns:,}", f"{limits.max_cells:,}"
        raise SheetRefused("too_many_cells", **where, given=given, bound=bound)


def _free_of_geometry(fields: Sequence[str]) -> list[str]:
    """The property names; one that is called like our own column gets a number."""
    return [f"{name}_1" if name.casefold() == GEOMETRY else name for name in fields]


def wkt_cell(shape: Shape | Broken | None, max_chars: int) -> Cell:
    """WKT that reads back to the last bit; None for no shape; `Broken` where there is no such text."""
    if shape is None or isinstance(shape, Broken):
        return shape
    paths = list(paths_of(shape.nested))
    points = sum(map(len, paths))
    if not points:
        return None if shape.kind == "POINT" else f"{shape.kind} EMPTY"
    if not all(np.isfinite(path).all() for path in paths):
        return broken("bad_geometry", "a coordinate is no finite number")
    # a position needs four characters at least, so that the text of a giant is never made
    text = f"{shape.kind} {_wkt(shape.nested)}" if points * 4 <= max_chars else None
    if text is None or len(text) > max_chars:
        return broken("too_many_vertices", f"{points:,} vertices")
    return text


def _wkt(nested: Nested) -> str:
    if isinstance(nested, list):
        return "(" + ", ".join(map(_wkt, nested)) + ")"
    positions = (f"{_digits(x)} {_digits(y)}" for x, y in nested.tolist())
    return "(" + ", ".join(positions) + ")"


def _digits(number: float) -> str:
    return repr(number).removesuffix(".0")


def paths_of(nested: Nested) -> Iterator[Path]:
    """The paths of a shape, in order."""
    if isinstance(nested, list):
        for inner in nested:
            yield from paths_of(inner)
    else:
        yield nested


def rebuilt(nested: Nested, paths: Iterator[Path]) -> Nested:
    """The same nesting with other paths in it."""
    if isinstance(nested, list):
        return [rebuilt(inner, paths) for inner in nested]
    return next(paths)


def shapes_of_wkb(wkb: Sequence[bytes | None]) -> list[Shape | Broken | None]:
    """Shapes from well-known binary as GDAL gives it, Z and M left out."""
    found = shapely.from_wkb(np.array(wkb, dtype=object), on_invalid="ignore")
    return [
        None if raw is None else broken("bad_geometry", "unreadable") if shape is None else _of(shape)
        for raw, shape in zip(wkb, found, strict=True)
    ]


def _of(geometry: Any) -> Shape | Broken | None:
    """A shapely geometry; a collection of areas is a multipolygon, one of one thing is that thing."""
    match geometry.geom_type:
        case "Point" | "LineString" | "LinearRing":
            kind = "POINT" if geometry.geom_type == "Point" else "LINESTRING"
            return Shape(kind, shapely.get_coordinates(geometry))
        case "Polygon":
            return Shape("POLYGON", _rings(geometry))
        case "MultiPoint" if len(geometry.geoms) > 1:
            return Shape("MULTIPOINT", shapely.get_coordinates(geometry))
        case "MultiLineString":
            return Shape("MULTILINESTRING", [shapely.get_coordinates(g) for g in geometry.geoms])
        case "MultiPolygon":
            return Shape("MULTIPOLYGON", [_rings(polygon) for polygon in geometry.geoms])
        case "MultiPoint" | "GeometryCollection":
            return merged([_of(part) for part in geometry.geoms])
    return broken("bad_geometry", f"a {geometry.geom_type}, which has curves")


def _rings(polygon: Any) -> list[Path]:
    if polygon.is_empty:
        return []
    return [shapely.get_coordinates(ring) for ring in (polygon.exterior, *polygon.interiors)]


def merged(parts: Sequence[Shape | Broken | None]) -> Shape | Broken | None:
    """The members of a collection as one shape: areas together, lines together, else one alone."""
    bad = next((part for part in parts if isinstance(part, Broken)), None)
    if bad is not None:
        return bad
    shapes = [part for part in parts if isinstance(part, Shape)]
    kinds = {shape.kind for shape in shapes}
    if len(shapes) <= 1:
        return shapes[0] if shapes else None
    if kinds <= {"POLYGON", "MULTIPOLYGON"}:
        return Shape("MULTIPOLYGON", _together(shapes, "POLYGON"))
    if kinds <= _LINES:
        return Shape("MULTILINESTRING", _together(shapes, "LINESTRING"))
    return broken("bad_geometry", "a collection of " + ", ".join(sorted(kinds)))


def _together(shapes: Sequence[Shape], single: str) -> list[Nested]:
    return [part for s in shapes for part in ([s.nested] if s.kind == single else s.nested)]
