"""What each fix says about which fences: the near ones, and those that its device is or comes in.

The first part needs nobody's state: it is done before the transaction begins, that of a large request by
its own thread before it waits, and compiled code lets other threads go on meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from campaigns.deciding.snapshot import Snapshot
from geo.matching.certainty import Judgement, Verdict, judge
from geo.matching.hits import Hits
from geo.matching.pings import Bools, Ints, Pings
from geo.matching.stay_columns import JudgedFixes, Stays
from nearcast.services.raw_pings import RawPings

_KEY_BITS = 31  # of a fence's serial in a key of both

#: whatever has the columns of a fix
Fixes = Pings | RawPings


@dataclass(frozen=True, kw_only=True)
class Near:
    """Every fix × the fence versions around it that are live at its instant, judged.

    Attributes:
        snapshot: whose index the rows are of.
        hits: pairs by (ping, fence); judged: one row a pair.
    """

    snapshot: Snapshot
    hits: Hits
    judged: Judgement


def near(
    snapshot: Snapshot, pings: Fixes, *, backfill: bool = False, among: Bools | None = None
) -> Near:
    """Match and judge pings; those without a place on earth are near nothing.

    Args:
        among: the only ones that are looked at; None: all.
    """
    placed = (np.abs(pings.lon) <= 180) & (np.abs(pings.lat) <= 90)  # NaN is neither
    if among is not None:
        placed &= among
    rows = np.flatnonzero(placed & ~np.isinf(pings.accuracy_m))
    found = snapshot.index.candidates(
        lon=pings.lon[rows], lat=pings.lat[rows], at_ms=None, accuracy_m=pings.accuracy_m[rows]
    )
    hits = _live(snapshot, pings, Hits(ping=rows[found.ping], fence=found.fence), backfill=backfill)
    return Near(snapshot=snapshot, hits=hits, judged=_judged(snapshot, pings, hits))


def joined_near(
    snapshot: Snapshot,
    pings: Fixes,
    nears: Sequence[Near | None],
    sizes: Sequence[int],
    *,
    backfill: bool,
) -> Near:
    """What is near the pings of several requests, one after the other.

    Args:
        pings: of all of them; nears: what is known of each, None where it was not looked for.
        sizes: how many pings each has.
    Returns:
        By one snapshot: a request that was matched by an older one, or not yet, is matched now.
    """
    unknown, parts = np.zeros(len(pings.lon), bool), []
    firsts = np.cumsum([0, *sizes]).tolist()
    for one, first, size in zip(nears, firsts, sizes, strict=False):
        if one is not None and one.snapshot is snapshot:
            parts.append((one.hits.ping + first, one))
        else:
            unknown[first : first + size] = True
    if unknown.any() or not parts:
        one = near(snapshot, pings, backfill=backfill, among=unknown)
        parts.append((one.hits.ping, one))
    if len(parts) == 1:
        return parts[0][1]
    ping = np.concatenate([np.empty(0, np.int64), *(rows for rows, _ in parts)])
    order = np.argsort(ping, kind="stable")  # a ping is of one part, where its fences stand in order
    names = ("verdict", "p", "rim_m", "sigma_m")
    judged = (np.concatenate([getattr(one.judged, name) for _, one in parts])[order] for name in names)
    fence = np.concatenate([one.hits.fence for _, one in parts])
    return Near(
        snapshot=snapshot,
        hits=Hits(ping=ping[order], fence=fence[order]),
        judged=Judgement(**dict(zip(names, judged, strict=True))),
    )


def judged_fixes(
    near: Near, pings: Pings, *, counts: Bools, stays: Stays, fresh: Bools, backfill: bool
) -> JudgedFixes:
    """Each fix that counts × the fences that its device is in, or comes in by this batch.

    A device that comes in by this batch may leave by it: all its fixes of the batch are judged. A fence
    that it neither is nor comes in says nothing.

    Args:
        near: of the same pings.
        counts: rows that were taken.
        fresh: rows young and true enough to tell and send.
    """
    snapshot, index = near.snapshot, near.snapshot.index
    inside = stays.take(np.flatnonzero(stays.inside))
    coming = (near.judged.verdict == Verdict.IN) & counts[near.hits.ping]
    key = np.union1d(
        inside.device << _KEY_BITS | inside.fence_id,
        pings.device[near.hits.ping[coming]] << _KEY_BITS | index.fence_id[near.hits.fence[coming]],
    )
    pairs = _live(snapshot, pings, _followed(snapshot, pings, counts, key), backfill=backfill)
    judged = _with_known(near, pings, pairs)
    ping, fence = pairs.ping, pairs.fence
    return JudgedFixes(
        ping=ping,
        device=pings.device[ping],
        fence_id=index.fence_id[fence],
        fence=fence,
        at_ms=pings.at_ms[ping],
        verdict=judged.verdict,
        p=judged.p,
        rim_m=judged.rim_m,
        sigma_m=judged.sigma_m,
        lon=pings.lon[ping],
        lat=pings.lat[ping],
        fresh=fresh[ping],
    )


def _followed(snapshot: Snapshot, pings: Pings, counts: Bools, key: Ints) -> Hits:
    """Each fix that counts × all versions of the fences of its device's keys."""
    device, fence_id = key >> _KEY_BITS, key & ((1 << _KEY_BITS) - 1)
    rows = np.flatnonzero(counts)
    first = np.searchsorted(device, pings.device[rows])
    many = np.searchsorted(device, pings.device[rows], side="right") - first
    ping = np.repeat(rows, many)
    place = np.arange(len(ping)) + np.repeat(first - (np.cumsum(many) - many), many)
    of, version = snapshot.index.rows_of_fences(fence_id[place])
    return Hits.sorted_from(ping[of], version, fences=len(snapshot.index.versions))


