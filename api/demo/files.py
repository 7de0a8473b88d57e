"""The demo's shipped files, from the wheel or the checkout."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

FIXTURES = Path(str(resources.files("fixtures") / "demo"))


def fixture(name: str) -> bytes:
    """A file of `fixtures/demo`."""
    return (FIXTURES / name).read_bytes()
