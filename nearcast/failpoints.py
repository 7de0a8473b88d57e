"""Places where a test may end the process, as a power cut would: at every commit and answer of ingest.

`NEARCAST_FAILPOINT=ingest.logged` ends the process (exit code 77, nothing flushed, nothing rolled back)
the first time it comes to that place, `ingest.logged:3` the third time. Read once when the process
starts; without the variable a place costs one call that does nothing.
"""

from __future__ import annotations

import itertools
import os

EXIT_CODE = 77
VARIABLE = "NEARCAST_FAILPOINT"

#: in the order in which a batch comes by; the transaction is open from `begun` to `before_commit`
INGEST = (
    "ingest.begun",
    "ingest.logged",
    "ingest.evidence",
    "ingest.decided",
    "ingest.before_commit",
    "ingest.after_commit",
    "ingest.before_answer",
)


def _armed(said: str) -> tuple[str, int]:
    """(name, nth) of `name` or `name:nth`.

    Raises:
        ValueError: no such failpoint, or nth is no positive number: a test would wait for ever.
    """
    name, _, nth = said.partition(":")
    if name not in INGEST:
        raise ValueError(f"{VARIABLE} is '{said}'; the failpoints are {', '.join(INGEST)}.")
    if not (nth or "1").isdecimal() or int(nth or 1) < 1:
        raise ValueError(f"{VARIABLE} is '{said}'; after the colon comes a number from 1.")
    return name, int(nth or 1)


_SAID = os.environ.get(VARIABLE)
_ARMED = _armed(_SAID) if _SAID else None
_hits = itertools.count(1)  # its next() is atomic: threads come by at once


def hit(name: str) -> None:
    """End the process here if this is the failpoint asked for, and its turn."""
    if _ARMED is not None and _ARMED[0] == name and next(_hits) == _ARMED[1]:
        os.write(2, f"died at {name}\n".encode())  # who looks on learns that it was here
        os._exit(EXIT_CODE)
