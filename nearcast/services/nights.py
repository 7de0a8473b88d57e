"""Work out where devices were at night, once a night is over (product P12).

A night is a function of its sealed pings. Each sealing makes the nights that it adds to due; so late
pings are in it as soon as they are sealed, and a night that is worked out twice is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import sqlalchemy as sa

from geo.matching.nights import MAX_APART_MS, NOWHERE, Night, NightRows, night_of, night_rows
from nearcast.store import nights, ping_seals
from nearcast.store.engine import in_transaction, reading
from nearcast.store.nights import DueNight, Regions
from nearcast.store.ping_files import PingFiles
from nearcast.store.ping_fixes import FIX, Flag
from nearcast.store.ping_seals import SealedFile

#: about so many pings are held in memory at once
PORTION = 1_000_000
#: rows a transaction: pings wait no longer for it than for a group of their own
ROWS = 2_000
_MINUTE_MS = 60_000


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What a pass knows: the regions of workspaces and how far back raw pings are whole."""

    regions: Callable[[int], Regions]
    whole_since_ms: Callable[[int], int]


class _MoreSealed(Exception):
    """Pings of the night were sealed while it was worked out: it stays due."""


def work_out_nights(
    engine: sa.Engine,
    files: PingFiles,
    *,
    now_ms: int,
    whole_since_ms: Callable[[int], int],
    portion: int = PORTION,
) -> int:
    """Work out the nights that are due and over; how many there were.

    Args:
        whole_since_ms: workspace → since when all its raw pings are there. Of nights before that, some
            pings may be gone: their rows are only added where there are none.
    """
    known = _Known(
        regions=cache(lambda workspace_id: reading(engine, lambda c: nights.regions(c, workspace_id))),
        whole_since_ms=cache(whole_since_ms),
    )
    worked = 0
    for due in reading(engine, nights.due):
        night = night_of(due.day, ZoneInfo(due.zone))
        if now_ms < night.until_ms + MAX_APART_MS:
            continue
        worked += _work_out(engine, files, due, night, known, portion)
    return worked


def _work_out(
    engine: sa.Engine, files: PingFiles, due: DueNight, night: Night, known: _Known, portion: int
) -> bool:
    first_ms, last_ms = night.from_ms - MAX_APART_MS, night.until_ms + MAX_APART_MS
    anew = first_ms >= known.whole_since_ms(due.workspace_id)

    def sealed(conn: sa.Connection) -> list[SealedFile]:
        return ping_seals.of_time(conn, app_id=due.app_id, first_ms=first_ms, last_ms=last_ms)

    listed = reading(engine, sealed)
    newest = reading(engine, lambda conn: nights.newest_device(conn, due.app_id))
    for devices in _ranges(newest, sum(file.pings for file in listed), portion):
        rows = _rows(files, listed, night, known.regions(due.workspace_id), devices)
        _save(engine, night, rows, anew=anew)

    def verb(conn: sa.Connection) -> None:
        nights.done(conn, app_id=due.app_id, day=due.day)
        if {file.id for file in sealed(conn)} != {file.id for file in listed}:
            raise _MoreSealed

    try:
        in_transaction(engine, verb)
    except _MoreSealed:
        return False
    return True


def _ranges(newest: int, pings: int, portion: int) -> Iterator[range]:
    """The serials `[1, newest]` in as many parts as the pings are portions."""
    parts = max(1, -(-pings // portion))
    width = max(1, -(-newest // parts))
    for first in range(1, newest + 1, width):
        yield range(first, min(first + width, newest + 1))


def _rows(
    files: PingFiles, listed: Sequence[SealedFile], night: Night, regions: Regions, devices: range
) -> NightRows:
    # the ends are those of `nights.night_rows`: what is further off than the gap says nothing
    first_ms, last_ms = night.from_ms - MAX_APART_MS, night.until_ms + MAX_APART_MS
    parts = [np.empty(0, FIX)]
    parts += [
        files.read(file.names, first_ms=first_ms, last_ms=last_ms, devices=devices).fixes
        for file in listed
    ]
    fixes = np.concatenate(parts)
    fixes = fixes[(fixes["flags"] & Flag.HELD) == 0]
    # of one instant the surest comes first; without a radius it is exact
    fixes = fixes[np.argsort(np.nan_to_num(fixes["accuracy_m"], nan=0.0), kind="stable")]
    return night_rows(
        device=fixes["device"],
        at_ms=fixes["at_ms"],
        area=regions.smallest(lon=fixes["lon"], lat=fixes["lat"]),
        night=night,
    )


def _save(engine: sa.Engine, night: Night, found: NightRows, *, anew: bool) -> None:
    minutes = (found.near_ms + _MINUTE_MS // 2) // _MINUTE_MS
    columns = (found.device, found.area, minutes, found.fixes)
    rows: list[dict[str, Any]] = [
        {
            "device_id": device,
            "day": night.day,
            "area_id": None if area == NOWHERE else area,
            "minutes": near,
            "fixes": fixes,
        }
        for device, area, near, fixes in zip(*(c.tolist() for c in columns), strict=True)
    ]
    for first in range(0, len(rows), ROWS):
        some = rows[first : first + ROWS]
        in_transaction(engine, partial(nights.save, rows=some, anew=anew))
