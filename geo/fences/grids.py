"""Numbers that are no degrees: which place could they mean (product U5)?"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class GridSample:
    """Where one row would lie."""

    row: int
    lat: float
    lng: float


@dataclass(frozen=True, kw_only=True)
class GridGuess:
    """One grid in which the metres of a sheet may be given.

    Attributes:
        epsg: such as `EPSG:5174`; `ReadOptions.grid` takes it.
        name: the grid's own name in the EPSG registry.
        northing_in_lng: the column read as longitude (X) holds northings, the other one eastings.
        rows: rows in metres that lie in the area for which the grid was made.
        share: `rows` ÷ all rows in metres.
        sample: the first three of those rows.
    """

    epsg: str
    name: str
    northing_in_lng: bool
    rows: int
    share: float
    sample: tuple[GridSample, ...]
