"""Which fences a campaign aims at: one rule for deciding, measuring and explaining (product C1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from campaigns.campaign.campaign import Targeting


def aims_at(targeting: Targeting, *, fence_id: int, groups: Iterable[str], tags: Iterable[str]) -> bool:
    """Whether a fence is named, or stands in a group or bears a tag that is named (OR)."""
    return (
        fence_id in targeting.fence_ids
        or not set(targeting.groups).isdisjoint(groups)
        or not set(targeting.tags).isdisjoint(tags)
    )


def targeting_of(body: Mapping[str, Any]) -> Targeting:
    """The targeting in a campaign's body, complete or not; a draft that names none aims nowhere."""
    given = body.get("targeting") or {}
    return Targeting(
        fence_ids=tuple(given.get("fence_ids") or ()),
        groups=tuple(given.get("groups") or ()),
        tags=tuple(given.get("tags") or ()),
    )
