"""Bodies to columns: the same pings give the same columns in every format, to the last bit."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.answers import rfc3339
from api.pings.bodies import read_pings
from api.pings.instants import BadInstant, instant_ms, instants_ms
from api.pings.receipts import counts_of, outcomes_json
from api.pings.sent import SentPings
from geo.matching.pings import Outcome, PingReason
from tests.api.ping_door import ARROW, JSON, NDJSON, as_json, as_lines, as_stream

NOW_MS = 1_795_392_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read(body: bytes, mimetype: str) -> SentPings:
    return read_pings(body, mimetype, now_ms=NOW_MS)


def same(one: SentPings, other: SentPings) -> None:
    assert one.keys == other.keys
    assert one.said == other.said
    good = [row for row in range(len(one)) if row not in one.faults]
    for name in ("lon", "lat", "accuracy_m", "at_ms", "platform", "mocked"):
        given, wanted = getattr(one, name), getattr(other, name)
        assert given.dtype == wanted.dtype, name
        np.testing.assert_array_equal(given[good], wanted[good], name)
    for given, wanted in ((one.ping_ids, other.ping_ids), (one.apps, other.apps)):
        assert [given and given[row] for row in good] == [wanted and wanted[row] for row in good]
    assert one.faults.keys() == other.faults.keys()


# --- instants ---------------------------------------------------------------------------------------

# clocks without their zones, which are drawn beside them
END = datetime(2000, 12, 31, 23, 59, 59, 999_999)  # noqa: DTZ001
clocks = st.datetimes(
    min_value=datetime(1, 1, 2),  # noqa: DTZ001
    max_value=datetime(9999, 12, 30),  # noqa: DTZ001
) | st.sampled_from([END.replace(year=year) for year in (1969, 2023, 2099, 2100)])
zones = st.sampled_from(["Z", "z", "+00:00", "-00:00", "+09:00", "-09:30", "+23:59", "-23:59", "+0900"])
fractions = st.one_of(st.just(""), st.from_regex(r"\.[0459]{1,12}", fullmatch=True))


@st.composite
def texts(draw: st.DrawFn) -> str | None:
    """Mostly instants, written in every way; some are none at all."""
    if not draw(st.integers(0, 9)):
        return draw(st.none() | st.text(max_size=30))
    at = draw(clocks)
    text = f"{at.year:04}-{at:%m-%d}T{at:%H:%M:%S}{draw(fractions)}{draw(zones)}"
    if draw(st.integers(0, 3)):
        return text
    place = draw(st.integers(0, len(text) - 1))
    return text[:place] + draw(st.sampled_from("0123456789:-TZ+. é")) + text[place + 1 :]


def one_instant(text: str) -> int | str:
    """Its milliseconds, or why it has none."""
    try:
        return instant_ms(text)
    except BadInstant as error:
        return str(error)


@settings(max_examples=60)
@given(given=st.lists(texts(), min_size=24, max_size=60))
def test_instants_in_columns_are_those_one_by_one(given: list[str | None]):
    at_ms, faults = instants_ms(given, absent_ms=NOW_MS)
    for row, text in enumerate(given):
        if text is None:
            assert (int(at_ms[row]), row in faults) == (NOW_MS, False)
            continue
        wanted = one_instant(text)
        assert (faults[row] if row in faults else int(at_ms[row])) == wanted, text


@given(us=st.integers(-(10**15), 4 * 10**15), digits=st.integers(0, 6))
def test_milliseconds_are_cut_off_downwards_to_the_microsecond(us: int, digits: int):
    at = EPOCH + timedelta(microseconds=us)
    text = at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    alike = [text] * 30

    assert instant_ms(text) == us // 1000
    assert instants_ms(alike, absent_ms=0)[0].tolist() == [us // 1000] * 30


# --- JSON, NDJSON and Arrow -------------------------------------------------------------------------

ids = st.none() | st.sampled_from(["a", "b", " spaced ", "한글 😀", "x" * 128, "x" * 129, "", "nul\0"])
ad_ids = st.none() | st.sampled_from(["38400000-8cf0-11bd-b23e-10b96e40000d", "0000-00", "ABC"])
flags = st.none() | st.booleans()
degrees = st.floats(-200, 200, allow_nan=False) | st.sampled_from([0.0, -0.0, 90.0, 180.0, 1e-300])
items = st.fixed_dictionaries(
    {"lat": degrees, "lng": degrees},
    optional={
        "device_id": ids,
        "ad_id": ad_ids,
        "user_id": st.none() | st.sampled_from(["u", " u "]),
        "ping_id": ids,
        "app": st.none() | st.just("kr.example"),
        "accuracy_m": st.none() | st.floats(-1, 1e5, allow_nan=False),
        "speed_mps": st.none() | st.floats(0, 100),
        "platform": st.none() | st.sampled_from(["ios", "iOS", "web", "android", "other"]),
        "mocked": st.booleans(),
        "at": st.none() | st.integers(-62_135_596_700_000, 253_402_300_000_000),
        "consent": st.none() | st.fixed_dictionaries({}, optional={"location": flags, "night": flags}),
    },
)
LAYOUTS = ["string", "large_string", "string_view", "dictionary"]
UNITS = ["ms", "us", "int64"]
TEXTS = ("device_id", "ad_id", "user_id", "ping_id", "app", "platform")


def table_of(pings: list[dict[str, Any]], layout: str, unit: str) -> pa.Table:
    """The items as a table whose texts and times have one of many types."""
    columns: dict[str, Any] = {}
    for name in sorted({name for ping in pings for name in ping}):
        values = [ping.get(name) for ping in pings]
        if name in TEXTS:
            column = pa.array(values, pa.string())
            columns[name] = (
                column.dictionary_encode()
                if layout == "dictionary"
                else column.cast(getattr(pa, layout)())
            )
        elif name == "at":
            column = pa.array(values, pa.int64())
            columns[name] = column if unit == "int64" else column.cast(pa.timestamp("ms", "Asia/Seoul"))
            if unit == "us":
                columns[name] = columns[name].cast(pa.timestamp("us", "Asia/Seoul"))
        elif name == "consent":
            fields = [pa.field(word, pa.bool_()) for word in ("location", "marketing", "night")]
            columns[name] = pa.array(values, pa.struct(fields))
        else:
            columns[name] = pa.array(values, pa.bool_() if name == "mocked" else pa.float64())
    return pa.table(columns)


@settings(max_examples=60)
@given(
    pings=st.lists(items, min_size=1, max_size=30),
    layout=st.sampled_from(LAYOUTS),
    unit=st.sampled_from(UNITS),
    rows=st.integers(1, 40),
)
def test_every_format_gives_the_same_columns(
    pings: list[dict[str, Any]], layout: str, unit: str, rows: int
):
    written = [p | ({"at": rfc3339(p["at"])} if p.get("at") is not None else {}) for p in pings]
    by_json = read(as_json(written), JSON)
    same(read(as_lines(written), NDJSON), by_json)
    same(read(as_stream(table_of(pings, layout, unit), rows=rows), ARROW), by_json)
    alone = [read(json.dumps(ping).encode(), JSON) for ping in written]
    assert [sent.keys[0] for sent in alone] == list(by_json.keys)
    assert [bool(sent.faults) for sent in alone] == [n in by_json.faults for n in range(len(pings))]


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.float16(), pa.int32(), pa.uint8()])
@pytest.mark.parametrize("rows", [1, 4])
def test_numbers_of_any_kind_and_nulls(kind: pa.DataType, rows: int):
    table = pa.table(
        {
            "lat": pa.array([1, 2, None, 4], pa.float64()).cast(kind, safe=False),
            "lng": pa.array([5.0] * 4),
            "accuracy_m": pa.array([None, 2, 3, None], pa.float64()).cast(kind, safe=False),
        }
    )
    sent = read(as_stream(table, rows=rows), ARROW)

    assert sent.lat.tolist()[:2] == [1.0, 2.0]
    assert list(sent.faults) == [2]
    np.testing.assert_array_equal(sent.accuracy_m, [np.nan, 2.0, 3.0, np.nan])


@pytest.mark.parametrize(
    ("kind", "value", "at_ms"),
    [
        (pa.timestamp("s", "UTC"), 5, 5_000),
        (pa.timestamp("ms", "Asia/Seoul"), 5, 5),
        (pa.timestamp("us", "+09:00"), 5_999, 5),
        (pa.timestamp("ns", "UTC"), 5_999_999, 5),
        (pa.timestamp("ns", "UTC"), -1, -1),
        (pa.timestamp("us", "UTC"), -1, -1),
        (pa.int64(), 5, 5),
        (pa.timestamp("s", "UTC"), 1 << 62, None),
        (pa.timestamp("s", "UTC"), -(1 << 62), None),
        (pa.int64(), 1 << 62, None),
        (pa.int64(), None, NOW_MS),
        (pa.timestamp("ns", "UTC"), None, NOW_MS),
        (pa.null(), None, NOW_MS),
    ],
)
def test_times_of_any_unit(kind: pa.DataType, value: int | None, at_ms: int | None):
    at = pa.array([value], pa.int64()).cast(kind) if kind != pa.null() else pa.nulls(1)
    table = pa.table({"lat": [1.0], "lng": [2.0], "at": at})
    sent = read(as_stream(table), ARROW)

    assert list(sent.faults.values()) == ([] if at_ms else ["Instant out of range - at `$.at`"])
    assert at_ms is None or sent.at_ms.tolist() == [at_ms]


def test_columns_that_are_not_known_are_named_once_and_not_read():
    table = pa.table({"lat": [1.0], "lng": [2.0], "accuracy": [5.0], "x": [[1]]})
    sent = read(as_stream(table), ARROW)

    assert sent.warnings == ["unknown column 'accuracy': left out", "unknown column 'x': left out"]


# --- receipts ---------------------------------------------------------------------------------------


@given(
    codes=st.lists(st.integers(0, 4), max_size=80),
    ping_ids=st.none() | st.sampled_from([["k"], ["k", None], ['"'], ["\\"], ["é"], ["\u2028"], ["\n"]]),
    spread=st.booleans(),
    only_rejected=st.booleans(),
    data=st.data(),
)
def test_outcomes_are_written_as_an_encoder_would(
    codes: list[int],
    ping_ids: list[str | None] | None,
    spread: bool,
    only_rejected: bool,
    data: st.DataObject,
):
    rows = st.dictionaries(st.integers(0, max(len(codes) - 1, 0)), st.sampled_from(PingReason))
    reasons = data.draw(rows) if codes else {}
    details = dict.fromkeys(list(reasons)[:2], 'a "fault" \\')
    named = None if ping_ids is None else [ping_ids[n % len(ping_ids)] for n in range(len(codes))]
    places = [3 * n for n in range(len(codes))] if spread else None
    wanted = []
    for row, code in enumerate(codes):
        out = {"index": places[row] if places else row, "outcome": Outcome(code).name.lower()}
        out |= {"ping_id": named[row]} if named and named[row] is not None else {}
        out |= {"reason": reasons[row].value} if row in reasons else {}
        out |= {"detail": details[row]} if row in details else {}
        if code == Outcome.REJECTED or not only_rejected:
            wanted.append(out)
    written = outcomes_json(
        np.array(codes, np.int8),
        reasons=reasons,
        details=details,
        ping_ids=named,
        places=places,
        only_rejected=only_rejected,
    )

    assert json.loads(written) == wanted
    counts = counts_of(np.array(codes, np.int8))
    assert list(counts) == ["accepted", "late", "quarantined", "duplicate", "rejected"]
    assert counts == {o.name.lower(): codes.count(o) for o in Outcome}
