"""`python -m bench match`: pings a second against every fence, ours and the rivals', in one run.

What is timed is the whole answer to a column of pings: every (ping, fence) pair. CPU time of the
process, median of five after one to warm up. Every answer is counted against a truth computed fence
by fence. The bars M1, M2 and M4 of quality.md are printed with what was measured, held or not; M3 is
`python -m bench cold`.
"""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click
import numpy as np

from bench import _rivals, _world
from bench._truth import truth
from geo.fences.fence import FenceVersion
from geo.matching.certainty import CertaintyPolicy, decide, judge
from geo.matching.index import FenceIndex
from geo.matching.kernels import warm

RUNS = 5
#: rivals that take each ping by itself get only so many
FEW = {"rtree": 20_000, "h3": 20_000, "postgis": 50_000}
#: by fences: least ratio to the best exact rival, most MB, most seconds to build (quality.md M1)
M1 = {1_000: (35, None, None), 10_000: (40, 60, 1), 100_000: (40, 350, 4), 1_000_000: (40, 1_600, 40)}


@dataclass(frozen=True)
class Timed:
    """Seconds of the median run, and what the last run gave."""

    seconds: float
    result: Any


def timed(run: Callable[[], Any], clock: Callable[[], float] = time.process_time) -> Timed:
    """Median of `RUNS` runs after one that is not counted."""
    run()
    seconds = []
    for _ in range(RUNS):
        begun = clock()
        result = run()
        seconds.append(clock() - begun)
    return Timed(statistics.median(seconds), result)


def ours(versions: Sequence[FenceVersion], pings: _world.PingColumns) -> tuple[FenceIndex, dict]:
    """The index, and its figures; `rtree_s` is the time until it can answer at all."""
    begun = time.process_time()
    index = FenceIndex.build(versions)
    rtree_s = time.process_time() - begun
    begun = time.process_time()
    index.compile()
    build_s = time.process_time() - begun
    run = timed(lambda: index.pairs(lon=pings.lon, lat=pings.lat))
    return index, {
        "pings_per_s": round(len(pings.lon) / run.seconds),
        "build_s": round(build_s, 3),
        "rtree_s": round(rtree_s, 3),
        "memory_mb": round(index.used_bytes / 1e6, 1),
        "exact": True,
        "ping": run.result.ping,
        "fence": run.result.fence.astype(np.int64),
    }


def rival(name: str, versions: Sequence[FenceVersion], pings: _world.PingColumns) -> dict:
    """The figures of one of them."""
    some = pings.first(FEW.get(name, len(pings.lon)))
    if name in _rivals.FOREIGN:
        return _rivals.foreign(name, versions, some) | {"pings": len(some.lon)}
    begun = time.process_time()
    made = _rivals.RIVALS[name](versions)
    build_s = time.process_time() - begun
    clock = time.perf_counter if name in _rivals.ON_WALL_CLOCK else time.process_time
    run = timed(lambda: made.match(some), clock)
    ping, fence = run.result
    per_s = round(len(some.lon) / run.seconds)
    return {
        "pings_per_s": per_s,
        "build_s": round(build_s, 3),
        "exact": made.exact,
        "ping": ping,
        "fence": fence,
        "pings": len(some.lon),
    }


def counted(figures: dict, right: np.ndarray, fences: int, pings: int) -> dict:
    """With the pairs counted against the truth instead of the pairs themselves."""
    some = figures.get("pings", pings)
    found = figures.pop("ping") * fences + figures.pop("fence")
    wanted = right[right < some * fences]
    once = np.unique(found)
    wrong = len(np.setxor1d(once, wanted, assume_unique=True)) + len(found) - len(once)
    return figures | {"pairs": len(found), "wrong_pairs": wrong}


def single(index: FenceIndex, pings: _world.PingColumns) -> dict:
    """One ping from Python, in microseconds by the wall."""
    places = list(zip(pings.lon[:20_000].tolist(), pings.lat[:20_000].tolist(), strict=True))
    for x, y in places[:500]:
        index.match_one(x, y)
    took = []
    for x, y in places:
        begun = time.perf_counter()
        index.match_one(x, y)
        took.append(time.perf_counter() - begun)
    p50, p99 = np.percentile(took, [50, 99]) * 1e6
    return {"p50_us": round(p50, 2), "p99_us": round(p99, 2)}


