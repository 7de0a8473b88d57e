"""`python -m bench match`: pings a second against every fence, ours and the rivals', in one run.

The first honest figures: `FenceIndex` stands on an STRtree as its best rival does, so the two are
near each other; the compiled index comes later, and none of the bars M1-M4 is claimed here. What is
timed is the whole answer to a column of pings: every (ping, fence) pair. CPU time of the process,
median of five after one to warm up. Every answer is counted against a truth computed fence by fence.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click
import geopandas
import numpy as np
import shapely

from bench import _world
from geo.fences.fence import CircleShape, FenceVersion
from geo.matching.certainty import CertaintyPolicy, judge
from geo.matching.index import FenceIndex
from geo.measure import WGS84, circle_boxes, circle_ring

RUNS = 5
BATCH = 1_000
Pairs = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


class OurIndex:
    """`FenceIndex.match`."""

    exact = True

    def __init__(self, versions: Sequence[FenceVersion]) -> None:
        self.index = FenceIndex.build(versions)

    def match(self, pings: _world.PingColumns) -> Pairs:
        hits = self.index.match(lon=pings.lon, lat=pings.lat, at_ms=None)
        return hits.ping, hits.fence


class StrtreeBoxes:
    """Boxes in a shapely STRtree, then geodesic and prepared polygons in columns: the best exact."""

    exact = True

    def __init__(self, versions: Sequence[FenceVersion]) -> None:
        shapes = [version.fence.shape for version in versions]
        self.is_circle = np.array([isinstance(s, CircleShape) for s in shapes])
        self.lon, self.lat, self.radius_m = np.array(
            [(s.lon, s.lat, s.radius_m) if isinstance(s, CircleShape) else (np.nan,) * 3 for s in shapes]
        ).T
        self.polygon = np.array(
            [None if isinstance(s, CircleShape) else s.geometry for s in shapes], object
        )
        round_ = np.array(circle_boxes(lon=self.lon, lat=self.lat, radius_m=self.radius_m))
        bounds = np.where(self.is_circle, round_, shapely.bounds(self.polygon).T)
        shapely.prepare(self.polygon)
        self.tree = shapely.STRtree(shapely.box(*bounds))

    def match(self, pings: _world.PingColumns) -> Pairs:
        ping, fence = self.tree.query(shapely.points(pings.lon, pings.lat))
        held = np.zeros(len(ping), bool)
        circle, polygon = self.is_circle[fence], ~self.is_circle[fence]
        at, of = ping[circle], fence[circle]
        _, _, metres = WGS84.inv(pings.lon[at], pings.lat[at], self.lon[of], self.lat[of])
        held[circle] = metres <= self.radius_m[of] + 1e-6
        at = ping[polygon]
        shape = self.polygon[fence[polygon]]
        held[polygon] = shapely.intersects_xy(shape, pings.lon[at], pings.lat[at])
        return ping[held], fence[held]


class GeopandasJoin:
    """`geopandas.sjoin` with circles drawn as 64-gons, as many do: wrong next to rims."""

    exact = False

    def __init__(self, versions: Sequence[FenceVersion]) -> None:
        shapes = [_drawn(version) for version in versions]
        self.frame = geopandas.GeoDataFrame(geometry=shapes, crs=4326)
        self.frame.sindex.query(shapely.Point(0, 0))

    def match(self, pings: _world.PingColumns) -> Pairs:
        points = geopandas.points_from_xy(pings.lon, pings.lat)
        left = geopandas.GeoDataFrame(geometry=points, crs=4326)
        joined = geopandas.sjoin(left, self.frame, predicate="intersects")
        return joined.index.to_numpy(), joined["index_right"].to_numpy()


RIVALS = {"strtree": StrtreeBoxes, "geopandas": GeopandasJoin}


def _drawn(version: FenceVersion) -> shapely.Polygon:
    shape = version.fence.shape
    if isinstance(shape, CircleShape):
        ring = circle_ring(lon=shape.lon, lat=shape.lat, radius_m=shape.radius_m, points=64)
        return shapely.Polygon(ring)
    return shape.geometry


def truth(versions: Sequence[FenceVersion], pings: _world.PingColumns) -> set[int]:
    """Keys (ping × fences + fence) of all pairs, fence by fence, without any tree.

    A band of latitude, found by sorting, is all that is left out unseen.
    """
    order = np.argsort(pings.lat)
    lat = pings.lat[order]
    found: set[int] = set()
    for row, version in enumerate(versions):
        shape = version.fence.shape
        if isinstance(shape, CircleShape):
            far_deg = shape.radius_m / 110_000  # below the shortest degree of latitude
            south, north = shape.lat - far_deg, shape.lat + far_deg
        else:
            _, south, _, north = shape.geometry.bounds
        ping = order[np.searchsorted(lat, south) : np.searchsorted(lat, north, side="right")]
        held = _held(version, pings.lon[ping], pings.lat[ping])
        found.update((ping[held] * len(versions) + row).tolist())
    return found


def _held(version: FenceVersion, lon: Any, lat: Any) -> Any:
    shape = version.fence.shape
    if isinstance(shape, CircleShape):
        # two degrees of longitude is more than 15 km anywhere below 85°
        near = np.flatnonzero(np.abs(lon - shape.lon) < 2)
        full = np.full(len(near), shape.lon), np.full(len(near), shape.lat)
        _, _, metres = WGS84.inv(*full, lon[near], lat[near])
        held = np.zeros(len(lon), bool)
        held[near] = metres <= shape.radius_m + 1e-6
        return held
    return shapely.intersects_xy(shape.geometry, lon, lat)


@dataclass(frozen=True)
class Timed:
    """CPU seconds of the median run, and what the last run gave."""

    cpu_s: float
    result: Any


def timed(run: Callable[[], Any]) -> Timed:
    """Median CPU time of `RUNS` runs after one that is not counted."""
    run()
    seconds = []
    for _ in range(RUNS):
        begun = time.process_time()
        result = run()
        seconds.append(time.process_time() - begun)
    return Timed(statistics.median(seconds), result)


def measured(matcher: Any, versions: Sequence[FenceVersion], pings: Any, exact: set[int]) -> dict:
    """The figures of one way to match."""
    begun = time.process_time()
    made = matcher(versions)
    build_s = time.process_time() - begun
    run = timed(lambda: made.match(pings))
    ping, fence = run.result
    found = set((ping * len(versions) + fence).tolist())
    return {
        "pings_per_s": round(len(pings.lon) / run.cpu_s),
        "build_s": round(build_s, 3),
        "pairs": len(ping),
        "wrong_pairs": len(found ^ exact) + len(ping) - len(found),
        "exact": matcher.exact,
    }


def in_batches(versions: Sequence[FenceVersion], pings: _world.PingColumns) -> dict:
    """Ours as the service calls it: batches of 1,000, and with verdicts; one ping by `rtree`."""
    index = FenceIndex.build(versions)
    starts = range(0, len(pings.lon) - BATCH + 1, BATCH)
    batches = [
        (pings.lon[s : s + BATCH], pings.lat[s : s + BATCH], pings.accuracy_m[s : s + BATCH])
        for s in starts
    ]
    platform = np.zeros(BATCH, np.int8)

    def match() -> None:
        for lon, lat, _ in batches:
            index.match(lon=lon, lat=lat, at_ms=None)

    def verdicts() -> None:
        for lon, lat, accuracy_m in batches:
            hits = index.candidates(lon=lon, lat=lat, at_ms=None, accuracy_m=accuracy_m)
            judge(
                index,
                lon=lon,
                lat=lat,
                accuracy_m=accuracy_m,
                platform=platform,
                ping=hits.ping,
                fence=hits.fence,
                policy=CertaintyPolicy(),
            )

    count = len(batches) * BATCH
    plain_s, judged_s = timed(match).cpu_s, timed(verdicts).cpu_s
    one = [_seconds(index, x, y) for x, y in zip(pings.lon[:2_000], pings.lat[:2_000], strict=True)]
    return {
        "match_pings_per_s": round(count / plain_s),
        "verdict_pings_per_s": round(count / judged_s),
        "verdict_cost_ratio": round(judged_s / plain_s, 2),
        "one_ping_p50_us": round(statistics.median(one) * 1e6, 1),
    }


def _seconds(index: FenceIndex, lon: float, lat: float) -> float:
    begun = time.perf_counter()
    index.match_one(lon, lat)
    return time.perf_counter() - begun


@click.command("match")
@click.option("--fences", default=10_000, show_default=True)
@click.option("--pings", "count", default=200_000, show_default=True, help="at least 1,000")
@click.option("--rivals", default="strtree,geopandas", show_default=True)
@click.option("--json", "as_json", is_flag=True)
def command(fences: int, count: int, rivals: str, as_json: bool) -> None:
    """Pings a second against all fences, and wrong pairs."""
    names = [name for name in rivals.split(",") if name]
    unknown = sorted(set(names) - set(RIVALS))
    if unknown:
        raise click.BadParameter(f"no rival {', '.join(unknown)}; there are {', '.join(RIVALS)}.")
    versions, pings = _world.fence_versions(fences), _world.pings(max(count, BATCH))
    exact = truth(versions, pings)
    figures = {"nearcast": measured(OurIndex, versions, pings, exact)}
    figures |= {name: measured(RIVALS[name], versions, pings, exact) for name in names}
    best = max(
        (f["pings_per_s"] for n, f in figures.items() if n != "nearcast" and f["exact"]), default=None
    )
    report = {
        "bench": "match",
        "case": {
            "fences": fences,
            "pings": len(pings.lon),
            "pairs_per_ping": round(len(exact) / len(pings.lon), 2),
        },
        "figures": figures,
        "ratio_to_best_exact": round(figures["nearcast"]["pings_per_s"] / best, 2) if best else None,
        "batches_of_1000": in_batches(versions, pings),
        "bars": [],
    }
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
    batch = report["batches_of_1000"]
    lines += [
        f"ratio to the best exact rival: {report['ratio_to_best_exact']}",
        f"in batches of 1,000: {batch['match_pings_per_s']:,} pings/s",
        f"with verdicts: {batch['verdict_pings_per_s']:,} ({batch['verdict_cost_ratio']} × the cost)",
        f"one ping by rtree: p50 {batch['one_ping_p50_us']} µs",
    ]
    return "\n".join(lines)
