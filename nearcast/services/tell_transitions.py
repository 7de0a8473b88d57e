"""From the events of a batch to transitions: addressed to a fence version, first ones and edits marked."""

from __future__ import annotations

import numpy as np

from campaigns.deciding.snapshot import Snapshot
from geo.matching.presence import Cause, Kind, Transition
from geo.matching.recent_columns import Looked
from geo.matching.stay_columns import Events, ToldEvent


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
