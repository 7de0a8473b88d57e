"""The bars of ingest (quality.md §1, I1-I3) and what a run says about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: figures of these names are to reach their bound, all others are to stay under it
AT_LEAST = {"pings_per_s", "requests_per_s"}
#: a case that is asked in every bar: nothing may be wrong
CLEAN = {"wrong_visits": 0, "evidence_missing": 0, "log_missing": 0, "wrong_answers": 0}
GROWTH = 0.1


@dataclass(frozen=True)
class Case:
    """One run of the bench.

    Attributes:
        batch: pings a request.
        bounds: figure → bound, besides `CLEAN`; none is a run that only others are compared with.
        new_devices: how many devices there are; all are met before the clock runs.
    """

    bar: str
    database: str
    format: str
    batch: int
    bounds: dict[str, float]
    fences: int = 10_000
    devices: int = 100_000
    connections: int = 8
    context: bool = False

    @property
    def name(self) -> str:
        """As the bars and the page call it."""
        kind = "context" if self.context else self.database
        return f"{kind}, {self.format}, {self.batch:,} a request, {self.fences:,} fences"


ALL = [
    Case("I1", "sqlite", "json", 1_000, {"pings_per_s": 150_000, "growth": GROWTH}),
    Case("I1", "postgres", "json", 1_000, {"pings_per_s": 100_000, "growth": GROWTH}),
    Case("I1", "sqlite", "arrow", 10_000, {"pings_per_s": 250_000, "growth": GROWTH}, connections=4),
    Case("I1", "postgres", "arrow", 10_000, {"pings_per_s": 150_000, "growth": GROWTH}, connections=4),
    Case("I1", "sqlite", "json", 10_000, {"pings_per_s": 1_000_000}, connections=4, context=True),
    Case("I1", "sqlite", "arrow", 10_000, {"pings_per_s": 2_000_000}, connections=4, context=True),
    Case(
        *("I2", "sqlite", "json", 1, {"requests_per_s": 5_000, "p99_ms": 25}),
        devices=2_000,
        connections=64,
    ),
    Case("I2", "postgres", "json", 1, {"requests_per_s": 3_500}, devices=2_000, connections=64),
    Case("I3", "sqlite", "json", 1_000, {}, fences=1_000),
    Case("I3", "sqlite", "json", 1_000, {}, fences=100_000),
]
COST_RATIO, LINEAR = 2.0, 1.1


def of_run(case: Case, figures: dict[str, Any]) -> list[dict[str, Any]]:
    """The bars that one run answers; a figure that was not measured has none."""
    known = figures.get("known_devices", {}) | figures.get("database", {})
    known |= {"wrong_answers": figures.get("wrong_answers")}
    bounds = case.bounds | CLEAN
    if case.bar == "I3":
        bounds = bounds | {"linear": LINEAR}
        known |= {"linear": _linear(known.get("growth"))}
    return [
        _bar(case.bar, case.name, name, known[name], bound)
        for name, bound in bounds.items()
        if known.get(name) is not None
    ]


def of_fences(runs: list[tuple[Case, dict[str, Any]]]) -> list[dict[str, Any]]:
    """I3: what a ping costs among the most fences, by what it costs among the fewest."""
    asked = [
        (case, f["known_devices"]["pings_per_s"])
        for case, f in runs
        if case.bar == "I3" and "known_devices" in f
    ]
    if len(asked) < 2:
        return []
    (few, fast), (many, slow) = asked[0], asked[-1]
    name = f"{few.fences:,} to {many.fences:,} fences"
    return [_bar("I3", name, "cost_ratio", round(fast / slow, 2), COST_RATIO)]


def _linear(growth: float | None) -> float | None:
    """Cost of the run's last pings by that of its first ones."""
    return None if growth is None else round(1 + growth, 3)


def _bar(bar: str, case: str, figure: str, value: float, bound: float) -> dict[str, Any]:
    holds = value >= bound if figure in AT_LEAST else value <= bound
    return {
        "bar": bar,
        "case": case,
        "figure": figure,
        "value": value,
        "bound": bound,
        "holds": bool(holds),
    }
