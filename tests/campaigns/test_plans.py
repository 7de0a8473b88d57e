"""The plans' table: what each opens (product W1, F6, S10)."""

from __future__ import annotations

import pytest

from campaigns.campaign.plans import LEAST_PLAN, Feature, Plan, opens


def test_every_feature_has_a_least_plan() -> None:
    assert set(LEAST_PLAN) == set(Feature)


@pytest.mark.parametrize(
    ("feature", "lite"),
    [
        (Feature.FENCES, True),
        (Feature.TEST_DEVICES, True),
        (Feature.FENCE_GROUPS, False),
        (Feature.UPLOAD, False),
        (Feature.SEGMENTS, False),
        (Feature.VISIT_PERFORMANCE, False),
    ],
)
def test_lite_opens_single_fences_and_test_ids_alone(feature: Feature, lite: bool) -> None:
    assert opens(Plan.LITE, feature) is lite
    assert opens(Plan.BASIC, feature)


@pytest.mark.parametrize("feature", list(Feature))
def test_a_larger_plan_opens_all_that_a_smaller_one_does(feature: Feature) -> None:
    opened = [opens(plan, feature) for plan in (Plan.LITE, Plan.BASIC, Plan.PREMIUM)]

    assert opened == sorted(opened)
    assert opened[-1]
