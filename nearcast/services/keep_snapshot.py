"""The snapshot each process holds: built aside, swapped as one reference, fresh at each request."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any, TypeVar

import sqlalchemy as sa

from campaigns.campaign.campaign import Campaign
from campaigns.campaign.targeting import aims_at
from campaigns.deciding.snapshot import Snapshot
from geo.fences.fence import FenceVersion
from geo.matching.certainty import CertaintyPolicy
from geo.matching.index import FenceIndex
from geo.matching.presence import PresencePolicy
from nearcast.services import run_campaigns
from nearcast.store import campaigns, fences, workspaces
from nearcast.store.engine import in_transaction, reading
from nearcast.store.held import Held

Policy = TypeVar("Policy", PresencePolicy, CertaintyPolicy)


class Snapshots:
    """The newest snapshot of every workspace that this process serves.

    A reader compares one number with the database; only when a workspace was edited since, one thread
    builds the next snapshot while the others go on with the one before.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._kernels = threading.Event()
        self._held: dict[int, Snapshot] = {}
        self._building = threading.Lock()
        self._looking = threading.Lock()
        self._look = Held(engine, autocommit=True)

    def compile_aside(self, told: Callable[[str], None]) -> threading.Thread:
        """Get the kernels of the cell index ready in a thread, then answer by it.

        Until then pings are matched by R-tree: exactly alike, and some forty times slower.

        Args:
            told: is given one line when the switch is done.
        """

        def work() -> None:
            from geo.matching import kernels  # numba comes with it: not before somebody may wait

            kernels.warm()
            self._kernels.set()
            for held in list(self._held.values()):
                held.index.compile()
            told("Pings are matched by the compiled cell index from now on.")

        thread = threading.Thread(target=work, name="kernels", daemon=True)
        thread.start()
        return thread

    def engine_of(self, workspace_id: int) -> str:
        """What matches a workspace's pings: "cells", or "rtree" until the kernels are ready."""
        held = self._held.get(workspace_id)
        return "rtree" if held is None else held.index.engine

    def current(self, workspace_id: int, *, now_ms: int) -> Snapshot:
        """The snapshot that shows every edit committed before this call.

        While another thread builds it, the one before is given, if there is one; campaigns whose
        period begins or ends by `now_ms` are moved first.
        """
        held = self._held.get(workspace_id)
        if held is not None and self._is_fresh(held, now_ms):
            return held
        if not self._building.acquire(blocking=held is None):
            return held if held is not None else self.current(workspace_id, now_ms=now_ms)
        try:
            held = self._held.get(workspace_id)
            if held is None or not self._is_fresh(held, now_ms):
                in_transaction(self._engine, lambda conn: run_campaigns.tick(conn, now_ms))
                before = held
                held = reading(self._engine, lambda conn: load(conn, workspace_id, now_ms, before))
                if self._kernels.is_set():
                    held.index.compile()
                self._held[workspace_id] = held
            return held
        finally:
            self._building.release()

    def _is_fresh(self, held: Snapshot, now_ms: int) -> bool:
        """Asked at each request, so by one small query on a connection of its own."""
        with self._looking:
            try:
                version, due = workspaces.pulse(self._look.connection(), held.workspace_id, now_ms)
            except sa.exc.DBAPIError:  # the database was away: by a new connection, or not at all
                self._look.drop()
                version, due = workspaces.pulse(self._look.connection(), held.workspace_id, now_ms)
        return version == held.version and not due


def load(
    conn: sa.Connection, workspace_id: int, now_ms: int, before: Snapshot | None = None
) -> Snapshot:
    """Read one workspace and build its index, from the one before where little differs."""
    settings = workspaces.settings(conn, workspace_id)
    presence = _policy(PresencePolicy, settings)
    since_ms = now_ms - presence.amend_horizon_s * 1000
    versions = fences.live_versions(conn, workspace_id, since_ms)
    listening = campaigns.listening(conn, workspace_id)
    return Snapshot(
        workspace_id=workspace_id,
        version=workspaces.version(conn, workspace_id),
        index=before.index.following(versions) if before else FenceIndex.build(versions),
        listeners=_listeners(versions, listening),
        test_ids=campaigns.test_ids(conn, workspace_id),
        presence=presence,
        certainty=_policy(CertaintyPolicy, settings),
        webhooks=workspaces.subscriptions(conn, workspace_id),
    )


def _policy(kind: type[Policy], settings: dict[str, Any]) -> Policy:
    names = {field.name for field in fields(kind)}
    return kind(**{name: value for name, value in settings.items() if name in names})


def _listeners(
    versions: Iterable[FenceVersion], listening: Iterable[Campaign]
) -> dict[int, tuple[Campaign, ...]]:
    """Fence → the campaigns that listen to it, by priority, the older first among equals."""
    by_fence: dict[int, FenceVersion] = {}
    for version in versions:  # several versions of a fence: the newest tells groups and tags
        if version.fence_id not in by_fence or by_fence[version.fence_id].version < version.version:
            by_fence[version.fence_id] = version
    found: dict[int, list[Campaign]] = defaultdict(list)
    for campaign in sorted(listening, key=lambda c: (-c.priority, c.id)):
        for fence_id, version in by_fence.items():
            fence = version.fence
            if aims_at(campaign.targeting, fence_id=fence_id, groups=fence.groups, tags=fence.tags):
                found[fence_id].append(campaign)
    return {fence_id: tuple(campaigns) for fence_id, campaigns in found.items()}
