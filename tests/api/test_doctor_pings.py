"""What `nearcast doctor` says of sealed pings and of what was deleted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from api.cli import main
from nearcast.services.forget_old import forget_old
from nearcast.services.seal_pings import DAY_MS, seal_pings
from tests.api.replayed import replayed
from tests.world import OUTSIDE, START_MS


def examined() -> dict[str, dict[str, Any]]:
    done = CliRunner().invoke(main, ["doctor", "--json"])
    return {finding["what"]: finding for finding in json.loads(done.output)["findings"]}


def test_sealed_pings_and_what_went(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEARCAST_DATABASE_URL", sqlite_url)
    with replayed(sqlite_url) as (world, _, house):
        world.post([{"who": "a", "at": OUTSIDE, "min": 0}])
        world.post([{"who": "a", "at": OUTSIDE, "min": 24 * 60}])
        seal_pings(world.engine, house.ping_files, now_ms=START_MS + DAY_MS + 1)
        found = examined()
        assert found["sealed pings"]["value"].startswith("1 files, 1 pings, 0.0 MiB at ")
        assert (found["pings sealed"]["value"], found["pings in the log"]["value"]) == ("1", "1")
        assert found["sealed pings"]["ok"] is True
        assert found["last deleted by age"]["value"] == "nothing yet"

        folder = Path(house.ping_files.url)
        shutil.move(folder, tmp_path / "elsewhere")
        missing = examined()["sealed pings"]
        assert (missing["ok"], "NEARCAST_PING_FILES" in missing["mend"]) == (False, True)
        shutil.move(tmp_path / "elsewhere", folder)

        for _ in range(2):
            forget_old(world.engine, house.ping_files, now_ms=START_MS + 8 * DAY_MS)
        told = examined()["last deleted by age"]["value"]
        assert told == "1 raw pings at 2026-12-01T00:00:00+00:00"
