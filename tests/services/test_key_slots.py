"""Slots of keys beside a plain dictionary."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nearcast.services import key_slots
from nearcast.services.key_slots import KeySlots


class Plain:
    def __init__(self):
        self.slots = {}

    def of(self, keys):
        return [self.slots.get(key, -1) for key in keys]

    def opened(self, keys):
        return [self.slots.setdefault(key, len(self.slots)) for key in keys]


@given(
    batches=st.lists(st.lists(st.sampled_from([f"k{n}" for n in range(40)]), max_size=30), max_size=6)
)
def test_as_a_dictionary(batches):
    slots, plain = KeySlots(), Plain()
    for keys in batches:
        assert slots.of([*keys, None]).tolist() == plain.of([*keys, None])
        assert slots.opened(keys).tolist() == plain.opened(keys)
        assert len(slots) == len(plain.slots)


def test_many_keys_grow_the_table():
    slots, plain = KeySlots(), Plain()
    rng = np.random.default_rng(3)
    for size in (1, 5000, 3, 40_000, 60_000):
        keys = [f"device-{n}" for n in rng.integers(0, 80_000, size)]
        assert slots.opened(keys).tolist() == plain.opened(keys)
    keys = [f"device-{n}" for n in range(100_000)]
    assert slots.of(keys).tolist() == plain.of(keys)
    assert slots.used_bytes < 12 * 12 * len(slots)


def test_keys_that_meet_at_one_place_are_told_apart(monkeypatch):
    # all of them want the same few places, at the end of the table
    monkeypatch.setattr(
        key_slots,
        "_hashes",
        lambda keys: np.array([(int(key or 0) << 40) | 0xFFE | int(key or 0) % 2 for key in keys]),
    )
    slots, plain = KeySlots(), Plain()
    for last in (10, 200, 1200):
        keys = [str(n) for n in range(1, last)]
        assert slots.opened(keys).tolist() == plain.opened(keys)
        assert slots.of([*keys, "99999"]).tolist() == plain.of([*keys, "99999"])
