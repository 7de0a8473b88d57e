"""The two coffee chains by the command line, and the trade areas they stand in by the API (issue 2)."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from api.cli import main
from nearcast.store.engine import reading
from nearcast.store.tables import fence, fence_area, fence_version
from tests.conftest import make_key
from tests.server import Server

pytestmark = pytest.mark.real

DATA = Path(__file__).parents[2].parent / "shared/data"
SHEETS = {"스타벅스": ("seoul_starbucks_list.xlsx", 574), "이디야": ("seoul_Ediya_list.xlsx", 720)}


def needed(name):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"no real data: {name} is not in ../shared/data")
    return path


def imported(url, brand, *more):
    name, _ = SHEETS[brand]
    file = needed("seoul_coffee_xlsx") / name
    args = ["import", str(file), "--group", brand, "--radius", "100", "--brand", brand, "--json", *more]
    result = CliRunner().invoke(main, args, env={"NEARCAST_DATABASE_URL": url})
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize("brand", SHEETS)
def test_a_chains_workbook_becomes_its_fences(house, brand):
    url, expected = house.settings.database_url, SHEETS[brand][1]
    checked = imported(url, brand)
    assert checked["counts"] == {"new": expected, "changed": 0, "same": 0, "refused": 0, "missing": 0}
    assert not checked["applied"]
    assert not checked["problems"]
    assert imported(url, brand, "--apply")["applied"]
    rows = reading(
        house.engine,
        lambda c: c.execute(
            sa.select(fence_version.c.radius_m, fence_version.c.attributes, fence.c.name).join(fence)
        ).all(),
    )
    assert len(rows) == expected
    assert {row.radius_m for row in rows} == {100.0}
    assert {row.attributes["brand"] for row in rows} == {brand}
    assert {tuple(row.attributes["groups"]) for row in rows} == {(brand,)}
    again = imported(url, brand, "--apply")
    assert (again["counts"]["same"], again["applied"]) == (expected, False)


def test_each_store_knows_its_trade_areas(house, tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for part in needed("seoul_trade_areas").glob("*영역-상권_.*"):
            archive.write(part, part.name)
    imported(house.settings.database_url, "스타벅스", "--apply")
    columns = {"name_column": "TRDAR_CD_N", "code_column": "TRDAR_CD"}
    with Server(house.settings.database_url, tmp_path) as server:
        answer = httpx.post(
            f"{server.url}/v1/area-layers",
            headers={"Authorization": f"Bearer {make_key(house)}"},
            files={"file": ("areas.zip", packed.getvalue())},
            data={"name": "상권", "kind": "trade_area"} | columns,
            timeout=60,
        )
    assert answer.status_code == 201, answer.text
    assert answer.json()["areas"] == 1_650
    assert len(answer.json()["repairs"]) == 6
    pairs = reading(house.engine, lambda c: c.execute(sa.select(fence_area)).all())
    assert len(pairs) == 504
    assert len({pair.fence_id for pair in pairs}) == 468
