"""Receipts to JSON: what became of each ping, cheaply, because most were just accepted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from operator import add
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from api.answers import rfc3339
from api.pings.words import MAX_PINGS
from campaigns.deciding.snapshot import Snapshot
from geo.matching.pings import Outcome, PingReason
from geo.matching.presence import Transition
from nearcast.services.ids import public

Codes = NDArray[np.int8]


class OutcomeOut(msgspec.Struct, omit_defaults=True):
    """What became of one ping of the batch."""

    index: int
    outcome: str
    ping_id: str | None = None
    reason: str | None = None
    detail: str | None = None


class FenceRef(msgspec.Struct):
    """The fence of a transition."""

    id: str
    external_id: str | None
    name: str
    tags: list[str]
    version: int


class TransitionOut(msgspec.Struct, omit_defaults=True):
    """Something that happened between a device and a fence."""

    ping_index: int
    kind: str
    fence: FenceRef
    at: str
    probability: float
    distance_m: float
    by: str
    initial: bool = False
    dwell_s: int | None = None


class PingsTaken(msgspec.Struct):
    """The receipt of a batch. With `detail=counts` only rejected items are listed."""

    counts: dict[str, int]
    outcomes: list[OutcomeOut]
    transitions: list[TransitionOut]
    messages: list[dict[str, Any]]
    warnings: list[str]


class _Taken(msgspec.Struct):
    """`PingsTaken` with its outcomes written already."""

    counts: dict[str, int]
    outcomes: msgspec.Raw
    transitions: list[TransitionOut]
    messages: list[dict[str, Any]]
    warnings: list[str]


_json = msgspec.json.Encoder()
#: in order of `Outcome`
_NAMES = [outcome.name.lower() for outcome in Outcome]
#: from this many outcomes on, pieces that stand ready are joined
_MANY = 32
_NAMED = ',"ping_id":"'


def receipt_json(
    outcomes: bytes,
    *,
    counts: Mapping[str, int],
    transitions: list[TransitionOut],
    messages: list[dict[str, Any]],
    warnings: Sequence[str],
) -> bytes:
    """A `PingsTaken`, its outcomes as `outcomes_json` wrote them."""
    taken = _Taken(
        counts=dict(counts),
        outcomes=msgspec.Raw(outcomes),
        transitions=transitions,
        messages=messages,
        warnings=list(warnings),
    )
    return _json.encode(taken)


def counts_of(codes: Codes) -> dict[str, int]:
    """How many pings had each outcome, `accepted` first."""
    count = np.bincount(codes, minlength=len(_NAMES)).tolist()
    return dict(zip(reversed(_NAMES), reversed(count), strict=True))


def outcomes_json(
    codes: Codes,
    *,
    reasons: Mapping[int, PingReason],
    details: Mapping[int, str],
    ping_ids: Sequence[str | None] | None,
    places: Sequence[int] | None = None,
    only_rejected: bool = False,
) -> bytes:
    """A JSON list of `OutcomeOut`, one for each ping, in their order.

    Args:
        codes: `Outcome` codes by row.
        reasons, details: of rows that have one.
        ping_ids: to be echoed; None where no ping has one.
        places: row → index in the body; None: the row itself.
        only_rejected: leave out all others.
    """

    rows: Sequence[int] = range(len(codes))
    if only_rejected:
        rows = np.flatnonzero(codes == Outcome.REJECTED).tolist()
    elif len(codes) >= _MANY and places is None and _is_plain(ping_ids):
        return _joined(codes, reasons, details, ping_ids)
    pieces = []
    for row in rows:
        index = row if places is None else places[row]
        ping_id = None if ping_ids is None else ping_ids[row]
        named = "" if ping_id is None else f',"ping_id":{_text(ping_id)}'
        pieces.append(_piece(index, codes[row], reasons.get(row), details.get(row)) + named)
    return f"[{'},'.join(pieces)}}}]".encode() if pieces else b"[]"


def _joined(
    codes: Codes,
    reasons: Mapping[int, PingReason],
    details: Mapping[int, str],
    ping_ids: Sequence[str | None] | None,
) -> bytes:
    """Pieces that stand ready, and the others put between them."""
    end = "" if ping_ids is None else _NAMED
    pieces = _ready(int(Outcome.ACCEPTED), end)[: len(codes)]
    for row in np.flatnonzero(codes != Outcome.ACCEPTED).tolist():
        pieces[row] = _ready(int(codes[row]), end)[row]
    for row in reasons.keys() | details.keys():
        pieces[row] = _piece(row, codes[row], reasons.get(row), details.get(row)) + end
    if ping_ids is None:
        return f"[{'},'.join(pieces)}}}]".encode()
    named = map(add, pieces, ping_ids)
    return f"""[{'"},'.join(named)}"}}]""".encode()


@lru_cache(2 * len(_NAMES))
def _ready(code: int, end: str) -> list[str]:
    """The pieces of an outcome without a reason, for every place in a body."""
    return [_piece(index, code, None, None) + end for index in range(MAX_PINGS)]


def _piece(index: int, code: int, reason: PingReason | None, detail: str | None) -> str:
    """The beginning of an `OutcomeOut`, all but its ping id and its last bracket."""
    why = "" if reason is None else f',"reason":"{reason.value}"'
    more = "" if detail is None else f',"detail":{_text(detail)}'
    return f'{{"index":{index},"outcome":"{_NAMES[code]}"{why}{more}'


def _text(text: str) -> str:
    return _json.encode(text).decode()


def _is_plain(ping_ids: Sequence[str | None] | None) -> bool:
    """Whether the ids stand in JSON as they are, and none is missing."""
    if ping_ids is None:
        return True
    if None in ping_ids:
        return False
    joined = "".join(ping_ids)  # type: ignore[arg-type]  # no id is None here
    return joined.isascii() and joined.isprintable() and '"' not in joined and "\\" not in joined


# --- transitions ------------------------------------------------------------------------------------


def transition_out(found: Transition, snapshot: Snapshot, *, index: int) -> TransitionOut:
    """A transition as answers show it.

    Args:
        index: of its ping in the body.
    """
    return TransitionOut(
        ping_index=index,
        kind=found.kind.value,
        fence=fence_ref(snapshot, found.fence),
        at=rfc3339(found.at_ms),
        probability=round(found.p, 4),
        distance_m=round(found.rim_m, 2),
        by=found.cause.value,
        initial=found.initial,
        dwell_s=found.dwell_s,
    )


def fence_ref(snapshot: Snapshot, row: int) -> FenceRef:
    """The fence of a row of the index."""
    version = snapshot.index.versions[row]
    return FenceRef(
        id=public("fnc", version.fence_id),
        external_id=version.fence.external_id,
        name=version.fence.name,
        tags=list(version.fence.tags),
        version=version.version,
    )
