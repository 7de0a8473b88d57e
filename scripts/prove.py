"""Run the proofs with their large counts and write what they showed to docs/proofs.md."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "proofs.md"
HEAD = """# Proofs

Written by `make prove`; do not edit. Each line is one promise of the product, the number of cases that
were tried and how long that took. A run that finds one wrong case fails and writes nothing.

{where}: {lines} proofs in {seconds:.0f} s.

| what was proved | cases | seconds | test |
|---|---:|---:|---|
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        proofs = Path(folder) / "proofs.jsonl"
        began = time.monotonic()
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
    PAGE.write_text(page(shown, seconds=time.monotonic() - began), encoding="utf-8")
    print(f"{len(shown)} proofs: {PAGE.relative_to(ROOT)}")
    return 0


def page(shown: Iterable[dict[str, str | int | float]], *, seconds: float) -> str:
    """The page as Markdown; one row per proof, in the order given."""
    rows = [
        f"| {line['name']} | {line['count']:,} | {line['seconds']:.1f} | `{line['test']}` |\n"
        for line in shown
    ]
    where = f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}"
    return HEAD.format(where=where, lines=len(rows), seconds=seconds) + "".join(rows)


if __name__ == "__main__":
    sys.exit(main())
