"""Itineraries: where each walker means to be and when; the truth behind the demo's pings.

A day is a row of slots (coffee on the way, work, lunch, work again, two errands, home). Chance says
which of them happen, where, and how long; the clock follows. Times are seconds after the local
midnight on which the walk begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: metres of one degree of latitude, the mean of WGS84: walks are drawn, not measured
DEGREE_M = 111_195.0
HOUR_S = 3_600.0
DAY_S = 24 * HOUR_S
SLOTS = ("coffee", "work_am", "lunch", "work_pm", "errand", "second_errand", "home")
#: per errand: (chance on a working day, chance on a free day, median stay in min, spread of its log)
ERRANDS = {
    "coffee": (0.24, 0.0, 9.0, 0.35),
    "lunch": (0.48, 0.45, 36.0, 0.35),
    "errand": (0.45, 0.55, 26.0, 0.60),
    "second_errand": (0.16, 0.30, 16.0, 0.50),
}
SHORTEST_ERRAND_S, LONGEST_ERRAND_S = 240.0, 7_200.0
#: shortest stay at home and at work, however late one comes
ANCHOR_LEAST_S = 1_200.0
WORKERS_SHARE = 0.78
WALKERS_AN_ESTATE = 25
#: longer ways are ridden between two stops; the way to and from a stop is walked
LONGEST_WALK_M = 1_300.0
UNDERGROUND_SHARE = 0.8
WAIT_S = 180.0


@dataclass(frozen=True, kw_only=True)
class PlaceColumns:
    """Stores to walk to: `lon`, `lat` in degrees, `radius_m` of the fence; shape (places,) each."""

    lon: Floats
    lat: Floats
    radius_m: Floats


@dataclass(frozen=True, kw_only=True)
class Stays:
    """Intended stays in order, one row a walker; arrays of shape (walkers, most stays).

    Attributes:
        lon, lat: degrees, where the walker truly is.
        place: row of the place, -1 at home and at work.
        arrive_s, leave_s: `[arrive, leave)`.
        present: False in the cells after a walker's last stay.
        gait_mps: walking speed on the way here.
        access_m: walked to and from a stop on the way here; 0 when all of it is walked.
        underground: the ride here has no sky.
    """

    lon: Floats
    lat: Floats
    place: Ints
    arrive_s: Floats
    leave_s: Floats
    present: Bools
    gait_mps: Floats
    access_m: Floats
    underground: Bools


@dataclass(frozen=True, kw_only=True)
class _Anchors:
    """Homes and desks, shape (walkers,), and ladders of chance over places, (walkers, places)."""

    home_lon: Floats
    home_lat: Floats
    work_lon: Floats
    work_lat: Floats
    works: Bools
    near_home: Floats
    near_work: Floats


def offset(*, lon: Floats, lat: Floats, away_m: Floats, turn: Floats) -> tuple[Floats, Floats]:
    """(lon, lat) of the points `away_m` off in direction `turn` (radians; east 0, north π/2)."""
    north = away_m * np.sin(turn) / DEGREE_M
    east = away_m * np.cos(turn) / (DEGREE_M * np.cos(np.radians(lat)))
    return lon + east, lat + north


def distance_m(*, lon: Floats, lat: Floats, to_lon: Floats, to_lat: Floats) -> Floats:
    """Distance on a plane at `lat`, good to 1 % within a city; shapes broadcast."""
    return np.asarray(
        np.hypot((to_lon - lon) * np.cos(np.radians(lat)), to_lat - lat) * DEGREE_M, dtype=float
    )


def plan(
    rng: np.random.Generator, *, walkers: int, first_day: date, days: int, places: PlaceColumns
) -> Stays:
    """Stays of `walkers` for `days` local days from `first_day`; all begin and end at home.

    `places` has at least one row; memory grows with walkers × places (a few thousand places).
    """
    anchors = _settle(rng, walkers, places)
    parts = [_dawn(anchors)]
    for day in range(days):
        weekend = (first_day + timedelta(days=day)).weekday() >= 5
        parts.append(_day(rng, anchors, places, weekend=weekend, midnight_s=day * DAY_S))
    wanted = _Wanted(
        **{
            name: np.concatenate([getattr(part, name) for part in parts], axis=1)
            for name in _Wanted.__dataclass_fields__
        }
    )
    return _clock(rng, _pack(wanted), end_s=days * DAY_S)


def _settle(rng: np.random.Generator, walkers: int, places: PlaceColumns) -> _Anchors:
    """Homes in estates some kilometres off the stores; desks near stores of the same city."""
    estates = max(4, walkers // WALKERS_AN_ESTATE)
    beside = rng.integers(places.lon.size, size=estates)
    estate_lon, estate_lat = offset(
        lon=places.lon[beside],
        lat=places.lat[beside],
        away_m=1_000 + rng.gamma(2.0, 1_200.0, estates),
        turn=rng.uniform(0, 2 * np.pi, estates),
    )
    estate = rng.integers(estates, size=walkers)
    home_lon, home_lat = offset(
        lon=estate_lon[estate],
        lat=estate_lat[estate],
        away_m=rng.rayleigh(300.0, walkers),
        turn=rng.uniform(0, 2 * np.pi, walkers),
    )
    pull = rng.lognormal(0.0, 0.7, places.lon.size)
    desk = _draw(rng, _ladder(home_lon, home_lat, places, pull, reach_m=6_000.0))
    work_lon, work_lat = offset(
        lon=places.lon[desk],
        lat=places.lat[desk],
        away_m=rng.uniform(60.0, 420.0, walkers),
        turn=rng.uniform(0, 2 * np.pi, walkers),
    )
    return _Anchors(
        home_lon=home_lon,
        home_lat=home_lat,
        work_lon=work_lon,
        work_lat=work_lat,
        works=rng.random(walkers) < WORKERS_SHARE,
        near_home=_ladder(home_lon, home_lat, places, pull, reach_m=2_500.0),
        near_work=_ladder(work_lon, work_lat, places, pull, reach_m=300.0),
    )


def _ladder(lon: Floats, lat: Floats, places: PlaceColumns, pull: Floats, *, reach_m: float) -> Floats:
    """Running sums of each place's chance seen from each walker, ending at 1."""
    away_m = distance_m(lon=lon[:, None], lat=lat[:, None], to_lon=places.lon, to_lat=places.lat)
    # counted from the nearest place, so that a far walker does not underflow to no chance at all
    chance = pull * np.exp(-(away_m - away_m.min(axis=1, keepdims=True)) / reach_m)
    rungs = np.cumsum(chance, axis=1)
    return np.asarray(rungs / rungs[:, -1:], dtype=float)


