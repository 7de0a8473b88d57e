"""`/v1/context`: places in, the fences about them out, as JSON or as an Arrow stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from api.pings.receipts import FenceRef, fence_ref
from campaigns.deciding.snapshot import Snapshot
from geo.matching.index import FenceIndex
from geo.matching.pings import Floats, Ints
from nearcast.services.match_places import Matches, match_places

#: faults that are told one by one
_TOLD = 100
_NAMES = {1: "in", 0: "undecided", -1: "out"}


class MatchOut(msgspec.Struct):
    """One fence near one ping."""

    ping_index: int
    fence: FenceRef
    verdict: str
    probability: float
    distance_m: float


class ContextOut(msgspec.Struct):
    """What was matched; nothing was kept."""

    matches: list[MatchOut]
    warnings: list[str]


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the pings of a body were: columns, one row an item.

    Attributes:
        lon, lat: degrees as given, on the earth or not; accuracy_m: NaN where none was given.
        faults: row → why that item could not be read.
        warnings: what was left out of the body, in words.
    """

    lon: Floats
    lat: Floats
    accuracy_m: Floats
    platform: NDArray[np.int8]
    faults: Mapping[int, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()

    def readable(self) -> NDArray[np.bool_]:
        """Rows that can be matched: read, and on the earth."""
        good = (np.abs(self.lat) <= 90) & (np.abs(self.lon) <= 180) & ~np.isinf(self.accuracy_m)
        good[list(self.faults)] = False
        return good


def match(places: Places, snapshot: Snapshot, *, now_ms: int) -> tuple[Matches, list[str]]:
    """What was matched, by item of the body, and what was left out, in words."""
    good = places.readable()
    rows = np.flatnonzero(good)
    some: Ints | slice = slice(None) if len(rows) == len(good) else rows
    found = match_places(
        snapshot,
        lon=places.lon[some],
        lat=places.lat[some],
        accuracy_m=places.accuracy_m[some],
        platform=places.platform[some],
        now_ms=now_ms,
    )
    lost = dict.fromkeys(np.flatnonzero(~good).tolist(), "it lies outside the world")
    faults = sorted((lost | dict(places.faults)).items())
    told = [f"item {row} left out: {why}" for row, why in faults[:_TOLD]]
    if len(faults) > _TOLD:
        told.append(f"{len(faults) - _TOLD:,} further items left out")
    by_item = Matches(
        place=rows[found.place],
        fence=found.fence,
        verdict=found.verdict,
        p=found.p,
        rim_m=found.rim_m,
    )
    return by_item, [*told, *places.warnings]


def matches_json(matches: Matches, snapshot: Snapshot, warnings: Sequence[str]) -> bytes:
    """A `ContextOut`."""
    fences = _fences(snapshot, matches.fence)
    columns = (
        matches.place.tolist(),
        matches.fence.tolist(),
        matches.verdict.tolist(),
        np.round(matches.p, 4).tolist(),
        np.round(matches.rim_m, 2).tolist(),
    )
    pieces = [
        f'{{"ping_index":{place},"fence":{fences[fence]},"verdict":"{_NAMES[verdict]}",'
        f'"probability":{p!r},"distance_m":{rim_m!r}}}'
        for place, fence, verdict, p, rim_m in zip(*columns, strict=True)
    ]
    told = msgspec.json.encode(list(warnings)).decode()
    return f'{{"matches":[{",".join(pieces)}],"warnings":{told}}}'.encode()


def matches_arrow(matches: Matches, snapshot: Snapshot, warnings: Sequence[str]) -> bytes:
    """The same as an Arrow stream; the warnings stand as JSON in the schema's metadata."""
    rows, of = np.unique(matches.fence, return_inverse=True)
    fences = [fence_ref(snapshot, row) for row in rows.tolist()]

    def of_fence(name: str) -> object:
        words = pa.array([getattr(fence, name) for fence in fences], pa.string())
        return pa.DictionaryArray.from_arrays(of.astype(np.int32), words)

    verdicts = pa.DictionaryArray.from_arrays(
        (matches.verdict + 1).astype(np.int8), [_NAMES[code] for code in (-1, 0, 1)]
    )
    columns = {
        "ping_index": matches.place,
        "fence_id": of_fence("id"),
        "external_id": of_fence("external_id"),
        "name": of_fence("name"),
        "version": np.array([fence.version for fence in fences], np.int64)[of],
        "verdict": verdicts,
        "probability": matches.p,
        "distance_m": matches.rim_m,
    }
    batch = pa.RecordBatch.from_pydict(columns, metadata={"warnings": _told(warnings)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    stream: bytes = sink.getvalue().to_pybytes()
    return stream


def _told(warnings: Sequence[str]) -> bytes:
    return msgspec.json.encode(list(warnings))


#: by index, so that they go with it: row → the fence as JSON
_written: WeakKeyDictionary[FenceIndex, dict[int, str]] = WeakKeyDictionary()


def _fences(snapshot: Snapshot, rows: Ints) -> dict[int, str]:
    written = _written.setdefault(snapshot.index, {})
    for row in set(rows.tolist()) - written.keys():
        written[row] = msgspec.json.encode(fence_ref(snapshot, row)).decode()
    return written
