"""Circles as one record of 64 bytes: whether a ping is inside, without any sine.

The record holds a polynomial q of the ping's place in degrees, near to (chord / radius)² where chord is
the straight line through the earth:

    chord² = (p - p0)² + (z - z0)² + 2 p p0 (1 - cos dlon)

with p the distance from the earth's axis and z the height above the equator, functions of latitude
alone. The first two terms are the chord along a meridian, M² d² + M M' d³ + O(d⁴) for a step d of
latitude (M: its radius of curvature); p is taken to second order, and 2 (1 - cos) as dlon².

**The band.** What is left out is at most

    1.03 a² d⁴ / 12  +  p0 1.03 a |d|³ dlon² / 6  +  p p0 dlon⁴ / 12

(on a sphere the fourth derivative of the first part is 2R², the third of p is R; the ellipsoid adds
1 %). On the rim d and dlon are at most those of the circle's box. A geodesic is no shorter than its
chord c and no longer than 2R asin(c / 2R) (see `circles`), which adds radius² / 12R². So with band =
1.25 × both, and 8 µm for the micrometre of the rim and all rounding: q > 1 + band is outside,
q < 1 - band is inside. What lies between is measured by geodesic, as the plain twin does. The band
is 0.03 mm wide on circles of 500 m, 2 mm at 5 km, 1 m at 50 km.
Beyond 85° nothing is claimed (band = inf).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from geo.matching.cell_layout import CIRCLE_WIDTH
from geo.matching.compiled import inlined, kernel
from geo.measure import SMALLEST_RADIUS_M, WGS84

Floats = NDArray[np.float64]

#: a circle that reaches beyond has no polynomial
_POLYNOMIAL_UP_TO_DEG = 85.0
#: of WGS84: half the longer axis, and the square of the eccentricity
_EQUATOR_M, _FLATTENED = float(WGS84.a), float(WGS84.es)
_ELLIPSOID = 1.03
_SAFETY = 1.25
_ROUNDING_M = 8e-6
#: whole cells are told from crossed ones with so many bands to spare: see `circle_in_box`
BOX_BANDS = 32.0


@kernel
def circle_records(lon: Floats, lat: Floats, radius_m: Floats) -> Floats:
    """Eight doubles a row: lon, lat, a0, a1, b0, b1, b2, band; NaN in the rows of other shapes.

    q = (a0 + a1 y) y² + (b0 + b1 y + b2 y²) x² for a ping x degrees east and y north of the centre.
    """
    made = np.full(len(lon) * CIRCLE_WIDTH, np.nan)
    degree = math.radians(1.0)
    for row in range(len(lon)):
        if np.isnan(radius_m[row]):
            continue
        north = math.radians(lat[row])
        up, out = math.sin(north), math.cos(north)
        bend = 1 - _FLATTENED * up * up
        meridian = _EQUATOR_M * (1 - _FLATTENED) / bend**1.5
        slope = 3 * meridian * _FLATTENED * up * out / bend
        axis = _EQUATOR_M / math.sqrt(bend) * out
        axis1, axis2 = -meridian * up, -(slope * up + meridian * out)
        per_radius2 = 1 / radius_m[row] ** 2
        record = made[row * CIRCLE_WIDTH : (row + 1) * CIRCLE_WIDTH]
        record[0], record[1] = lon[row], lat[row]
        record[2] = meridian**2 * degree**2 * per_radius2
        record[3] = meridian * slope * degree**3 * per_radius2
        record[4] = axis**2 * degree**2 * per_radius2
        record[5] = axis * axis1 * degree**3 * per_radius2
        record[6] = axis * axis2 / 2 * degree**4 * per_radius2
        record[7] = _band(radius_m[row], north, axis)
        if np.isinf(record[7]):
            record[2:7] = 0.0
    return made


@kernel
def _band(radius_m: float, lat: float, axis_m: float) -> float:
    """How far q may be from 1 on the rim; inf where the polynomial is not to be used."""
    step = (radius_m + 1e-6) / SMALLEST_RADIUS_M
    if abs(lat) + step > math.radians(_POLYNOMIAL_UP_TO_DEG):
        return np.inf
    dlon = math.asin(min(math.sin(step) / math.cos(lat), 1.0))
    widest_axis = axis_m + _EQUATOR_M * step
    left_out = _ELLIPSOID * _EQUATOR_M**2 * step**4 / 12
    left_out += axis_m * _ELLIPSOID * _EQUATOR_M * step**3 * dlon**2 / 6
    left_out += widest_axis * axis_m * dlon**4 / 12
    band = _SAFETY * (left_out / radius_m**2 + step**2 / 12) + _ROUNDING_M / radius_m
    return np.inf if band * BOX_BANDS > 0.5 else band


@inlined
def circle_q(circle: Floats, row: int, x: float, y: float) -> float:
    """(chord / radius)² of a place, to `band`; x within 360° of the centre."""
    at = row * 8
    dx = x - circle[at]
    dy = y - circle[at + 1]
    if abs(dx) > 180.0:
        dx -= np.copysign(360.0, dx)
    along = (circle[at + 2] + circle[at + 3] * dy) * dy * dy
    return along + (circle[at + 4] + dy * (circle[at + 5] + circle[at + 6] * dy)) * dx * dx


@inlined
def circle_in_box(circle: Floats, row: int, west: float, south: float, east: float, north: float) -> int:
    """Whether a small box is outside of a circle (0), crossed or near its rim (1), or inside (2).

    The place of the box nearest to the centre in degrees is not quite the nearest on the ground: q
    falls a little towards the pole, by at most tan²(lat) × (radius / R)², well below 32 bands.
    The largest q is at a corner. The box stands in the longitudes around the centre, without a jump.
    """
    at = row * 8
    lon = circle[at]
    lat = circle[at + 1]
    spare = BOX_BANDS * circle[at + 7]
    if not spare < 1.0:  # without a polynomial: the caller's box is all that is known
        return 1
    x = min(max(lon, west), east)
    y = min(max(lat, south), north)
    if circle_q(circle, row, x, y) > 1.0 + spare:
        return 0
    far = west if lon - west > east - lon else east
    if (
        circle_q(circle, row, far, south) < 1.0 - spare
        and circle_q(circle, row, far, north) < 1.0 - spare
    ):
        return 2
    return 1