def changes(index: FenceIndex, versions: Sequence[FenceVersion], rounds: int = 300) -> dict:
    """One fence added, one removed, and so on, in milliseconds by the wall; and under load."""
    others = _world.fence_versions(max(len(versions), 1_000), seed=9)[:rounds]
    add, remove = [], []
    for version in others:
        begun = time.perf_counter()
        index = index.changed(added=[version])
        add.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        index = index.changed(removed=[len(index) - 1])
        remove.append(time.perf_counter() - begun)
    ways = {"insert": add, "remove": remove}
    told = {
        f"{n}_p{q}_ms": round(float(np.percentile(s, q)) * 1e3, 3)
        for n, s in ways.items()
        for q in (50, 99)
    }
    return told | _under_load(index, others)


def _under_load(index: FenceIndex, others: Sequence[FenceVersion]) -> dict:
    """Two seconds of one thread that matches batches of 1,000 while fences come and go."""
    pings = _world.pings(1_000)
    shown = [index]
    batches = {True: 0, False: 0}
    for changing in (False, True):
        stop = threading.Event()

        def match(changing: bool = changing, stop: threading.Event = stop) -> None:
            while not stop.is_set():
                shown[0].pairs(lon=pings.lon, lat=pings.lat)
                batches[changing] += 1

        thread = threading.Thread(target=match)
        thread.start()
        until = time.monotonic() + 2
        while time.monotonic() < until:
            if changing:
                for version in others[:10]:
                    now = shown[0].changed(added=[version])
                    shown[0] = now.changed(removed=[len(now) - 1])
            time.sleep(0.1)
        stop.set()
        thread.join()
    return {
        "matching_alone_batches_per_s": round(batches[False] / 2),
        "matching_under_200_changes_per_s": round(batches[True] / 2),
    }


def verdicts(index: FenceIndex, pings: _world.PingColumns) -> dict:
    """All verdicts against the plain match, in the same run; and P on demand."""
    platform = np.zeros(len(pings.lon), np.int8)
    columns = {"lon": pings.lon, "lat": pings.lat}
    plain = timed(lambda: index.pairs(**columns)).seconds
    fixes = columns | {"accuracy_m": pings.accuracy_m, "platform": platform}
    whole = timed(lambda: decide(index, **fixes, policy=CertaintyPolicy())).seconds
    told = {"cost_ratio": round(whole / plain, 2), "pings_per_s": round(len(pings.lon) / whole)}
    found = index.pairs(**columns)
    small = ~index.is_circle[found.fence] & (index.polygons.count[found.fence] < 100)
    for name, chosen in (("circle", index.is_circle[found.fence]), ("polygon", small)):
        some = np.flatnonzero(chosen)[:100_000]
        if len(some):
            pairs = {"ping": found.ping[some], "fence": found.fence[some].astype(np.int64)}
            took = timed(lambda p=pairs: judge(index, **fixes, **p, policy=CertaintyPolicy())).seconds
            told[f"p_of_{name}_us"] = round(took / len(some) * 1e6, 3)
    return told


def bars(report: dict) -> list[dict]:
    """The bars that this run measured."""
    fences = report["case"]["fences"]
    case = f"{fences // 1_000:,}k" if fences < 1_000_000 else f"{fences // 1_000_000}M"
    own = report["figures"]["nearcast"]
    found = [("M1", "wrong_pairs", own["wrong_pairs"], 0, "most")]
    if fences in M1:
        ratio, most_mb, most_s = M1[fences]
        if report["ratio_to_best_exact"] is not None:
            found.append(("M1", "ratio_to_best_exact", report["ratio_to_best_exact"], ratio, "least"))
        if most_mb is not None:
            found.append(("M1", "memory_mb", own["memory_mb"], most_mb, "most"))
            found.append(("M1", "build_s", own["build_s"], most_s, "most"))
    if fences == 100_000:
        for name, bound in (("p50_us", 5), ("p99_us", 50)):
            found.append(("M2", f"one_ping_{name}", report["one_ping"][name], bound, "most"))
        for way in ("insert", "remove"):
            for quantile, bound in (("p50", 0.3), ("p99", 30)):
                name = f"{way}_{quantile}_ms"
                found.append(("M2", name, report["changes"][name], bound, "most"))
    found.append(("M4", "cost_ratio", report["verdicts"]["cost_ratio"], 3, "most"))
    for name in ("p_of_circle_us", "p_of_polygon_us"):
        if name in report["verdicts"]:
            found.append(("M4", name, report["verdicts"][name], 1, "most"))
    return [
        {
            "bar": bar,
            "case": case,
            "figure": figure,
            "value": value,
            "bound": bound,
            "holds": bool(value <= bound if side == "most" else value >= bound),
        }
        for bar, figure, value, bound, side in found
    ]


