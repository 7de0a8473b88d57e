"""Many days over HTTP in every order; see tests/days.py."""

from __future__ import annotations

import pytest

from tests.days import check
from tests.services.test_day_orders import PROOF

pytestmark = pytest.mark.prove

DAYS = 100  # on each database


def test_many_days_on_one_server(sqlite_url, tmp_path, proof):
    assert check(sqlite_url, tmp_path, range(1_000, 1_000 + DAYS), servers=1) > 30 * DAYS
    proof(PROOF, DAYS)


def test_many_days_on_two_servers_of_one_database(postgres_url, tmp_path, proof):
    assert check(postgres_url, tmp_path, range(2_000, 2_000 + DAYS), servers=2) > 30 * DAYS
    proof(PROOF, DAYS)
