"""What a geofence is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

import shapely

from geo.fences.hours import WeeklyHours


@dataclass(frozen=True, kw_only=True)
class CircleShape:
    """All places within `radius_m` (geodesic, WGS84) of a centre; the rim belongs to it."""

    lon: float
    lat: float
    radius_m: float


@dataclass(frozen=True, kw_only=True)
class PolygonShape:
    """Straight edges in longitude/latitude (RFC 7946); the boundary belongs to it.

    Attributes:
        geometry: a valid `shapely.Polygon` or `MultiPolygon` in normal form: 2-D, closed rings,
            shells counter-clockwise, holes clockwise, longitudes in [-180, 180], split at the
            antimeridian. `geo.fences.shapes` makes it; `geo.antimeridian.unwrap` joins it again.
    """

    geometry: shapely.Polygon | shapely.MultiPolygon


Shape = CircleShape | PolygonShape


@dataclass(frozen=True, kw_only=True)
class PresenceRules:
    """What a fence decides otherwise than its workspace; None: as the workspace does (product P3).

    Attributes:
        enter_p, exit_p, out_z, poor_out_z: as in `certainty.CertaintyPolicy`.
        exit_fixes, exit_span_s, far_sigma, far_m: as in `presence.PresencePolicy`.
    """

    enter_p: float | None = None
    exit_p: float | None = None
    out_z: float | None = None
    poor_out_z: float | None = None
    exit_fixes: int | None = None
    exit_span_s: int | None = None
    far_sigma: float | None = None
    far_m: float | None = None


@dataclass(frozen=True, kw_only=True)
class Fence:
    """A named shape and what its owner says about it (product F5).

    Attributes:
        external_id: the user's own key, unique in the workspace.
        metadata: at most 16 free keys.
        opening_hours: local to the fence; None is always open.
        valid_from, valid_until: aware UTC; live in `[valid_from, valid_until)`.
        dwell_after_s: seconds after arrival when a `dwell` transition is due; None: none.
        presence: its own rules of being in and out; None: all as in its workspace.
    """

    name: str
    shape: Shape
    external_id: str | None = None
    groups: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    brand: str | None = None
    category: str | None = None
    store: str | None = None
    address: str | None = None
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    enabled: bool = True
    opening_hours: WeeklyHours | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    dwell_after_s: int | None = None
    presence: PresenceRules | None = None


@dataclass(frozen=True, kw_only=True)
class FenceVersion:
    """One version of a fence and the time in which it is live: what a ping is matched against.

    Attributes:
        fence_id: serial of the fence; several versions share it.
        version: 1, 2, 3 … per fence.
        live_from_ms, live_until_ms: ms since the epoch, `[from, until)`: the version's own time
            cut to the fence's valid_from and valid_until.
        time_zone: IANA name at the fence's representative point.
    """

    fence_id: int
    version: int
    live_from_ms: int
    live_until_ms: int
    time_zone: str
    fence: Fence
