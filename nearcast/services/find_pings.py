"""Find logged pings by what became of them: the quarantined ones first of all (product P8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from geo.matching.pings import Bools, Ints, Outcome, PingReason
from nearcast.store import ping_log, ping_seals
from nearcast.store.ping_files import PingFiles, SealedFixes
from nearcast.store.ping_fixes import FIX, FLAG_WORDS, NO_REASON, OUTCOMES, PLATFORMS, REASON_WORDS

Place = tuple[int, int, int, int]  # at_ms, device, row of the log, how many before it were equal so far


@dataclass(frozen=True, kw_only=True)
class PingFilter:
    """Which pings: of an outcome, taken in `[from_ms, until_ms)`.

    Attributes:
        reason: only those with this reason; None does not choose.
        device_ids: only of these serials; None is all of the app.
    """

    outcome: Outcome
    from_ms: int
    until_ms: int
    reason: PingReason | None = None
    device_ids: Sequence[int] | None = None


@dataclass(frozen=True, kw_only=True)
class FoundPing:
    """One logged ping in words; `flags` are names of `ping_fixes.Flag`."""

    device_key: str
    at_ms: int
    seen_ms: int
    lon: float
    lat: float
    accuracy_m: float | None
    platform: str
    outcome: str
    reason: str | None
    flags: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class PingPage:
    """Some pings, the newest first, how many there are in all and by reason, and the next page's place.

    A ping that was sent twice is there twice: each sending had an outcome of its own.
    """

    items: Sequence[FoundPing]
    total: int
    reasons: dict[str, int]
    behind: Place | None


def find_pings(
    conn: sa.Connection,
    files: PingFiles,
    *,
    app_id: int,
    wanted: PingFilter,
    before: Place | None,
    limit: int,
) -> PingPage:
    """A page of an app's pings, from the log and from sealed files.

    Every ping of the time is looked at, so that the counts are those of all; where the quarantined are
    wanted, pieces without any are passed over.
    """
    counts = np.zeros(len(REASON_WORDS) + 1, np.int64)  # the last one: no reason
    fixes, places = np.empty(0, FIX), np.zeros((0, 4), np.int64)
    for piece in ping_log.each(
        conn,
        app_id=app_id,
        first_ms=wanted.from_ms,
        last_ms=wanted.until_ms - 1,
        devices=wanted.device_ids,
        files=files,
        held_only=wanted.outcome is Outcome.QUARANTINED,
    ):
        own = _of_interest(piece, wanted)
        codes, found = np.unique(own.fixes["reason"], return_counts=True)
        counts[codes] += found
        own_places = _places(own)
        behind = _behind(own_places, before)
        fixes = np.concatenate([fixes, own.fixes[behind]])
        places = np.concatenate([places, own_places[behind]])
        newest = np.lexsort(places.T[::-1])[::-1][: limit + 1]
        fixes, places = fixes[newest], places[newest]
    last = places[limit - 1].tolist() if len(places) > limit else None
    return PingPage(
        items=_in_words(conn, fixes[:limit]),
        total=int(counts.sum()),
        reasons={word: n for word, n in zip(REASON_WORDS, counts.tolist(), strict=False) if n},
        behind=None if last is None else (last[0], last[1], last[2], last[3]),
    )


def _of_interest(piece: SealedFixes, wanted: PingFilter) -> SealedFixes:
    rows: Bools = piece.fixes["outcome"] == wanted.outcome
    if wanted.reason is not None:
        rows &= piece.fixes["reason"] == REASON_WORDS.index(wanted.reason)
    return SealedFixes(fixes=piece.fixes[rows], seq=piece.seq[rows])


def _places(found: SealedFixes) -> Ints:
    """Where each ping stands in the list: the same whether it is still in the log or sealed.

    Pings of one device, instant and row of the log are in one piece and keep their order when sealed.
    """
    columns = [found.fixes["at_ms"], found.fixes["device"], found.seq]
    order = np.lexsort(columns[::-1])
    new = np.ones(len(order), bool)
    new[1:] = np.any([column[order][1:] != column[order][:-1] for column in columns], axis=0)
    first = np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))
    nth = np.empty(len(order), np.int64)
    nth[order] = np.arange(len(order)) - first
    return np.column_stack([*columns, nth]).astype(np.int64)


def _behind(places: Ints, before: Place | None) -> Bools:
    """Those that come later in the list than a place: that are smaller."""
    if before is None:
        return np.ones(len(places), bool)
    smaller = np.zeros(len(places), bool)
    equal = np.ones(len(places), bool)
    for column, bound in zip(places.T, before, strict=True):
        smaller |= equal & (column < bound)
        equal &= column == bound
    return smaller


def _in_words(conn: sa.Connection, fixes: NDArray[np.void]) -> list[FoundPing]:
    keys = ping_seals.keys_of(conn, fixes["device"].tolist())
    return [
        FoundPing(
            device_key=key,
            at_ms=int(fix["at_ms"]),
            seen_ms=int(fix["now_ms"]),
            lon=float(fix["lon"]),
            lat=float(fix["lat"]),
            accuracy_m=None if np.isnan(fix["accuracy_m"]) else float(fix["accuracy_m"]),
            platform=PLATFORMS[fix["platform"]],
            outcome=OUTCOMES[fix["outcome"]],
            reason=None if fix["reason"] == NO_REASON else REASON_WORDS[fix["reason"]],
            flags=[word for word, flag in FLAG_WORDS.items() if fix["flags"] & flag],
        )
        for key, fix in zip(keys, fixes, strict=True)
    ]
