"""The demo's walks: the same from a seed, plausible as people, honest as phones."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from api.demo import itineraries, phones
from api.demo.itineraries import PlaceColumns, distance_m
from api.demo.walks import PLATFORMS, SEOUL, ZERO_AD_ID, BadWalk, WalkColumns, generate

MONDAY = datetime(2026, 11, 23, tzinfo=SEOUL)
MINUTE_MS = 60_000


def two_cities() -> PlaceColumns:
    """Sixty stores in Seoul and Busan; drawn here, so that the walks do not lean on the fixture."""
    rng = np.random.default_rng(5)
    return PlaceColumns(
        lon=np.r_[126.98 + 0.09 * rng.random(45), 129.05 + 0.05 * rng.random(15)],
        lat=np.r_[37.50 + 0.07 * rng.random(45), 35.15 + 0.03 * rng.random(15)],
        radius_m=np.full(60, 100.0),
    )


@pytest.fixture(scope="module")
def walk() -> WalkColumns:
    return generate(seed=11, devices=600, days=2, start=MONDAY, places=two_cities())


def columns(walk: WalkColumns) -> dict[str, np.ndarray]:
    names = ("device", "lon", "lat", "accuracy_m", "at_ms", "sent_ms", "platform")
    return {name: getattr(walk, name) for name in names}


def test_a_seed_gives_the_same_walks_and_another_seed_others(walk: WalkColumns) -> None:
    again = generate(seed=11, devices=600, days=2, start=MONDAY, places=two_cities())
    for name, column in columns(walk).items():
        np.testing.assert_array_equal(column, getattr(again, name), err_msg=name)
    for name in ("device", "place", "from_ms", "until_ms"):
        np.testing.assert_array_equal(getattr(walk.truth, name), getattr(again.truth, name))
    assert walk.walkers.ad_ids == again.walkers.ad_ids
    other = generate(seed=12, devices=600, days=2, start=MONDAY, places=two_cities())
    assert other.at_ms.size != walk.at_ms.size or not np.array_equal(other.lon, walk.lon)


def test_the_demos_size_is_what_the_replay_is_planned_for() -> None:
    full = generate(seed=1, start=MONDAY, places=two_cities())
    assert 350_000 <= full.at_ms.size <= 450_000
    assert len(full.walkers.device_ids) == len(set(full.walkers.device_ids)) == 2000
    assert np.unique(full.device).size > 1_950


def test_rows_stand_in_time_order_and_inside_the_period(walk: WalkColumns) -> None:
    order = np.lexsort((walk.device, walk.at_ms))
    np.testing.assert_array_equal(walk.at_ms, walk.at_ms[order])
    np.testing.assert_array_equal(walk.device, walk.device[order])
    begin_ms = int(MONDAY.timestamp() * 1000)
    assert walk.at_ms.min() >= begin_ms
    assert walk.at_ms.max() < begin_ms + 2 * 86_400_000
    assert len({column.size for column in columns(walk).values()}) == 1
    assert np.isfinite(walk.lon).all()
    assert np.isfinite(walk.lat).all()


@pytest.mark.parametrize("hour", [0, 9, 23])
def test_a_walk_may_begin_at_any_hour_in_any_zone(hour: int) -> None:
    start = datetime(2026, 11, 22, hour, 30, 15, 250_000, tzinfo=UTC)
    walk = generate(seed=3, devices=80, days=1, start=start, places=two_cities())
    begin_ms = round(start.timestamp() * 1000)
    assert begin_ms <= walk.at_ms.min() < begin_ms + 60 * MINUTE_MS
    assert begin_ms + 1_380 * MINUTE_MS < walk.at_ms.max() < begin_ms + 86_400_000
    assert walk.truth.from_ms.min() >= begin_ms
    assert walk.truth.until_ms.max() <= begin_ms + 86_400_000


def test_pings_arrive_after_they_were_made_mostly_at_once(walk: WalkColumns) -> None:
    delay_ms = walk.sent_ms - walk.at_ms
    assert delay_ms.min() > 0
    assert 0.02 < (delay_ms > MINUTE_MS).mean() < 0.06
    assert 0 < (delay_ms > 10 * MINUTE_MS).mean() < 0.01
    arrivals = walk.sent_ms[walk.arrival_order()]
    assert (np.diff(arrivals) >= 0).all()
    assert (np.diff(walk.at_ms[walk.arrival_order()]) < 0).any()


def test_one_ping_in_a_hundred_comes_twice_word_for_word(walk: WalkColumns) -> None:
    key = walk.device.astype(np.int64) * 10**14 + walk.at_ms
    order = np.lexsort((walk.sent_ms, key))
    same = np.flatnonzero(np.diff(key[order]) == 0)
    first, second = order[same], order[same + 1]
    assert 0.006 < same.size / key.size < 0.014
    for name in ("lon", "lat", "accuracy_m", "platform"):
        column = getattr(walk, name)
        np.testing.assert_array_equal(column[first], column[second])
    assert (walk.sent_ms[second] > walk.sent_ms[first]).all()


def test_people_have_ids_and_consents_as_people_do(walk: WalkColumns) -> None:
    people = walk.walkers
    np.testing.assert_array_equal(walk.platform, people.platform[walk.device])
    web = people.platform == PLATFORMS.index("web")
    assert [ad_id is None for ad_id in people.ad_ids] == web.tolist()
    assert 1 <= people.ad_ids.count(ZERO_AD_ID) < 40
    others = [ad_id for ad_id in people.ad_ids if ad_id not in {None, ZERO_AD_ID}]
    assert len(set(others)) == len(others)
    users = [user for user in people.user_ids if user is not None]
    assert 0.3 < len(users) / 600 < 0.5
    assert len(set(users)) < len(users)
    assert not (people.night & ~people.marketing).any()
    assert 0.6 < people.marketing.mean() < 0.85


def test_no_phone_jumps_or_stands_on_anothers_spot(walk: WalkColumns) -> None:
    """Honest walks must not look like spoofing (product P8)."""
    order = np.lexsort((walk.at_ms, walk.device))
    lon, lat, device = walk.lon[order], walk.lat[order], walk.device[order]
    step_m = distance_m(lon=lon[:-1], lat=lat[:-1], to_lon=lon[1:], to_lat=lat[1:])
    fixed_s = np.diff(walk.at_ms[order]) / 1000
    jump = (device[:-1] == device[1:]) & (step_m > 5_000) & (step_m > 60 * fixed_s)
    assert not jump.any()
    spots = np.unique(np.c_[walk.lon, walk.lat], axis=0, return_counts=True)[1]
    assert spots.max() <= 2


def test_the_truth_is_one_place_at_a_time_and_the_pings_lie_there(walk: WalkColumns) -> None:
    truth, places = walk.truth, two_cities()
    same = truth.device[1:] == truth.device[:-1]
    assert (truth.from_ms[1:] >= truth.until_ms[:-1])[same].all()
    minutes = (truth.until_ms - truth.from_ms) / MINUTE_MS
    assert minutes.max() <= 120
    assert 15 < np.median(minutes) < 40
    near = []
    for stay in range(0, truth.place.size, 7):
        row = (walk.device == truth.device[stay]) & (walk.at_ms >= truth.from_ms[stay])
        row &= (walk.at_ms < truth.until_ms[stay]) & (walk.accuracy_m < 50)
        place = truth.place[stay]
        near.append(
            distance_m(
                lon=walk.lon[row],
                lat=walk.lat[row],
                to_lon=places.lon[place],
                to_lat=places.lat[place],
            )
        )
    away_m = np.concatenate(near)
    assert away_m.size > 300
    assert (away_m < 100).mean() > 0.995


def test_weekdays_have_a_lunch_hour_and_nights_are_at_home() -> None:
    week = generate(seed=8, devices=300, days=7, start=MONDAY, places=two_cities())
    local = (week.truth.from_ms - int(MONDAY.timestamp() * 1000)) / 3_600_000
    hour, day = local % 24, local // 24
    lunches = np.bincount(day[(hour > 11.5) & (hour < 13.5)].astype(int), minlength=7)
    assert lunches[:5].mean() > 1.3 * lunches[5:].mean()
    assert ((hour > 1) & (hour < 5)).mean() < 0.005
    # one walker's night fixes keep to one spot
    asleep = ((week.at_ms - int(MONDAY.timestamp() * 1000)) / 3_600_000 % 24 < 5) & (
        week.accuracy_m < 30
    )
    for device in range(0, 300, 25):
        mine = asleep & (week.device == device)
        assert np.ptp(week.lat[mine]) * itineraries.DEGREE_M < 250


def test_walkers_live_some_way_off_and_in_a_city_with_stores(walk: WalkColumns) -> None:
    places = two_cities()
    night = (walk.at_ms - int(MONDAY.timestamp() * 1000)) < 5 * 3_600_000
    away_m = distance_m(
        lon=walk.lon[night][:, None],
        lat=walk.lat[night][:, None],
        to_lon=places.lon,
        to_lat=places.lat,
    ).min(axis=1)
    assert 500 < np.median(away_m) < 6_000
    assert away_m.max() < 30_000


def itinerary(walkers: int = 200) -> itineraries.Stays:
    rng = np.random.default_rng(2)
    return itineraries.plan(
        rng, walkers=walkers, first_day=date(2026, 11, 23), days=3, places=two_cities()
    )


def test_stays_follow_one_another_and_feet_keep_their_pace() -> None:
    stays = itinerary()
    go, come = stays.present[:, :-1] & stays.present[:, 1:], stays.present[:, 1:]
    assert (go == come).all()
    assert (stays.leave_s >= stays.arrive_s)[stays.present].all()
    travel_s = stays.arrive_s[:, 1:] - stays.leave_s[:, :-1]
    assert (travel_s[come] >= 0).all()
    way_m = distance_m(
        lon=stays.lon[:, :-1], lat=stays.lat[:, :-1], to_lon=stays.lon[:, 1:], to_lat=stays.lat[:, 1:]
    )
    walked = come & (stays.access_m[:, 1:] == 0) & (way_m > 1)
    pace_mps = way_m[walked] / travel_s[walked]
    assert pace_mps.min() > 1.199
    assert pace_mps.max() < 1.501
    ridden = come & (stays.access_m[:, 1:] > 0)
    assert walked.sum() > 100
    assert ridden.sum() > 100
    assert (way_m[ridden] > itineraries.LONGEST_WALK_M).all()
    assert (way_m[ridden] / travel_s[ridden]).max() < 10.5


def test_phones_look_often_on_the_move_and_seldom_at_rest() -> None:
    ways = phones.segments(np.random.default_rng(4), itinerary())
    fixes = phones.sample(np.random.default_rng(4), ways, 200, 3)
    gap_s = np.diff(fixes.at_s)[fixes.device[1:] == fixes.device[:-1]]
    both = (fixes.device[1:] == fixes.device[:-1]) & fixes.moving[1:] & fixes.moving[:-1]
    moving_s = np.diff(fixes.at_s)[both]
    assert gap_s.min() > 0
    # the others lie about a stop: the ride underground, or the last steps before it
    assert ((moving_s >= 60) & (moving_s <= 90)).mean() > 0.85
    rest = (fixes.device[1:] == fixes.device[:-1]) & ~fixes.moving[1:] & ~fixes.moving[:-1]
    rest_s = np.diff(fixes.at_s)[rest]
    awake, dozing = (rest_s >= 480) & (rest_s <= 720), (rest_s >= 1_380) & (rest_s <= 1_620)
    assert (awake | dozing).mean() > 0.75
    assert awake.sum() > 500


def test_errors_are_as_large_as_the_phone_says() -> None:
    """Accuracy is the 68 % radius of android, the root of both variances of ios, 95 % in a browser."""
    size = 60_000
    rng = np.random.default_rng(9)
    fixes = phones.Fixes(
        device=np.arange(size),
        at_s=np.zeros(size),
        lon=np.zeros(size),
        lat=np.zeros(size),
        moving=np.zeros(size, dtype=bool),
    )
    for platform, within in ((0, 0.68), (1, 0.63), (2, 0.95)):
        accuracy_m, sigma_m = phones.accuracy(rng, fixes, np.full(size, platform, dtype=np.uint8))
        error_m = sigma_m * np.hypot(*phones.drift(rng, fixes.device, fixes.at_s))
        known = ~np.isnan(accuracy_m)
        assert (error_m <= accuracy_m)[known].mean() == pytest.approx(within, abs=0.02)
        assert 11.5 < np.median(accuracy_m[known]) < 13
        assert 0.02 < (accuracy_m[known] >= 100).mean() < 0.04
        assert 0.003 < 1 - known.mean() < 0.01


def test_the_drift_is_the_plain_recursion_and_fades() -> None:
    rng = np.random.default_rng(6)
    device = np.repeat(np.arange(40), rng.integers(1, 60, 40))
    at_s = np.cumsum(rng.uniform(5, 400, device.size))
    east, north = phones.drift(np.random.default_rng(1), device, at_s)
    shocks = np.random.default_rng(1).standard_normal((2, device.size))
    for axis, error in enumerate((east, north)):
        state = 0.0
        for row in range(device.size):
            new = row == 0 or device[row] != device[row - 1]
            keep = 0.0 if new else np.exp(-(at_s[row] - at_s[row - 1]) / phones.ERROR_MEMORY_S)
            state = keep * state + np.sqrt(1 - keep**2) * shocks[axis, row]
            assert error[row] == pytest.approx(state, abs=1e-12)
    alone = np.zeros(40_000, dtype=np.int64)
    steady, _ = phones.drift(rng, alone, 60.0 * np.arange(alone.size))
    assert np.corrcoef(steady[1:], steady[:-1])[0, 1] == pytest.approx(np.exp(-1), abs=0.03)
    assert np.std(steady) == pytest.approx(1.0, abs=0.03)


def test_one_phone_and_one_store_are_enough() -> None:
    alone = PlaceColumns(lon=np.array([127.0]), lat=np.array([37.5]), radius_m=np.array([50.0]))
    walk = generate(seed=0, devices=1, days=1, start=MONDAY, places=alone)
    assert set(walk.device.tolist()) <= {0}
    assert set(walk.truth.place.tolist()) <= {0}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"devices": 0}, "devices"),
        ({"days": 0}, "days"),
        ({"start": datetime(2026, 11, 23)}, "time zone"),  # noqa: DTZ001
        (
            {"places": PlaceColumns(lon=np.empty(0), lat=np.empty(0), radius_m=np.empty(0))},
            "places",
        ),
        (
            {"places": PlaceColumns(lon=np.ones(2), lat=np.ones(2), radius_m=np.ones(1))},
            "one length",
        ),
    ],
)
def test_what_cannot_be_walked_is_refused_with_its_reason(change: dict[str, object], says: str) -> None:
    arguments = {"seed": 1, "devices": 2, "days": 1, "start": MONDAY, "places": two_cities()}
    with pytest.raises(BadWalk, match=says):
        generate(**{**arguments, **change})  # type: ignore[arg-type]


def test_days_are_counted_from_the_start_not_from_midnight() -> None:
    start = MONDAY + timedelta(hours=15)
    walk = generate(seed=2, devices=60, days=1, start=start, places=two_cities())
    hours = (walk.at_ms - int(start.timestamp() * 1000)) // 3_600_000
    assert set(hours.tolist()) == set(range(24))
