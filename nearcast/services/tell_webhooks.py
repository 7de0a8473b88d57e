"""Tell endpoints what happened, without any campaign (product P13).

What is told commits with what happened: a notice is written in the caller's transaction, and the worker
sends it (`send_messages`). An endpoint can rely on this:

* at least once: a notice is sent again, under the same `webhook-id`, until it is answered with 2xx, for
  three days;
* the same thing has the same id: it is made of the event, the device, the fence and the instant;
* of one device at one fence notices are sent one after another, in the order in which they were told.
  A later one waits for an earlier one that fails, but only for its first attempts (some 75 s); what is
  told again on request comes after what has been told meanwhile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from campaigns.measuring.visit_classes import class_of
from campaigns.messages.events import EVENT_OF, Subscription, WebhookEvent, wanting
from geo.fences.fence import FenceVersion
from geo.matching.presence import Kind, PresencePolicy, Transition
from geo.matching.stay_columns import VisitKeys, Visits
from geo.matching.visits import Visit
from nearcast.services.ids import public
from nearcast.services.send_messages import rfc3339
from nearcast.store import devices as device_store
from nearcast.store import notices
from nearcast.store.notices import Notice


@dataclass(frozen=True, kw_only=True)
class Who:
    """How a device is named to an endpoint.

    Attributes:
        key: the app's own name of it.
        user_id: the person, as of the event.
    """

    key: str
    user_id: str | None


@dataclass(frozen=True, kw_only=True)
class ToldVisit:
    """A visit that is over, or that late evidence has changed after it was.

    Attributes:
        fence: key of its fence version among those handed over with it.
        replaces_ms: arrivals of earlier visits that an amended one stands for: those that it has joined,
            and its own if it was later. A receiver forgets them.
    """

    device: int
    fence_id: int
    fence: int
    visit: Visit
    replaces_ms: tuple[int, ...] = ()


def tell(
    conn: sa.Connection,
    *,
    app_id: int,
    webhooks: Sequence[Subscription],
    now_ms: int,
    fences: Sequence[FenceVersion] | Mapping[int, FenceVersion],
    policy: PresencePolicy,
    transitions: Sequence[Transition] = (),
    visits_closed: Sequence[ToldVisit] = (),
    visits_amended: Sequence[ToldVisit] = (),
    people: Mapping[int, Who] | None = None,
) -> int:
    """Write what the app's endpoints are to be told; returns how many notices are new.

    Without an endpoint that wants any of it the database is not asked.

    Args:
        webhooks: the workspace's subscriptions (`Snapshot.webhooks`).
        fences: fence versions by the `fence` of transitions and visits (`snapshot.index.versions`).
        people: device → who it is; those missing, or all without it, are looked up by one query.
    """
    events = [
        *(_happened(t, fences[t.fence]) for t in transitions),
        *(_closed(v, fences[v.fence], policy) for v in visits_closed),
        *(_amended(v, fences[v.fence], policy, now_ms) for v in visits_amended),
    ]
    told = {event: wanting(webhooks, app_id=app_id, event=event) for event in {e.kind for e in events}}
    wanted = sorted((e for e in events if told[e.kind]), key=lambda e: e.order)
    if not wanted:
        return 0
    known = _people(conn, {event.device for event in wanted}, people or {})
    rows = list(_notices(wanted, told, known))
    return notices.add(conn, rows, app_id=app_id, now_ms=now_ms)


def told_visits(
    visits: Visits, *, fence_of: Callable[[int], int], gone: VisitKeys | None = None
) -> list[ToldVisit]:
    """Visits of changes as they are told.

    Args:
        fence_of: fence id → the `fence` of its version, see `tell`.
        gone: visits that are no more: an amended one stands for those that lie in it.
    """
    replaced: dict[tuple[int, int], list[int]] = {}
    for device, fence_id, arrived_ms in gone.rows() if gone is not None else ():
        replaced.setdefault((device, fence_id), []).append(arrived_ms)
    return [
        ToldVisit(
            device=device,
            fence_id=fence_id,
            fence=fence_of(fence_id),
            visit=Visit(arrived_ms=arrived_ms, left_ms=left_ms, fixes=fixes, p_sum=p_sum),
            replaces_ms=tuple(
                at_ms
                for at_ms in sorted(replaced.get((device, fence_id), ()))
                if arrived_ms <= at_ms <= left_ms
            ),
        )
        for device, fence_id, arrived_ms, left_ms, fixes, p_sum, _ in visits.rows()
    ]


# --- inside -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class _Event:
    """Something to tell; `order` is its instant, and of one instant exits come before enters."""

    kind: WebhookEvent
    device: int
    fence_id: int
    key: str
    at_ms: int
    data: dict[str, Any]
    order: tuple[int, int]


def _happened(t: Transition, version: FenceVersion) -> _Event:
    return _Event(
        kind=EVENT_OF[t.kind],
        device=t.device,
        fence_id=t.fence_id,
        key=_key(EVENT_OF[t.kind], t.device, t.fence_id, t.at_ms, t.dwell_s or ""),
        at_ms=t.at_ms,
        data={
            "fence": _fence(version),
            "at": rfc3339(t.at_ms),
            "seen_at": rfc3339(t.seen_ms),
            "arrived": rfc3339(t.arrived_ms),
            "dwell_s": (t.at_ms - t.arrived_ms) / 1000,
            "after_s": t.dwell_s,
            "by": t.cause.value,
            "initial": t.initial,
            "probability": round(t.p, 4),
            "distance_m": round(t.rim_m, 1),
        },
        order=(t.at_ms, 2 if t.kind is Kind.ENTER else 0),
    )


def _closed(told: ToldVisit, version: FenceVersion, policy: PresencePolicy) -> _Event:
    at_ms = told.visit.left_ms + policy.gap_s * 1000  # nothing can continue it from then on
    return _Event(
        kind=WebhookEvent.VISIT_CLOSED,
        device=told.device,
        fence_id=told.fence_id,
        # an amended one that was joined to a later stay closes again, with another end
        key=_key(
            WebhookEvent.VISIT_CLOSED,
            told.device,
            told.fence_id,
            told.visit.arrived_ms,
            told.visit.left_ms,
        ),
        at_ms=at_ms,
        data={"fence": _fence(version), "visit": _visit(told.visit, policy)},
        order=(at_ms, 1),
    )


def _amended(told: ToldVisit, version: FenceVersion, policy: PresencePolicy, now_ms: int) -> _Event:
    visit = told.visit
    stands = f"{visit.arrived_ms} {visit.left_ms} {visit.fixes} {visit.p_sum}"
    return _Event(
        kind=WebhookEvent.VISIT_AMENDED,
        device=told.device,
        fence_id=told.fence_id,
        key=_key(WebhookEvent.VISIT_AMENDED, told.device, told.fence_id, stands),
        at_ms=now_ms,
        data={
            "fence": _fence(version),
            "visit": _visit(visit, policy),
            "replaces": [rfc3339(at_ms) for at_ms in told.replaces_ms],
        },
        order=(now_ms, 3),
    )


def _fence(version: FenceVersion) -> dict[str, Any]:
    fence = version.fence
    return {
        "id": public("fnc", version.fence_id),
        "external_id": fence.external_id,
        "name": fence.name,
        "tags": list(fence.tags),
        "version": version.version,
    }


def _visit(visit: Visit, policy: PresencePolicy) -> dict[str, Any]:
    kind = class_of(dwell_ms=visit.dwell_ms, fixes=visit.fixes, min_visit_ms=policy.min_visit_s * 1000)
    return {
        "arrived": rfc3339(visit.arrived_ms),
        "left": rfc3339(visit.left_ms),
        "dwell_s": visit.dwell_ms / 1000,
        "fixes": visit.fixes,
        "confidence": round(visit.confidence, 4),
        "class": kind.value,
    }


def _key(event: WebhookEvent, device: int, fence_id: int, *what: object) -> str:
    """The webhook-id: the same for the same thing, whoever tells it and how often."""
    text = " ".join(map(str, ("notice v1", event.value, device, fence_id, *what)))
    return "evt_" + hashlib.sha256(text.encode()).hexdigest()[:32]


def _people(
    conn: sa.Connection, device_ids: Iterable[int], known: Mapping[int, Who]
) -> Mapping[int, Who]:
    missing = sorted(set(device_ids) - set(known))
    if not missing:
        return known
    found = device_store.by_id(conn, missing)
    return {**known, **{d: Who(key=one.key, user_id=one.user_id) for d, one in found.items()}}


def _notices(
    events: Iterable[_Event], told: Mapping[WebhookEvent, Sequence[int]], people: Mapping[int, Who]
) -> Iterator[Notice]:
    for event in events:
        who = people[event.device]
        body = {
            "type": event.kind.value,
            "timestamp": rfc3339(event.at_ms),
            "data": {"device_id": who.key, "user_id": who.user_id, **event.data},
        }
        packed = msgspec.json.encode(body)
        for webhook_id in told[event.kind]:
            yield Notice(
                webhook_id=webhook_id,
                key=event.key,
                device_id=event.device,
                fence_id=event.fence_id,
                body=packed,
            )
