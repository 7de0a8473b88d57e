"""CSV text → rows numbered as Excel numbers them."""

import csv
import io
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo.sheets.delimited import DELIMITERS, Delimited, find_delimiter, neutral, read_delimited
from geo.sheets.problems import SheetRefused

ROWS = [["이름", "위도", "메모"], ["강남, 역점", "37.5", 'a "b"'], [None, "1", "x;y|z\tw"]]


def _written(rows: list[list[str | None]], delimiter: str, line_end: str) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator=line_end).writerows(rows)
    return out.getvalue()


@pytest.mark.parametrize(("delimiter", "line_end"), list(product(",;\t|", ("\r\n", "\n", "\r"))))
def test_all_delimiters_with_all_line_ends(delimiter: str, line_end: str) -> None:
    text = _written(ROWS, delimiter, line_end)
    assert read_delimited(text, max_rows=10) == (ROWS, delimiter)


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("name;lat;lng\na;37,5;127,0\nb;37,6;127,1\n", ";"),  # decimal commas
        ("a;1,5\nb;2,5\n", ";"),  # no heading tells: a comma is rather decimal
        ("매장 목록, 2026년\n이름,위도,경도\na,1,2\nb,3,4\n", ","),  # a title above
        ("매장 목록\n이름;위도;경도\na;1,5;2,5\n", ";"),
        ('n,polygon\na,"1,2;3,4;5,6"\nb,"1,2;3,4;5,6"\n', ","),
        ("n\ttags\na\tx,y;z\n", "\t"),
        ("name\nonly one column\n", ","),
        ("n,tags\na,x;y\nb,x;y\n", ","),
    ],
)
def test_delimiter_is_the_steady_one(text: str, delimiter: str) -> None:
    assert find_delimiter(text) == delimiter


def test_row_numbers_are_those_of_records_not_of_lines() -> None:
    text = 'name,memo\n\na,"one\ntwo\r\nthree"\n,\nb,x\n'
    rows, _ = read_delimited(text, max_rows=10)
    assert rows == [["name", "memo"], [], ["a", "one\ntwo\r\nthree"], [None, None], ["b", "x"]]


def test_a_sep_line_is_obeyed_and_is_no_row() -> None:
    assert read_delimited("sep=|\r\na,b|c\r\n", max_rows=10) == ([["a,b", "c"]], "|")


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ('a,b\n1,2\n3,"open\n4,5\n', "unclosed_quote", "Row 3"),
        ("a\n" * 12, "too_many_rows", "10"),
        ('a,"' + "x" * 140_000 + '"\n', "unreadable", "row 1"),
    ],
)
def test_refusals_name_the_row(text: str, code: str, said: str) -> None:
    with pytest.raises(SheetRefused) as refused:
        read_delimited(text, max_rows=10)
    assert refused.value.code == code
    assert said in refused.value.message


def test_an_inch_mark_is_no_open_quote() -> None:
    rows, _ = read_delimited('a,b\n5" pipe,1\n', max_rows=10)
    assert rows == [["a", "b"], ['5" pipe', "1"]]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+cmd|'/c calc'!A1", "'+cmd|'/c calc'!A1"),
        ("-강남", "'-강남"),
        ("＝1+1", "'＝1+1"),
        ("\t=1", "'\t=1"),
        ("'=1", "''=1"),
        ("-12.5", "-12.5"),
        ("+82", "+82"),
        ("-1e5", "-1e5"),
        ("-", "'-"),
        ("-1-1", "'-1-1"),
        ("'quoted'", "'quoted'"),
        ("강남점", "강남점"),
        ("", ""),
    ],
)
def test_formulas_are_neutralised_and_numbers_are_not(text: str, written: str) -> None:
    assert neutral(text) == written


@given(st.text(st.sampled_from("'=+-@\t1.e가\n"), min_size=1, max_size=6))
def test_reading_takes_exactly_the_apostrophe_back(text: str) -> None:
    written = neutral(text)
    assert not written.startswith(("=", "@", "\t"))
    rows, _ = read_delimited(_written([["x", "y"], [written, "1"]], ",", "\r\n"), max_rows=10)
    assert rows[1][0] == text


@pytest.mark.parametrize("delimiter", DELIMITERS)
def test_a_delimiter_that_is_given_is_not_guessed(delimiter: str) -> None:
    text = "a,b;c\td|e\n"
    rows, used = read_delimited(text, max_rows=9, delimiter=delimiter)
    assert (rows, used) == ([text.strip().split(delimiter)], delimiter)
    # also where the file itself names another one
    assert read_delimited(f"sep=-\n{text}", max_rows=9, delimiter=delimiter)[0] == rows


@pytest.mark.parametrize("given", ["", "x", ";;", " ", '"', "\n"])
def test_what_cannot_separate_columns_is_refused(given: str) -> None:
    with pytest.raises(SheetRefused, match="choose tab, semicolon, vertical bar or comma") as refused:
        read_delimited("a,b\n", max_rows=9, delimiter=given)
    assert refused.value.code == "unknown_delimiter"


def test_rows_come_one_by_one() -> None:
    rows = Delimited("a,b\n1,2\n3,4\n", max_rows=2).rows()
    assert next(rows) == ["a", "b"]
    assert next(rows) == ["1", "2"]
    with pytest.raises(SheetRefused, match="value in row 3"):
        next(rows)