def _with_known(near: Near, pings: Pings, pairs: Hits) -> Judgement:
    """Judgements of pairs: those that are known already, the others made."""
    width = max(len(near.snapshot.index.versions), 1)
    known, asked = near.hits.ping * width + near.hits.fence, pairs.ping * width + pairs.fence
    place = np.searchsorted(known, asked)
    there = place < len(known)
    there[there] = known[place[there]] == asked[there]
    new = _judged(near.snapshot, pings, Hits(ping=pairs.ping[~there], fence=pairs.fence[~there]))
    place = place[there]
    columns = {}
    for name in ("verdict", "p", "rim_m", "sigma_m"):
        old_values, new_values = getattr(near.judged, name), getattr(new, name)
        merged = np.empty(len(asked), old_values.dtype)
        merged[there], merged[~there] = old_values[place], new_values
        columns[name] = merged
    return Judgement(**columns)


def _judged(snapshot: Snapshot, pings: Fixes, hits: Hits) -> Judgement:
    return judge(
        snapshot.index,
        lon=pings.lon,
        lat=pings.lat,
        accuracy_m=pings.accuracy_m,
        platform=pings.platform,
        ping=hits.ping,
        fence=hits.fence,
        policy=snapshot.certainty,
        rules=snapshot.certainty_rules,
    )


def _live(snapshot: Snapshot, pings: Fixes, hits: Hits, *, backfill: bool) -> Hits:
    """The pairs whose fence version is live at the fix's instant.

    History may be older than the fences it is loaded for: there the oldest version known of a fence
    also covers the time before it, unless the fence says itself from when it is valid.
    """
    index = snapshot.index
    at_ms = pings.at_ms[hits.ping]
    began = index.live_from_ms[hits.fence] <= at_ms
    if backfill:
        rows, oldest = np.unique(hits.fence), np.zeros(len(index.versions), bool)
        for row in rows.tolist():
            version = index.versions[row]
            first = index.rows_of(version.fence_id)[0]
            oldest[row] = row == first and version.fence.valid_from is None
        began |= oldest[hits.fence]
    live = began & (at_ms < index.live_until_ms[hits.fence])
    return Hits(ping=hits.ping[live], fence=hits.fence[live])
