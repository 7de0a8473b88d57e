"""Moves as lines straight in longitude and latitude: where they are, how long, and what they meet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geo.matching.pings import Bools, Floats, Ints
from geo.measure import SMALLEST_RADIUS_M, WGS84, distance_m

#: bounds of metres a degree of latitude, and of longitude at the equator
_LEAST_M_A_DEGREE, _MOST_M_A_DEGREE = 110_500.0, 111_700.0
#: a coarse map of where fences are, and how far a line may lead, bent around a pole too
_CELL_DEG, _ACROSS, _UP = 0.25, 1440, 720
_REACH_M = 5_000.0
#: where a plane about a circle is good enough to look first
_FLAT_UP_TO_DEG, _FLAT_UP_TO_M = 80.0, 20_000.0


@dataclass(frozen=True, kw_only=True)
class Moves:
    """Lines straight in longitude and latitude; longitudes go on across 180°.

    Attributes:
        row: the ping at which each ends.
        lon, lat: where it starts; east, north: degrees to where it ends.
    """

    row: Ints
    lon: Floats
    lat: Floats
    east: Floats
    north: Floats

    def at(self, share: Floats) -> tuple[Floats, Floats]:
        """Longitudes and latitudes at a share of the way, 0 to 1."""
        return self.lon + share * self.east, self.lat + share * self.north

    def take(self, some: Ints) -> Moves:
        """These rows."""
        return Moves(
            row=self.row[some],
            lon=self.lon[some],
            lat=self.lat[some],
            east=self.east[some],
            north=self.north[some],
        )


@dataclass(frozen=True, kw_only=True)
class Plane:
    """Moves in the equirectangular plane about the centre of a circle, in metres.

    Its error in a distance D is at most tan(latitude) D²/2R along a parallel, and less than D²/R for the
    ellipsoid's shape: `error_m` is twice their sum and 10 cm.
    """

    x: Floats
    y: Floats
    dx: Floats
    dy: Floats
    nearest: Floats
    error_m: Floats
    is_flat: Bools

    @classmethod
    def about(cls, moves: Moves, lon: Floats, lat: Floats) -> Plane:
        """One plane a move, about these centres."""
        up = 1 - WGS84.es * np.sin(np.radians(lat)) ** 2
        across = np.radians(WGS84.a / np.sqrt(up))
        east_m, north_m = across * np.cos(np.radians(lat)), across * (1 - WGS84.es) / up
        off = moves.lon - lon
        x = (off - 360.0 * np.round(off / 360.0)) * east_m
        y = (moves.lat - lat) * north_m
        dx, dy = moves.east * east_m, moves.north * north_m
        nearest = np.clip(-(x * dx + y * dy) / (dx * dx + dy * dy), 0.0, 1.0)
        far_m = np.maximum(np.hypot(x, y), np.hypot(x + dx, y + dy))
        return cls(
            x=x,
            y=y,
            dx=dx,
            dy=dy,
            nearest=nearest,
            error_m=0.1 + far_m**2 * (np.abs(np.tan(np.radians(lat))) + 2) / SMALLEST_RADIUS_M,
            is_flat=(np.abs(lat) < _FLAT_UP_TO_DEG) & (far_m < _FLAT_UP_TO_M),
        )

    def away_m(self, share: Floats) -> Floats:
        """From the centre, at a share of the way."""
        return np.hypot(self.x + share * self.dx, self.y + share * self.dy)

    def entry(self, radius_m: Floats) -> Floats:
        """Where each line comes within the radius; the nearest place where it never does."""
        along2 = self.dx**2 + self.dy**2
        middle = -(self.x * self.dx + self.y * self.dy) / along2
        beside2 = self.x**2 + self.y**2 - middle**2 * along2
        half = np.sqrt(np.maximum(radius_m**2 - beside2, 0.0) / along2)
        return np.clip(middle - half, 0.0, 1.0)

    def slope(self, share: Floats, some: Ints) -> Floats:
        """How the squared distance changes along the way."""
        x, y, dx, dy = self.x[some], self.y[some], self.dx[some], self.dy[some]
        return 2 * ((x + share * dx) * dx + (y + share * dy) * dy)


def short(lon: Floats, lat: Floats, east: Floats, north: Floats, *, within_m: float) -> Bools:
    """Moves of more than nothing and at most so far; measured only where that is not plain to see."""
    # the ground's longest degrees, at the end that is nearer to the equator, make it no shorter
    least_lat = np.where(lat * (lat + north) < 0, 0.0, np.minimum(np.abs(lat), np.abs(lat + north)))
    most_m = _MOST_M_A_DEGREE * np.hypot(east * np.cos(np.radians(least_lat)), north)
    found = most_m <= within_m
    some = np.flatnonzero(~found & (np.abs(north) <= within_m / _LEAST_M_A_DEGREE))
    metres = distance_m(
        lon1=lon[some], lat1=lat[some], lon2=lon[some] + east[some], lat2=lat[some] + north[some]
    )
    found[some] = metres <= within_m
    return np.asarray(found & ((east != 0) | (north != 0)))


def cells(lon: Floats, lat: Floats) -> Ints:
    """The cell of a quarter of a degree that each place lies in."""
    x = np.floor((lon + 180.0) / _CELL_DEG).astype(np.int64) % _ACROSS
    y = np.clip(np.floor((lat + 90.0) / _CELL_DEG).astype(np.int64), 0, _UP - 1)
    return np.asarray(y * _ACROSS + x)


def around(boxes: Floats) -> Bools:
    """The cells from which a move of 3 km may meet one of these boxes, and some more."""
    up = _REACH_M / _LEAST_M_A_DEGREE
    south, north = boxes[:, 1] - up, boxes[:, 3] + up
    widest_lat = np.maximum(np.abs(south), np.abs(north))
    aside = up / np.cos(np.radians(np.minimum(widest_lat, 89.0)))
    west, east = boxes[:, 0] - aside, boxes[:, 2] + aside
    found = np.zeros(_UP * _ACROSS, bool)
    for x in (west, east):  # all cells of a box that is no larger than one
        for y in (south, north):
            found[cells(x, y)] = True
    large = (east - west > _CELL_DEG) | (north - south > _CELL_DEG) | (widest_lat > 89.0)
    grid = found.reshape(_UP, _ACROSS)
    for row in np.flatnonzero(large).tolist():
        low, high = (int(cells(np.zeros(1), y[row : row + 1])[0]) // _ACROSS for y in (south, north))
        if widest_lat[row] > 89.0 or east[row] - west[row] >= 360.0 - _CELL_DEG:
            grid[low : high + 1] = True
            continue
        columns = np.arange(
            np.floor((west[row] + 180.0) / _CELL_DEG), np.floor((east[row] + 180.0) / _CELL_DEG) + 1
        )
        grid[low : high + 1, columns.astype(np.int64) % _ACROSS] = True
    return found


def lines_of(moves: Moves, turn: float) -> NDArray[Any]:
    """As shapely's lines, so many degrees farther east."""
    start = np.column_stack([moves.lon + turn, moves.lat])
    step = np.column_stack([moves.east, moves.north])
    return np.asarray(shapely.linestrings(np.stack([start, start + step], axis=1)), object)


