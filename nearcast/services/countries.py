"""Country codes as requests give them."""

from __future__ import annotations

from collections.abc import Sequence

from geo.fences.countries import known_countries
from nearcast.services.errors import FieldError


def unknown_countries(codes: Sequence[str]) -> list[FieldError]:
    """A fault for each code that is none of ISO 3166, by its place in the field `countries`."""
    known = known_countries()
    return [
        FieldError(
            pointer=f"/countries/{n}",
            code="unknown_country",
            message=f"'{code}' is no country code of ISO 3166, such as KR.",
        )
        for n, code in enumerate(codes)
        if code not in known
    ]
