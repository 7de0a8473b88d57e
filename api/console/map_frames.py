"""Which part of the world a map picture shows: clusters of fences, and frames fitted to them."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
#: shape (n, 2): lon, lat in degrees
Ring = npt.NDArray[np.float64]

#: metres of one degree of latitude, the mean of WGS84: pictures are drawn, not measured
DEGREE_M = 111_195.0
#: a cell of the grid by which clusters are found, about 25 km in Korea
CELL_DEG = 0.25
#: a single store is shown with this much around it
LEAST_SPAN_M = 2_500.0
PADDING = 0.05


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A window of a picture and the plane behind it.

    The plane is equirectangular with the cosine of the middle's latitude: true at the middle,
    within 1 % over a city.

    Attributes:
        lon, lat: degrees, the middle.
        px_per_m: scale.
        x, y, width, height: the window in the picture, in px.
    """

    lon: float
    lat: float
    px_per_m: float
    x: float
    y: float
    width: float
    height: float

    def project(self, ring: Ring) -> Floats:
        """(n, 2) of lon, lat → (n, 2) of px inside the window, y downwards; 180° is no seam."""
        east_deg = _turned(ring[:, 0] - self.lon)
        squeeze = np.cos(np.radians(self.lat))
        scale = DEGREE_M * self.px_per_m
        return np.column_stack(
            [
                self.width / 2 + east_deg * squeeze * scale,
                self.height / 2 - (ring[:, 1] - self.lat) * scale,
            ]
        )


def _turned(degrees: Floats) -> Floats:
    """The same angles in [-180, 180)."""
    return np.asarray((degrees + 180.0) % 360.0 - 180.0, dtype=float)


def clusters(points: Ring) -> list[npt.NDArray[np.intp]]:
    """Rows of far-apart groups of points, the largest group first, ties by their first row.

    Two points belong together when a chain of neighbouring cells of `CELL_DEG` joins them; in Korea
    a gap of 20 km never parts a group, one of 60 km always does.
    """
    cells: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    columns = round(360 / CELL_DEG)
    for row, (lon, lat) in enumerate(points):
        cells[int(lon // CELL_DEG) % columns, int(lat // CELL_DEG)].append(row)
    found = []
    while cells:
        reached = deque([next(iter(cells))])
        rows = list(cells.pop(reached[0]))
        while reached:
            column, line = reached.popleft()
            for east in (-1, 0, 1):
                for north in (-1, 0, 1):
                    beside = ((column + east) % columns, line + north)
                    if beside in cells:
                        rows.extend(cells.pop(beside))
                        reached.append(beside)
        found.append(np.array(sorted(rows), dtype=np.intp))
    return sorted(found, key=lambda rows: (-rows.size, rows[0]))


def fit(points: Ring, reach_m: Floats, *, x: float, y: float, width: float, height: float) -> Frame:
    """The frame that shows all points, each with `reach_m` around it, as large as it can be."""
    squeeze = max(float(np.cos(np.radians(points[:, 1].mean()))), 1e-6)
    east_m = _turned(points[:, 0] - points[0, 0]) * DEGREE_M * squeeze
    north_m = points[:, 1] * DEGREE_M
    west, right = float((east_m - reach_m).min()), float((east_m + reach_m).max())
    south, top = float((north_m - reach_m).min()), float((north_m + reach_m).max())
    across_m, up_m = max(right - west, LEAST_SPAN_M), max(top - south, LEAST_SPAN_M)
    lon = float(points[0, 0]) + (west + right) / 2 / (DEGREE_M * squeeze)
    return Frame(
        lon=float(_turned(np.array([lon]))[0]),
        lat=(south + top) / 2 / DEGREE_M,
        px_per_m=(1 - 2 * PADDING) * min(width / across_m, height / up_m),
        x=x,
        y=y,
        width=width,
        height=height,
    )


def scale_bar(px_per_m: float, longest_px: float) -> tuple[float, str]:
    """(length in px, what it says) of the longest 1-2-5 bar of at most `longest_px`."""
    longest_m = longest_px / px_per_m
    power = 10.0 ** np.floor(np.log10(longest_m))
    length_m = float(power * max(step for step in (1, 2, 5) if step * power <= longest_m))
    text = f"{length_m / 1000:g} km" if length_m >= 1000 else f"{length_m:g} m"
    return length_m * px_per_m, text


def graticule(frame: Frame, least_px: float) -> tuple[Sequence[float], Sequence[float]]:
    """(longitudes, latitudes) of a 1-2-5 net whose lines stand at least `least_px` apart."""
    half_lat = frame.height / frame.px_per_m / DEGREE_M / 2
    half_lon = frame.width / frame.px_per_m / DEGREE_M / 2 / np.cos(np.radians(frame.lat))
    least = least_px / frame.px_per_m / DEGREE_M / float(np.cos(np.radians(frame.lat)))
    power = 10.0 ** np.floor(np.log10(least))
    step = float(power * min(m for m in (1, 2, 5, 10) if m * power >= least))
    lons = np.arange(np.ceil((frame.lon - half_lon) / step), (frame.lon + half_lon) / step) * step
    lats = np.arange(np.ceil((frame.lat - half_lat) / step), (frame.lat + half_lat) / step) * step
    return [round(float(lon), 6) for lon in lons], [round(float(lat), 6) for lat in lats]
