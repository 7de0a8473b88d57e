"""What a process is told by its environment, read once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from geo.errors import NearcastError
from geo.fences.limits import MAX_RADIUS_M, MIN_RADIUS_M

PREFIX = "NEARCAST_"
CLOCKS = ("wall", "replay")
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


class InvalidSetting(NearcastError):
    """An environment variable cannot be read."""

    code = "invalid_setting"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one process.

    Attributes:
        database_url: SQLAlchemy URL, SQLite or PostgreSQL.
        clock: `wall`, or `replay` for tests and demos (product P11).
        public_url: where phones reach this server; tracked links begin with it. No slash at the end.
        allow_private_targets: webhooks may go to http and to private addresses: for tests only.
        demo: the page at `/` shows the first campaign's report to anybody: for made-up data only.
        max_radius_m: the upper bound of a circle's radius (product F1).
        ping_files: where sealed pings go, a folder or a URL such as `s3://bucket/pings`; the server and
            the worker must reach the same. Empty: beside the SQLite file, for PostgreSQL `./pings`.
    """

    database_url: str = "sqlite:///var/nearcast.db"
    clock: str = "wall"
    public_url: str = "http://127.0.0.1:8000"
    allow_private_targets: bool = False
    demo: bool = False
    max_radius_m: float = MAX_RADIUS_M
    ping_files: str = ""

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read `NEARCAST_DATABASE_URL`, `NEARCAST_CLOCK` and so on; what is absent is the default.

        Raises:
            InvalidSetting: names the variable, what it holds and what it may hold.
        """
        given = os.environ if env is None else env
        return cls(
            database_url=given.get(f"{PREFIX}DATABASE_URL") or cls.database_url,
            clock=_one_of(given, "CLOCK", CLOCKS, cls.clock),
            public_url=(given.get(f"{PREFIX}PUBLIC_URL") or cls.public_url).rstrip("/"),
            allow_private_targets=_flag(given, "ALLOW_PRIVATE_TARGETS"),
            demo=_flag(given, "DEMO"),
            max_radius_m=_radius(given, "MAX_RADIUS_M"),
            ping_files=given.get(f"{PREFIX}PING_FILES", ""),
        )

    def to_env(self) -> dict[str, str]:
        """What `from_env` of another process reads as the same settings."""
        return {
            f"{PREFIX}DATABASE_URL": self.database_url,
            f"{PREFIX}CLOCK": self.clock,
            f"{PREFIX}PUBLIC_URL": self.public_url,
            f"{PREFIX}ALLOW_PRIVATE_TARGETS": str(int(self.allow_private_targets)),
            f"{PREFIX}DEMO": str(int(self.demo)),
            f"{PREFIX}MAX_RADIUS_M": repr(self.max_radius_m),
            f"{PREFIX}PING_FILES": self.ping_files,
        }

    @property
    def ping_folder(self) -> str:
        """Where sealed pings go, the default worked out: `var/nearcast.pings` of `var/nearcast.db`."""
        prefix = "sqlite:///"
        if self.ping_files or not self.database_url.startswith(prefix):
            return self.ping_files or "pings"
        return str(Path(self.database_url.removeprefix(prefix)).with_suffix(".pings"))


def _one_of(env: Mapping[str, str], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = env.get(PREFIX + name) or default
    if value not in allowed:
        raise InvalidSetting(f"{PREFIX}{name} is '{value}'; set it to {' or '.join(allowed)}.")
    return value


def _flag(env: Mapping[str, str], name: str) -> bool:
    value = env.get(PREFIX + name, "").lower()
    if value not in _YES + _NO:
        raise InvalidSetting(f"{PREFIX}{name} is '{value}'; set it to 1 or 0.")
    return value in _YES


def _radius(env: Mapping[str, str], name: str) -> float:
    text = env.get(PREFIX + name) or str(MAX_RADIUS_M)
    try:
        radius_m = float(text)
    except ValueError:
        radius_m = 0.0
    if not MIN_RADIUS_M <= radius_m <= 1e6:  # a bound of bounds: circles stay far from a hemisphere
        raise InvalidSetting(
            f"{PREFIX}{name} is '{text}'; set it to metres from {MIN_RADIUS_M:g} to 1000000."
        )
    return radius_m
