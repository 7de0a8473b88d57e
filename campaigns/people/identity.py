"""Who sent a ping: device, ad id, person, consent (product W0, P9)."""

from __future__ import annotations

from dataclasses import dataclass

_AD_ID_MAX = 64


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who one ping names.

    Attributes:
        key: the device: `device_id`, else `adid:<ad id>`; None where neither is given.
        ad_id: lower-case; None where absent or all zeros.
        user_id: the app's own person, None where not logged in.
        location, marketing, night: this ping's word on consent; None where it says nothing.
    """

    key: str | None
    ad_id: str | None = None
    user_id: str | None = None
    location: bool | None = None
    marketing: bool | None = None
    night: bool | None = None


def normal_ad_id(raw: str | None) -> str | None:
    """An ad id in its one form, lower-case; None for absent and all-zero ones.

    iOS gives `00000000-0000-0000-0000-000000000000` where tracking is refused; any form of zeros is
    never an identity, a test id or a join key. Source: product P9.
    """
    ad_id = (raw or "").strip().lower()
    if not ad_id.replace("-", "").strip("0"):
        return None
    return ad_id[:_AD_ID_MAX]


def identify(
    *,
    device_id: str | None,
    ad_id: str | None,
    user_id: str | None = None,
    location: bool | None = None,
    marketing: bool | None = None,
    night: bool | None = None,
) -> Identity:
    """Settle who a ping names; a `device_id` wins over the ad id."""
    normal = normal_ad_id(ad_id)
    key = (device_id or "").strip() or (f"adid:{normal}" if normal else None)
    return Identity(
        key=key,
        ad_id=normal,
        user_id=(user_id or "").strip() or None,
        location=location,
        marketing=marketing,
        night=night,
    )


def person_of(*, device_id: int, user_id: str | None) -> str:
    """The person a device stands for: the app's user, else the device itself (product W0)."""
    return f"u:{user_id}" if user_id else f"d:{device_id}"
