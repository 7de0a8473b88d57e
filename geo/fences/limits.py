"""How small and how large a fence may be (product F1, F2, F4)."""

from __future__ import annotations

import math

from geo.fences.fence import CircleShape, PolygonShape
from geo.fences.refusals import ShapeRefused
from geo.measure import projected_area_m2

MIN_RADIUS_M = 50.0  # loplat guide
MAX_RADIUS_M = 50_000.0  # loplat guide; a setting
MAX_AREA_KM2 = 1_000.0  # loplat guide: total of all parts, holes subtracted
AREA_TOLERANCE = 1e-6  # product F2: accepted up to 1,000 × (1 + 1e-6)
MAX_VERTICES = 10_000  # product F4


def check_radius(circle: CircleShape, *, max_radius_m: float = MAX_RADIUS_M) -> None:
    """Refuse a radius outside `[50 m, max_radius_m]`; both bounds belong to it."""
    if circle.radius_m < MIN_RADIUS_M:
        raise ShapeRefused(
            "radius_too_small",
            pointer="/radius_m",
            given=f"{circle.radius_m:.10g}",
            bound=f"{MIN_RADIUS_M:g}",
        )
    if circle.radius_m > max_radius_m:
        raise ShapeRefused(
            "radius_too_large",
            pointer="/radius_m",
            given=f"{circle.radius_m:.10g}",
            bound=f"{max_radius_m:g}",
        )


def check_area(polygon: PolygonShape) -> float:
    """The area in km²; refuses more than 1,000 km² × (1 + 1e-6), saying by how much it is over."""
    area_km2 = projected_area_m2(polygon.geometry) / 1e6
    if area_km2 > MAX_AREA_KM2 * (1 + AREA_TOLERANCE):
        raise ShapeRefused(
            "area_too_large",
            given=_readable(area_km2),
            over=_readable(area_km2 - MAX_AREA_KM2),
            bound=f"{MAX_AREA_KM2:,.0f}",
        )
    return area_km2


def _readable(km2: float) -> str:
    """Two decimals, more where two would show nothing."""
    decimals = 2 if km2 >= 0.01 else min(9, 1 - math.floor(math.log10(km2)))
    return f"{km2:,.{decimals}f}"
