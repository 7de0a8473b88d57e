"""A campaign's report, its live counts and its decisions (product R1–R3, C10)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Annotated, Any, TypeVar, cast

import sqlalchemy as sa
from apiflask import APIBlueprint
from flask import Response
from pydantic import ConfigDict, Field

from api.answers import In, Out, Page, encode, file_answer, rfc3339
from api.auth import needs, principal
from api.cursors import cursor_of, place_of
from api.fields import Instant
from api.wiring import house
from campaigns.campaign.campaign import to_ms
from campaigns.campaign.plans import Feature, opens
from campaigns.deciding.gates import Reason
from campaigns.measuring.reports import Figures, Report
from geo.matching.presence import Kind
from nearcast.services import manage_workspace, run_campaigns, write_reports
from nearcast.services.ids import parse, public
from nearcast.services.report_files import CSV_MIMETYPE, XLSX_MIMETYPE, to_table, to_workbook
from nearcast.store import decision_log, devices
from nearcast.store.decision_log import Place
from nearcast.store.engine import reading

T = TypeVar("T")

bp = APIBlueprint("reports", __name__, url_prefix="/v1/campaigns", tag="Reports")
_NOT_IN_PLAN = ("visitors", "visits")


class PeriodQuery(In):
    """Which part of the campaign: `[from, to)`; all of its period if left out."""

    since: Annotated[Instant | None, Field(alias="from")] = None
    until: Annotated[Instant | None, Field(alias="to")] = None


class FiguresOut(Out):
    """What was counted, persons and messages both; visits are null where the plan has none."""

    targets: int
    triggers: int
    receivers: int
    messages: int
    clickers: int
    clicked: int
    response_rate: float | None
    visitors: int | None
    visits: int | None


class TotalsOut(FiguresOut):
    """The whole period, with the 95 % interval of the response rate."""

    response_interval: list[float] | None


class DayOut(FiguresOut):
    """One day of the campaign's zone: of the trigger for messages, of the arrival for visits."""

    day: str


class FenceOfReport(FiguresOut):
    """One fence: of the trigger for messages, the visited one for visits."""

    fence_id: str
    external_id: str | None
    name: str
    brand: str | None


class ReasonOut(Out):
    """How many decisions ended so, and about how many persons."""

    code: str
    count: int
    persons: int


class ReportOut(Out):
    """A campaign's report; tests are counted nowhere."""

    model_config = ConfigDict(frozen=True, serialize_by_alias=True, populate_by_name=True)

    campaign_id: str
    name: str
    state: str
    time_zone: str
    since: Annotated[str, Field(alias="from")]
    until: str
    visits_until: str
    as_of: str
    fences_total: int
    decisions_total: int
    totals: TotalsOut
    per_day: list[DayOut]
    per_fence: list[FenceOfReport]
    reasons: list[ReasonOut]


class StatsOut(Out):
    """Live counts of the whole period."""

    state: str
    as_of: str
    targets: int
    receivers: int
    clickers: int
    response_rate: float | None
    messages: int
    clicked: int
    reasons: dict[str, int]
    deliveries: dict[str, int]


class DecisionQuery(Page):
    """Which decisions: about a device, with a reason."""

    device_id: Annotated[str | None, Field(max_length=128)] = None
    reason: Reason | None = None


class DecidedFence(Out):
    """The fence of a decision."""

    id: str
    external_id: str | None
    name: str
    version: int


class DecisionOut(Out):
    """What was decided about one trigger, and what the deciding gate saw and asks for."""

    device_id: str
    fence: DecidedFence
    kind: str
    at: str
    decided_at: str
    reason: str
    value: str | None
    bound: str | None
    probability: float
    distance_m: float
    test: bool
    initial: bool
    new_visit: bool
    campaign_version: int
    snapshot_version: int


class DecisionsOut(Out):
    """A page of decisions, the newest trigger first."""

    items: list[DecisionOut]
    total: int
    next_cursor: str | None


@bp.get("/<campaign_id>/report")
@needs("manage")
@bp.input(PeriodQuery, location="query", arg_name="query")
@bp.output(ReportOut)
def get_report(campaign_id: str, query: PeriodQuery) -> Response:
    """Targets, receivers, clickers, and who came after: in all, by day and by fence"""
    found = _report(campaign_id, query)
    return Response(encode(_report_out(found)), mimetype="application/json")


@bp.get("/<campaign_id>/report.xlsx")
@needs("manage")
@bp.input(PeriodQuery, location="query", arg_name="query")
@bp.doc(responses={200: "A workbook: summary, days, fences, reasons"})
def get_report_workbook(campaign_id: str, query: PeriodQuery) -> Response:
    """The report as a workbook"""
    return _file(campaign_id, to_workbook(_report(campaign_id, query)), XLSX_MIMETYPE, "xlsx")


@bp.get("/<campaign_id>/report.csv")
@needs("manage")
@bp.input(PeriodQuery, location="query", arg_name="query")
@bp.doc(responses={200: "Totals, days, fences and reasons, one row each"})
def get_report_table(campaign_id: str, query: PeriodQuery) -> Response:
    """The report as one table"""
    return _file(campaign_id, to_table(_report(campaign_id, query)), CSV_MIMETYPE, "csv")


