"""Who edits, where and when, for the services: from the key that calls and the house's clock."""

from __future__ import annotations

from api.auth import principal
from api.wiring import house
from nearcast.services.run_campaigns import Author


def author() -> Author:
    """The author of an edit that the route being answered makes."""
    who = principal()
    return Author(
        workspace_id=who.workspace_id,
        plan=who.plan,
        actor=who.actor,
        now_ms=house().clock.now_ms(),
    )
