"""The harness counts right: rivals against each other, wrong pairs, skips, bars, the page."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from click.testing import CliRunner

from bench import _bars, _chart, _matching_page, _runner, _truth, _workload, match
from bench.__main__ import main

pytestmark = pytest.mark.slow

FENCES, PINGS = 60, 1_000


@pytest.fixture(scope="module")
def report() -> dict:
    """A whole report of a tiny world, by the rivals that need no environment of their own."""
    names = ["rtree", "rtree_bulk", "strtree", "geopandas"]
    found = match.reported((FENCES,), PINGS, names, runs=1, starts=False)
    return json.loads(json.dumps(found))


def test_exact_ways_agree_on_every_pair(report: dict) -> None:
    figures = report["cases"][0]["figures"]
    for name in ("nearcast", "rtree", "rtree_bulk", "strtree"):
        assert figures[name]["wrong_pairs"] == 0, name
        assert figures[name]["pairs"] > 0
    assert report["cases"][0]["wrong_pairs_of_truth"] == 0


def test_hard_places_are_settled_by_brute_force(report: dict) -> None:
    assert report["hard_places"]["wrong_pairs"] == 0
    assert report["hard_places"]["pairs"] > 5_000


def test_nearcast_is_measured_in_all_that_bars_ask(report: dict) -> None:
    own = report["cases"][0]["figures"]["nearcast"]
    asked = {*_bars.M2, *_bars.M4, "memory_mb", "build_s"}
    # a small world may have no pair with a small polygon
    assert asked - set(own) <= {"p_of_small_polygon_us"}
    assert own["changes_seen_by_readers"] > 0


def test_pairs_are_counted_against_the_truth() -> None:
    truth = np.array([1, 5, 9, 12])
    found = _runner.counted(np.array([1, 5, 5, 7, 12]), truth)
    assert found["pairs"] == 5
    assert found["missing_pairs"] == 1
    assert found["extra_pairs"] == 2  # one not true, one given twice
    assert found["wrong_pairs"] == 3


def test_brute_force_notices_a_wrong_truth(tmp_path) -> None:
    fences, pings = _workload.make_fences(FENCES), _workload.make_pings(PINGS)
    path = tmp_path / "w.npz"
    _workload.save(path, fences, pings)
    right = _runner.measure(
        _runner.RIVALS["strtree"], path, tmp_path / "o", fences=FENCES, pings=PINGS, runs=1
    ).keys
    assert right is not None
    assert len(right)
    assert _truth.sample_wrong(fences, pings, right, sample=PINGS) == 0
    assert _truth.sample_wrong(fences, pings, right[1:], sample=PINGS) == 1
    more = np.append(right, (PINGS - 1) * FENCES + FENCES - 1)
    assert _truth.sample_wrong(fences, pings, np.unique(more), sample=PINGS) == len(
        np.unique(more)
    ) - len(right)


def test_a_rival_without_its_library_is_skipped_and_says_so(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(_runner, "RIVALS_PYTHON", tmp_path / "none")
    asked = {"fences": 10, "pings": 10, "runs": 1}
    found = _runner.measure(_runner.RIVALS["duckdb"], tmp_path, tmp_path / "o", **asked)
    assert found.keys is None
    assert "install-rivals.sh" in found.figures["skipped"]
    many = _runner.measure(_runner.RIVALS["h3"], tmp_path, tmp_path / "o", **asked | {"fences": 1 << 30})
    assert "not measured" in many.figures["skipped"]


def test_slow_rivals_get_fewer_pings_and_joins_enough() -> None:
    slow, join, best = (_runner.RIVALS[name] for name in ("rtree", "duckdb", "strtree"))
    many = 1_000_000
    assert slow.pings_of(many, fences=100_000) == 8 * slow.pings_of(many, fences=1_000_000)
    assert join.pings_of(many, fences=100_000) == join.pings_of(many, fences=1_000_000)
    assert best.pings_of(many, fences=1_000_000) == many
    assert slow.pings_of(5, fences=100) == 5


def test_a_rival_that_fails_is_skipped_with_its_last_words(tmp_path) -> None:
    broken = _runner.Rival("broken", "bench.rivals.strtree")
    found = _runner.measure(broken, tmp_path / "no.npz", tmp_path / "o", fences=10, pings=10, runs=1)
    assert found.keys is None
    assert "no.npz" in found.figures["skipped"]


def test_a_missing_module_is_skipped_by_name(tmp_path) -> None:
    _workload.save(tmp_path / "w.npz", _workload.make_fences(10), _workload.make_pings(10))
    missing = _runner.Rival("missing", "bench.rivals.no_such")
    found = _runner.measure(missing, tmp_path / "w.npz", tmp_path / "o", fences=10, pings=10, runs=1)
    assert "no_such" in found.figures["skipped"]


@pytest.mark.skipif(not _runner.RIVALS_PYTHON.exists(), reason="bench/.venv: scripts/install-rivals.sh")
@pytest.mark.parametrize("name", ["h3", "sedona", "duckdb"])
def test_rivals_of_the_other_environment_answer(name: str, tmp_path) -> None:
    fences, pings = _workload.make_fences(FENCES), _workload.make_pings(PINGS)
    _workload.save(tmp_path / "w.npz", fences, pings)
    asked = {"fences": FENCES, "pings": PINGS, "runs": 1}
    truth = _runner.measure(_runner.RIVALS["strtree"], tmp_path / "w.npz", tmp_path / "t", **asked).keys
    found = _runner.measure(_runner.RIVALS[name], tmp_path / "w.npz", tmp_path / "o", **asked)
    assert truth is not None
    assert found.keys is not None, found.figures
    wrong = _runner.counted(found.keys, truth)["wrong_pairs"]
    assert wrong <= (0 if _runner.RIVALS[name].exact else len(truth) // 50)


def test_bars_hold_on_the_bound_and_not_beyond() -> None:
    own = {"wrong_pairs": 0, "memory_mb": 60, "build_s": 1.01}
    case = {"fences": 10_000, "figures": {"nearcast": own}, "ratio_to_best_exact": 40}
    held = {bar["figure"]: bar["holds"] for bar in _bars.of_case(case)}
    assert held == {
        "ratio_to_best_exact": True,
        "wrong_pairs": True,
        "memory_mb": True,
        "build_s": False,
    }
    case["ratio_to_best_exact"] = 39.9
    assert not _bars.of_case(case)[0]["holds"]
    late = {"cold": {"first_answer_s": 3.1}, "warm": {"cells_answer_s": 10}}
    assert [bar["holds"] for bar in _bars.of_starts(late)] == [False, True]


def test_the_page_and_the_chart_show_every_way(report: dict) -> None:
    page = "\n".join(_matching_page.section(report, None, "matching.svg"))
    chart = _chart.drawn(_matching_page.series(_matching_page.cases_of(report, None)))
    for name in ("nearcast", *report["cases"][0]["figures"]):
        assert _matching_page.label(name) in page
    texts = [node.text for node in ET.fromstring(chart).iter("{http://www.w3.org/2000/svg}text")]
    assert {"Nearcast", "STRtree + exact", "fences"} <= set(texts)
    assert "does not hold" not in page.partition("The bars")[0]


def test_an_older_million_stands_beside_the_run_of_the_day(report: dict) -> None:
    old = json.loads(json.dumps(report)) | {"when": "2020-01-02"}
    old["cases"][0]["fences"] = 1_000_000
    page = "\n".join(_matching_page.section(report, old, "matching.svg"))
    assert "| fences | 60 | 1M |" in page
    assert "2020-01-02" in page


def test_an_unknown_rival_is_refused_by_name() -> None:
    done = CliRunner().invoke(main, ["match", "--rivals", "strtree,tile39"])
    assert done.exit_code == 2
    assert "tile39" in done.output
    assert "rivals" not in CliRunner().invoke(main, ["--help"]).output.split()
