"""Where devices were at night: one row a device and night (product P12)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
import shapely
import sqlalchemy as sa
from numpy.typing import NDArray

from geo.areas import Area, AreaLayer
from geo.matching.nights import NOWHERE
from geo.matching.pings import Floats, Ints
from nearcast.store.engine import Row, among, insert_new, upsert
from nearcast.store.tables import app, area, area_layer, device, night, night_due, workspace

REGION = "region"  # kind of the layers that nights are told by


@dataclass(frozen=True, kw_only=True)
class DueNight:
    """A night whose pings were sealed since it was last worked out."""

    app_id: int
    workspace_id: int
    zone: str
    day: date


@dataclass(frozen=True, kw_only=True)
class Regions:
    """The areas of a workspace's region layers.

    Attributes:
        ids: serials of the areas, row by row.
    """

    layer: AreaLayer
    ids: Ints

    @cached_property
    def _size(self) -> NDArray[np.float64]:
        """Square degrees, narrowed to the north: enough to tell a village from its county."""
        shapes = [a.geometry for a in self.layer.areas]
        bounds = shapely.bounds(shapes).reshape(-1, 4)
        lat = np.radians((bounds[:, 1] + bounds[:, 3]) / 2)
        size: NDArray[np.float64] = shapely.area(shapes) * np.cos(lat)
        return size

    def smallest(self, *, lon: Floats, lat: Floats) -> Ints:
        """Serial of the smallest area that holds each point, the boundary included; else `NOWHERE`.

        Of two that are equally small, as where a point lies on the boundary between them and they
        measure the same, the one with the smaller serial.
        """
        found = np.full(len(lon), NOWHERE, np.int64)
        if not len(self.ids):
            return found
        point, row = self.layer.holding(lon=lon, lat=lat)
        order = np.lexsort((self.ids[row], self._size[row], point))
        points, first = np.unique(point[order], return_index=True)
        found[points] = self.ids[row[order[first]]]
        return found


def regions(conn: sa.Connection, workspace_id: int) -> Regions:
    """The areas of a workspace's region layers."""
    rows = conn.execute(
        sa.select(area.c.id, area.c.name, area.c.code, area.c.wkb)
        .join(area_layer, area_layer.c.id == area.c.layer_id)
        .where(area_layer.c.workspace_id == workspace_id, area_layer.c.kind == REGION)
        .order_by(area.c.id)
    ).all()
    shapes = shapely.from_wkb([row.wkb for row in rows])
    layer = AreaLayer(
        tuple(
            Area(name=row.name, code=row.code, geometry=shape)
            for row, shape in zip(rows, shapes, strict=True)
        )
    )
    return Regions(layer=layer, ids=np.array([row.id for row in rows], np.int64))


def due(conn: sa.Connection) -> list[DueNight]:
    """The nights to work out, the oldest first."""
    query = (
        sa.select(
            night_due.c.app_id,
            night_due.c.day,
            app.c.workspace_id,
            workspace.c.time_zone.label("zone"),
        )
        .join(app, app.c.id == night_due.c.app_id)
        .join(workspace, workspace.c.id == app.c.workspace_id)
        .order_by(night_due.c.day, night_due.c.app_id)
    )
    return [DueNight(**row) for row in conn.execute(query).mappings()]


def done(conn: sa.Connection, *, app_id: int, day: date) -> None:
    """A night is worked out; who seals more of its pings makes it due again, after this transaction."""
    conn.execute(sa.delete(night_due).where(night_due.c.app_id == app_id, night_due.c.day == day))


def save(conn: sa.Connection, rows: Sequence[Row], *, anew: bool) -> None:
    """Keep rows of nights.

    Args:
        anew: they are the whole truth and replace what stands there; else they only fill gaps.
    """
    if anew:
        upsert(conn, night, rows)
    else:
        insert_new(conn, night, rows)


def newest_device(conn: sa.Connection, app_id: int) -> int:
    """The greatest serial of an app's devices, 0 without any."""
    newest = conn.execute(sa.select(sa.func.max(device.c.id)).where(device.c.app_id == app_id))
    return newest.scalar() or 0


def of_devices(
    conn: sa.Connection, device_ids: Sequence[int], *, since: date, until: date
) -> list[sa.RowMapping]:
    """The nights of some devices in `[since, until)`, by device and day, with the area's name and code.

    An area that was deleted since has neither.
    """
    query: sa.Select[Any] = (
        sa.select(night, area.c.name.label("area_name"), area.c.code.label("area_code"))
        .outerjoin(area, area.c.id == night.c.area_id)
        .where(
            among(conn, night.c.device_id, list(device_ids)),
            night.c.day >= since,
            night.c.day < until,
        )
        .order_by(night.c.device_id, night.c.day)
    )
    return list(conn.execute(query).mappings())
