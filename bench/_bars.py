"""The bars of matching (quality.md §1, M1-M4) and what a run says about them."""

from __future__ import annotations

from typing import Any

#: fences → figure → bound; figures of `AT_LEAST` are to reach it, the others to stay under it
M1 = {
    1_000: {"ratio_to_best_exact": 35, "wrong_pairs": 0},
    10_000: {"ratio_to_best_exact": 40, "wrong_pairs": 0, "memory_mb": 60, "build_s": 1},
    100_000: {"ratio_to_best_exact": 40, "wrong_pairs": 0, "memory_mb": 350, "build_s": 4},
    1_000_000: {"ratio_to_best_exact": 40, "wrong_pairs": 0, "memory_mb": 1_600, "build_s": 40},
}
M2 = {
    "one_p50_us": 5,
    "one_p99_us": 50,
    "insert_p50_ms": 0.3,
    "insert_p99_ms": 30,
    "remove_p50_ms": 0.3,
    "remove_p99_ms": 30,
    "bulk_apply_s": 10,
    "half_changes_seen": 0,
    "wrong_batches_under_load": 0,
}
M4 = {"verdict_cost": 3, "p_of_circle_us": 1, "p_of_small_polygon_us": 1}
#: the count of fences at which M2 and M4 are asked
AT = 100_000
AT_LEAST = {"ratio_to_best_exact"}


def of_case(case: dict[str, Any]) -> list[dict[str, Any]]:
    """The bars that one count of fences has."""
    fences, own = case["fences"], case["figures"]["nearcast"]
    figures = own | {"ratio_to_best_exact": case["ratio_to_best_exact"]}
    name = short(fences)
    found = _judged("M1", name, figures, M1.get(fences, {"wrong_pairs": 0}))
    if fences == AT:
        found += _judged("M2", name, figures, M2) + _judged("M4", name, figures, M4)
    return found


def of_hard_places(hard: dict[str, Any]) -> list[dict[str, Any]]:
    """Holes, parts, 180° and poles belong to M1 too."""
    return _judged("M1", "hard places", hard, {"wrong_pairs": 0})


def of_starts(starts: dict[str, Any]) -> list[dict[str, Any]]:
    """M3."""
    cold = _judged("M3", "cold start", starts["cold"], {"first_answer_s": 3})
    return cold + _judged("M3", "warm start", starts["warm"], {"cells_answer_s": 10})


def short(fences: int) -> str:
    """1k, 100k, 1M; other counts as they are."""
    for unit, letter in ((1_000_000, "M"), (1_000, "k")):
        if fences >= unit and fences % unit == 0:
            return f"{fences // unit}{letter}"
    return str(fences)


def _judged(
    bar: str, case: str, figures: dict[str, Any], bounds: dict[str, float]
) -> list[dict[str, Any]]:
    """A figure that was not measured has no bar."""
    found = []
    for figure, bound in bounds.items():
        value = figures.get(figure)
        if value is None:
            continue
        holds = value >= bound if figure in AT_LEAST else value <= bound
        found.append(
            {
                "bar": bar,
                "case": case,
                "figure": figure,
                "value": value,
                "bound": bound,
                "holds": bool(holds),
            }
        )
    return found
