"""Ingest killed at every commit and answer: nothing acknowledged is lost, nothing is counted twice."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from nearcast import failpoints
from tests.ingest_kills import Broken, run

pytestmark = pytest.mark.slow

PROOF = "Q1, Q2: ingest killed at its failpoints, clients that retry: no ping lost, none counted twice"
#: bug → where to die, and what the harness says then
PLANTED = {
    "ack_before_commit": ("ingest.begun:9", "acknowledged pings are not in the log"),
    "two_transactions": ("ingest.logged:2", "visits are not those of the logged pings"),
    "evidence_without_log": (
        "ingest.after_commit:3",
        "not in the log|nobody sent|not those of the logged pings",
    ),
    "outbox_outside": ("ingest.decided:1", "decisions and messages do not belong together"),
}


@pytest.fixture(scope="module")
def clean(sqlite_template, tmp_path_factory):
    """What a run comes to in which nothing dies."""
    folder = tmp_path_factory.mktemp("clean")
    shutil.copyfile(sqlite_template, folder / "n.db")
    return run(f"sqlite:///{folder}/n.db", folder).seen


def check(url, folder, dies_at, clean) -> int:
    """Die at these failpoints one after the other; how often it died."""
    killed = run(url, folder, dies_at=[f"{name}:{1 + n % 3}" for n, name in enumerate(dies_at)])
    assert killed.deaths == len(dies_at)
    assert killed.resent > 0
    assert killed.seen == clean
    return killed.deaths


def test_killed_at_every_failpoint_it_ends_as_a_clean_run_ends(sqlite_url, clean, tmp_path, proof):
    assert clean["visits"]
    assert {reason for *_, reason in clean["decisions"]} == {"sent", "frequency_capped"}
    count = check(sqlite_url, tmp_path, failpoints.INGEST, clean)
    proof(PROOF, count)


def test_killed_around_the_commit_on_postgresql(postgres_url, clean, tmp_path, proof):
    """The others come in `make prove`."""
    around = ("ingest.decided", "ingest.before_commit", "ingest.after_commit")
    proof(PROOF, check(postgres_url, tmp_path, around, clean))


def check_found(bug, url, folder) -> None:
    """A server with a bug breaks the promise that it must break."""
    dies_at, said = PLANTED[bug]
    with pytest.raises(Broken, match=said):
        run(url, folder, dies_at=[dies_at], bug=bug)


@pytest.mark.parametrize("bug", PLANTED)
def test_the_harness_finds_planted_bugs(bug, sqlite_url, tmp_path, proof):
    check_found(bug, sqlite_url, tmp_path)
    proof("Q1, Q2: bugs planted into ingest, each found by the harness of kills", 1)


@pytest.mark.parametrize("said", ["ingest.nowhere", "ingest.begun:0", "ingest.begun:x"])
def test_a_failpoint_that_can_never_be_hit_is_refused(said):
    done = subprocess.run(
        [sys.executable, "-c", "import nearcast.failpoints"],
        env={failpoints.VARIABLE: said},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"{failpoints.VARIABLE} is '{said}'" in done.stderr
