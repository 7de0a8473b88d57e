"""The book of known devices: as the plain rule says, on both databases, by one process or two."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from campaigns.people.identity import Identity
from nearcast.services import device_book
from nearcast.services.device_book import DeviceBook
from nearcast.services.raw_pings import RawPings, words
from nearcast.store import device_words
from nearcast.store.engine import Conflict, in_transaction
from nearcast.store.tables import app, device
from tests.world import World

FIELDS = ["ad_id", "user_id", "location", "marketing", "night"]


@pytest.fixture
def world(engine):
    return World(engine)


def raw_of(pings):
    """Pings as (key, at_ms, words)."""
    n = len(pings)
    return RawPings(
        keys=[key for key, _, _ in pings],
        lon=np.full(n, 127.0),
        lat=np.full(n, 37.0),
        accuracy_m=np.full(n, 10.0),
        at_ms=np.array([at for _, at, _ in pings], np.int64),
        now_ms=np.full(n, 1_000_000, np.int64),
        platform=np.zeros(n, np.int8),
        mocked=np.zeros(n, bool),
        said=words([Identity(key=key, **said) for key, _, said in pings]),
    )


class Rolled(Exception):
    pass


class Process:
    """One process that takes batches, with a book of its own."""

    def __init__(self, world, **options):
        self.world = world
        self.book = DeviceBook(**options)
        self.asked = []

    def take(self, pings, *, fail=False, taken=None, refusing=None, rows=None):
        raw = raw_of(pings)

        def verb(conn):
            known = self.book.identify(conn, app_id=self.world.app_id, raw=raw, rows=rows)
            counted = np.ones(len(raw), bool) if taken is None else np.array(taken)
            settled = self.book.settle(conn, known, taken=counted, refusing=refusing)
            people = settled.who_at(range(len(raw)))
            self.book.write(conn, settled)
            if fail:
                raise Rolled
            return known, settled, people

        if fail:
            with pytest.raises(Rolled):
                in_transaction(self.world.engine, verb)
            return None
        known, settled, people = in_transaction(self.world.engine, verb)
        self.book.learn(settled)
        return known, settled, people


def stored(world):
    columns = [device.c[f"{name}_consent"] for name in FIELDS[2:]]
    query = sa.select(device.c.key, device.c.ad_id, device.c.user_id, *columns)
    with world.engine.connect() as conn:
        return {row[0]: tuple(row[1:]) for row in conn.execute(query)}


def said_ms(world):
    with world.engine.connect() as conn:
        return conn.execute(sa.select(device.c.said_ms)).scalar_one()


def versions(world):
    with world.engine.connect() as conn:
        return conn.execute(sa.select(app.c.words_version)).scalar_one()


def statements(engine):
    """The SQL that runs from now on."""
    seen = []
    sa.event.listen(engine, "before_cursor_execute", lambda c, cur, sql, *_: seen.append(sql))
    return seen


def test_a_new_device_is_met_once_and_asked_for_no_more(world):
    process = Process(world)
    known, settled, _ = process.take([("a", 10, {}), (None, 10, {}), ("b", 9, {}), ("a", 11, {})])
    assert known.serial.tolist() == [-1, -1, -1, -1]
    assert known.mark[0] == known.mark[3] != known.mark[2]
    assert (known.mark < 0).all()
    assert known.mark[1] == -1
    a, _, b, again = settled.serial.tolist()
    assert a == again != b
    assert settled.serial[1] == -1
    seen = statements(world.engine)
    known, settled, _ = process.take([("b", 12, {}), ("a", 12, {})])
    assert known.serial.tolist() == settled.serial.tolist() == known.mark.tolist() == [b, a]
    assert [sql for sql in seen if "device" in sql] == []


def test_a_rolled_back_batch_leaves_nothing(world):
    process = Process(world)
    process.take([("a", 10, {"user_id": "u1"})])
    process.take([("a", 11, {"user_id": "u2"}), ("b", 11, {})], fail=True)
    known, settled, people = process.take([("a", 12, {}), ("b", 12, {})])
    assert known.serial[1] == -1
    assert people == [("u1", None), (None, None)]
    assert settled.serial[1] >= 0
    assert stored(world)["a"][1] == "u1"
    assert len(process.book) == 2


def test_an_older_word_fills_only_what_nobody_has_said(world):
    process = Process(world)
    process.take([("a", 100, {"user_id": "new", "marketing": True})])
    _, _, people = process.take([("a", 50, {"user_id": "old", "ad_id": "ad", "marketing": False})])
    assert people == [("old", "ad")], "the person of a late ping is the word of its time"
    assert stored(world)["a"] == ("ad", "new", None, True, None)
    process.take([("a", 101, {"user_id": "newer"})])
    assert stored(world)["a"] == ("ad", "newer", None, True, None)


def test_words_heard_again_are_as_new_as_they_were_last_said(world):
    process = Process(world)
    process.take([("a", 100, {"user_id": "u1"})])
    process.take([("a", 200, {"user_id": "u1"})])
    assert said_ms(world) == 100, "not written down each time"
    process.take([("a", 150, {"user_id": "u2"})])
    assert stored(world)["a"][1] == "u1"
    assert said_ms(world) == 200
    before = versions(world)
    later_ms = 200 + device_book.REFRESH_MS + 1
    process.take([("a", later_ms - 10, {"user_id": "u1"})])
    assert said_ms(world) == 200
    process.take([("a", later_ms, {"user_id": "u1"})])
    assert said_ms(world) == later_ms
    assert versions(world) == before, "others need not hear of it"
    other = Process(world)
    other.take([("a", later_ms - 1, {"user_id": "u3"})])
    assert stored(world)["a"][1] == "u1"


def test_another_process_hears_what_has_changed(world):
    one, two = Process(world), Process(world)
    pings = [("a", 10, {}), ("b", 10, {"location": True}), ("c", 10, {})]
    one.take(pings)
    two.take(pings)
    one.take([("b", 20, {"location": False}), ("d", 20, {})])
    seen = statements(world.engine)
    known, _, _ = two.take([("a", 30, {}), ("b", 30, {}), ("c", 30, {})])
    assert known.location.tolist() == [-1, 0, -1]
    assert len([sql for sql in seen if "FROM device" in sql]) == 1
    two.take([("a", 40, {"user_id": "u"})])
    one.take([("c", 41, {"user_id": "v"})])
    _, _, people = one.take([("a", 50, {}), ("c", 50, {})])
    assert people == [("u", None), ("v", None)]
    _, _, people = two.take([("a", 50, {}), ("c", 50, {})])
    assert people == [("u", None), ("v", None)]


def test_own_changes_are_not_read_again(world):
    process = Process(world)
    process.take([("a", 10, {})])
    process.take([("a", 11, {"user_id": "u"})])
    seen = statements(world.engine)
    process.take([("a", 12, {})])
    assert [sql for sql in seen if "FROM device" in sql] == []


def test_what_another_process_said_meanwhile_is_merged(world):
    one, two = Process(world), Process(world)
    one.take([("a", 10, {}), ("b", 10, {})])
    two.take([("a", 10, {}), ("b", 10, {})])
    raw = raw_of([("a", 30, {"user_id": "u"})])

    def verb(conn):
        known = two.book.identify(conn, app_id=world.app_id, raw=raw)
        return two.book.settle(conn, known, taken=np.ones(1, bool))

    settled = in_transaction(world.engine, verb)
    one.take([("a", 20, {"ad_id": "x", "user_id": "other"})])
    one.take([("b", 20, {"user_id": "v"})])
    in_transaction(world.engine, lambda conn: two.book.write(conn, settled))
    two.book.learn(settled)
    assert stored(world)["a"][:2] == ("x", "u")
    # its own change is newer than both of the other's, which it has still to hear of
    _, _, people = two.take([("a", 40, {}), ("b", 40, {})])
    assert people == [("u", "x"), ("v", None)]


def test_two_processes_that_meet_one_device_conflict(world):
    one, two = Process(world), Process(world)
    raw = raw_of([("b", 9, {}), ("a", 10, {})])
    taken = np.ones(2, bool)
    known = in_transaction(
        world.engine, lambda conn: two.book.identify(conn, app_id=world.app_id, raw=raw)
    )
    one.take([("a", 10, {})])
    with world.engine.connect() as conn, pytest.raises(Conflict):
        two.book.settle(conn, known, taken=taken)
    _, settled, _ = two.take([("b", 9, {}), ("a", 10, {})])
    assert (settled.serial >= 0).all()
    assert sorted(stored(world)) == ["a", "b"]


def test_consent_is_the_own_word_else_the_newest_before_else_the_stored(world):
    process = Process(world)
    process.take([("a", 10, {"location": True}), ("c", 10, {"location": True})])
    known, _, _ = process.take(
        [
            ("a", 20, {}),
            ("a", 30, {"location": False}),
            ("a", 31, {}),
            ("a", 40, {"location": True}),
            ("a", 41, {}),
            ("b", 5, {}),
            ("b", 6, {"location": False}),
            ("b", 6, {}),
            ("c", 9, {"location": False}),
            ("c", 9, {}),
        ]
    )
    assert known.location.tolist() == [1, 0, 0, 1, 1, -1, 0, 0, 0, 1]
    known, _, _ = process.take([("a", 50, {}), ("b", 50, {}), ("c", 50, {}), ("z", 50, {})])
    assert known.location.tolist() == [1, 0, 1, -1]
    assert known.consent[0].tolist() == [1, 0, 1, -1]


def test_rejected_pings_say_nothing_but_a_refusal(world):
    process = Process(world)
    says = {"location": False, "user_id": "u"}
    _, settled, _ = process.take(
        [("a", 10, says), ("b", 10, says), ("c", 10, {})],
        taken=[False, False, False],
        refusing=np.array([True, False, False]),
    )
    assert settled.serial[0] >= 0
    assert settled.serial[1:].tolist() == [-1, -1]
    assert stored(world) == {"a": (None, None, False, None, None)}


def test_rows_that_are_left_out_are_nobody(world):
    process = Process(world)
    process.take([("a", 10, {})])
    known, settled, _ = process.take(
        [("a", 11, {}), ("b", 11, {})], rows=np.zeros(2, bool), taken=[False, False]
    )
    assert known.serial.tolist() == known.mark.tolist() == settled.serial.tolist() == [-1, -1]


def test_words_must_be_written_before_they_are_learnt(world):
    process = Process(world)
    process.take([("a", 10, {})])
    raw = raw_of([("a", 30, {"user_id": "u"})])

    def verb(conn):
        known = process.book.identify(conn, app_id=world.app_id, raw=raw)
        return process.book.settle(conn, known, taken=np.ones(1, bool))

    settled = in_transaction(world.engine, verb)
    with pytest.raises(ValueError, match="call write"):
        process.book.learn(settled)


def test_a_full_book_forgets_and_goes_on(world):
    process = Process(world, max_devices=3)
    serials = {}
    for start in range(0, 12, 2):
        keys = [f"k{n}" for n in range(start, start + 2)]
        _, settled, _ = process.take([(key, start, {"user_id": key}) for key in keys])
        serials |= dict(zip(keys, settled.serial.tolist(), strict=True))
        assert len(process.book) <= 3 + 2
    _, settled, people = process.take([(key, 99, {}) for key in serials])
    assert settled.serial.tolist() == list(serials.values())
    assert people == [(key, None) for key in serials]


def test_an_app_of_its_own_knows_none_of_another(world):
    process = Process(world)
    process.take([("a", 10, {})])
    raw = raw_of([("a", 11, {})])
    known = in_transaction(
        world.engine, lambda conn: process.book.identify(conn, app_id=world.app_id + 1, raw=raw)
    )
    assert known.serial.tolist() == [-1]


word = st.fixed_dictionaries(
    {},
    optional={
        "user_id": st.sampled_from(["u1", "u2"]),
        "ad_id": st.sampled_from(["x", "y"]),
        "location": st.booleans(),
        "night": st.booleans(),
    },
)
one_ping = st.tuples(st.sampled_from(["a", "b", "c", None]), st.integers(1, 6), word)
batches = st.lists(
    st.tuples(st.lists(one_ping, min_size=1, max_size=5), st.integers(0, 1), st.booleans()),
    min_size=1,
    max_size=6,
)


def plainly(known, pings):
    """The rule, device by device and word by word."""
    for key in {key for key, _, _ in pings if key is not None}:
        said_ms, words_ = known.get(key, (0, dict.fromkeys(FIELDS)))
        words_ = dict(words_)
        for _, at, said in sorted((p for p in pings if p[0] == key and p[2]), key=lambda p: p[1]):
            for name, value in said.items():
                if at >= said_ms or words_[name] is None:
                    words_[name] = value
            said_ms = max(said_ms, at)
        known[key] = said_ms, words_


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(taken=batches)
def test_as_the_plain_rule_whatever_two_processes_take(world, taken):
    with world.engine.begin() as conn:
        conn.execute(sa.delete(device))
    # every word is written down, so that both know how new it is
    processes = [Process(world, refresh_ms=0), Process(world, refresh_ms=0)]
    known = {}
    for pings, who, fail in taken:
        processes[who].take(pings, fail=fail)
        if not fail:
            plainly(known, pings)
    expected = {key: tuple(said[name] for name in FIELDS) for key, (_, said) in known.items()}
    assert stored(world) == expected
    for process in processes:
        seen, settled, people = process.take([(key, 9, {}) for key in known] or [(None, 9, {})])
        if known:
            assert people == [(said[1], said[0]) for said in expected.values()]
            locations = [-1 if said[2] is None else int(said[2]) for said in expected.values()]
            assert seen.location.tolist() == locations
            assert (settled.serial >= 0).all()


def test_a_change_names_only_devices_of_its_own_app(world):
    process = Process(world)
    process.take([("a", 10, {})])
    process.take([("a", 11, {"user_id": "u"})])
    with world.engine.connect() as conn:
        changed = device_words.changed_since(conn, app_id=world.app_id, version=0)
        assert [one.key for one in changed] == ["a"]
        assert device_words.changed_since(conn, app_id=world.app_id, version=1) == []
        assert device_words.changed_since(conn, app_id=world.app_id + 1, version=0) == []


def test_two_processes_at_once_lose_no_word(world):
    """Newer words win whoever writes them first, and both books end as the database."""
    processes = [Process(world), Process(world)]
    keys = [f"d{n}" for n in range(6)]
    failed = []

    def run(which):
        rng = np.random.default_rng(which)
        try:
            for step in range(25):
                some = rng.permutation(keys)[:3].tolist()
                at_ms = 2 * step + which + 1
                processes[which].take([(key, at_ms, {"user_id": f"{at_ms}"}) for key in some])
        except Exception as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=run, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    newest = {}
    for which in (0, 1):
        rng = np.random.default_rng(which)
        for step in range(25):
            for key in rng.permutation(keys)[:3].tolist():
                newest[key] = max(newest.get(key, 0), 2 * step + which + 1)
    assert {key: int(said[1]) for key, said in stored(world).items()} == newest
    for process in processes:
        _, _, people = process.take([(key, 99, {}) for key in newest])
        assert [int(user) for user, _ in people] == list(newest.values())
