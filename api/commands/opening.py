"""How commands open the house: settings from the environment, a migrated database, its workspace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import sqlalchemy as sa

    from api.settings import Settings
    from campaigns.campaign.plans import Plan
    from nearcast.services.clocks import Clock
    from nearcast.store.ping_files import PingFiles

T = TypeVar("T")
#: how the audit log names the command line
ACTOR = "cli"


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A database that a command works on, and its default workspace.

    Attributes:
        clock: of the settings: `NEARCAST_CLOCK=replay` stands at the newest ping.
    """

    settings: Settings
    engine: sa.Engine
    workspace_id: int
    clock: Clock

    @property
    def now_ms(self) -> int:
        """The present instant by the clock."""
        return self.clock.now_ms()

    @property
    def ping_files(self) -> PingFiles:
        """Where sealed pings are."""
        from nearcast.store.ping_files import PingFiles

        return PingFiles(self.settings.ping_folder)

    @property
    def plan(self) -> Plan:
        """What the workspace has bought."""
        from campaigns.campaign.plans import Plan
        from nearcast.store import workspaces

        return Plan(self.read(lambda conn: workspaces.get(conn, self.workspace_id))["plan"])

    def write(self, verb: Callable[[sa.Connection], T]) -> T:
        """Run a verb in one transaction."""
        from nearcast.store.engine import in_transaction

        return in_transaction(self.engine, verb)

    def read(self, verb: Callable[[sa.Connection], T]) -> T:
        """Run a verb that only reads."""
        from nearcast.store.engine import reading

        return reading(self.engine, verb)


def make_folder(url: str) -> None:
    """Make the folder of a SQLite file; `var/` of the default does not come with a clone."""
    import sqlalchemy as sa

    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:"):
        Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)


@contextmanager
def opened() -> Iterator[Opened]:
    """Open the database of the environment; closed when the command ends.

    Raises:
        NotMigrated: it has no tables, or those of another version.
    """
    from api.settings import Settings
    from api.wiring import NotMigrated, build
    from nearcast.store.migrate import current, newest

    settings = Settings.from_env()
    make_folder(settings.database_url)
    house = build(settings)
    try:
        if current(house.engine) != newest():
            raise NotMigrated("The database has the tables of another version. Run: nearcast migrate")
        yield Opened(
            settings=settings,
            engine=house.engine,
            workspace_id=house.workspace_id,
            clock=house.clock,
        )
    finally:
        house.engine.dispose()
