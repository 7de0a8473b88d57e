"""From the events of a batch to transitions: addressed to a fence version, edits marked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from campaigns.deciding.snapshot import Snapshot
from geo.matching.certainty import Verdict
from geo.matching.pings import Bools, Pings
from geo.matching.presence import Cause, Kind, Transition
from geo.matching.recent import Looked
from geo.matching.stay_columns import Changes, Events, JudgedFixes, ToldEvent


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was seen of the pings of a batch besides where they are; one row a ping.

    Attributes:
        before: what came before each.
        recent: young enough to tell and send, and no history.
        suspect: cannot be true (product P8): its evidence counts, it never sends.
        flags: `ping_log.Flag` bits.
    """

    before: Looked
    recent: Bools
    suspect: Bools
    flags: NDArray[np.uint8]

    @property
    def fresh(self) -> Bools:
        """Whether a fix may tell and send."""
        return self.recent & ~self.suspect


def transitions_of(snapshot: Snapshot, events: Events, looked: Looked) -> list[Transition]:
    """The live transitions that fixes of a batch have shown, in the order of those fixes.

    Args:
        looked: what was remembered of the devices before each ping.
    """
    found = [_transition(snapshot, event, looked) for event in events.listed()]
    return sorted(found, key=lambda t: (t.seen_ms, t.ping))


def _transition(snapshot: Snapshot, event: ToldEvent, looked: Looked) -> Transition:
    return Transition(
        device=event.device,
        fence=event.fence,
        fence_id=event.fence_id,
        ping=event.ping,
        kind=event.kind,
        at_ms=event.at_ms,
        seen_ms=event.seen_ms,
        arrived_ms=event.arrived_ms,
        p=event.p,
        rim_m=event.rim_m,
        dwell_s=event.dwell_s,
        initial=event.kind is Kind.ENTER and bool(looked.initial[event.ping]),
        cause=_cause(snapshot, event, looked),
        again=event.again,
    )


def doubted(fixes: JudgedFixes, changes: Changes, seen: Seen) -> list[Transition]:
    """The enters that suspect fixes would have told of: decided as such, told to nobody.

    The first fix after them that can be true tells of the enter, if the device is still there.
    """
    asked = seen.recent & seen.suspect
    if not asked.any():
        return []
    some = fixes.take(asked[fixes.ping] & (fixes.verdict == Verdict.IN))
    untold: set[tuple[int, int]] = set()
    for stays in (changes.opened, changes.moved):
        new = stays.told_ms < 0
        untold |= set(zip(stays.device[new].tolist(), stays.fence_id[new].tolist(), strict=True))
    return [
        Transition(
            device=device,
            fence=fence,
            fence_id=fence_id,
            ping=ping,
            kind=Kind.ENTER,
            at_ms=at_ms,
            seen_ms=at_ms,
            arrived_ms=at_ms,
            p=p,
            rim_m=rim_m,
            suspect=True,
        )
        for ping, device, fence_id, fence, at_ms, p, rim_m in zip(
            *(
                getattr(some, name).tolist()
                for name in ("ping", "device", "fence_id", "fence", "at_ms", "p", "rim_m")
            ),
            strict=True,
        )
        if (device, fence_id) in untold
    ]


def crossed(snapshot: Snapshot, pings: Pings, seen: Seen) -> list[Transition]:
    """Straight moves through fences whose campaigns ask for them (product P7); told to these alone."""
    crossings = snapshot.crossings
    if not len(crossings):
        return []
    found = crossings.find(pings, seen.before, policy=snapshot.certainty, counts=seen.fresh)
    columns = (found.ping, found.fence, found.at_ms, pings.at_ms[found.ping])
    return [
        Transition(
            device=int(pings.device[ping]),
            fence=fence,
            fence_id=int(snapshot.index.fence_id[fence]),
            ping=ping,
            kind=Kind.ENTER,
            at_ms=at_ms,
            seen_ms=seen_ms,
            arrived_ms=at_ms,
            p=1.0,
            rim_m=0.0,
            cause=Cause.CROSSING,
        )
        for ping, fence, at_ms, seen_ms in zip(*(c.tolist() for c in columns), strict=True)
    ]


def _cause(snapshot: Snapshot, event: ToldEvent, looked: Looked) -> Cause:
    """A fence drawn or moved over a device that stands there is an edit (product P4).

    It stands there: its fix before the edit, within the gap, lies in the shape that came after it.
    """
    if event.kind is not Kind.ENTER or looked.initial[event.ping]:
        return event.cause
    before_ms = int(looked.before_at_ms[event.ping])
    drawn_ms = int(snapshot.index.live_from_ms[event.fence])
    gap_ms = snapshot.presence.gap_s * 1000
    if not (0 <= before_ms <= drawn_ms <= event.seen_ms and event.seen_ms - before_ms <= gap_ms):
        return event.cause
    row = slice(event.ping, event.ping + 1)
    stood = snapshot.index.hold(
        lon=looked.before_lon[row],
        lat=looked.before_lat[row],
        ping=np.array([0]),
        fence=np.array([event.fence]),
    )
    return Cause.FENCE_EDIT if bool(stood[0]) else event.cause
