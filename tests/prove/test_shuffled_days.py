"""P5 with large counts, in memory; `test_large_counts.py` does the same through the databases."""

from __future__ import annotations

import pytest

from tests.geo.matching.test_stays import check_day

pytestmark = pytest.mark.prove


@pytest.mark.parametrize("first", range(0, 2_000, 500))
def test_days(first, proof):
    for seed in range(first, first + 500):
        check_day(1_000_000 + seed)
    proof("P5: days shuffled, split, repeated and swept: visits and evidence of the oracle", 500)
