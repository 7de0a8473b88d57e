"""Which message a visit is owed to: the last one before it that measures its place (product R3).

A message *touches* a person when it is fetched, or accepted by the provider, and again when its link is
opened for the first time. A visit belongs to the message of the last touch strictly before its arrival;
of touches at the same instant, to that of the campaign with the higher priority, then of the older
campaign, then to the older delivery. Decisions are never made again for it: attribution can be
recomputed at any time, and late pings move visits, not messages (product P5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

NOBODY = -1


@dataclass(frozen=True, kw_only=True)
class VisitColumns:
    """Visits, one a row.

    Attributes:
        device, fence: serials.
        arrived_ms: ms since the epoch.
    """

    device: Ints
    fence: Ints
    arrived_ms: Ints

    def __len__(self) -> int:
        return len(self.device)


@dataclass(frozen=True, kw_only=True)
class TouchColumns:
    """Touches, one a row for each device of the person touched.

    Attributes:
        delivery, device: serials.
        at_ms: when the person was touched.
    """

    delivery: Ints
    device: Ints
    at_ms: Ints


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What one campaign claims visits with.

    Attributes:
        fences: serials of its measured places.
        until_ms: visits that arrive from here on are not its own: the end of the period and the
            additional days.
        touches: of its messages that were handed over; no test's.
    """

    campaign_id: int
    priority: int
    fences: Ints
    until_ms: int
    touches: TouchColumns


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """Whom each visit is owed to; `NOBODY` in both columns where no message came before it."""

    campaign: Ints
    delivery: Ints


def attribute(visits: VisitColumns, claims: Sequence[Claim]) -> Attribution:
    """Settle the claims of all campaigns on some visits; columns in, columns out.

    The order of visits, claims and touches does not matter. Twin: `attribute_plain`.
    """
    campaign = np.full(len(visits), NOBODY, np.int64)
    delivery = np.full(len(visits), NOBODY, np.int64)
    touched_ms = np.full(len(visits), np.iinfo(np.int64).min, np.int64)
    for claim in sorted(claims, key=lambda c: (-c.priority, c.campaign_id)):
        row, at_ms = _last_touches(visits, claim)
        # in order of precedence: a later claim wins only by a later touch
        wins = (row >= 0) & (at_ms > touched_ms)
        campaign[wins] = claim.campaign_id
        delivery[wins] = claim.touches.delivery[row[wins]]
        touched_ms[wins] = at_ms[wins]
    return Attribution(campaign=campaign, delivery=delivery)


def _last_touches(visits: VisitColumns, claim: Claim) -> tuple[Ints, Ints]:
    """Per visit the row of the claim's last touch before it (-1: none) and its instant."""
    touches = claim.touches
    none = np.full(len(visits), -1, np.int64)
    if not len(touches.device) or not len(visits):
        return none, none
    # the older delivery last among equals, so that looking back finds it first
    order = np.lexsort((-touches.delivery, touches.at_ms, touches.device))
    device, at_ms = touches.device[order], touches.at_ms[order]
    place = _places(device, at_ms, visits) - 1
    found = np.maximum(place, 0)
    measured = np.isin(visits.fence, claim.fences) & (visits.arrived_ms < claim.until_ms)
    hit = measured & (place >= 0) & (device[found] == visits.device)
    return np.where(hit, order[found], -1), np.where(hit, at_ms[found], -1)


def _places(device: Ints, at_ms: Ints, visits: VisitColumns) -> Ints:
    """Where each visit would stand in touches sorted by (device, instant): after all earlier ones."""
    instants = np.unique(np.concatenate([at_ms, visits.arrived_ms]))
    owners = np.unique(np.concatenate([device, visits.device]))
    # serials and instants as ranks: their pairs fit one integer
    touch = np.searchsorted(owners, device) * len(instants) + np.searchsorted(instants, at_ms)
    visit = np.searchsorted(owners, visits.device) * len(instants)
    return np.searchsorted(touch, visit + np.searchsorted(instants, visits.arrived_ms), side="left")


def attribute_plain(visits: VisitColumns, claims: Sequence[Claim]) -> Attribution:
    """The twin of `attribute`, as the rule reads: every visit against every touch."""
    campaign, delivery = [], []
    for device, fence, arrived_ms in zip(
        visits.device.tolist(), visits.fence.tolist(), visits.arrived_ms.tolist(), strict=True
    ):
        owed = max(
            (
                (at_ms, claim.priority, -claim.campaign_id, -serial)
                for claim in claims
                if fence in claim.fences.tolist() and arrived_ms < claim.until_ms
                for serial, owner, at_ms in zip(
                    claim.touches.delivery.tolist(),
                    claim.touches.device.tolist(),
                    claim.touches.at_ms.tolist(),
                    strict=True,
                )
                if owner == device and at_ms < arrived_ms
            ),
            default=None,
        )
        campaign.append(NOBODY if owed is None else -owed[2])
        delivery.append(NOBODY if owed is None else -owed[3])
    return Attribution(campaign=np.array(campaign, np.int64), delivery=np.array(delivery, np.int64))