def lowest_near(away_m: Callable[[Floats], Floats], share: Floats, step: float) -> Floats:
    """Nearer to where the distance is least: the lowest place of a parabola through three squares."""
    middle = np.clip(share, step, 1 - step)
    left, at, right = (away_m(middle + by) ** 2 for by in (-step, 0.0, step))
    bend = left - 2 * at + right
    with np.errstate(divide="ignore", invalid="ignore"):
        off = step / 2 * (left - right) / bend
    lowest = middle + np.where(bend > 0, np.clip(off, -step, step), 0.0)
    return np.where(away_m(lowest) < away_m(share), lowest, share)


def first_on(moves: Moves, shapes: NDArray[Any], turn: float) -> Floats:
    """How far each line has gone when it first meets its shape, NaN where it does not."""
    share = np.full(len(shapes), np.nan)
    start = np.column_stack([moves.lon + turn, moves.lat])
    step = np.column_stack([moves.east, moves.north])
    lines = lines_of(moves, turn)
    some = np.flatnonzero(shapely.intersects(shapes, lines))
    if not len(some):
        return share
    common = shapely.intersection(shapes[some], lines[some])
    # rounding may leave nothing of a touch: then the place of the line that is nearest
    touch = shapely.get_point(shapely.shortest_line(lines[some], shapes[some]), 0)
    common = np.where(shapely.is_empty(common), touch, common)
    places, of = shapely.get_coordinates(common, return_index=True)
    longer = np.argmax(np.abs(step[some]), axis=1)[of]
    on = np.arange(len(of))
    gone = (places[on, longer] - start[some][of, longer]) / step[some][of, longer]
    least = np.full(len(some), np.inf)
    np.minimum.at(least, of, gone)
    share[some] = np.clip(least, 0.0, 1.0)
    return share
