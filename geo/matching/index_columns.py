"""Fence versions as columns, by row of an index; columns that grow when a fence is added."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar, overload

import numpy as np
import shapely
from numpy.typing import NDArray

from geo.antimeridian import normalize_lon
from geo.errors import NearcastError
from geo.fences.fence import CircleShape, FenceVersion
from geo.matching.circles import Circles
from geo.matching.growing import Gone, Growing, Leaving
from geo.matching.polygons import Polygons
from geo.measure import circle_boxes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Columns = TypeVar("Columns", Circles, Polygons)

#: boxes moved by a turn are rounded: this is 0.1 mm, and what it lets in is settled exactly
_OUTWARD_DEG = 1e-9


class BadCoordinates(NearcastError):
    """A coordinate is no finite number in its range."""

    code = "bad_coordinates"


class FirstVersions(Sequence[FenceVersion]):
    """The first so many of a list that may grow behind them."""

    def __init__(self, versions: list[FenceVersion], count: int) -> None:
        self._all = versions
        self._count = count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, row: int) -> FenceVersion: ...
    @overload
    def __getitem__(self, row: slice) -> list[FenceVersion]: ...
    def __getitem__(self, row: int | slice) -> FenceVersion | list[FenceVersion]:
        if isinstance(row, slice):
            return [self._all[at] for at in range(*row.indices(self._count))]
        if not -self._count <= row < self._count:
            raise IndexError(row)
        return self._all[row if row >= 0 else self._count + row]

    def __iter__(self) -> Iterator[FenceVersion]:
        return (self._all[row] for row in range(self._count))


@dataclass(frozen=True, kw_only=True)
class IndexColumns:
    """Columns by row of an index.

    Attributes:
        versions: as given.
        fence_id, live_from_ms, live_until_ms: theirs (int64).
        is_circle: flags; circles and polygons: the shapes.
    """

    versions: Sequence[FenceVersion]
    fence_id: Ints
    live_from_ms: Ints
    live_until_ms: Ints
    is_circle: Bools
    circles: Circles
    polygons: Polygons

    @classmethod
    def of(cls, versions: Sequence[FenceVersion]) -> IndexColumns:
        """The columns of these versions.

        Raises:
            BadCoordinates: a shape has a coordinate or radius that is no finite number.
        """
        _check_finite(versions)
        shapes = [version.fence.shape for version in versions]
        return cls(
            versions=versions,
            fence_id=np.array([v.fence_id for v in versions], np.int64),
            live_from_ms=np.array([v.live_from_ms for v in versions], np.int64),
            live_until_ms=np.array([v.live_until_ms for v in versions], np.int64),
            is_circle=np.array([isinstance(s, CircleShape) for s in shapes], bool),
            circles=_circles(versions),
            polygons=Polygons.build(shapes),
        )

    @property
    def is_odd(self) -> Bools:
        """Rows that are concave, holed or in parts."""
        return ~(self.is_circle | self.polygons.is_convex)

    def boxes(self, first: int = 0) -> tuple[Floats, Ints]:
        """Boxes (west, south, east, north) and the rows they stand for, from `first` on.

        In plain longitudes: a fence across 180° has two, a turn apart; a polygon that reaches a pole
        has its latitude too.
        """
        circles, is_circle = self.circles, self.is_circle[first:]
        lon, lat, radius_m = circles.lon[first:], circles.lat[first:], circles.radius_m[first:]
        round_ = np.stack(circle_boxes(lon=lon, lat=lat, radius_m=radius_m), axis=1)
        boxes = np.where(is_circle[:, None], round_, self.polygons.bounds[first:])
        rows = np.arange(first, first + len(boxes))
        found, of = [boxes], [rows]
        for turn, chosen in ((-360.0, boxes[:, 2] >= 180), (360.0, boxes[:, 0] < -180)):
            found.append(boxes[chosen] + np.array([turn - _OUTWARD_DEG, 0.0, turn + _OUTWARD_DEG, 0.0]))
            of.append(rows[chosen])
        for pole, reached in ((-90.0, boxes[:, 1] == -90), (90.0, boxes[:, 3] == 90)):
            chosen = reached & ~is_circle
            found.append(np.tile([-180.0, pole, 180.0, pole], (int(chosen.sum()), 1)))
            of.append(rows[chosen])
        return np.vstack(found), np.concatenate(of)


class GrowingColumns:
    """The columns of all versions that an index and those made from it ever had.

    What `with_` gives stays as it is when more are appended.
    """

    def __init__(self, columns: IndexColumns) -> None:
        self._versions = list(columns.versions)
        self._own = {name: Growing(getattr(columns, name)) for name in _OWN}
        self._circles = _growing(columns.circles)
        self._polygons = _growing(columns.polygons)

    def __len__(self) -> int:
        return len(self._versions)

    def with_(self, columns: IndexColumns) -> IndexColumns:
        """Add rows; all of them, without copying."""
        shifts = {
            "first": self._polygons["ends"].used,
            "stretch_first": self._polygons["stretch_box"].used,
        }
        self._versions.extend(columns.versions)
        for name, column in self._own.items():
            column.append(getattr(columns, name))
        for name, column in self._circles.items():
            column.append(getattr(columns.circles, name))
        for name, column in self._polygons.items():
            more = getattr(columns.polygons, name)
            column.append(more + shifts[name] if name in shifts else more)

        return self._all()

    def _all(self) -> IndexColumns:
        count = len(self._versions)
        return IndexColumns(
            versions=FirstVersions(self._versions, count),
            circles=_first(Circles, self._circles),
            polygons=_first(Polygons, self._polygons),
            **{name: column.whole[:count] for name, column in self._own.items()},
        )


class Lineage:
    """What an index and those made from it share: one lock, and columns that grow."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._columns: GrowingColumns | None = None
        self._leaving: Leaving | None = None

    def growing(self, columns: IndexColumns) -> GrowingColumns:
        """The columns of all, which begin with these."""
        if self._columns is None:
            self._columns = GrowingColumns(columns)
        return self._columns

    def leaving(self, gone: Gone, rows: int) -> Leaving:
        """Who writes down which rows left."""
        if self._leaving is None:
            self._leaving = Leaving(gone, rows)
        return self._leaving


