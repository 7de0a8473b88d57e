"""The ingest bench counts right: what it posts, what it checks, what it says."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import islice

import numpy as np
import pyarrow as pa
import pytest

from bench import _ingest_bars, _ingest_page, ingest
from bench._city import City, Fixes, Ink, Walkers, device_key, device_number
from bench._ingest_bars import Case
from bench._ingest_client import growth
from bench._ingest_world import Audit, build

pytestmark = pytest.mark.slow

DEVICES = 3_000


@pytest.fixture(scope="module")
def batches() -> list[Fixes]:
    return list(islice(Walkers(City.of(1_000), DEVICES).batches(500), 30))


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def test_bodies_say_what_their_columns_say(batches: list[Fixes]) -> None:
    ink, fixes = Ink(DEVICES), batches[-1]
    lines = [json.loads(line) for line in ink.ndjson(fixes, 7).splitlines()]
    assert json.loads(ink.json(fixes, 7))["pings"] == lines
    table = pa.ipc.open_stream(ink.arrow(fixes, 7)).read_all()
    table.validate(full=True)
    rows = table.to_pylist()
    for place, (line, row) in enumerate(zip(lines, rows, strict=True)):
        assert line | {"at": ms(line["at"])} == row | {"at": round(row["at"].timestamp() * 1000)}
        assert line["ping_id"].startswith(f"{7 + place:08x}-")
        assert line["device_id"] == device_key(int(fixes.device[place]))
        assert device_number(line["device_id"]) == fixes.device[place]
        assert (line["lng"], line["lat"]) == (fixes.lon7[place] / 1e7, fixes.lat7[place] / 1e7)
        assert round(line["accuracy_m"] * 10) == fixes.accuracy_dm[place]
        assert ms(line["at"]) == fixes.at_ms[place]


def test_a_date_that_changes_within_a_batch_is_written_right() -> None:
    midnight_ms = 1_795_478_400_000
    at_ms = np.array([midnight_ms - 1, midnight_ms, midnight_ms - 20 * 60_000])
    fixes = Fixes(np.arange(3), *np.array([[1269999999] * 3, [370000001] * 3, [9999, 10, 123]]), at_ms)
    lines = [json.loads(line) for line in Ink(3).ndjson(fixes, 0).splitlines()]
    assert [ms(line["at"]) for line in lines] == at_ms.tolist()
    assert [line["accuracy_m"] for line in lines] == [999.9, 1.0, 12.3]


def test_the_city_is_as_the_bar_says(batches: list[Fixes]) -> None:
    last = Fixes.joined(batches[12:])
    rows = list(zip(*(column.tolist() for column in vars(last).values()), strict=True))
    assert 0.004 < 1 - len({*rows}) / len(rows) < 0.02  # some were sent before
    newest_ms = last.at_ms.max()
    assert 0.01 < (last.at_ms < newest_ms - 10 * 60_000).mean() < 0.03
    for batch in batches:
        assert len(batch) == 500
        assert len(np.unique(batch.device)) > 480
    # who walks, walks: 60 to 100 m a minute and the noise of the fixes
    first = Fixes.joined(batches[:6])
    home = first.take(np.argsort(first.device, kind="stable"))
    moved = last.take(np.unique(last.device, return_index=True)[1])
    metres = np.hypot(moved.lon7 - home.lon7[moved.device], moved.lat7 - home.lat7[moved.device]) / 100
    assert 0.6 < (metres > 60).mean() < 0.9


def test_growth_is_the_last_third_by_the_first() -> None:
    even = [(n / 10, n * 100) for n in range(1, 31)]
    assert growth(even) == 0.0
    slower = [*even[:20], *((2 + (n - 20) / 5, n * 100) for n in range(21, 31))]
    assert growth(slower) == 1.0
    assert growth(even[:5]) is None


def test_bars_hold_on_the_bound_and_not_beyond() -> None:
    case = Case("I2", "sqlite", "json", 1, {"requests_per_s": 5_000, "p99_ms": 25})
    figures = {
        "known_devices": {"requests_per_s": 5_000, "p99_ms": 25.1, "pings_per_s": 5_000},
        "database": {"wrong_visits": 1, "evidence_missing": 0, "log_missing": 0},
        "wrong_answers": 0,
    }
    held = {bar["figure"]: bar["holds"] for bar in _ingest_bars.of_run(case, figures)}
    assert held == {
        "requests_per_s": True,
        "p99_ms": False,
        "wrong_visits": False,
        "evidence_missing": True,
        "log_missing": True,
        "wrong_answers": True,
    }
    few, many = (Case("I3", "sqlite", "json", 1_000, {}, fences=n) for n in (1_000, 100_000))
    runs = [
        (few, {"known_devices": {"pings_per_s": 200}}),
        (many, {"known_devices": {"pings_per_s": 100}}),
    ]
    assert [(bar["value"], bar["holds"]) for bar in _ingest_bars.of_fences(runs)] == [(2.0, True)]
    assert _ingest_bars.of_run(case, {"skipped": "no"}) == []


def test_a_small_run_checks_its_database_and_is_told() -> None:
    case = Case("I1", "sqlite", "json", 200, {"pings_per_s": 1}, fences=50, devices=1_000, connections=3)
    report = json.loads(json.dumps(ingest.reported([case], seconds=0.5, stages=True, floors=False)))
    [run] = report["runs"]
    assert [bar["figure"] for bar in report["bars"] if not bar["holds"]] == []
    assert report["pings_per_s"] == run["known_devices"]["pings_per_s"] > 0
    database = run["database"]
    assert database["visits"] > 20
    assert database["devices"] == 1_000
    assert run["known_devices"]["counts"]["late"] > 0
    stages = {row["stage"]: row for row in report["stages"]["stages"]}
    assert stages["process"]["cpu_us"] > 0
    assert len(stages) > 5
    assert any("pings/s" in line for line in ingest.lines(report))
    page = "\n".join(_ingest_page.section(report))
    assert f"**{report['pings_per_s']:,} pings/s**" in page
    assert f"0 of {database['visits']:,}" in page


def test_the_audit_finds_what_is_missing(tmp_path) -> None:
    """An empty database under pings that are said to be acknowledged."""
    url, town = f"sqlite:///{tmp_path}/n.db", City.of(50)
    build(url, town)
    audit = Audit(url)
    try:
        fixes = Fixes.joined(list(islice(Walkers(town, 400).batches(100), 8)))
        told = audit.told(fixes)
    finally:
        audit.close()
    assert told["wrong_visits"] > 10
    assert told["evidence_missing"] > 10
    assert told["log_missing"] == len(fixes)
