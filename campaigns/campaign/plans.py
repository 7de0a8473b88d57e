"""Plans: the one table of what each opens (product W1)."""

from __future__ import annotations

from enum import StrEnum


class Plan(StrEnum):
    """What a workspace has bought; the order is from small to large."""

    LITE = "lite"
    BASIC = "basic"
    PREMIUM = "premium"


class Feature(StrEnum):
    """What a plan may open."""

    FENCES = "fences"
    TEST_DEVICES = "test_devices"
    FENCE_GROUPS = "fence_groups"
    UPLOAD = "upload"
    SEGMENTS = "segments"
    VISIT_PERFORMANCE = "visit_performance"


#: feature → the smallest plan that has it; source: product W1, F6, S10, R3
LEAST_PLAN: dict[Feature, Plan] = {
    Feature.FENCES: Plan.LITE,
    Feature.TEST_DEVICES: Plan.LITE,
    Feature.FENCE_GROUPS: Plan.BASIC,
    Feature.UPLOAD: Plan.BASIC,
    Feature.SEGMENTS: Plan.BASIC,
    Feature.VISIT_PERFORMANCE: Plan.BASIC,
}
_RANK = list(Plan)


def opens(plan: Plan, feature: Feature) -> bool:
    """Whether a plan has a feature."""
    return _RANK.index(plan) >= _RANK.index(LEAST_PLAN[feature])
