"""Ingest killed many times: 20 times at each failpoint, and at 100 moments of chance."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from nearcast import failpoints
from tests.ingest_kills import run
from tests.services.test_ingest_kills import PLANTED, PROOF, check_found

pytestmark = pytest.mark.prove

LIVES = 10  # of each database
RANDOM_RUNS, KILLS = 5, 10  # of each database


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh(request, sqlite_template, tmp_path):
    """Makes the URL of a fresh database."""
    made = 0

    def sqlite():
        nonlocal made
        made += 1
        shutil.copyfile(sqlite_template, tmp_path / f"{made}.db")
        return f"sqlite:///{tmp_path}/{made}.db"

    if request.param == "sqlite":
        return sqlite
    server = request.getfixturevalue("postgres")
    template = request.getfixturevalue("postgres_template")
    return lambda: server.url(server.create(template))


def test_every_failpoint_twenty_times(fresh, tmp_path, proof):
    rng = np.random.default_rng(5)
    clean = run(fresh(), tmp_path).seen
    deaths = 0
    for _ in range(LIVES):
        names = rng.permutation(failpoints.INGEST).tolist()
        killed = run(fresh(), tmp_path, dies_at=[f"{n}:{rng.integers(1, 5)}" for n in names])
        assert killed.seen == clean
        assert killed.deaths == len(names)
        deaths += killed.deaths
    proof(PROOF, deaths)


def test_kills_at_moments_of_chance(fresh, tmp_path, proof):
    rng = np.random.default_rng(6)
    many = {"rounds": 160, "pause_s": 0.025}  # it takes them 4 s and more
    clean = run(fresh(), tmp_path, rounds=many["rounds"]).seen
    deaths = 0
    for _ in range(RANDOM_RUNS):
        moments = rng.uniform(0.02, 0.7, KILLS).tolist()
        killed = run(fresh(), tmp_path, kills_after_s=moments, **many)
        assert killed.seen == clean
        deaths += killed.deaths
    assert deaths >= RANDOM_RUNS * KILLS * 0.9  # the last ones may come when all is answered
    proof("Q1, Q2: ingest ended by kill -9 at random moments: as a clean run", deaths)


@pytest.mark.parametrize("bug", PLANTED)
def test_bugs_are_found_on_postgresql_too(bug, postgres_url, tmp_path, proof):
    check_found(bug, postgres_url, tmp_path)
    proof("Q1, Q2: bugs planted into ingest, each found by the harness of kills", 1)
