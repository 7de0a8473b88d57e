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
    "cmp": "campaign",
    "tst": "test device",
    "whk": "webhook",
    "dlv": "delivery",
    "dev": "device",
}
_MAX_SERIAL = 2**63 - 1


def public(kind: str, serial: int) -> str:
    """`fnc`, 12 → `fnc_12`."""
    return f"{kind}_{serial}"


def parse(kind: str, text: str) -> int:
    """The serial of a public id of one kind; `NotFound` for anything else."""
    prefix, _, digits = text.partition("_")
    if prefix != kind or not (digits.isascii() and digits.isdigit()) or int(digits) > _MAX_SERIAL:
        raise NotFound(f"There is no {KINDS[kind]} '{text[:40]}'. Its id looks like {kind}_12.")
    return int(digits)
