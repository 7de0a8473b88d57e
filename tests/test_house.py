"""The house stands as its plan says: floors, bans, contracts, tests in their places."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = ("geo", "campaigns", "nearcast", "api")
BANNED = {
    "clock": "from datetime import UTC, datetime\nNOW = datetime.now(UTC)\n",
    "today": "from datetime import date\nTODAY = date.today()\n",
    "time": "from time import time\nNOW = time()\n",
    "dice": "import random\nDIE = random.random()\n",
    "seeded dice": "import numpy as np\nDIE = np.random.default_rng(1).random()\n",
    "secrets": "import secrets\nDIE = secrets.token_hex()\n",
    "ids": "from uuid import uuid4\nID = uuid4()\n",
    "files": "from pathlib import Path\nTEXT = Path('a').read_text()\n",
    "open": "with open('a') as file:\n    TEXT = file.read()\n",
    "environment": "import os\nHOME = os.environ['HOME']\n",
    "printing": "print('a')\n",
    "logging": "import logging\nLOG = logging.getLogger()\n",
}


def _tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("this is no git checkout")
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def _sources() -> list[Path]:
    return [path for floor in FLOORS for path in (ROOT / floor).rglob("*.py")]


@pytest.mark.parametrize("floor", ["geo", "campaigns"])
@pytest.mark.parametrize("what", BANNED)
def test_the_pure_floors_are_told_when_they_are_not_pure(floor: str, what: str) -> None:
    code = f'"""Bad."""\n\n{BANNED[what]}'
    run = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--stdin-filename", f"{floor}/bad.py", "-"],
        cwd=ROOT,
        input=code,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert re.search(r"TID251|PTH123|T201", run.stdout)


def test_the_contracts_see_an_import_upwards(tmp_path: Path) -> None:
    """The contracts of pyproject.toml are run by `make lint`; here on a house with a fault in it."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    floors = config["tool"]["importlinter"]["contracts"][0]
    assert floors["layers"][0] == "api"
    assert floors["layers"][-1] == "geo"
    for package in ("api", "nearcast", "nearcast/services", "nearcast/store", "campaigns", "geo"):
        (tmp_path / package).mkdir(parents=True)
        (tmp_path / package / "__init__.py").write_text("")
    fault = "def late():\n    import nearcast.store\n"  # a lazy import counts
    (tmp_path / "geo" / "bad.py").write_text(fault)
    layers = "\n".join(f"    {layer}" for layer in ("api", "nearcast.services", "nearcast.store", "geo"))
    (tmp_path / ".importlinter").write_text(
        "[importlinter]\nroot_packages =\n    geo\n    nearcast\n    api\n"
        f"[importlinter:contract:1]\nname = floors\ntype = layers\nlayers =\n{layers}\n"
    )
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command as l; l()",
            "--no-cache",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "geo.bad -> nearcast.store" in run.stdout


def test_api_itself_is_empty() -> None:
    """So that the worker, which lives in it, imports nothing that it does not need."""
    assert not (ROOT / "api" / "__init__.py").read_text(encoding="utf-8").strip()


def test_the_worker_needs_no_web_framework() -> None:
    code = (
        "import sys, api.worker; print(*sorted({'flask', 'apiflask', 'pydantic'} & sys.modules.keys()))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == ""


def test_a_command_starts_without_the_heavy_libraries() -> None:
    heavy = "{'flask', 'pydantic', 'sqlalchemy', 'shapely', 'geopandas', 'pyarrow', 'rich', 'numpy'}"
    code = f"import sys, api.cli; print(*sorted({heavy} & sys.modules.keys()))"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == ""


def test_every_public_thing_says_what_it_is() -> None:
    """Ruff asks for docstrings; this asks that every module has one too, however small."""
    empty = (p for p in _sources() if not p.read_text(encoding="utf-8").strip())
    bare = set(_sources()) - set(empty)
    assert [
        str(p) for p in bare if ast.get_docstring(ast.parse(p.read_text(encoding="utf-8"))) is None
    ] == []


def test_tests_stand_where_pytest_finds_them() -> None:
    tests = [path for path in _tracked("tests") if path.suffix == ".py"]
    assert [p for p in tests if p.name == "__init__.py"] == [], "they would hide the real packages"
    classes = re.compile(r"^class Test", re.MULTILINE)
    assert [p for p in tests if classes.search(p.read_text(encoding="utf-8"))] == []


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    # put together, so that this file does not hold what it looks for
    paths = re.compile("|".join(["/" + "work" + "/", "/" + "root" + "/", "/" + "home" + "/"]))
    texts = {".py", ".md", ".toml", ".sh", ".yml", ".yaml", ".html", ".js", ".css", ".txt", ""}
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in _tracked()
        if path.suffix in texts and path.name != "LICENSE"
        for line in path.read_text(encoding="utf-8").splitlines()
        if paths.search(line)
    ]
    assert found == []


def test_the_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
