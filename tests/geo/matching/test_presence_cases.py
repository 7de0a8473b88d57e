"""The rules of presence as cases that any language can read: `fixtures/cases/presence.json`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from geo.matching import stay_rounds
from geo.matching.presence import PresencePolicy
from geo.matching.stay_columns import JudgedFixes
from geo.matching.stay_timers import presumed
from tests.kept_stays import KeptStays

CASES = json.loads((Path(__file__).parents[3] / "fixtures/cases/presence.json").read_text("utf-8"))
VERDICT = {"in": 1, "?": 0, "out": -1}
DEVICE, FENCE_ID = 4, 7


def ms(minute):
    return round(minute * 60_000)


def judged(posted):
    rows = []
    for ping, (minute, verdict, *more) in enumerate(posted):
        own = more[0] if more else {}
        assert not own.keys() - {"rim_m", "sigma_m", "lon", "p", "late"}
        code = VERDICT[verdict]
        rows.append(
            (
                ping,
                DEVICE,
                FENCE_ID,
                0,
                ms(minute),
                code,
                own.get("p", 1.0 if code > 0 else 0.0),
                own.get("rim_m", {1: -20.0, 0: 1.0, -1: 30.0}[code]),
                own.get("sigma_m", 10.0),
                own.get("lon", minute),
                37.5,
                not own.get("late", False),
            )
        )
    return JudgedFixes.from_rows(rows)


def shown(event, seen_ms, gap_s):
    """An event as the cases write it: what is usual is left out."""
    said = {"kind": str(event.kind), "at": round(event.at_ms / 60_000, 4)}
    if event.dwell_s is not None:
        said["dwell_s"] = event.dwell_s
    if event.cause != "fix":
        said["by"] = str(event.cause)
    if event.again:
        said["again"] = True
    before_ms = max((at_ms for at_ms in seen_ms if at_ms < event.seen_ms), default=-1)
    first = before_ms < 0 or event.seen_ms - before_ms > gap_s * 1000
    if event.kind == "enter" and first:
        said["initial"] = True
    return said


@pytest.mark.parametrize("worth", [1, 1_000], ids=["in rounds", "plainly"])
@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: case["name"])
def test_case(case, worth, monkeypatch):
    monkeypatch.setattr(stay_rounds, "WORTH_A_ROUND", worth)
    assert not case.keys() - {"name", "policy", "dwells_s", "presumed_s", "steps", "events", "visits"}
    policy = PresencePolicy(**case.get("policy", {}))
    kept = KeptStays(policy, dwells_s=lambda fence: case.get("dwells_s", ()))
    kept.swept_ms = -(1 << 60)  # the cases begin at 0
    seen_ms, told = [], []
    for step in case["steps"]:
        ((what, with_),) = step.items()
        if what == "post":
            kept.take(judged(with_))
            seen_ms += [ms(fix[0]) for fix in with_]
        elif what == "presume":
            kept.write(presumed(kept.all(), ms(with_), lambda fence_id: case["presumed_s"]))
        else:
            {"sweep": kept.sweep, "silence": kept.silence}[what](ms(with_))
        told += [shown(event, seen_ms, policy.gap_s) for event in kept.events[len(told) :]]
    assert told == case["events"]
    visits = kept.read().get((DEVICE, FENCE_ID), [])
    found = [(v.arrived_ms, v.left_ms, v.fixes, v.p_sum) for v in visits]
    wanted = [(ms(arrived), ms(left), *more) for arrived, left, *more in case["visits"]]
    assert [row[: len(want)] for row, want in zip(found, wanted, strict=True)] == wanted


def test_there_are_enough_cases_and_each_has_its_own_name():
    names = [case["name"] for case in CASES["cases"]]
    assert len(names) >= 25
    assert len(set(names)) == len(names)
