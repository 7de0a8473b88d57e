"""Visits are a pure function of the set of evidence."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from geo.matching.visits import Visit, instants, join, pack, visits_of, visits_plain

GAP_MS = 1_800_000

#: instants drawn around multiples of the gap, so that neighbours are often exactly a gap apart
times = st.builds(
    lambda turns, off: 10_000_000 + turns * GAP_MS + off,
    st.integers(0, 6),
    st.sampled_from([-1, 0, 1, 500, GAP_MS // 2]),
)
evidence = st.lists(st.tuples(times, st.sampled_from([128, 129, 200, 255])), max_size=30)


def packed(pairs):
    at_ms = np.array([t for t, _ in pairs], np.int64)
    return pack(at_ms, np.array([p / 255 for _, p in pairs], np.float64))


@given(evidence)
def test_the_fold_equals_its_oracle(pairs):
    assert visits_of(join(packed(pairs)), gap_ms=GAP_MS) == visits_plain(pairs, gap_ms=GAP_MS)


@given(evidence, evidence, evidence)
def test_joining_is_commutative_associative_and_idempotent(a, b, c):
    a, b, c = packed(a), packed(b), packed(c)
    whole = join(a, b, c)
    assert np.array_equal(whole, join(c, join(b, a)))
    assert np.array_equal(whole, join(join(a, b), join(b, c), a))
    assert np.array_equal(whole, join(whole, whole))
    assert (np.diff(instants(whole)) > 0).all()


@given(evidence, st.randoms(use_true_random=False), st.integers(1, 5))
def test_no_order_and_no_repetition_changes_a_visit(pairs, random, parts):
    shuffled = pairs + pairs[: len(pairs) // 2]
    random.shuffle(shuffled)
    pieces = [packed(shuffled[n::parts]) for n in range(parts)]
    assert visits_of(join(*pieces), gap_ms=GAP_MS) == visits_of(join(packed(pairs)), gap_ms=GAP_MS)


def test_evidence_exactly_a_gap_apart_is_one_visit():
    one = visits_of(packed([(0, 255), (GAP_MS, 128)]), gap_ms=GAP_MS)
    assert one == [Visit(arrived_ms=0, left_ms=GAP_MS, fixes=2, p_sum=383)]
    assert one[0].confidence == 383 / 510
    assert len(visits_of(packed([(0, 255), (GAP_MS + 1, 128)]), gap_ms=GAP_MS)) == 2


def test_the_surest_fix_of_an_instant_counts_once():
    same = join(packed([(5, 128), (5, 255), (5, 130)]))
    assert visits_of(same, gap_ms=GAP_MS) == [Visit(arrived_ms=5, left_ms=5, fixes=1, p_sum=255)]


def test_half_is_kept_as_inside():
    assert (packed([(1, 128)]) & 255).tolist() == [128]
    assert (pack(np.array([1]), np.array([0.5])) & 255).tolist() == [128]
