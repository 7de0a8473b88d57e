"""The wiring: from settings to the parts that every door uses, put together once a process."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from api.aside import Aside
from api.settings import Settings
from geo.errors import NearcastError
from nearcast.services.clocks import Clock, ReplayClock, WallClock
from nearcast.services.keep_snapshot import Snapshots
from nearcast.services.key_ring import KeyRing
from nearcast.services.known_apps import KnownApps
from nearcast.services.manage_workspace import found_installation, link_secret
from nearcast.services.recent_log import RecentLog
from nearcast.store import ping_log
from nearcast.store.engine import in_transaction, make_engine, reading
from nearcast.store.ping_files import PingFiles
from nearcast.store.tables import workspace

EXTENSION = "nearcast"


class NotMigrated(NearcastError):
    """The database has no tables yet. Run: nearcast migrate"""

    code = "not_migrated"


@dataclass(frozen=True, kw_only=True)
class House:
    """What a process holds for as long as it runs.

    Attributes:
        workspace_id: the default workspace, made when the database was empty.
        snapshots: what pings are matched against, per workspace.
        recent: what this process remembers of committed pings.
        keys: verified API keys, remembered for at most 2 s.
        apps: of every workspace, remembered until it is edited.
        link_secret: signs tracked links; one for the installation.
        aside: starts processes for what would hold up other requests.
        ping_files: where sealed pings are.
    """

    settings: Settings
    engine: sa.Engine
    clock: Clock
    workspace_id: int
    snapshots: Snapshots
    recent: RecentLog
    keys: KeyRing
    apps: KnownApps
    link_secret: bytes
    aside: Aside
    ping_files: PingFiles

    @property
    def public_url(self) -> str:
        """Where phones reach this server."""
        return self.settings.public_url


def build(settings: Settings) -> House:
    """Open the database and put the parts together.

    Raises:
        NotMigrated: the database has no tables.
    """
    engine = make_engine(settings.database_url)
    if not sa.inspect(engine).has_table(workspace.name):
        raise NotMigrated
    clock: Clock = WallClock()
    if settings.clock == "replay":
        clock = ReplayClock(reading(engine, ping_log.newest_ms))
    now_ms = clock.now_ms()
    files = PingFiles(settings.ping_folder)
    workspace_id = in_transaction(engine, lambda conn: found_installation(conn, now_ms=now_ms))
    return House(
        settings=settings,
        engine=engine,
        clock=clock,
        workspace_id=workspace_id,
        snapshots=Snapshots(engine),
        recent=RecentLog(files),
        keys=KeyRing(engine),
        apps=KnownApps(engine),
        link_secret=in_transaction(engine, link_secret),
        aside=Aside(settings),
        ping_files=files,
    )


def house() -> House:
    """The parts behind the request that is being answered."""
    from flask import current_app  # the worker is wired here too, and needs no Flask

    found: House = current_app.extensions[EXTENSION]
    return found
