"""Delete what is older than the workspace keeps, and say so (product P10)."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from functools import partial
from typing import Any

import sqlalchemy as sa

from campaigns.campaign.campaign import to_ms
from nearcast.services.errors import FieldError, Invalid
from nearcast.services.read_visits import presence_policy
from nearcast.store import retention, workspaces
from nearcast.store.engine import in_transaction, reading
from nearcast.store.ping_files import PingFiles
from nearcast.store.retention import Gone, Place

DAY_MS = 86_400_000
#: rows a transaction: pings wait no longer for it than for a group of their own
ROWS = 2_000
LOG_ROWS = 200  # of up to a megabyte each
#: admission looks at the clock, commits a moment later, and processes' clocks differ
MARGIN_MS = 3_600_000
MAX_RAW_PINGS_DAYS = 3_660
MAX_VISITS_MONTHS = 120


@dataclass(frozen=True, kw_only=True)
class RetentionPolicy:
    """How long a workspace keeps what its phones have said.

    Attributes:
        raw_pings_days: pings as they came. At least one day: a process that starts looks back half an
            hour, explain three hours, and nights need a night.
        visits_months: visits, and where devices were at night.
    """

    raw_pings_days: int = 7
    visits_months: int = 12

    def raw_before_ms(self, now_ms: int) -> int:
        """Pings older than this go: a day of them at once, when the whole day is older."""
        return now_ms - self.raw_pings_days * DAY_MS

    def visits_before_ms(self, now_ms: int) -> int:
        """Visits that ended before this go: so many calendar months ago, by UTC."""
        now = datetime.fromtimestamp(now_ms / 1000, UTC)
        months = now.year * 12 + now.month - 1 - self.visits_months
        year, month = months // 12, months % 12 + 1
        day = min(now.day, monthrange(year, month)[1])
        return to_ms(now.replace(year=year, month=month, day=day))


def retention_policy(conn: sa.Connection, workspace_id: int) -> RetentionPolicy:
    """A workspace's policy: the defaults, and what it has set otherwise."""
    settings = workspaces.settings(conn, workspace_id)
    names = {own.name for own in fields(RetentionPolicy)}
    return RetentionPolicy(**{name: value for name, value in settings.items() if name in names})


def set_retention(
    conn: sa.Connection, *, workspace_id: int, values: Mapping[str, int], now_ms: int, actor: str
) -> RetentionPolicy:
    """Change how long things are kept; what is too old by the new rule goes with the next pass.

    Raises:
        Invalid: a value is beyond its bounds.
    """
    workspaces.hold(conn, workspace_id)
    most = {"raw_pings_days": MAX_RAW_PINGS_DAYS, "visits_months": MAX_VISITS_MONTHS}
    wrong = [name for name, value in values.items() if not 1 <= value <= most[name]]
    if wrong:
        raise Invalid(
            errors=[
                FieldError(
                    pointer=f"/{name}",
                    code="out_of_range",
                    message=f"'{name}' may be 1 to {most[name]}, not {values[name]}.",
                )
                for name in wrong
            ]
        )
    before = retention_policy(conn, workspace_id)
    settings = workspaces.settings(conn, workspace_id)
    workspaces.set_settings(conn, workspace_id, settings | dict(values))
    workspaces.bump(conn, workspace_id)
    workspaces.note(
        conn,
        workspace_id=workspace_id,
        at_ms=now_ms,
        actor=actor,
        action="retention.set",
        what="workspace",
        detail={"before": asdict(before), "after": asdict(before) | dict(values)},
    )
    return retention_policy(conn, workspace_id)


def forget_old(engine: sa.Engine, files: PingFiles, *, now_ms: int) -> dict[str, int]:
    """Delete what is too old in every workspace, in small transactions; rows by what they were.

    A file goes in two passes: the first lets no reader open it any more, the next deletes it. So who
    has just begun to read it comes to its end.
    """
    total: dict[str, int] = {}
    for workspace_id in reading(engine, workspaces.serials):
        done = _Pass(engine=engine, files=files, workspace_id=workspace_id, now_ms=now_ms)
        for what, rows in done.run().items():
            total[what] = total.get(what, 0) + rows
    return total


@dataclass(kw_only=True)
class _Pass:
    """One workspace's pass and the lines of its report."""

    engine: sa.Engine
    files: PingFiles
    workspace_id: int
    now_ms: int
    lines: dict[str, int | None] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)

    def run(self) -> dict[str, int]:
        policy = reading(self.engine, lambda conn: retention_policy(conn, self.workspace_id))
        presence = reading(self.engine, lambda conn: presence_policy(conn, self.workspace_id))
        own = {"workspace_id": self.workspace_id}
        raw_ms = policy.raw_before_ms(self.now_ms)
        self._delete_files(raw_ms)
        self._until_none(
            "raw_pings",
            lambda conn: retention.forget_log_before(conn, **own, before_ms=raw_ms, most=LOG_ROWS),
        )
        self._forget_chunks(self.now_ms - presence.amend_horizon_s * 1000 - MARGIN_MS)
        old_ms = policy.visits_before_ms(self.now_ms)
        self._until_none(
            "visits",
            lambda conn: retention.forget_visits_before(conn, **own, before_ms=old_ms, most=ROWS),
        )
        first_day = datetime.fromtimestamp(old_ms / 1000, UTC).date()
        self._until_none(
            "nights",
            lambda conn: retention.forget_nights_before(conn, **own, before=first_day, most=ROWS),
        )
        return self.rows

    def _delete_files(self, before_ms: int) -> None:
        for file in reading(self.engine, lambda conn: retention.going(conn, self.workspace_id)):
            for name in file.names:
                self.files.delete(name)
            self._told("raw_pings", partial(retention.forget_file, file=file))
        own = {"workspace_id": self.workspace_id}
        in_transaction(self.engine, lambda conn: retention.let_go(conn, **own, before_ms=before_ms))

    def _forget_chunks(self, before_ms: int) -> None:
        """Looked for without holding anybody up: the table has no order by time."""
        behind: Place | None = None
        while True:
            look = partial(
                retention.chunks_before,
                workspace_id=self.workspace_id,
                before_ms=before_ms,
                behind=behind,
                most=ROWS,
            )
            old = reading(self.engine, look)
            if old.keys:
                self._told("evidence", partial(retention.forget_chunks, old=old))
            behind = old.behind
            if behind is None:
                return

    def _until_none(self, what: str, forget: Callable[[sa.Connection], Gone]) -> None:
        while self._told(what, forget):
            pass

    def _told(self, what: str, forget: Callable[[sa.Connection], Gone]) -> int:
        """Delete some and add them to the pass's line of the report, in one transaction."""

        def verb(conn: sa.Connection) -> tuple[int | None, int]:
            gone = forget(conn)
            line = retention.report(
                conn,
                report_id=self.lines.get(what),
                workspace_id=self.workspace_id,
                what=what,
                gone=gone,
                now_ms=self.now_ms,
            )
            return line, gone.rows

        self.lines[what], rows = in_transaction(self.engine, verb)
        if rows:
            self.rows[what] = self.rows.get(what, 0) + rows
        return rows


def report_page(
    conn: sa.Connection, *, workspace_id: int, before: int | None, limit: int
) -> tuple[list[sa.RowMapping], int, int | None]:
    """What was deleted, the newest first: a page, how many lines in all, the next page's place."""
    found, total = retention.reports(conn, workspace_id=workspace_id, before=before, limit=limit + 1)
    behind: Any = found[limit - 1]["id"] if found[limit:] else None
    return found[:limit], total, behind
