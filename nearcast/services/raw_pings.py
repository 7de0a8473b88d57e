"""Pings as a door hands them over: columns of one app, before anybody is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from campaigns.people.identity import Identity
from geo.matching.pings import Bools, Floats, Ints, PingReason


@dataclass(frozen=True, kw_only=True)
class RawPings:
    """A decoded batch of one app, one row a ping.

    Attributes:
        keys: the device that each ping names (`Identity.key`), None where it names none.
        said: row → what the ping says of its device besides; most pings say nothing and have no entry.
        lon, lat, accuracy_m: degrees and metres; NaN where a ping gave none.
        at_ms: when each fix was taken; `now_ms`: the clock as each was seen.
        platform: `Platform` codes; mocked: flags.
        refused: rows that could not be read, with the reason.
    """

    keys: Sequence[str | None]
    lon: Floats
    lat: Floats
    accuracy_m: Floats
    at_ms: Ints
    now_ms: Ints
    platform: NDArray[np.int8]
    mocked: Bools
    said: Mapping[int, Identity] = field(default_factory=dict)
    refused: Mapping[int, PingReason] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.at_ms)


def words(who: Iterable[Identity]) -> dict[int, Identity]:
    """The rows whose identity says more than its key: ad id, person or a consent."""
    return {row: one for row, one in enumerate(who) if one != Identity(key=one.key)}


def joined(parts: Sequence[RawPings]) -> RawPings:
    """Several batches as one, in their order."""
    if len(parts) == 1:
        return parts[0]
    firsts = np.cumsum([0, *(len(part) for part in parts)]).tolist()
    placed = list(zip(firsts, parts, strict=False))
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("lon", "lat", "accuracy_m", "at_ms", "now_ms", "platform", "mocked")
    }
    return RawPings(
        keys=[key for part in parts for key in part.keys],
        said={first + row: who for first, part in placed for row, who in part.said.items()},
        refused={first + row: why for first, part in placed for row, why in part.refused.items()},
        **columns,
    )
