"""Which apps a workspace has, remembered as long as the workspace was not edited."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from nearcast.store import workspaces
from nearcast.store.engine import reading


class KnownApps:
    """Bundle id → serial of every workspace's apps; adding one is an edit, and counted as such."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._known: dict[int, tuple[int, Mapping[str, int]]] = {}

    def of(self, workspace_id: int, *, version: int) -> Mapping[str, int]:
        """The apps of a workspace, the oldest first.

        Args:
            version: the workspace's counter of edits as the caller has just read it.
        """
        known = self._known.get(workspace_id)
        if known is not None and known[0] == version:
            return known[1]
        apps = reading(self._engine, lambda conn: workspaces.apps_of(conn, workspace_id))
        # an app added between the two reads is in already: nobody minds to have it early
        self._known[workspace_id] = (version, apps)
        return apps
