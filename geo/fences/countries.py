"""In which country does a place lie: by its time zone, which ends at the border (product U5)."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import tzfpy


@cache
def _country_of_zone() -> dict[str, str]:
    """IANA zone → ISO 3166 code, from the table of the tz database: a zone there is of one country."""
    text = files("tzdata").joinpath("zoneinfo", "zone.tab").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in text.splitlines() if line and not line.startswith("#"))
    return {row[2]: row[0] for row in rows}


def country_at(*, lon: float, lat: float) -> str | None:
    """ISO 3166 code such as `KR`; None on the high seas.

    Waters along a coast belong to its country. Borders are those of the time zone map (tzfpy), which
    are right to about a hundred metres. Under 1 µs.
    """
    return _country_of_zone().get(tzfpy.get_tz(lon, lat))


def known_countries() -> frozenset[str]:
    """All codes that `country_at` can give."""
    return frozenset(_country_of_zone().values())
