"""The documentation is tested: what it names exists, and what exists is in it."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from api.cli import main as cli
from api.settings import PREFIX, Settings
from campaigns.deciding.explain import Worked
from campaigns.deciding.gates import Reason
from geo.matching.pings import Outcome, PingReason
from nearcast.store.tables import metadata

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
REFERENCE = (DOCS / "reference.md").read_text(encoding="utf-8")


def test_the_reference_is_what_the_code_says() -> None:
    script = [sys.executable, "scripts/write_reference.py", "--check"]
    check = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=False)
    assert check.returncode == 0, f"run `make reference` and commit it\n{check.stderr}"


def test_every_command_setting_outcome_and_reason_is_in_the_reference() -> None:
    """Said once more without the script that writes the page: it might leave something out."""
    for name, command in cli.commands.items():
        for path in [f"{name} {sub}" for sub in getattr(command, "commands", {})] or [name]:
            assert f"### `nearcast {path}`" in REFERENCE
    for field in fields(Settings):
        assert f"`{PREFIX}{field.name.upper()}`" in REFERENCE
    for word in [*Reason, *Worked, *PingReason, *(outcome.name.lower() for outcome in Outcome)]:
        assert f"| `{word}` |" in REFERENCE


def test_every_error_code_in_the_source_is_in_the_reference() -> None:
    declared = re.compile(r"^    code(?:: [^=]+)? = \"(\w+)\"$", re.MULTILINE)
    found = {
        code
        for floor in ("geo", "campaigns", "nearcast", "api")
        for path in (ROOT / floor).rglob("*.py")
        for code in declared.findall(path.read_text(encoding="utf-8"))
    }
    problems = (ROOT / "api" / "problems.py").read_text(encoding="utf-8")
    found |= set(re.findall(r"code=\"(\w+)\"", problems))
    found |= set(re.findall(r"^    \d{3}: \"([a-z_]+)\"", problems, re.MULTILINE))
    found -= {"error"}  # the tree's root, which nobody raises
    assert len(found) > 20
    assert sorted(code for code in found if f"| `{code}` |" not in REFERENCE) == []


def _glossary() -> list[list[str]]:
    lines = (DOCS / "glossary.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line[:1] == "|"]
    return rows[2:]


@pytest.mark.parametrize("row", _glossary(), ids=lambda row: row[1])
def test_the_glossary_names_what_exists(row: list[str]) -> None:
    korean, english, names, tables, _ = row
    assert re.search(r"[가-힣]|API", korean)
    assert english
    for name in re.findall(r"`((?:geo|campaigns|nearcast|api)\.[\w.]+)`", names):
        _resolve(name)
    for table in re.findall(r"`(\w+)(?:\.(\w+))?`", tables):
        if table[0] in metadata.tables:
            assert not table[1] or table[1] in metadata.tables[table[0]].c
        else:
            assert table[0] in {column.name for t in metadata.tables.values() for column in t.c}


def _resolve(name: str) -> object:
    """The module, class or attribute of a dotted name."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[cut:]:
            found = getattr(found, attribute)
        return found
    raise AssertionError(f"{name} does not exist")


def test_the_tour_passes_rooms_that_exist() -> None:
    """`services/…`, `store/…` and bare names are said after their floor; all must be found."""
    text = (DOCS / "tour.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+\.py)(?:: ([\w.]+))?`", text)
    assert len(named) > 20
    files = [
        path
        for floor in ("geo", "campaigns", "nearcast", "api")
        for path in (ROOT / floor).rglob("*.py")
    ]
    for path, thing in named:
        found = [file for file in files if str(file).endswith(f"/{path}")]
        assert found, path
        if thing:
            word = re.compile(rf"\b{thing.split('.')[-1]}\b")
            assert any(word.search(f.read_text(encoding="utf-8")) for f in found), f"{path}: {thing}"


@pytest.mark.parametrize("path", sorted((DOCS / "decisions").glob("*.md")), ids=lambda path: path.stem)
def test_a_decision_says_question_choice_price_and_measure_in_half_a_page(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.match(rf"# {path.name[:4]} \S", text)
    places = [text.find(f"**{part}.**") for part in ("Question", "Choice", "Price", "Measured")]
    assert -1 not in places
    assert places == sorted(places)
    assert len(text.splitlines()) <= 40
    for named in re.findall(r"`((?:tests|geo|nearcast|campaigns|api)/[\w/.]+\.\w+)", text):
        assert (ROOT / named).exists(), named


def test_decisions_are_numbered_without_a_gap() -> None:
    numbers = [int(path.name[:4]) for path in sorted((DOCS / "decisions").glob("*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))