_OWN = ("fence_id", "live_from_ms", "live_until_ms", "is_circle")


def _growing(columns: Circles | Polygons) -> dict[str, Growing]:
    return {field.name: Growing(getattr(columns, field.name)) for field in fields(columns)}


def _first(kind: type[Columns], columns: dict[str, Growing]) -> Columns:
    return kind(**{name: column.whole[: column.used] for name, column in columns.items()})


def _circles(versions: Sequence[FenceVersion]) -> Circles:
    columns = np.full((len(versions), 3), np.nan)
    for row, version in enumerate(versions):
        shape = version.fence.shape
        if isinstance(shape, CircleShape):
            columns[row] = shape.lon, shape.lat, shape.radius_m
    lon, lat, radius_m = columns.T.copy()
    return Circles.build(lon=lon, lat=lat, radius_m=radius_m)


def _check_finite(versions: Sequence[FenceVersion]) -> None:
    """Refuse a shape with NaN or infinity, or with no coordinates, before any tree sees it."""
    for version in versions:
        shape = version.fence.shape
        if isinstance(shape, CircleShape):
            good = math.isfinite(shape.lon + shape.lat + shape.radius_m)
        else:
            numbers = shapely.get_coordinates(shape.geometry)
            good = len(numbers) > 0 and bool(np.isfinite(numbers).all())
        if not good:
            raise BadCoordinates(
                f"Fence {version.fence_id} has a coordinate or radius that is no finite number; "
                "give degrees and metres."
            )


def places_of(lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
    """Columns of float64, longitudes in [-180, 180).

    Raises:
        BadCoordinates: a coordinate is NaN, infinite or out of range.
    """
    lon, lat = np.asarray(lon, np.float64), np.asarray(lat, np.float64)
    good = np.isfinite(lon) & (np.abs(lat) <= 90)
    if not good.all():
        raise no_place(int(np.flatnonzero(~good)[0]), lon, lat)
    return normalize_lon(lon), lat


def no_place(row: int, lon: Floats, lat: Floats) -> BadCoordinates:
    """What to raise about a ping that is no place on earth."""
    return BadCoordinates(
        f"Ping {row} lies at lon {lon[row]}, lat {lat[row]}; admit only finite degrees, "
        "latitudes from -90 to 90."
    )
