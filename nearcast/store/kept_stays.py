"""Stays kept in memory as columns with free places, found by device."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geo.matching.stay_columns import Stays, key_codes

Ints = NDArray[np.int64]
_FIRST_PLACES = 1_024


class KeptStays:
    """All stays of the devices it knows. Nothing here is shared: one thread at a time."""

    def __init__(self) -> None:
        self._columns: dict[str, Any] = {
            name: np.empty(_FIRST_PLACES, column.dtype)
            for name, column in vars(Stays.empty()).items()
            if name != "evidence"
        }
        self._evidence: list[bytes] = []
        self._place: dict[int, int] = {}  # key code → place
        self._of_device: dict[int, list[int]] = {}
        self._known = np.zeros(_FIRST_PLACES, bool)  # by serial of a device
        self._has = np.zeros(_FIRST_PLACES, bool)

    def __len__(self) -> int:
        return len(self._evidence)

    def missing(self, devices: Ints) -> Ints:
        """Those that nothing is known of."""
        self._reach(devices)
        return devices[~self._known[devices]]

    def know(self, devices: Ints) -> None:
        """From now on, what is kept of these devices is all there is."""
        self._known[devices] = True

    def of_devices(self, devices: Ints) -> Stays:
        """The stays of known devices (ascending, unique), by (device, fence)."""
        with_stays = devices[self._has[devices]].tolist()
        of_device = self._of_device
        places = np.fromiter(chain.from_iterable(of_device[d] for d in with_stays), np.int64)
        columns = {name: column[places] for name, column in self._columns.items()}
        order = np.lexsort((columns["fence_id"], columns["device"]))
        columns = {name: column[order] for name, column in columns.items()}
        evidence = [self._evidence[place] for place in places[order].tolist()]
        return Stays(**columns, evidence=evidence)

    def add(self, stays: Stays) -> None:
        """Keep stays that were not kept before."""
        if not len(stays):
            return
        first = len(self._evidence)
        places = np.arange(first, first + len(stays))
        self._grow(first + len(stays))
        self._evidence.extend(stays.evidence)
        self._write(places, stays)
        self._reach(stays.device)
        self._has[stays.device] = True
        for device, code, place in zip(
            stays.device.tolist(), _codes(stays), places.tolist(), strict=True
        ):
            self._place[code] = place
            self._of_device.setdefault(device, []).append(place)

    def move(self, stays: Stays) -> None:
        """Overwrite stays that are kept."""
        if not len(stays):
            return
        places = [self._place[code] for code in _codes(stays)]
        self._write(np.array(places, np.int64), stays)
        for place, packed in zip(places, stays.evidence, strict=True):
            self._evidence[place] = packed

    def _write(self, places: Ints, stays: Stays) -> None:
        for name, column in self._columns.items():
            column[places] = getattr(stays, name)

    def _grow(self, rows: int) -> None:
        room = len(self._columns["device"])
        if rows > room:
            for name, column in self._columns.items():
                self._columns[name] = np.resize(column, max(rows, 2 * room))

    def _reach(self, devices: Ints) -> None:
        top = int(devices.max(initial=-1)) + 1
        if top > len(self._known):
            more = max(top, 2 * len(self._known)) - len(self._known)
            self._known = np.append(self._known, np.zeros(more, bool))
            self._has = np.append(self._has, np.zeros(more, bool))


def _codes(stays: Stays) -> Iterator[int]:
    return iter(key_codes(stays.device, stays.fence_id).tolist())
