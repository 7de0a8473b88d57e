"""Run the proofs with their large counts and write what they showed to docs/proofs.md."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "proofs.md"
HEAD = """# Proofs

Written by `make prove`; do not edit. Each line is one promise of the product, the number of cases that
were tried, how long that took, and the day. A run that finds one wrong case fails and writes nothing; a
run of some of them (`python scripts/prove.py tests/prove -k cells`) leaves the lines of the others.

Python {python}, {cores} cores, {machine}.

| what was proved | cases | seconds | day | test |
|---|---:|---:|---|---|
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        proofs = Path(folder) / "proofs.jsonl"
        # no limit per test: the counts are large
        command = [sys.executable, "-m", "pytest", "-m", "prove", "--timeout=0", *sys.argv[1:]]
        env = os.environ | {"NEARCAST_PROOFS": str(proofs)}
        code = subprocess.run(command, cwd=ROOT, env=env, check=False).returncode
        if code:
            return code
        lines = proofs.read_text(encoding="utf-8").splitlines() if proofs.exists() else []
    shown = sorted((json.loads(line) for line in lines), key=lambda line: line["name"])
    if not shown:
        print("the proofs passed but none of them reported what it showed", file=sys.stderr)
        return 1
    before = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    PAGE.write_text(page(shown, before=before), encoding="utf-8")
    print(f"{len(shown)} proofs: {PAGE.relative_to(ROOT)}")
    return 0


def page(shown: Iterable[dict[str, str | int | float]], *, before: str = "") -> str:
    """The page as Markdown: one row a proof, by name.

    Args:
        before: the page as it was: its rows of tests that did not run now stay.
    """
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    listed = list(shown)
    ran = {f"`{line['test']}` |" for line in listed}
    rows = [
        row
        for row in before.splitlines(keepends=True)
        if row.startswith("| ") and "::" in row and not any(row.rstrip().endswith(test) for test in ran)
    ]
    rows += [
        f"| {line['name']} | {line['count']:,} | {line['seconds']:.1f} | {day} | `{line['test']}` |\n"
        for line in listed
    ]
    head = HEAD.format(
        python=platform.python_version(), cores=os.cpu_count(), machine=platform.machine()
    )
    return head + "".join(sorted(rows))


if __name__ == "__main__":
    sys.exit(main())
