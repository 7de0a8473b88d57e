"""trackintel's stay points of GeoLife, found again as visits of circles at their places.

What is compared, and what cannot be: trackintel looks for places, 5 min and more spent within 100 m; we
are given the place as a fence. Its stay begins with the first fix of the cluster that it grew; our visit
holds every fix within 100 m of the place, also the last steps towards it and a second stop there within
30 min. It calls one stay what is interrupted by any silence; we cut where a silence exceeds 30 min. So:

- each of its 24 stays is covered, with a tolerance of 0 s: a visit has begun by its start, one ends at
  its end or later, and all fixes in between are evidence;
- 13 visits begin and 15 end within 6 min of it, 11 end at the very fix: a person walks in and out of the
  100 m, or stops for less than trackintel's 5 min. The others hold several of its stays, or returns to
  the place within our 30 min, and begin up to 86 min before and end up to 69 min after this one;
- its one stay with a silence of more than 30 min is two visits that end and begin at the silence.

`geolife_staypoints.csv` has 58 stay points, of recordings of which 4 files are here: they cover 24.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pytest

from tests.real.tracks import GAP_MS, Place, Track, data, taken, wanted

pytestmark = [pytest.mark.real, pytest.mark.slow]

RADIUS_M = 100.0  # trackintel's dist_threshold
WALK_S = 360


@dataclass(frozen=True)
class Stay:
    """A stay point of trackintel's; instants in ms, both included."""

    who: str
    began_ms: int
    ended_ms: int
    place: Place


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.fixture(scope="module")
def tracks() -> list[Track]:
    found = []
    for user in ("000", "001"):
        rows = []
        for path in sorted(data("geolife_trackintel", "tests/data/geolife_long", user).rglob("*.plt")):
            for line in path.read_text().splitlines()[6:]:  # six lines of heading
                lat, lng, _, _, _, day, time = line.split(",")
                rows.append((ms(f"{day}T{time}"), float(lng), float(lat)))
        at_ms, lon, lat = zip(*sorted(rows), strict=True)
        found.append(Track(str(int(user)), np.array(at_ms), np.array(lon), np.array(lat)))
    return found


@pytest.fixture(scope="module")
def stays(tracks) -> list[Stay]:
    """Those of the recordings that are here."""
    spans = {track.who: (track.at_ms[0], track.at_ms[-1]) for track in tracks}
    path = data("geolife_trackintel", "tests/data/geolife/geolife_staypoints.csv")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 58
    found = []
    for row in rows:
        lon, lat = map(float, row["geom"].removeprefix("POINT (").removesuffix(")").split())
        who = str(int(float(row["user_id"])))
        began_ms, ended_ms = ms(row["started_at"]), ms(row["finished_at"])
        if spans[who][0] <= began_ms and ended_ms <= spans[who][1]:
            found.append(Stay(who, began_ms, ended_ms, Place(lon, lat, RADIUS_M)))
    return found


def test_stay_points_are_covered_by_visits(tracks, stays, sqlite_engine, proof):
    assert len(stays) == 24
    places = [stay.place for stay in stays]
    visits = taken(sqlite_engine, tracks, places, seed=7)
    assert visits == wanted(tracks, places)
    early_s, late_s, silent = [], [], 0
    for n, stay in enumerate(stays):
        own = visits[stay.who, n]
        [first] = [v for v in own if v.arrived_ms <= stay.began_ms <= v.left_ms]
        [last] = [v for v in own if v.arrived_ms <= stay.ended_ms <= v.left_ms]
        assert stay_fixes(tracks, stay) == fixes_within(tracks, stay)
        if first is not last:
            silent += 1
            assert last.arrived_ms - first.left_ms > GAP_MS
        early_s.append((stay.began_ms - first.arrived_ms) / 1000)
        late_s.append((last.left_ms - stay.ended_ms) / 1000)
    assert silent == 1
    assert min(early_s) == 39  # who arrives walks the last 100 m
    assert sum(seconds <= WALK_S for seconds in early_s) == 13
    assert min(late_s) == 0
    assert sum(seconds == 0 for seconds in late_s) == 11
    assert sum(seconds <= WALK_S for seconds in late_s) == 15
    proof("P6: trackintel's stay points of GeoLife, each covered by visits of its place", len(stays))


def stay_fixes(tracks: list[Track], stay: Stay) -> int:
    """How many fixes its person has while it lasts."""
    [track] = [track for track in tracks if track.who == stay.who]
    return int(((track.at_ms >= stay.began_ms) & (track.at_ms <= stay.ended_ms)).sum())


def fixes_within(tracks: list[Track], stay: Stay) -> int:
    """… and how many of them lie within 100 m of its place."""
    [track] = [track for track in tracks if track.who == stay.who]
    during = (track.at_ms >= stay.began_ms) & (track.at_ms <= stay.ended_ms)
    return int((during & (track.distance_m(stay.place) <= RADIUS_M)).sum())
