"""What may be set of presence and certainty, by workspace and by fence, and within which bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from typing import Any

from geo.fences.fence import PresenceRules
from geo.matching.certainty import CertaintyPolicy
from geo.matching.presence import PresencePolicy
from nearcast.services.errors import FieldError

_DAY_S = 86_400
#: what a workspace may set of its `PresencePolicy`: least and greatest value, both allowed
PRESENCE_BOUNDS: dict[str, tuple[float, float]] = {
    "gap_s": (60, _DAY_S),
    "min_visit_s": (0, _DAY_S),
    "staleness_s": (60, 3_600),
    "amend_horizon_s": (_DAY_S, 90 * _DAY_S),  # product P5: at least a day
    "exit_fixes": (1, 20),
    "exit_span_s": (0, 3_600),
    "far_sigma": (1, 20),
    "far_m": (0, 10_000),
}
#: the same of its `CertaintyPolicy`
CERTAINTY_BOUNDS: dict[str, tuple[float, float]] = {
    "enter_p": (0.5, 0.999),  # below 0.5 the index would not find every fence that is entered
    "exit_p": (0.001, 0.49),
    "out_z": (0, 5),
    "poor_out_z": (0, 5),
    "missing_sigma_m": (3, 1_000),
}
_BOUNDS = PRESENCE_BOUNDS | CERTAINTY_BOUNDS
#: what a fence may decide otherwise than its workspace
FENCE_RULES = tuple(field.name for field in fields(PresenceRules))
WHOLE = frozenset(
    name
    for policy in (PresencePolicy(), CertaintyPolicy())
    for name, value in asdict(policy).items()
    if isinstance(value, int)
)


def policy_faults(
    values: Mapping[str, Any], bounds: Mapping[str, tuple[float, float]], *, pointer: str
) -> Iterator[FieldError]:
    """What is wrong with settings of a workspace, None being the default again.

    Args:
        bounds: `PRESENCE_BOUNDS` or `CERTAINTY_BOUNDS`: nothing else may be set.
        pointer: where the settings stand in the body.
    """
    for name, value in values.items():
        if name not in bounds:
            message = f"'{name[:40]}' is none of: {', '.join(bounds)}."
            yield FieldError(pointer=f"{pointer}/{name}", code="unknown", message=message)
        elif value is not None:
            yield from _out_of_range(name, value, pointer)


def rule_faults(rules: PresenceRules, *, of: str) -> Iterator[FieldError]:
    """What is wrong with a fence's own rules.

    Args:
        of: the fence, as a message names it.
    """
    for name, value in asdict(rules).items():
        if value is not None:
            yield from _out_of_range(name, value, "/presence", of=f" of {of}")


def _out_of_range(name: str, value: float, pointer: str, of: str = "") -> Iterator[FieldError]:
    least, most = _BOUNDS[name]
    if not least <= value <= most:
        message = f"{name}{of} must lie from {least:,g} to {most:,g}; it is {value:,g}."
        yield FieldError(pointer=f"{pointer}/{name}", code="out_of_range", message=message)
    elif name in WHOLE and value != int(value):
        message = f"{name}{of} is a whole number; it is {value:g}."
        yield FieldError(pointer=f"{pointer}/{name}", code="not_whole", message=message)
