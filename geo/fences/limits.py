"""How small and how large a fence may be (product F1, F2, F4)."""

from __future__ import annotations

import math

from geo.fences.fence import CircleShape, PolygonShape
from geo.fences.refusals import AreaTooLarge, RadiusOutOfBounds
from geo.measure import projected_area_m2

MIN_RADIUS_M = 50.0  # loplat guide (F1); included
MAX_RADIUS_M = 50_000.0  # loplat guide (F1); included; a setting
MAX_AREA_KM2 = 1_000.0  # loplat guide (F2): total of all parts, holes subtracted
AREA_TOLERANCE = 1e-6  # product F2: accepted up to 1,000 × (1 + 1e-6)
MAX_VERTICES = 10_000  # product F4; a ring's closing point is not counted


def check_circle(shape: CircleShape, *, max_radius_m: float = MAX_RADIUS_M) -> None:
    """Refuse a radius outside `[50 m, max_radius_m]`; both bounds belong to it.

    Raises:
        RadiusOutOfBounds: `radius_too_small` or `radius_too_large`, with the bound in the message.
    """
    if shape.radius_m < MIN_RADIUS_M:
        raise _out_of_bounds("radius_too_small", shape.radius_m, MIN_RADIUS_M)
    if shape.radius_m > max_radius_m:
        raise _out_of_bounds("radius_too_large", shape.radius_m, max_radius_m)


def check_area(shape: PolygonShape) -> float:
    """The area in km², measured as F2 says.

    Raises:
        AreaTooLarge: more than 1,000 km² × (1 + 1e-6); the message says by how much it is over.
    """
    area_km2 = projected_area_m2(shape.geometry) / 1e6
    if area_km2 > MAX_AREA_KM2 * (1 + AREA_TOLERANCE):
        raise AreaTooLarge(
            area_km2=area_km2,
            given=_readable(area_km2, beside=area_km2 - MAX_AREA_KM2),
            over=_readable(area_km2 - MAX_AREA_KM2, beside=area_km2 - MAX_AREA_KM2),
            bound=f"{MAX_AREA_KM2:,.0f}",
        )
    return area_km2


def _out_of_bounds(code: str, radius_m: float, bound_m: float) -> RadiusOutOfBounds:
    # repr, not a rounded form: 49.9999999999 must not read as 50
    return RadiusOutOfBounds(
        code, pointer="/radius_m", given=f"{radius_m!r}".removesuffix(".0"), bound=f"{bound_m:.15g}"
    )


def _readable(km2: float, *, beside: float) -> str:
    """Two decimals; as many more as the smaller number beside it needs to be seen."""
    decimals = 2 if beside >= 0.01 else min(9, 1 - math.floor(math.log10(beside)))
    return f"{km2:,.{decimals}f}"
