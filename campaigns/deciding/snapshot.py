"""Everything a batch of pings needs to know, as one frozen value swapped as one reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from campaigns.campaign.campaign import Campaign
from campaigns.messages.events import Subscription
from geo.fences.fence import PresenceRules
from geo.matching.certainty import CertaintyPolicy, CertaintyRules
from geo.matching.index import FenceIndex
from geo.matching.presence import Kind, PresencePolicy


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One version of a workspace, as its pings see it.

    Attributes:
        version: the workspace's counter when this was read; a decision names it.
        index: fence versions that are live or were within the amendment horizon.
        listeners: fence id → campaigns in test or running that listen to it, best priority first.
        test_ids: app id → ad id → when its registration expires (ms).
        presence, certainty: the workspace's policies.
        webhooks: endpoints that are told of transitions and visits without a campaign.
    """

    workspace_id: int
    version: int
    index: FenceIndex
    listeners: Mapping[int, tuple[Campaign, ...]]
    test_ids: Mapping[int, Mapping[str, int]]
    presence: PresencePolicy
    certainty: CertaintyPolicy
    webhooks: tuple[Subscription, ...] = ()

    def dwells_s(self, fence_row: int) -> list[int]:
        """The dwell thresholds somebody listens to at this fence version, in seconds."""
        version = self.index.versions[fence_row]
        own = version.fence.dwell_after_s
        listened = {
            campaign.dwell_s
            for campaign in self.listeners.get(version.fence_id, ())
            if campaign.trigger is Kind.DWELL and campaign.dwell_s is not None
        }
        return sorted(listened | ({own} if own is not None else set()))

    def presumed_s(self, fence_id: int) -> list[int]:
        """The dwell thresholds that somebody presumes at this fence, in seconds (product P4)."""
        return sorted(
            {
                campaign.dwell_s
                for campaign in self.listeners.get(fence_id, ())
                if campaign.presumed and campaign.dwell_s is not None
            }
        )

    @cached_property
    def crossing_fences(self) -> frozenset[int]:
        """The fences where somebody takes an inferred crossing for an enter (product P7)."""
        return frozenset(
            fence_id
            for fence_id, listening in self.listeners.items()
            if any(c.infer_crossings and c.trigger is Kind.ENTER for c in listening)
        )

    @cached_property
    def presuming_fences(self) -> frozenset[int]:
        """The fences where somebody presumes dwells (product P4)."""
        return frozenset(fence_id for fence_id in self.listeners if self.presumed_s(fence_id))

    @cached_property
    def own_rules(self) -> Mapping[int, PresenceRules]:
        """Row of the index → what its fence version decides otherwise than the workspace."""
        return {
            row: version.fence.presence
            for row, version in enumerate(self.index.versions)
            if version.fence.presence is not None
        }

    @cached_property
    def certainty_rules(self) -> CertaintyRules | None:
        """Thresholds by row of the index; None where the workspace's hold for all."""
        own = self.own_rules
        return CertaintyRules.of(self.certainty, len(self.index.versions), own) if own else None
