"""The same day over HTTP in every order, twice, from three clients, to two servers: the same visits."""

from __future__ import annotations

import pytest

from tests.days import check

pytestmark = pytest.mark.slow

PROOF = (
    "P5, Q4: days over HTTP in six orders, with fence edits, jumps and the horizon's edge: same visits"
)
DAYS = 20


def test_days_on_one_server(sqlite_url, tmp_path, proof):
    assert check(sqlite_url, tmp_path, range(DAYS // 2), servers=1) > 300
    proof(PROOF, DAYS // 2)


def test_days_on_two_servers_of_one_database(postgres_url, tmp_path, proof):
    assert check(postgres_url, tmp_path, range(DAYS // 2, DAYS), servers=2) > 300
    proof(PROOF, DAYS // 2)
