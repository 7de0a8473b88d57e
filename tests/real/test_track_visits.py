"""GeoLife and GPX tracks: the visits are those of an oracle that measures every distance."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime

import numpy as np
import pytest

from api.commands import recordings
from api.commands.recordings import UnreadableRecording
from tests.real.tracks import Track, along, data, taken, wanted
from tests.world import START_MS

pytestmark = [pytest.mark.real, pytest.mark.slow]

#: of gpxpy's 28 files those with points of ten instants and more; all of Mojstrovka's 184 are of 1901
GPX = {
    "around-visnjan-with-car.gpx": 104,
    "cerknicko-jezero-no-creator.gpx": 296,
    "cerknicko-jezero-with-elevations-zero.gpx": 296,
    "cerknicko-jezero-without-elevations.gpx": 295,
    "cerknicko-jezero.gpx": 296,
    "first_and_last_elevation.gpx": 10,
    "korita-zbevnica.gpx": 513,
}


def track_of(who: str, pings: list[dict]) -> Track:
    """One fix an instant, moved to the day of the tests: the horizon holds no two years."""
    rows = {}
    for ping in pings:
        at_ms = round(datetime.fromisoformat(ping["at"]).timestamp() * 1000)
        rows.setdefault(at_ms, (float(ping["lng"]), float(ping["lat"])))
    lon, lat = np.array(list(rows.values())).T
    at_ms = np.array(list(rows))
    return Track(who, at_ms - at_ms[0] + START_MS, lon, lat)


@pytest.fixture(scope="module")
def gpx() -> list[Track]:
    found = []
    for path in sorted(data("gpx_tracks").glob("*.gpx")):
        try:
            pings = recordings.read(path).pings
        except UnreadableRecording:
            continue  # no timed point in it
        track = track_of(path.name, pings)
        if len(track.at_ms) >= 10:
            found.append(track)
    return found


def test_gpx_tracks_are_the_ones_we_know(gpx):
    assert {track.who: len(track.at_ms) for track in gpx} == GPX


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_gpx_tracks_in_time_order_and_shuffled(gpx, seed, engine, proof):
    # rims everywhere: each place's circle goes through other fixes of the same walk
    places = [place for track in gpx for r in (50.0, 120.0, 400.0) for place in along(track, 3, r)]
    found = taken(engine, gpx, places, seed=seed)
    assert found == wanted(gpx, places)
    count = sum(map(len, found.values()))
    assert count > 60
    proof("P5, P6: GPX tracks in time order and shuffled: visits of an oracle", count)


@pytest.fixture(scope="module")
def geolife() -> list[Track]:
    """The first 4,000 fixes of each of the two people of GeoLife's sample."""
    rows: dict[str, list] = {}
    with gzip.open(data("geolife_skmob", "geolife_sample.txt.gz"), "rt") as file:
        next(file)
        for line in file:
            lat, lng, at, who = line.strip().split(",")
            at_ms = round(datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp() * 1000)
            rows.setdefault(who, []).append((at_ms, float(lng), float(lat)))
    found = []
    for who, listed in rows.items():
        at_ms, lon, lat = zip(*listed[:4_000], strict=True)
        found.append(Track(who, np.array(at_ms), np.array(lon), np.array(lat)))
    return found


@pytest.mark.parametrize("seed", [None, 3])
def test_geolife_in_time_order_and_shuffled(geolife, seed, sqlite_engine, proof):
    places = [place for track in geolife for r in (60.0, 250.0) for place in along(track, 6, r)]
    found = taken(sqlite_engine, geolife, places, seed=seed)
    assert found == wanted(geolife, places)
    count = sum(map(len, found.values()))
    assert count > 60
    proof("P5, P6: GeoLife in time order and shuffled: visits of an oracle", count)
