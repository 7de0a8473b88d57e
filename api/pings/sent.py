"""The pings of one request as columns: before it is known which app each belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.pings.instants import instants_ms
from api.pings.words import Consent, Ping
from campaigns.people.identity import Identity, identify
from geo.matching.pings import Bools, Floats, Ints, PingReason, Platform
from nearcast.services.clocks import Clock
from nearcast.services.raw_pings import RawPings

_PLATFORMS = {"android": Platform.ANDROID, "ios": Platform.IOS, "web": Platform.WEB}
_FAR_MS = 1 << 62
#: identities that are made once: making one costs ten times as much as finding it
_REMEMBERED = 1 << 17
_UNREADABLE = Ping(lat=0.0, lng=0.0)
_NOTHING_SAID = (None, None, None)


@dataclass(frozen=True, kw_only=True)
class SentPings:
    """Everything that the items of a body say, one row an item, in their order.

    Attributes:
        keys: the device that each names, None where it names none.
        said: row → what it says of its device besides.
        lon, lat, accuracy_m: degrees and metres; NaN where no accuracy was given.
        at_ms: when each fix was taken, the present where nothing is said.
        platform: `Platform` codes; mocked: flags.
        apps, ping_ids: as given; None where no item gives one.
        faults: row → why that item could not be read. Its other columns mean nothing.
        places: row → its place in the body, where some items of it are no pings; None: the row itself.
        warnings: what was left out of the body, in words.
    """

    keys: Sequence[str | None]
    said: Mapping[int, Identity]
    lon: Floats
    lat: Floats
    accuracy_m: Floats
    at_ms: Ints
    platform: NDArray[np.int8]
    mocked: Bools
    apps: Sequence[str | None] | None = None
    ping_ids: Sequence[str | None] | None = None
    faults: Mapping[int, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    places: Sequence[int] | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def __post_init__(self) -> None:
        """An unreadable item names nobody: what it said may be text that no database can read."""
        if self.faults:
            keys = [None if row in self.faults else key for row, key in enumerate(self.keys)]
            said = {row: who for row, who in self.said.items() if row not in self.faults}
            object.__setattr__(self, "keys", keys)
            object.__setattr__(self, "said", said)

    def raw(
        self, rows: Ints | None, *, clock: Clock, strangers: frozenset[int] = frozenset()
    ) -> RawPings:
        """The pings of one app.

        Args:
            rows: its items; None takes all.
            strangers: items of apps that this key does not know; they come refused.
        """
        refused = dict.fromkeys(strangers, PingReason.APP_UNKNOWN)
        refused |= dict.fromkeys(self.faults, PingReason.INVALID_ITEM)
        if rows is None:
            return self._seen(self, clock, refused)
        place = {row: n for n, row in enumerate(rows.tolist())}
        some = SentPings(
            keys=[self.keys[row] for row in rows.tolist()],
            said={place[row]: who for row, who in self.said.items() if row in place},
            lon=self.lon[rows],
            lat=self.lat[rows],
            accuracy_m=self.accuracy_m[rows],
            at_ms=self.at_ms[rows],
            platform=self.platform[rows],
            mocked=self.mocked[rows],
        )
        return self._seen(some, clock, {place[row]: why for row, why in refused.items() if row in place})

    @staticmethod
    def _seen(sent: SentPings, clock: Clock, refused: Mapping[int, PingReason]) -> RawPings:
        """Only pings that somebody sent may move a replay clock."""
        moves = np.ones(len(sent), bool)
        moves[list(refused)] = False
        if None in sent.keys:
            moves &= np.array([key is not None for key in sent.keys], bool)
        return RawPings(
            keys=sent.keys,
            said=sent.said,
            lon=sent.lon,
            lat=sent.lat,
            accuracy_m=sent.accuracy_m,
            at_ms=sent.at_ms,
            now_ms=clock.as_seen(np.where(moves, sent.at_ms, sent.at_ms.min(initial=_FAR_MS))),
            platform=sent.platform,
            mocked=sent.mocked,
            refused=refused,
        )


@dataclass(frozen=True, kw_only=True)
class Items:
    """The items of a body, read one by one.

    Attributes:
        pings: in their order; one that could not be read has `unreadable` in its place …
        faults: … and why: row → in words.
        warnings: what was left out of the body, in words.
        places: row → its place in the body; None: the row itself.
    """

    pings: Sequence[Ping]
    faults: Mapping[int, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    places: Sequence[int] | None = None

    def given(self, name: str) -> list[Any] | None:
        """One field of all items; None where no item has it."""
        values = list(map(attrgetter(name), self.pings))
        return None if values.count(None) == len(values) else values

    def numbers(self, name: str) -> Floats:
        """One field that every item has."""
        return np.fromiter(map(attrgetter(name), self.pings), np.float64, len(self.pings))

    def accuracy_m(self) -> Floats:
        """NaN where an item gives none."""
        given = self.given("accuracy_m")
        return np.full(len(self.pings), np.nan) if given is None else np.array(given, np.float64)

    def platform(self) -> NDArray[np.int8]:
        """`Platform` codes."""
        return platforms(self.given("platform"), len(self.pings))

    def sent(self, *, now_ms: int) -> SentPings:
        """As columns.

        Args:
            now_ms: when a fix without a time was taken.
        """
        count = len(self.pings)
        at_ms, unread = _at_ms(self.given("at"), count, now_ms)
        words = (self.given("device_id"), self.given("ad_id"), self.given("user_id"))
        keys, said = who_sent(*words, _consents(self.given("consent")), count)
        mocked = list(map(attrgetter("mocked"), self.pings))
        return SentPings(
            keys=keys,
            said=said,
            lon=self.numbers("lng"),
            lat=self.numbers("lat"),
            accuracy_m=self.accuracy_m(),
            at_ms=at_ms,
            platform=self.platform(),
            mocked=np.array(mocked, bool) if True in mocked else np.zeros(count, bool),
            apps=self.given("app"),
            ping_ids=self.given("ping_id"),
            faults={row: f"{why} - at `$.at`" for row, why in unread.items()} | dict(self.faults),
            warnings=self.warnings,
            places=self.places,
        )


def unreadable() -> Ping:
    """What stands in the place of an item that could not be read."""
    return _UNREADABLE


def _at_ms(texts: list[str | None] | None, count: int, now_ms: int) -> tuple[Ints, dict[int, str]]:
    if texts is None:
        return np.full(count, now_ms, np.int64), {}
    return instants_ms(texts, absent_ms=now_ms)


def platforms(names: Sequence[str | None] | None, count: int) -> NDArray[np.int8]:
    """`Platform` codes; a platform that is not known counts as Android (product P3)."""
    if names is None:
        return np.full(count, Platform.ANDROID, np.int8)
    code = {name: _PLATFORMS.get((name or "").lower(), Platform.ANDROID) for name in set(names)}
    if len(code) == 1:
        return np.full(count, next(iter(code.values())), np.int8)
    return np.fromiter(map(code.__getitem__, names), np.int8, count)


_Consents = Sequence[tuple[bool | None, bool | None, bool | None]]


def _consents(given: Sequence[Consent | None] | None) -> _Consents | None:
    if given is None:
        return None
    return [_NOTHING_SAID if c is None else (c.location, c.marketing, c.night) for c in given]


def who_sent(
    device_ids: Sequence[str | None] | None,
    ad_ids: Sequence[str | None] | None,
    user_ids: Sequence[str | None] | None,
    consents: _Consents | None,
    count: int,
) -> tuple[list[str | None], dict[int, Identity]]:
    """The device that each item names, and of those that say more of it, what.

    Args:
        consents: location, marketing, night of each item. Columns that no item uses are None.
    """
    nothing = [None] * count
    if ad_ids is None and user_ids is None and consents is None:
        return [(name or "").strip() or None for name in device_ids or nothing], {}
    who = list(
        map(
            _identity,
            device_ids or nothing,
            ad_ids or nothing,
            user_ids or nothing,
            consents or [_NOTHING_SAID] * count,
        )
    )
    plain = _says_no_more
    return [one.key for one in who], {row: one for row, one in enumerate(who) if not plain(one)}


@lru_cache(_REMEMBERED)
def _identity(
    device_id: str | None,
    ad_id: str | None,
    user_id: str | None,
    consent: tuple[bool | None, bool | None, bool | None],
) -> Identity:
    location, marketing, night = consent
    return identify(
        device_id=device_id,
        ad_id=ad_id,
        user_id=user_id,
        location=location,
        marketing=marketing,
        night=night,
    )


def _says_no_more(who: Identity) -> bool:
    """Whether it says nothing but its key."""
    return (
        who.ad_id is None
        and who.user_id is None
        and who.location is None
        and who.marketing is None
        and who.night is None
    )
