"""What a stay counts as: a visit, a pass-by, or a single fix that proves nothing (product P6)."""

from __future__ import annotations

from enum import StrEnum


class VisitClass(StrEnum):
    """The class of a stay."""

    VISIT = "visit"
    PASS_BY = "pass_by"  # noqa: S105 - no password
    UNPROVEN = "unproven"


def class_of(*, dwell_ms: int, fixes: int, min_visit_ms: int) -> VisitClass:
    """The class of a stay by its length, then by its fixes; exactly the least length is a visit."""
    if dwell_ms >= min_visit_ms:
        return VisitClass.VISIT
    return VisitClass.PASS_BY if fixes >= 2 else VisitClass.UNPROVEN


def is_open(*, left_ms: int, now_ms: int, gap_ms: int) -> bool:
    """Whether a fix that comes now would still continue the stay; exactly one gap later it would."""
    return now_ms - left_ms <= gap_ms
