"""Attribution: the last touch before a visit, told by rule and by the plain twin."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.measuring.attribution import (
    NOBODY,
    Claim,
    TouchColumns,
    VisitColumns,
    attribute,
    attribute_plain,
)
from campaigns.measuring.visit_classes import VisitClass, class_of, is_open

Touch = tuple[int, int, int]  # delivery, device, at


def _visits(rows: Sequence[tuple[int, int, int]]) -> VisitColumns:
    device, fence, arrived = np.array(rows, np.int64).reshape(-1, 3).T
    return VisitColumns(device=device, fence=fence, arrived_ms=arrived)


def _claim(
    touches: Sequence[Touch],
    *,
    campaign_id: int = 1,
    priority: int = 0,
    fences: Sequence[int] = (1,),
    until_ms: int = 1_000,
) -> Claim:
    delivery, device, at_ms = np.array(touches, np.int64).reshape(-1, 3).T
    return Claim(
        campaign_id=campaign_id,
        priority=priority,
        fences=np.array(fences, np.int64),
        until_ms=until_ms,
        touches=TouchColumns(delivery=delivery, device=device, at_ms=at_ms),
    )


def _owed(visits: Sequence[tuple[int, int, int]], *claims: Claim) -> list[tuple[int, int]]:
    fast = attribute(_visits(visits), claims)
    plain = attribute_plain(_visits(visits), claims)
    assert fast.campaign.tolist() == plain.campaign.tolist()
    assert fast.delivery.tolist() == plain.delivery.tolist()
    return list(zip(fast.campaign.tolist(), fast.delivery.tolist(), strict=True))


NONE = (NOBODY, NOBODY)


def test_a_visit_counts_only_strictly_after_the_touch() -> None:
    claim = _claim([(10, 7, 100)])
    assert _owed([(7, 1, 99), (7, 1, 100), (7, 1, 101)], claim) == [NONE, NONE, (1, 10)]


def test_the_window_ends_before_its_end() -> None:
    claim = _claim([(10, 7, 100)], until_ms=200)
    assert _owed([(7, 1, 199), (7, 1, 200)], claim) == [(1, 10), NONE]


def test_another_device_and_another_place_owe_nothing() -> None:
    claim = _claim([(10, 7, 100)])
    assert _owed([(8, 1, 150), (6, 1, 150), (7, 2, 150)], claim) == [NONE] * 3


def test_the_last_of_several_messages_is_owed_the_visit() -> None:
    claim = _claim([(10, 7, 100), (11, 7, 120), (12, 7, 140)])
    assert _owed([(7, 1, 130), (7, 1, 141), (7, 1, 110)], claim) == [(1, 11), (1, 12), (1, 10)]


def test_a_later_touch_wins_over_a_higher_priority() -> None:
    low = _claim([(10, 7, 120)], campaign_id=1, priority=0)
    high = _claim([(20, 7, 110)], campaign_id=2, priority=9)
    assert _owed([(7, 1, 115), (7, 1, 130)], low, high) == [(2, 20), (1, 10)]


def test_ties_go_to_the_priority_then_the_older_campaign_then_the_older_delivery() -> None:
    old = _claim([(11, 7, 100), (10, 7, 100)], campaign_id=1)
    young = _claim([(20, 7, 100)], campaign_id=2)
    assert _owed([(7, 1, 101)], young, old) == [(1, 10)]
    loud = _claim([(20, 7, 100)], campaign_id=2, priority=1)
    assert _owed([(7, 1, 101)], old, loud) == [(2, 20)]


def test_a_campaign_that_does_not_measure_the_place_takes_nothing_away() -> None:
    own = _claim([(10, 7, 100)])
    other = _claim([(20, 7, 150)], campaign_id=2, fences=(2,))
    over = _claim([(30, 7, 150)], campaign_id=3, until_ms=160)
    assert _owed([(7, 1, 170)], own, other, over) == [(1, 10)]


def test_nothing_to_settle() -> None:
    assert _owed([], _claim([(10, 7, 100)])) == []
    assert _owed([(7, 1, 150)]) == [NONE]
    assert _owed([(7, 1, 150)], _claim([])) == [NONE]


#: few values, so that ties, equal instants and window ends are met all the time
_INSTANTS = st.sampled_from([0, 1, 2, 3, 4])
_DEVICES = st.sampled_from([1, 2, 2**40])
_FENCES = st.sampled_from([1, 2, 3])
_TOUCHES = st.lists(st.tuples(st.integers(1, 9), _DEVICES, _INSTANTS), max_size=8)


@st.composite
def _claims(draw: Callable[..., object]) -> list[Claim]:
    return [
        _claim(
            draw(_TOUCHES),  # type: ignore[arg-type]
            campaign_id=serial,
            priority=draw(st.sampled_from([-1, 0, 0, 5])),  # type: ignore[arg-type]
            fences=draw(st.lists(_FENCES, unique=True, max_size=3)),  # type: ignore[arg-type]
            until_ms=draw(st.sampled_from([0, 2, 4, 5])),  # type: ignore[arg-type]
        )
        for serial in range(1, 1 + draw(st.integers(0, 3)))  # type: ignore[operator]
    ]


@given(st.lists(st.tuples(_DEVICES, _FENCES, _INSTANTS), max_size=10), _claims(), st.randoms())
def test_fast_and_plain_agree_in_any_order(
    visits: list[tuple[int, int, int]], claims: list[Claim], shuffle: st.randoms
) -> None:
    owed = dict(zip(visits, _owed(visits, *claims), strict=True))
    shuffle.shuffle(visits)
    shuffle.shuffle(claims)
    assert dict(zip(visits, _owed(visits, *claims), strict=True)) == owed


# --- classes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dwell_ms", "fixes", "found"),
    [
        (300_000, 2, VisitClass.VISIT),
        (299_999, 2, VisitClass.PASS_BY),
        (1, 2, VisitClass.PASS_BY),
        (0, 1, VisitClass.UNPROVEN),
        (3_600_000, 9, VisitClass.VISIT),
    ],
)
def test_classes_of_stays(dwell_ms: int, fixes: int, found: VisitClass) -> None:
    assert class_of(dwell_ms=dwell_ms, fixes=fixes, min_visit_ms=300_000) is found


def test_a_workspace_may_count_every_fix_as_a_visit() -> None:
    assert class_of(dwell_ms=0, fixes=1, min_visit_ms=0) is VisitClass.VISIT


def test_a_stay_is_open_as_long_as_a_fix_would_continue_it() -> None:
    assert is_open(left_ms=100, now_ms=130, gap_ms=30)
    assert not is_open(left_ms=100, now_ms=131, gap_ms=30)
