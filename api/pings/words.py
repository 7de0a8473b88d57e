"""What a ping's body may say: the documented shapes, and the lean ones that bodies are read with."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

MAX_PINGS = 10_000  # quality Q5
#: the longest text of each field
LENGTHS = {
    "device_id": 128,
    "ad_id": 64,
    "ad_id_type": 16,
    "app": 128,
    "ping_id": 128,
    "platform": 32,
    "user_id": 128,
}

_Id = Annotated[str, msgspec.Meta(max_length=128)]
_AdId = Annotated[str, msgspec.Meta(max_length=64)]
_AdIdType = Annotated[str, msgspec.Meta(max_length=16)]
_PlatformName = Annotated[str, msgspec.Meta(max_length=32)]


class Consent(msgspec.Struct, gc=False):
    """What the person has agreed to, as this ping says it; absent = nothing said."""

    location: bool | None = None
    marketing: bool | None = None
    night: bool | None = None


class PingIn(msgspec.Struct, gc=False):
    """One ping as a backend posts it."""

    lat: float
    lng: float
    device_id: _Id | None = None
    ad_id: _AdId | None = None
    ad_id_type: _AdIdType | None = None
    app: _Id | None = None
    ping_id: _Id | None = None
    at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    accuracy_m: float | None = None
    platform: _PlatformName | None = None
    speed_mps: float | None = None
    mocked: bool = False
    user_id: _Id | None = None
    consent: Consent | None = None


class PingBatch(msgspec.Struct):
    """Up to 10,000 pings.

    `sent_at` is the phone's clock when it sent them: a warning says if it is 55 min off or more. It
    never moves `at`.
    """

    pings: Annotated[list[PingIn], msgspec.Meta(max_length=MAX_PINGS)]
    sent_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class Ping(PingIn, gc=False):
    """`PingIn` as it is read: `at` stays text, so that a batch of them is understood in columns."""

    at: str | None = None  # type: ignore[assignment]


class StrictConsent(Consent, forbid_unknown_fields=True, gc=False):
    """`Consent` without other fields."""


class StrictPing(Ping, forbid_unknown_fields=True, gc=False):
    """`Ping` without other fields: a body of these needs no second look."""

    consent: StrictConsent | None = None


#: every field of a ping
FIELDS = frozenset(PingIn.__struct_fields__)
