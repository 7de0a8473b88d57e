"""`GET /v1/campaigns/{id}/explain`: why this person did, or did not, get the message (product C10)."""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa
from apiflask import APIBlueprint
from pydantic import Field

from api.answers import In, Out, rfc3339
from api.auth import needs, principal
from api.fields import Instant
from api.routes.reports import DecisionOut, decision_out
from api.wiring import house
from campaigns.campaign.campaign import to_ms
from campaigns.deciding.explain import SeenFix, SeenStay
from geo.matching.certainty import Verdict
from nearcast.services import manage_workspace, run_campaigns
from nearcast.services.explain import Explained, explain
from nearcast.services.ids import parse, public
from nearcast.store.engine import reading

bp = APIBlueprint("explain", __name__, url_prefix="/v1/campaigns", tag="Reports")


class ExplainQuery(In):
    """Whom and when: exactly one of the three names; now if no instant is given."""

    device_id: Annotated[str | None, Field(max_length=128)] = None
    ad_id: Annotated[str | None, Field(max_length=64)] = None
    user_id: Annotated[str | None, Field(max_length=128)] = None
    at: Instant | None = None


class SentenceOut(Out):
    """The reason in a sentence."""

    en: str
    ko: str


class ExplainedFence(Out):
    """A fence of the campaign."""

    id: str
    name: str


class ExplainedFix(Out):
    """The fix that says most: how it lies to the fence; never where it is."""

    fence: ExplainedFence
    fence_version: int
    at: str
    seen_at: str
    verdict: str
    probability: float
    distance_m: float
    quarantined: str | None


class ExplainedVisit(Out):
    """The visit that goes on at the instant."""

    fence: ExplainedFence
    arrived: str
    left: str


class ExplainOut(Out):
    """Why: a decision's reason, or one worked out because nothing triggered."""

    campaign_id: str
    campaign_version: int
    device_ids: list[str]
    at: str
    reason: str
    because: str | None
    value: str | None
    bound: str | None
    sentence: SentenceOut
    decision: DecisionOut | None
    fix: ExplainedFix | None
    visit: ExplainedVisit | None


@bp.get("/<campaign_id>/explain")
@needs("manage", "test")
@bp.input(ExplainQuery, location="query", arg_name="query")
@bp.output(ExplainOut)
def get_explanation(campaign_id: str, query: ExplainQuery) -> ExplainOut:
    """Why a person got the message or did not

    The decision nearest at or before `at`, within a day; without one, the reason why nothing triggered:
    no ping for hours, a fix too far off, undecided or late, inside since before, and so on.
    """
    home, who = house(), principal()
    serial = parse("cmp", campaign_id)

    def verb(conn: sa.Connection) -> Explained:
        app_ids = manage_workspace.apps_for(conn, who)
        return explain(
            conn,
            run_campaigns.load(conn, app_ids=app_ids, campaign_id=serial),
            device_id=query.device_id,
            ad_id=query.ad_id,
            user_id=query.user_id,
            at_ms=None if query.at is None else to_ms(query.at),
            now_ms=home.clock.now_ms(),
            files=home.ping_files,
        )

    return explain_out(reading(home.engine, verb))


def explain_out(found: Explained) -> ExplainOut:
    """An explanation as it is answered."""
    why = found.explanation
    return ExplainOut(
        campaign_id=public("cmp", found.campaign_id),
        campaign_version=found.campaign_version,
        device_ids=[device.key for device in found.devices],
        at=rfc3339(found.asked_ms),
        reason=str(why.reason),
        because=None if why.because is None else why.because.value,
        value=why.value,
        bound=why.bound,
        sentence=SentenceOut(en=why.sentence.en, ko=why.sentence.ko),
        decision=None if found.decision is None else decision_out(found.decision),
        fix=None if why.fix is None else _fix(why.fix),
        visit=None if why.stay is None else _visit(why.stay),
    )


def _fix(fix: SeenFix) -> ExplainedFix | None:
    if fix.fence_id < 0:
        return None  # it was compared with nothing
    return ExplainedFix(
        fence=ExplainedFence(id=public("fnc", fix.fence_id), name=fix.fence_name),
        fence_version=fix.fence_version,
        at=rfc3339(fix.at_ms),
        seen_at=rfc3339(fix.seen_ms),
        verdict=Verdict(fix.verdict).name.lower(),
        probability=round(fix.p, 4),
        distance_m=round(fix.rim_m, 1),
        quarantined=fix.held,
    )


def _visit(stay: SeenStay) -> ExplainedVisit:
    return ExplainedVisit(
        fence=ExplainedFence(id=public("fnc", stay.fence_id), name=stay.fence_name),
        arrived=rfc3339(stay.arrived_ms),
        left=rfc3339(stay.left_ms),
    )
