"""What every way out offers: hand a letter over, or say why not and whether trying again may help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from geo.errors import NearcastError


class ChannelError(NearcastError):
    """The message could not be handed over.

    Attributes:
        permanent: trying again cannot help.
        status: the provider's HTTP status, None where it gave no answer.
        retry_after_s: how long the provider asks to be left alone.
    """

    code = "channel_error"

    def __init__(
        self,
        message: str | None = None,
        *,
        permanent: bool = False,
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.status = status
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, kw_only=True)
class Letter:
    """One message, addressed and ready to go.

    Attributes:
        key: the same at every attempt, so that the other side can tell a repeat (product M9).
        address: where to; for a webhook its URL.
        secret: what signs it.
        content: JSON values.
    """

    key: str
    address: str
    secret: str
    content: Mapping[str, Any]


class Channel(Protocol):
    """One way out. `send` may be called by several threads at once."""

    def send(self, letter: Letter) -> int:
        """Hand a letter over; returns the provider's status. Raises `ChannelError`."""

    def close(self) -> None:
        """Let go of its connections."""
