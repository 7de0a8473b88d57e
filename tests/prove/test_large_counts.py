"""The promises proven with large counts: `make prove` runs them, docs/proofs.md shows them."""

from __future__ import annotations

import random
import threading

import pytest
import sqlalchemy as sa
from hypothesis import given, settings

from geo.matching.index import FenceIndex
from nearcast.store.engine import make_engine, reading
from nearcast.store.tables import decision, delivery
from tests.api.test_kill import bodies, replayed
from tests.geo.matching.test_cells_twin import differing
from tests.geo.matching.test_index_twin import found_by_index, found_plainly
from tests.services.test_take_pings import check_any_order, walks
from tests.services.test_upload_fuzz import check_many
from tests.services.test_upload_kills import STEPS, kills_on_postgresql, kills_on_sqlite
from tests.strategies import cases
from tests.world import GANGNAM, World, north
from tests.worlds import world

pytestmark = pytest.mark.prove


def test_index_and_brute_force(proof):
    count = 0

    @settings(max_examples=3_000)
    @given(cases())
    def equal(case):
        nonlocal count
        count += len(case.lon)
        assert found_by_index(case) == found_plainly(case)

    equal()
    proof("F8, P2: pings on rims, edges, vertices, 180° and poles: the index equals brute force", count)


@pytest.mark.parametrize("first", range(0, 25_000, 5_000))
def test_cells_and_brute_force(first, proof):
    count = 0
    for seed in range(first, first + 5_000):
        drawn = world(1_000_000 + seed)
        index = FenceIndex.build(drawn.versions).compile()
        assert differing(index, drawn) == set(), seed
        count += len(drawn.lon)
    proof(
        "P2: pings at rims, edges, corners, cell borders, 180° and poles: cells equal brute force", count
    )


@pytest.mark.parametrize(("database", "rounds"), [("sqlite", 200), ("postgresql", 40)])
def test_orders(database, rounds, request, tmp_path_factory, proof):
    """Any order, split and repetition gives the visits of the O(n²) oracle."""
    count = 0

    @settings(max_examples=rounds)
    @given(pings=walks)
    def same(pings):
        nonlocal count
        if database == "sqlite":
            path = tmp_path_factory.mktemp("order") / "n.db"
            path.write_bytes(request.getfixturevalue("sqlite_template").read_bytes())
            engine = make_engine(f"sqlite:///{path}")
        else:
            server = request.getfixturevalue("postgres")
            name = server.create(request.getfixturevalue("postgres_template"))
            engine = make_engine(server.url(name))
        try:
            chance = random.Random(len(pings))
            check_any_order(World(engine), pings, chance, chance.randint(1, 12))
            count += 1
        finally:
            engine.dispose()
            if database == "postgresql":
                server.drop(name)

    same()
    proof(f"P5, Q4: shuffled, split and repeated walks on {database}: visits of the oracle", count)


def test_kills(sqlite_template, tmp_path, proof):
    sent = bodies()
    ends = []
    for name, kills in (("clean", 0), ("killed", 12)):
        path = tmp_path / f"{name}.db"
        path.write_bytes(sqlite_template.read_bytes())
        ends.append(replayed(f"sqlite:///{path}", tmp_path, sent, kills=kills))
    assert ends[0] == ends[1]
    proof("Q1, Q2: kill -9 during a replay, then the whole replay again: as one clean replay", 12)


def test_caps_under_races(engine, proof):
    """200 phones of one person trigger at once from eight processes' threads: one message."""
    world = World(engine)
    fence = world.fence("강남", GANGNAM)
    world.campaign(targeting={"fence_ids": [fence]})
    # each with connections of its own, as processes have
    url = engine.url.render_as_string(hide_password=False)
    engines = [make_engine(url) for _ in range(8)]
    worlds = [World(own, world.clock) for own in engines]
    errors = []

    def work(own, share):
        try:
            for n in share:
                # a step apart: twenty phones on one spot would be suspect
                spot = north(GANGNAM, n / 10)
                own.post([{"who": f"p{n}", "user_id": "u-1", "at": spot, "min": 0}])
        except Exception as error:
            errors.append(error)
            raise

    threads = [
        threading.Thread(target=work, args=[own, range(n, 200, len(worlds))])
        for n, own in enumerate(worlds)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for own in engines:
        own.dispose()
    assert errors == []
    counted = sa.select(decision.c.reason, sa.func.count()).group_by(decision.c.reason)
    reasons = dict(reading(engine, lambda c: [tuple(r) for r in c.execute(counted)]))
    assert reasons == {"sent": 1, "frequency_capped": 199}
    assert reading(engine, lambda c: c.execute(sa.select(sa.func.count(delivery.c.id))).scalar()) == 1
    proof(f"Q8: parallel triggers of one person, cap 1, on {engine.dialect.name}: exactly 1", 200)


@pytest.mark.parametrize("step", STEPS)
def test_uploads_killed_at_every_moment(
    step, sqlite_template, postgres, postgres_template, tmp_path, proof
):
    count = kills_on_sqlite(sqlite_template, tmp_path, step, 50)
    count += kills_on_postgresql(postgres, postgres_template, step, 10)
    proof(f"U4: {step} of an upload killed at this many moments: all or nothing, then finished", count)


def test_damaged_uploads(sqlite_template, tmp_path, proof):
    path = tmp_path / "nearcast.db"
    path.write_bytes(sqlite_template.read_bytes())
    count = sum(check_many(f"sqlite:///{path}", 130, seed) for seed in range(10))
    proof("U2, U7: damaged files of 13 kinds: each is read or refused, none is a fault of ours", count)
