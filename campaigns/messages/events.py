"""What an endpoint can be told without any campaign, and who wants to know what (product P13)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from geo.matching.presence import Kind


class WebhookEvent(StrEnum):
    """What happened between a device and a fence, as endpoints name it."""

    FENCE_ENTERED = "fence.entered"
    FENCE_DWELLED = "fence.dwelled"
    FENCE_EXITED = "fence.exited"
    VISIT_CLOSED = "visit.closed"
    VISIT_AMENDED = "visit.amended"


#: how a transition is called where it is told
EVENT_OF = {
    Kind.ENTER: WebhookEvent.FENCE_ENTERED,
    Kind.DWELL: WebhookEvent.FENCE_DWELLED,
    Kind.EXIT: WebhookEvent.FENCE_EXITED,
}


@dataclass(frozen=True, kw_only=True)
class Subscription:
    """An endpoint of an app and what it wants to be told; at least one event."""

    webhook_id: int
    app_id: int
    events: frozenset[WebhookEvent]


def wanting(
    subscriptions: Iterable[Subscription], *, app_id: int, event: WebhookEvent
) -> tuple[int, ...]:
    """The endpoints of an app that want to be told of an event."""
    return tuple(s.webhook_id for s in subscriptions if s.app_id == app_id and event in s.events)
