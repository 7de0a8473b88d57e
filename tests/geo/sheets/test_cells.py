"""What a cell says."""

# ruff: noqa: DTZ001 - the dates of a sheet have no zone

from datetime import date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo.sheets.cells import (
    as_text,
    excel_serial,
    is_empty,
    join_list,
    not_a_number,
    plain_text,
    read_number,
    split_list,
)
from geo.sheets.problems import CellRefused
from geo.sheets.table import Broken, Cell


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, None),
        ("", None),
        ("  \u00a0\u3000\t", None),
        ("\ufeff", None),
        (" 강남점 ", "강남점"),
        ("강\u00a0남\u3000점", "강 남 점"),
        ("강남\u200b점\x00", "강남점"),
        ("\u1100\u1161\u11bc", "강"),  # decomposed, as macOS writes it
        ("가\r\n나", "가\n나"),
        ("a  b", "a  b"),
        (1049.0, "1049"),
        (1e15, "1000000000000000"),
        (2.0**53, "9007199254740992"),
        (1e17, "1e+17"),
        (12, "12"),
        (0.5, "0.5"),
        (-0.0, "0"),
        (True, "TRUE"),
        (False, "FALSE"),
        (datetime(2026, 1, 2, 3, 4), "2026-01-02 03:04:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (time(9, 30), "09:30:00"),
        (timedelta(hours=1), "1:00:00"),
    ],
)
def test_text_is_what_a_person_reads(cell: Cell, text: str | None) -> None:
    assert as_text(cell) == text


@given(st.text())
def test_text_is_clean_after_once(text: str) -> None:
    once = as_text(text)
    assert as_text(once) == once
    assert is_empty(text) is (once is None)


def test_plain_text_folds_full_width() -> None:
    assert plain_text(" １.５㎞ ") == "1.5km"


@pytest.mark.parametrize(
    ("cell", "thousands", "number"),
    [
        (3, False, 3.0),
        (37.4979, False, 37.4979),
        ("37.4979", False, 37.4979),
        (" ３７．４９７９ ", False, 37.4979),
        ("37,4979", False, 37.4979),
        ("37,497", False, 37.497),
        ("37,497", True, 37497.0),
        ("1,234,567.5", True, 1234567.5),
        ("1,5", True, 1.5),
        ("−12.5", False, -12.5),
        ("+1.2e1", False, 12.0),
        (".5", False, 0.5),
        ("1 500", True, 1500.0),
        ("37.4979\u00a0", False, 37.4979),
    ],
)
def test_numbers(cell: Cell, thousands: bool, number: float) -> None:
    assert read_number(cell, thousands=thousands) == number


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ("abc", "not_a_number"),
        ("nan", "not_a_number"),
        ("inf", "not_a_number"),
        ("1e999", "not_a_number"),
        ("1.2.3", "not_a_number"),
        ("٣٧", "not_a_number"),  # NFKC leaves Arabic-Indic digits as they are
        ("", "not_a_number"),
        (True, "not_a_number"),
        ("#N/A", "not_a_number"),
        (datetime(1900, 2, 6, 11, 56, 58, 560_000), "date_instead_of_number"),
        (time(12), "date_instead_of_number"),
    ],
)
def test_what_is_no_number_says_so(cell: Cell, code: str) -> None:
    with pytest.raises(CellRefused) as refused:
        read_number(cell, thousands=False)
    assert refused.value.code == code
    assert refused.value.message_en != refused.value.message_ko


@pytest.mark.parametrize(
    ("cell", "serial"),
    [
        (datetime(1900, 2, 6, 11, 56, 58, 560_000), 37.4979),  # a latitude shown as a date
        (datetime(1900, 5, 6, 0, 39, 44, 640_000), 127.0276),
        (date(1900, 1, 1), 1.0),
        (date(1900, 2, 28), 59.0),
        (date(1900, 3, 1), 61.0),  # Excel has a 29 February 1900 between them
        (datetime(2026, 1, 2), 46024.0),
        (timedelta(days=127, seconds=2384, microseconds=640_000), 127.0276),
        (time(12), 0.5),
    ],
)
def test_the_number_behind_a_date(cell: datetime, serial: float) -> None:
    assert excel_serial(cell) == serial


def test_a_date_proposes_its_number() -> None:
    with pytest.raises(CellRefused) as refused:
        read_number(datetime(1900, 2, 6, 11, 56, 58, 560_000), thousands=False)
    assert refused.value.proposal is not None
    assert dict(refused.value.proposal.values) == {"": 37.4979}


@pytest.mark.parametrize(
    ("text", "commas", "items"),
    [
        ("a; b|c\nd", False, ("a", "b", "c", "d")),
        ("서울, 강남", False, ("서울, 강남",)),
        ("서울, 강남", True, ("서울", "강남")),
        ('"a;b"; c', False, ("a;b", "c")),
        ('"a, ""b"""; c', True, ('a, "b"', "c")),
        ("a;a;;a", False, ("a",)),
        ("", False, ()),
        (' ; "" ', False, ()),
        ('5" pipe; x', False, ('5" pipe', "x")),
    ],
)
def test_lists(text: str, commas: bool, items: tuple[str, ...]) -> None:
    assert split_list(text, commas=commas) == items


@given(
    st.lists(
        st.text(st.sampled_from('ab "; |,\n'), min_size=1).map(str.strip).filter(bool), unique=True
    ),
    st.booleans(),
)
def test_lists_come_back(items: list[str], commas: bool) -> None:
    assert split_list(join_list(items), commas=commas) == tuple(items)


def test_a_broken_cell_shows_itself_and_is_no_number() -> None:
    cell = Broken("error_value", "#N/A")
    assert (as_text(cell), is_empty(cell)) == ("#N/A", False)
    with pytest.raises(CellRefused) as refused:
        read_number(cell, thousands=False)
    assert "#N/A" in refused.value.message_en


def test_a_date_of_the_1904_system_is_offered_as_its_own_number() -> None:
    refused = not_a_number(datetime(1904, 2, 7, 11, 56, 58, 560_000), date_1904=True)
    assert refused.code == "date_instead_of_number"
    assert refused.proposal is not None
    assert refused.proposal.values == {"": 37.4979}
