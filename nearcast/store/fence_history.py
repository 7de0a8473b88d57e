"""The versions that fences had in a span of time, switched off or not: what explanations look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from geo.antimeridian import unwrap
from geo.fences.fence import CircleShape, FenceVersion, Shape
from geo.measure import distance_m
from nearcast.store.engine import among
from nearcast.store.fences import fence_of, shape_of
from nearcast.store.tables import fence_version


@dataclass(frozen=True, kw_only=True)
class PastVersion:
    """A version and the time in which it was the newest one of its fence, `[from, until)`."""

    version: FenceVersion
    from_ms: int
    until_ms: int

    @property
    def whole(self) -> FenceVersion:
        """The version as if it had been live all that time: for judging what it would have held."""
        return replace(self.version, live_from_ms=self.from_ms, live_until_ms=self.until_ms)

    def is_live(self, at_ms: int) -> bool:
        """Whether pings of this instant were matched against it."""
        return self.version.live_from_ms <= at_ms < self.version.live_until_ms


def versions(
    conn: sa.Connection, fence_ids: Sequence[int], *, from_ms: int, until_ms: int
) -> list[PastVersion]:
    """The versions of some fences that were the newest at some instant of `[from, until]`."""
    if not fence_ids:
        return []
    query = (
        sa.select(fence_version)
        .where(
            among(conn, fence_version.c.fence_id, list(fence_ids)),
            fence_version.c.from_ms <= until_ms,
            fence_version.c.until_ms > from_ms,
        )
        .order_by(fence_version.c.fence_id, fence_version.c.version)
    )
    return [_past(row) for row in conn.execute(query).mappings()]


def middle(shape: Shape) -> tuple[float, float, float]:
    """Longitude and latitude of a shape's middle, and a radius in metres that holds all of it."""
    if isinstance(shape, CircleShape):
        return shape.lon, shape.lat, shape.radius_m
    west, south, east, north = unwrap(shape.geometry).bounds
    lon, lat = (west + east) / 2, (south + north) / 2
    corners = ((west, south), (west, north), (east, south), (east, north))
    return lon, lat, max(float(distance_m(lon1=lon, lat1=lat, lon2=x, lat2=y)) for x, y in corners)


def _past(row: sa.RowMapping) -> PastVersion:
    return PastVersion(
        version=FenceVersion(
            fence_id=row["fence_id"],
            version=row["version"],
            live_from_ms=row["live_from_ms"],
            live_until_ms=row["live_until_ms"],
            time_zone=row["time_zone"],
            fence=fence_of(row["attributes"], shape_of(row)),
        ),
        from_ms=row["from_ms"],
        until_ms=row["until_ms"],
    )
