"""The README's session works as it stands: each command, line by line, against a real server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.server import ROOT, Server

EXPECTED = "# → "
#: ends what one command printed; no program prints it by chance
MARK = "\x1e"


@dataclass
class Command:
    """One command of the session and what the README says that its output holds."""

    text: str
    expected: list[str] = field(default_factory=list)


def session(readme: str) -> list[Command]:
    """The commands of all blocks marked as session, each complete as bash sees it."""
    commands: list[Command] = []
    for block in re.findall(r"```bash session\n(.*?)```", readme, re.DOTALL):
        waiting: list[str] = []
        for line in block.splitlines():
            if line.startswith(EXPECTED):
                commands[-1].expected.append(line.removeprefix(EXPECTED))
            elif waiting or (line.strip() and not line.startswith("#")):
                waiting.append(line)
                if _is_complete("\n".join(waiting)):
                    commands.append(Command("\n".join(waiting)))
                    waiting = []
        assert not waiting, f"the block ends within a command: {waiting}"
    return commands


def _is_complete(text: str) -> bool:
    return subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True).returncode == 0


def test_the_session_of_the_readme_works_line_by_line(server: Server, tmp_path: Path) -> None:
    commands = session((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(commands) > 10
    script = "\n".join(f"{command.text}\nprintf '{MARK}%s{MARK}' $?" for command in commands)
    programs = Path(sys.executable).parent
    folder = tmp_path / "readme"
    folder.mkdir()
    (folder / "session.sh").write_text(script.replace("http://127.0.0.1:8000", server.url))
    run = subprocess.run(
        ["bash", "session.sh"],
        stdin=subprocess.DEVNULL,
        cwd=folder,
        env=server.env | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    parts = run.stdout.split(MARK)
    assert len(parts) == 2 * len(commands) + 1, run.stderr
    for command, output, code in zip(commands, parts[::2], parts[1::2], strict=False):
        told = f"{command.text}\n{output}\n{run.stderr}"
        assert code == "0", told
        for fragment in command.expected:
            assert fragment in output, f"'{fragment}' is not in the output of\n{told}"
    assert run.stderr == ""


def test_every_answer_of_the_session_is_looked_at() -> None:
    """A command without an expectation would be shown but not proven."""
    commands = session((ROOT / "README.md").read_text(encoding="utf-8"))
    silent = [c.text for c in commands if not c.expected and re.match(r"(post|get|curl) ", c.text)]
    assert silent == []


def test_the_commands_of_the_other_blocks_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for page in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"\bmake (\w+)", (ROOT / page).read_text(encoding="utf-8")):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page}: make {target}"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs"])
def test_links_lead_somewhere(page: str) -> None:
    pages = [ROOT / page] if page.endswith(".md") else sorted((ROOT / page).rglob("*.md"))
    assert pages
    for found in pages:
        for target in re.findall(r"\]\(([^)#]+)\)", found.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (found.parent / target).exists(), f"{found.name}: {target}"
