"""What requests to `/v1/campaigns` hold, and what they are answered with."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from api.answers import In, Out, Page
from api.fields import Flag, Hours, Instant, Key, Name, Number, Whole
from api.shapes import CircleOut, ShapeIn
from campaigns.campaign.campaign import Channel, Frequency, HoursZone
from campaigns.campaign.life import State
from nearcast.services.check_campaigns import MAX_AD_IDS, MAX_BODY

MAX_FENCES = 1_000
MAX_PRIORITY = 1_000
MAX_ADDITIONAL_DAYS = 365
MAX_DWELL_S = 7 * 86_400


class TargetingIn(In):
    """Where: fences, groups, tags and a shape given here; any of them will do (OR)."""

    fence_ids: Annotated[list[str], Field(max_length=MAX_FENCES)] = Field(default_factory=list)
    groups: Annotated[list[Name], Field(max_length=100)] = Field(default_factory=list)
    tags: Annotated[list[Key], Field(max_length=100)] = Field(default_factory=list)
    shape: ShapeIn | None = None


class PeriodIn(In):
    """When: from `start` until before `end`."""

    start: Instant | None = None
    end: Instant | None = None


class TriggerIn(In):
    """What happens: somebody enters, or stays for `after_s` seconds.

    `presumed`: a stay is also taken for granted at arrival + `after_s`, if the newest fix is inside and
    at most 5 min old; its decision says so.
    """

    kind: Literal["enter", "dwell"] = "enter"
    after_s: Annotated[Whole | None, Field(ge=1, le=MAX_DWELL_S)] = None
    presumed: Flag = False


class AudienceIn(In):
    """Who: everyone, or the phones with these ad ids."""

    kind: Literal["everyone", "ad_ids"] = "everyone"
    ad_ids: Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=MAX_AD_IDS)] = Field(
        default_factory=list
    )


class MessageIn(In):
    """What is said: by the app's inbox, by a signed webhook, or nothing but a count."""

    channel: Channel | None = None
    title: Annotated[str, Field(max_length=200, description="26 characters, an emoji is 2")] = ""
    body: Annotated[str, Field(max_length=MAX_BODY)] = ""
    image: Annotated[str | None, Field(max_length=2_048)] = None
    link: Annotated[str | None, Field(max_length=2_048)] = None
    webhook_id: str | None = None


class Parts(In):
    """The parts of a campaign; a draft may lack any."""

    targeting: TargetingIn | None = None
    period: PeriodIn | None = None
    time_zone: Annotated[str | None, Field(max_length=64)] = None
    hours: Hours | None = None
    hours_zone: HoursZone | None = None
    trigger: TriggerIn | None = None
    audience: AudienceIn | None = None
    frequency: Frequency | None = None
    least_p: Annotated[Number | None, Field(ge=0, le=1)] = None
    infer_crossings: Annotated[
        Flag | None,
        Field(description="a straight move across the fence between two fixes counts as an enter"),
    ] = None
    priority: Annotated[Whole | None, Field(ge=-MAX_PRIORITY, le=MAX_PRIORITY)] = None
    additional_days: Annotated[Whole | None, Field(ge=0, le=MAX_ADDITIONAL_DAYS)] = None
    message: MessageIn | None = None


class CampaignIn(Parts):
    """A new draft."""

    name: Name
    app: Key | None = None


class CampaignPatch(Parts):
    """What changes of a campaign; what is left out stays, null is the default again."""

    name: Name | None = None


class PlaceOut(Out):
    """A shape given inside the campaign."""

    fence_id: str
    geometry: dict[str, Any]
    circle: CircleOut | None


class TargetingOut(Out):
    """Where."""

    fence_ids: list[str]
    groups: list[str]
    tags: list[str]
    shape: PlaceOut | None


class PeriodOut(Out):
    """When."""

    start: str | None
    end: str | None


class TriggerOut(Out):
    """What happens."""

    kind: str
    after_s: int | None
    presumed: bool


class AudienceOut(Out):
    """Who."""

    kind: str
    ad_ids: list[str]


class MessageOut(Out):
    """What is said."""

    channel: str | None
    title: str
    body: str
    image: str | None
    link: str | None
    webhook_id: str | None


class WarningOut(Out):
    """Something to know that stops nothing."""

    code: str
    message: str


class CampaignOut(Out):
    """A campaign as it is."""

    id: str
    app: str
    name: str
    state: str
    allowed: Annotated[list[str], Field(description="the states it may be moved to by hand")]
    version: int
    targeting: TargetingOut
    period: PeriodOut
    time_zone: str
    hours: dict[str, list[str]] | None
    hours_zone: str
    trigger: TriggerOut
    audience: AudienceOut
    frequency: str
    least_p: float
    infer_crossings: bool
    priority: int
    additional_days: int
    message: MessageOut
    warnings: list[WarningOut]
    created_at: str
    updated_at: str


class CampaignsOut(Out):
    """A page of campaigns, the newest first."""

    items: list[CampaignOut]
    total: int
    next_cursor: str | None


class CampaignQuery(Page):
    """Which campaigns a list shows."""

    state: State | None = None
    app: str | None = None
