"""`GET /v1/pings`: what became of the pings that were taken, above all the quarantined ones (P8)."""

from __future__ import annotations

from typing import Annotated, Literal, cast

import sqlalchemy as sa
from apiflask import APIBlueprint
from pydantic import Field

from api.answers import Out, Page, rfc3339
from api.auth import needs, principal
from api.cursors import cursor_of, place_of
from api.fields import Instant, Key
from api.wiring import house
from campaigns.campaign.campaign import to_ms
from geo.matching.pings import Outcome, PingReason
from nearcast.services.find_pings import FoundPing, PingFilter, Place, find_pings
from nearcast.services.manage_workspace import app_of
from nearcast.store import devices
from nearcast.store.engine import reading

bp = APIBlueprint("logged_pings", __name__, url_prefix="/v1", tag="Pings")
_FOR_EVER_MS = 2**52
#: without `from`, all but the quarantined go so far back from `to`: every ping of it is looked at
LOOK_BACK_MS = 24 * 3_600_000


class PingQuery(Page):
    """Which pings: of an outcome, for a reason, of a device, taken in `[from, to)`."""

    outcome: Annotated[
        Literal["quarantined", "late", "accepted", "duplicate"],
        Field(description="rejected ones leave no trace"),
    ] = "quarantined"
    reason: PingReason | None = None
    device_id: Annotated[str | None, Field(max_length=128)] = None
    since: Annotated[
        Instant | None,
        Field(alias="from", description="else the oldest quarantined one, or a day before `to`"),
    ] = None
    until: Annotated[Instant | None, Field(alias="to")] = None
    app: Key | None = None


class LoggedPingOut(Out):
    """A ping as it was taken; `at` is the fix's own instant, `seen_at` the clock's when it came.

    `flags`: suspect_speed, suspect_place, cached, test, backfilled, mocked, held.
    """

    device_id: str
    at: str
    seen_at: str
    lat: float
    lng: float
    accuracy_m: float | None
    platform: str
    outcome: str
    reason: str | None
    flags: list[str]


class LoggedPingsOut(Out):
    """A page of pings, the newest first; `reasons` counts all that the filter finds, by reason."""

    items: list[LoggedPingOut]
    total: int
    reasons: dict[str, int]
    next_cursor: str | None


@bp.get("/pings")
@needs("manage")
@bp.input(PingQuery, location="query", arg_name="query")
@bp.output(LoggedPingsOut)
def list_pings(query: PingQuery) -> LoggedPingsOut:
    """Pings by what became of them, as long as raw pings are kept

    A ping that was sent twice is there twice, each time with its own outcome.
    """
    home, who = house(), principal()
    place = place_of(query.cursor, numbers=4)

    def verb(conn: sa.Connection) -> LoggedPingsOut:
        app_id = app_of(conn, who, query.app)
        found = find_pings(
            conn,
            home.ping_files,
            app_id=app_id,
            wanted=_filter(conn, query, app_id, home.clock.now_ms()),
            before=None if place is None else cast("Place", tuple(place)),
            limit=query.limit,
        )
        return LoggedPingsOut(
            items=[_out(ping) for ping in found.items],
            total=found.total,
            reasons=found.reasons,
            next_cursor=cursor_of(found.behind),
        )

    return reading(home.engine, verb)


def _filter(conn: sa.Connection, query: PingQuery, app_id: int, now_ms: int) -> PingFilter:
    outcome = Outcome[query.outcome.upper()]
    until_ms = _FOR_EVER_MS if query.until is None else to_ms(query.until)
    from_ms = 0
    if query.since is not None:
        from_ms = to_ms(query.since)
    elif outcome is not Outcome.QUARANTINED:
        from_ms = max(min(until_ms, now_ms) - LOOK_BACK_MS, 0)
    own = None
    if query.device_id is not None:
        own = [device.id for device in devices.find(conn, app_id=app_id, key=query.device_id)]
    return PingFilter(
        outcome=outcome, from_ms=from_ms, until_ms=until_ms, reason=query.reason, device_ids=own
    )


def _out(ping: FoundPing) -> LoggedPingOut:
    return LoggedPingOut(
        device_id=ping.device_key,
        at=rfc3339(ping.at_ms),
        seen_at=rfc3339(ping.seen_ms),
        lat=ping.lat,
        lng=ping.lon,
        accuracy_m=ping.accuracy_m,
        platform=ping.platform,
        outcome=ping.outcome,
        reason=ping.reason,
        flags=list(ping.flags),
    )
