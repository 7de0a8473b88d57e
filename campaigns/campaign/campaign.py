"""What a campaign is: who, where, when, and what it says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from campaigns.campaign.life import State
from geo.fences.hours import WeeklyHours
from geo.matching.presence import Kind


class Channel(StrEnum):
    """The way a message leaves; `none` only counts."""

    INBOX = "inbox"
    WEBHOOK = "webhook"
    NONE = "none"


class Frequency(StrEnum):
    """How often one person gets it (product C5)."""

    ONCE_IN_PERIOD = "once_in_period"
    UNLIMITED = "unlimited"


class HoursZone(StrEnum):
    """Whose clock the weekly hours are read by (product C2)."""

    CAMPAIGN = "campaign"
    FENCE = "fence"


@dataclass(frozen=True, kw_only=True)
class Targeting:
    """The fences a campaign listens to: named ones, members of groups, bearers of tags (OR).

    A shape given in place stands as a fence of the campaign's own in `fence_ids`.
    """

    fence_ids: tuple[int, ...] = ()
    groups: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Message:
    """What is sent. `link` is the target; people get a tracked link to it."""

    channel: Channel
    title: str = ""
    body: str = ""
    image: str | None = None
    link: str | None = None
    webhook_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """One version of a campaign.

    Attributes:
        period_start, period_end: aware UTC, `[start, end)`.
        time_zone: IANA name of the campaign's own clock.
        hours: None is always.
        trigger: `ENTER` or `DWELL`; `dwell_s` seconds belong to `DWELL`.
        presumed: a dwell may be presumed at arrival + `dwell_s` from a newest fix inside that is at
            most 5 min old, before a fix has proven it (product P4).
        infer_crossings: an enter may be inferred from a straight move across the fence (product P7).
        ad_ids: the audience; None is everyone. Normalised (lower-case).
        least_p: a trigger less certain than this is refused `low_confidence`; 0 takes all.
        priority: higher first.
        additional_days: how long after the period a visit still counts for it.
    """

    id: int
    app_id: int
    version: int
    name: str
    state: State
    targeting: Targeting
    period_start: datetime
    period_end: datetime
    time_zone: str
    message: Message
    trigger: Kind = Kind.ENTER
    dwell_s: int | None = None
    presumed: bool = False
    infer_crossings: bool = False
    hours: WeeklyHours | None = None
    hours_zone: HoursZone = HoursZone.CAMPAIGN
    ad_ids: frozenset[str] | None = None
    frequency: Frequency = Frequency.ONCE_IN_PERIOD
    least_p: float = 0.0
    priority: int = 0
    additional_days: int = 0

    @property
    def period_ms(self) -> tuple[int, int]:
        """Start and end in ms since the epoch, `[start, end)`."""
        return to_ms(self.period_start), to_ms(self.period_end)

    def in_hours(self, at: datetime, fence_zone: str) -> bool:
        """Whether the weekly hours hold at an aware instant, by the clock the campaign chose."""
        if self.hours is None:
            return True
        own = self.hours_zone is HoursZone.CAMPAIGN
        return self.hours.hold(at.astimezone(ZoneInfo(self.time_zone if own else fence_zone)))


def to_ms(at: datetime) -> int:
    """Whole ms since the epoch of an aware instant, rounded."""
    return round(at.timestamp() * 1000)
