"""Who calls: `Authorization: Bearer <api key>`, and which scopes a route asks for (product W3)."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar, cast

from flask import g, request

from api.wiring import House, house
from nearcast.services.errors import Forbidden, Unauthorized
from nearcast.services.manage_workspace import Principal, Scope

__all__ = ["Principal", "needs", "principal"]

P = ParamSpec("P")
T = TypeVar("T")


def needs(*scopes: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let a route be called only by a key with one of these scopes; `admin` opens all.

    It stands above `input`, so that a stranger learns nothing about the body it sent.
    """
    wanted = tuple(Scope(scope) for scope in scopes)

    def decorate(view: Callable[P, T]) -> Callable[P, T]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            g.principal = called_by(house(), request.headers.get("Authorization", ""), *wanted)
            return view(*args, **kwargs)

        guarded.scopes = wanted  # type: ignore[attr-defined]  # the OpenAPI document shows them
        return guarded

    return decorate


def principal() -> Principal:
    """Whoever calls the route being answered; only below `needs`."""
    return cast("Principal", g.principal)


def called_by(home: House, authorization: str, *wanted: Scope) -> Principal:
    """Whoever presents the key of an `Authorization` header, if it has one of these scopes.

    Raises:
        Unauthorized: no key, or none that lives.
        Forbidden: it has none of the scopes, nor `admin`.
    """
    kind, _, token = authorization.partition(" ")
    if kind.lower() != "bearer" or not token.strip():
        raise Unauthorized
    who = home.keys.principal(token.strip())
    if who.scopes.isdisjoint((*wanted, Scope.ADMIN)):
        names = " or ".join(f"'{scope}'" for scope in wanted)
        raise Forbidden(f"This needs a key with the scope {names}.")
    return who