def _draw(rng: np.random.Generator, ladder: Floats) -> Ints:
    """A place for each walker; the last rung is exactly 1, so every draw finds one."""
    return np.asarray((ladder <= rng.random((len(ladder), 1))).sum(axis=1), dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """What is wished for, before the clock runs; arrays of shape (walkers, slots).

    Attributes:
        least_s: shortest time in the slot.
        set_off_s: from home or work one sets off for this slot no sooner; -inf: at once.
    """

    lon: Floats
    lat: Floats
    place: Ints
    least_s: Floats
    set_off_s: Floats
    present: Bools


def _dawn(anchors: _Anchors) -> _Wanted:
    one = (anchors.home_lon.size, 1)
    return _Wanted(
        lon=anchors.home_lon[:, None],
        lat=anchors.home_lat[:, None],
        place=np.full(one, -1),
        least_s=np.full(one, ANCHOR_LEAST_S),
        set_off_s=np.full(one, -np.inf),
        present=np.full(one, True),
    )


def _day(
    rng: np.random.Generator,
    anchors: _Anchors,
    places: PlaceColumns,
    *,
    weekend: bool,
    midnight_s: float,
) -> _Wanted:
    """One day's slots.

    Without a lunch out, work is one stay (`work_pm`). On a free day `work_pm` is the rest at home
    between a lunch out and the errands.
    """
    walkers = anchors.works.size
    busy = anchors.works & (rng.random(walkers) < (0.08 if weekend else 0.95))
    shape = (walkers, len(SLOTS))
    lon = np.repeat(anchors.home_lon[:, None], len(SLOTS), axis=1)
    lat = np.repeat(anchors.home_lat[:, None], len(SLOTS), axis=1)
    place = np.full(shape, -1)
    least_s = np.full(shape, ANCHOR_LEAST_S)
    present = np.zeros(shape, dtype=bool)
    present[:, -1] = True
    for name, (on_busy, on_free, median_min, spread) in ERRANDS.items():
        slot = SLOTS.index(name)
        present[:, slot] = rng.random(walkers) < np.where(busy, on_busy, on_free)
        from_desk = busy & ((name in {"coffee", "lunch"}) | (rng.random(walkers) < 0.45))
        ladder = np.where(from_desk[:, None], anchors.near_work, anchors.near_home)
        place[:, slot] = _draw(rng, ladder)
        lon[:, slot], lat[:, slot] = _counter(rng, places, place[:, slot])
        stay_s = 60 * rng.lognormal(np.log(median_min), spread, walkers)
        least_s[:, slot] = np.clip(stay_s, SHORTEST_ERRAND_S, LONGEST_ERRAND_S)
    am, lunch, pm = SLOTS.index("work_am"), SLOTS.index("lunch"), SLOTS.index("work_pm")
    present[:, am], present[:, pm] = busy & present[:, lunch], busy | present[:, lunch]
    for slot in (am, pm):
        lon[:, slot] = np.where(busy, anchors.work_lon, anchors.home_lon)
        lat[:, slot] = np.where(busy, anchors.work_lat, anchors.home_lat)
    set_off_s = midnight_s + HOUR_S * _hours_to_set_off(rng, busy, present[:, lunch])
    return _Wanted(lon=lon, lat=lat, place=place, least_s=least_s, set_off_s=set_off_s, present=present)


def _counter(rng: np.random.Generator, places: PlaceColumns, row: Ints) -> tuple[Floats, Floats]:
    """Where in the store one stands: within a quarter of its radius and 25 m of its middle."""
    return offset(
        lon=places.lon[row],
        lat=places.lat[row],
        away_m=np.minimum(places.radius_m[row] / 4, 25.0) * np.sqrt(rng.random(row.size)),
        turn=rng.uniform(0, 2 * np.pi, row.size),
    )


def _hours_to_set_off(rng: np.random.Generator, busy: Bools, lunches: Bools) -> Floats:
    """The local hour before which one does not set off from home or work for each slot."""
    walkers = busy.size
    hours = np.full((walkers, len(SLOTS)), -np.inf)
    leave_home = np.where(busy, rng.normal(7.8, 0.65, walkers), rng.normal(11.6, 1.1, walkers))
    errand_time = np.where(busy, rng.normal(18.3, 0.7, walkers), rng.normal(16.8, 1.3, walkers))
    hours[:, SLOTS.index("coffee")] = leave_home
    hours[:, SLOTS.index("work_am")] = leave_home
    hours[:, SLOTS.index("lunch")] = np.where(busy, rng.normal(12.1, 0.3, walkers), leave_home)
    hours[:, SLOTS.index("work_pm")] = np.where(lunches, -np.inf, leave_home)
    hours[:, SLOTS.index("errand")] = errand_time
    hours[:, SLOTS.index("second_errand")] = errand_time
    hours[:, SLOTS.index("home")] = np.where(busy | lunches, errand_time, -np.inf)
    return hours


def _pack(wanted: _Wanted) -> _Wanted:
    """Present stays first, in their order; the width is that of the busiest walker."""
    order = np.argsort(~wanted.present, axis=1, kind="stable")
    width = int(wanted.present.sum(axis=1).max())
    return _Wanted(
        **{
            name: np.take_along_axis(getattr(wanted, name), order, axis=1)[:, :width]
            for name in _Wanted.__dataclass_fields__
        }
    )


def _clock(rng: np.random.Generator, wanted: _Wanted, *, end_s: float) -> Stays:
    """Walk through the stays in order: arrive, stay, leave for the next one at its hour."""
    shape = wanted.lon.shape
    gait_mps = rng.uniform(1.2, 1.5, shape)
    ahead = np.pad(
        distance_m(
            lon=wanted.lon[:, :-1],
            lat=wanted.lat[:, :-1],
            to_lon=wanted.lon[:, 1:],
            to_lat=wanted.lat[:, 1:],
        ),
        ((0, 0), (1, 0)),
    )
    access_m = np.where(ahead > LONGEST_WALK_M, rng.uniform(180.0, 480.0, shape), 0.0)
    ride_s = WAIT_S + (ahead - access_m) / rng.uniform(6.5, 10.5, shape)
    travel_s = np.where(access_m > 0, 2 * access_m / gait_mps + ride_s, ahead / gait_mps)
    arrive_s, leave_s = np.zeros(shape), np.full(shape, end_s)
    for stay in range(1, shape[1]):
        free_s = arrive_s[:, stay - 1] + wanted.least_s[:, stay - 1]
        waits = wanted.place[:, stay - 1] < 0
        leave_s[:, stay - 1] = np.where(waits, np.maximum(free_s, wanted.set_off_s[:, stay]), free_s)
        arrive_s[:, stay] = leave_s[:, stay - 1] + travel_s[:, stay]
    last = wanted.present & ~np.pad(wanted.present[:, 1:], ((0, 0), (0, 1)))
    return Stays(
        lon=wanted.lon,
        lat=wanted.lat,
        place=np.where(wanted.present, wanted.place, -1),
        arrive_s=arrive_s,
        leave_s=np.where(last, np.maximum(end_s, arrive_s), leave_s),
        present=wanted.present,
        gait_mps=gait_mps,
        access_m=access_m,
        underground=rng.random(shape) < UNDERGROUND_SHARE,
    )