@click.command("match")
@click.option("--fences", default=10_000, show_default=True)
@click.option("--pings", "count", default=200_000, show_default=True, help="at least 1,000")
@click.option("--rivals", default="strtree,geopandas", show_default=True)
@click.option("--json", "as_json", is_flag=True)
def command(fences: int, count: int, rivals: str, as_json: bool) -> None:
    """Pings a second against all fences, and wrong pairs."""
    names = [name for name in rivals.split(",") if name]
    known = [*_rivals.RIVALS, *_rivals.FOREIGN]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise click.BadParameter(f"no rival {', '.join(unknown)}; there are {', '.join(known)}.")
    if set(names) & set(_rivals.FOREIGN) and not _rivals.FOREIGN_PYTHON.exists():
        raise click.UsageError("These rivals need bench/.venv; run: scripts/make_bench_venv.sh")
    if "postgis" in names and not _rivals.POSTGIS:
        raise click.UsageError("Say where PostGIS is by NEARCAST_BENCH_POSTGIS, a libpq string.")
    warm()
    versions, pings = _world.fence_versions(fences), _world.pings(max(count, 1_000))
    right = np.array(sorted(truth(versions, pings)), np.int64)
    index, own = ours(versions, pings)
    figures = {"nearcast": own} | {name: rival(name, versions, pings) for name in names}
    figures = {name: counted(f, right, fences, len(pings.lon)) for name, f in figures.items()}
    others = [f for name, f in figures.items() if name != "nearcast"]
    exact = [f["pings_per_s"] for f in others if f["exact"] and not f["wrong_pairs"]]
    report = {
        "bench": "match",
        "case": {
            "fences": fences,
            "pings": len(pings.lon),
            "pairs_per_ping": round(len(right) / len(pings.lon), 2),
        },
        "figures": figures,
        "ratio_to_best_exact": round(own["pings_per_s"] / max(exact), 2) if exact else None,
        "wrong_pairs": figures["nearcast"]["wrong_pairs"],
        "one_ping": single(index, pings),
        "verdicts": verdicts(index, pings),
        "changes": changes(index, versions),
    }
    report["bars"] = bars(report)
    click.echo(json.dumps(report, indent=1) if as_json else _table(report))


def _table(report: dict) -> str:
    case = report["case"]
    lines = [
        f"{case['fences']:,} fences, {case['pings']:,} pings in {case['pairs_per_ping']} fences each",
        f"{'':12}{'pings/s':>12}{'build s':>10}{'pairs':>12}{'wrong':>9}   (CPU time)",
    ]
    for name, row in report["figures"].items():
        lines.append(
            f"{name:12}{row['pings_per_s']:>12,}{row['build_s']:>10}{row['pairs']:>12,}"
            f"{row['wrong_pairs']:>9,}"
        )
    lines.append(f"ratio to the best exact rival: {report['ratio_to_best_exact']}")
    for name in ("one_ping", "verdicts", "changes"):
        lines.append(f"{name}: " + ", ".join(f"{k} {v:,}" for k, v in report[name].items()))
    for bar in report["bars"]:
        sign = "holds" if bar["holds"] else "DOES NOT HOLD"
        lines.append(
            f"{bar['bar']} {bar['case']} {bar['figure']} {bar['value']} (bound {bar['bound']}): {sign}"
        )
    return "\n".join(lines)
