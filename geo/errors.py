"""The root of the one error tree; every floor above hangs its errors here."""

from __future__ import annotations


class NearcastError(Exception):
    """Something went wrong."""

    #: stable, machine-readable; shown in the API, the console and the docs
    code: str = "error"

    def __init__(self, message: str | None = None) -> None:
        #: the class docstring's first line is the default message
        self.message = message or (self.__doc__ or "").strip().splitlines()[0]
        super().__init__(self.message)
