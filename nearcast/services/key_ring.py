"""Who presents a key: verified in the database, remembered for a moment."""

from __future__ import annotations

import hashlib
import threading
import time

import sqlalchemy as sa

from nearcast.services.manage_workspace import Principal, authenticate
from nearcast.store.engine import reading

REMEMBERED_S = 2.0  # quality Q13: a revoked key is refused everywhere within 2 s
MAX_REMEMBERED = 10_000


class KeyRing:
    """The keys that this process has verified lately. Only digests are kept, no key's text."""

    def __init__(self, engine: sa.Engine, *, remembered_s: float = REMEMBERED_S) -> None:
        self._engine = engine
        self._remembered_s = remembered_s
        self._known: dict[bytes, tuple[float, Principal]] = {}
        self._lock = threading.Lock()

    def principal(self, text: str) -> Principal:
        """Whom a key's text stands for. Raises `Unauthorized` for any but a living key."""
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        now_s = time.monotonic()
        known = self._known.get(digest)
        if known is not None and now_s - known[0] < self._remembered_s:
            return known[1]
        who = reading(self._engine, lambda conn: authenticate(conn, text))
        with self._lock:
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[digest] = (now_s, who)
        return who

    def forget(self) -> None:
        """Ask the database again for every key: this process has just revoked one."""
        with self._lock:
            self._known.clear()
