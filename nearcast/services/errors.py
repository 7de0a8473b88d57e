"""Errors of the use cases; `api/problems.py` maps each to its HTTP status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from geo.errors import NearcastError


@dataclass(frozen=True, kw_only=True)
class FieldError:
    """One fault of an input: where, what, and how to mend it.

    Attributes:
        pointer: JSON pointer into the body.
        proposal: what would be accepted instead, where there is one.
    """

    pointer: str
    code: str
    message: str
    proposal: Any = None


def pointer_step(step: str | int) -> str:
    """A step of a JSON pointer (RFC 6901), without the slash before it."""
    return str(step).replace("~", "~0").replace("/", "~1")


class NotFound(NearcastError):
    """There is no such thing here."""

    code = "not_found"


class Unauthorized(NearcastError):
    """The API key is missing, unknown or revoked. Send Authorization: Bearer <key>."""

    code = "unauthorized"


class Forbidden(NearcastError):
    """This key may not do that."""

    code = "forbidden"


class Told(NearcastError):
    """Something stands in the way.

    Attributes:
        korean: the same message in Korean, where an upload shows it; None where nobody wrote it.
    """

    def __init__(self, message: str | None = None, *, korean: str | None = None) -> None:
        super().__init__(message)
        self.korean = korean


class PlanRequired(Told):
    """This needs a larger plan."""

    code = "plan_required"


class AlreadyExists(NearcastError):
    """Something of that name stands there already."""

    code = "already_exists"


class NotAllowedNow(Told):
    """That cannot be done in the present state."""

    code = "not_allowed_now"


class StillRunning(NearcastError):
    """A request with this Idempotency-Key is still being worked on; ask again in a moment."""

    code = "still_running"


class IdempotencyKeyReused(NearcastError):
    """This Idempotency-Key came before with another request; use a new one for each."""

    code = "idempotency_key_reused"


class Invalid(NearcastError):
    """Something in the input is not right."""

    code = "invalid"

    def __init__(self, message: str | None = None, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(message or (errors[0].message if errors else None))
        self.errors = tuple(errors)
