"""How APIFlask reads requests with pydantic here: strict JSON, every fault with its pointer.

APIFlask 3.1's own adapter takes the last of `?tag=a&tag=b`, reads NaN, and gives faults without their
places in lists.
"""

from __future__ import annotations

import types
import typing
from typing import Any

from apiflask.schema_adapters import registry
from apiflask.schema_adapters.pydantic import PydanticAdapter
from flask import Request, request
from pydantic import BaseModel, ValidationError

from api.answers import json_body
from api.problems import MalformedBody
from nearcast.services.errors import FieldError, Invalid, pointer_step

#: pydantic's names of faults → ours
_CODES = {"missing": "required", "extra_forbidden": "unknown_field"}
_MAX_FAULTS = 100


class StrictAdapter(PydanticAdapter):
    """Pydantic models in, with every fault named by a JSON pointer."""

    def validate_input(self, request: Request, location: str, **_: Any) -> BaseModel:
        """The model of a request's body, query or form. Raises `Invalid`, `MalformedBody` …"""
        try:
            model: BaseModel = self.model_class.model_validate(self._given(request, location))
        except ValidationError as error:
            raise invalid(error) from error
        return model

    def _given(self, request: Request, location: str) -> Any:
        if location == "json":
            return json_body()
        values = request.args if location == "query" else request.form
        lists = {name for name, field in self.model_class.model_fields.items() if _many(field)}
        given = {k: values.getlist(k) if k in lists else values[k] for k in values}
        if any("\0" in text for pair in values.items(multi=True) for text in pair):
            raise MalformedBody("A field holds the character U+0000, which no text may.")
        return given | (dict(request.files.items()) if location == "files" else {})


def invalid(error: ValidationError, *, at: str = "") -> Invalid:
    """Pydantic's faults as one of ours.

    Args:
        at: pointer to the place in the request at which the model stands.
    """
    errors = field_errors(error, at=at)
    more = f" ({len(errors) - 1} more in errors)" if len(errors) > 1 else ""
    return Invalid(f"{errors[0].pointer or '/'}: {errors[0].message}{more}", errors=errors)


def field_errors(error: ValidationError, *, at: str = "") -> list[FieldError]:
    """Pydantic's faults as ours: at most 100, each with its place."""
    return [
        FieldError(
            pointer=at + "".join(f"/{pointer_step(step)}" for step in fault["loc"]),
            code=_CODES.get(fault["type"], fault["type"]),
            message=fault["msg"].removeprefix("Value error, "),
        )
        for fault in error.errors(include_url=False, include_input=False)[:_MAX_FAULTS]
    ]


def refuse_nul() -> None:
    """Before each request: no database keeps U+0000 in a text, so no address may hold it."""
    if "\0" in request.path:
        raise MalformedBody("The address holds the character U+0000, which no text may.")


def install() -> None:
    """Let APIFlask use this adapter for every pydantic model."""
    registry.register("pydantic", StrictAdapter)


def _many(field: Any) -> bool:
    options = (
        typing.get_args(field.annotation)
        if typing.get_origin(field.annotation) in (typing.Union, types.UnionType)
        else (field.annotation,)
    )
    return any(typing.get_origin(option) is list for option in options)