@bp.get("/<campaign_id>/stats")
@needs("manage")
@bp.output(StatsOut)
def get_stats(campaign_id: str) -> StatsOut:
    """Live counts, without visits"""
    now_ms = house().clock.now_ms()
    found = _of_campaign(
        campaign_id, lambda conn, serial: write_reports.stats(conn, serial, now_ms=now_ms)
    )
    totals = found.totals
    return StatsOut(
        state=found.state,
        as_of=rfc3339(found.as_of_ms),
        targets=totals.targets,
        receivers=totals.receivers,
        clickers=totals.clickers,
        response_rate=totals.response_rate,
        messages=totals.messages,
        clicked=totals.clicked,
        reasons=dict(found.reasons),
        deliveries=dict(found.deliveries),
    )


@bp.get("/<campaign_id>/decisions")
@needs("manage")
@bp.input(DecisionQuery, location="query", arg_name="query")
@bp.output(DecisionsOut)
def list_decisions(campaign_id: str, query: DecisionQuery) -> DecisionsOut:
    """Every decision with its reason, tests among them"""
    kinds = [kind.value for kind in Kind]
    place = place_of(query.cursor, numbers=3, words=kinds)

    def verb(conn: sa.Connection, serial: int) -> tuple[list[sa.RowMapping], int]:
        about = None
        if query.device_id is not None:
            app_id = _load(conn, serial)["app_id"]
            about = [d.id for d in devices.find(conn, app_id=app_id, key=query.device_id)]
        return decision_log.listed(
            conn,
            campaign_id=serial,
            device_ids=about,
            reason=query.reason.value if query.reason else None,
            before=None if place is None else cast("Place", tuple(place)),
            limit=query.limit + 1,
        )

    rows, total = _of_campaign(campaign_id, verb)
    page = rows[: query.limit]
    more = len(rows) > query.limit
    behind = _place(page[-1]) if more else None
    return DecisionsOut(
        items=[decision_out(r) for r in page], total=total, next_cursor=cursor_of(behind)
    )


def decision_out(row: Mapping[str, Any] | sa.RowMapping) -> DecisionOut:
    """A decision's row of `decision_log` as it is answered."""
    return DecisionOut(
        device_id=row["device_key"],
        fence=DecidedFence(
            id=public("fnc", row["fence_id"]),
            external_id=row["fence_external_id"],
            name=row["fence_name"],
            version=row["fence_version"],
        ),
        kind=row["kind"],
        at=rfc3339(row["trigger_ms"]),
        decided_at=rfc3339(row["decided_ms"]),
        reason=row["reason"],
        value=row["value"],
        bound=row["bound"],
        probability=round(row["p"], 4),
        distance_m=round(row["rim_m"], 1),
        test=row["is_test"],
        initial=row["initial"],
        new_visit=row["new_visit"],
        campaign_version=row["campaign_version"],
        snapshot_version=row["snapshot_version"],
    )


def _place(row: sa.RowMapping) -> Place:
    return row["trigger_ms"], row["device_id"], row["fence_id"], row["kind"]


def _report(campaign_id: str, query: PeriodQuery) -> Report:
    who, now_ms = principal(), house().clock.now_ms()
    return _of_campaign(
        campaign_id,
        lambda conn, serial: write_reports.report(
            conn,
            serial,
            from_ms=None if query.since is None else to_ms(query.since),
            until_ms=None if query.until is None else to_ms(query.until),
            now_ms=now_ms,
            with_visits=opens(who.plan, Feature.VISIT_PERFORMANCE),
        ),
    )


def _of_campaign(campaign_id: str, verb: Callable[[sa.Connection, int], T]) -> T:
    """Read something of a campaign that the caller may see; `NotFound` for any other."""
    serial = parse("cmp", campaign_id)

    def inside(conn: sa.Connection) -> T:
        _load(conn, serial)
        return verb(conn, serial)

    return reading(house().engine, inside)


def _load(conn: sa.Connection, serial: int) -> sa.RowMapping:
    app_ids = manage_workspace.apps_for(conn, principal())
    return run_campaigns.load(conn, app_ids=app_ids, campaign_id=serial)


def _file(campaign_id: str, content: bytes, mimetype: str, ending: str) -> Response:
    return file_answer(content, mimetype, f"report-{campaign_id}.{ending}")


def _report_out(found: Report) -> ReportOut:
    interval = found.totals.response_interval
    return ReportOut(
        campaign_id=public("cmp", found.campaign_id),
        name=found.name,
        state=found.state,
        time_zone=found.time_zone,
        since=rfc3339(found.from_ms),
        until=rfc3339(found.until_ms),
        visits_until=rfc3339(found.visits_until_ms),
        as_of=rfc3339(found.as_of_ms),
        fences_total=found.fences_total,
        decisions_total=found.decisions,
        totals=TotalsOut(
            **_figures(found, found.totals), response_interval=list(interval) if interval else None
        ),
        per_day=[DayOut(**_figures(found, day) | {"day": str(day.day)}) for day in found.per_day],
        per_fence=[
            FenceOfReport(**_figures(found, fence) | {"fence_id": public("fnc", fence.fence_id)})
            for fence in found.per_fence
        ],
        reasons=[ReasonOut(**asdict(reason)) for reason in found.reasons],
    )


def _figures(found: Report, counted: Figures) -> dict[str, Any]:
    figures = asdict(counted) | {"response_rate": counted.response_rate}
    return figures if found.has_visits else figures | dict.fromkeys(_NOT_IN_PLAN)
