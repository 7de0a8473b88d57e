"""Public ids: a prefix that names the kind, and the serial (docs/decisions/0003)."""

from __future__ import annotations

from nearcast.services.errors import NotFound

KINDS = {
    "wsp": "workspace",
    "app": "app",
    "key": "key",
    "fnc": "fence",
    "grp": "fence group",
    "lay": "area layer",
    "upl": "upload",
    "cmp": "campaign",
    "tst": "test device",
    "whk": "webhook",
    "dlv": "delivery",
    "dev": "device",
}
_MAX_SERIAL = 2**63 - 1
_MAX_DIGITS = len(str(_MAX_SERIAL))


def public(kind: str, serial: int) -> str:
    """`fnc`, 12 → `fnc_12`."""
    return f"{kind}_{serial}"


def parse(kind: str, text: str) -> int:
    """The serial of a public id of one kind; `NotFound` for anything else."""
    prefix, _, digits = text.partition("_")
    # the length first: int() refuses very long texts with an error of its own
    readable = digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS
    if prefix != kind or not readable or int(digits) > _MAX_SERIAL:
        raise NotFound(f"There is no {KINDS[kind]} '{text[:40]}'. Its id looks like {kind}_12.")
    return int(digits)
