"""Odd CSV files, and files that are no sheet at all; see `tests.odd_files`."""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from typing import Any

from tests.odd_files import BAD, FAULTY, HEAD, NO_NUMBER, NOTHING, ONE, TWO, USUAL, OddFile, refused
from tests.odd_sheets import Rows, csv_text


def _plain(rows: Rows, delimiter: str = ",", end: str = "\n") -> str:
    """Without any quotation mark."""
    return "".join(delimiter.join("" if c is None else str(c) for c in row) + end for row in rows)


def _csv(
    name: str,
    data: str | bytes,
    *,
    encoding: str = "utf-8",
    delimiter: str = ",",
    found: str | None = None,
    heading_row: int = 1,
    new: int = 2,
    problems: Sequence[tuple[str, str | None, int]] = (NO_NUMBER,),
    more: Mapping[str, Any] = NOTHING,
    **rest: Any,
) -> OddFile:
    """A CSV that is read; `found` is the encoding as it is told."""
    body = data.encode(encoding) if isinstance(data, str) else data
    told = {"encoding": found or encoding, "delimiter": delimiter, "heading_row": heading_row}
    return OddFile(
        name=name,
        make=lambda: body,
        new=new,
        problems=problems,
        sheet=told | dict(more),
        text=(encoding, delimiter),
        **rest,
    )


_DECIMAL_COMMAS = [
    HEAD,
    ["강남점", "37,4979", "127,0276", "100", "카페"],
    [BAD, "모름", "127,1", "100", ""],
]
_JAPANESE = "name,lat,lng,radius_m\n新宿店,35.6896,139.7006,100\n渋谷店,35.6580,139.7016,100\n"
_ENDS = ["\r\n", "\n", "\r", "\r\n"]
_MIXED = "".join(_plain([row], end=end) for row, end in zip(USUAL, _ENDS, strict=True))
_BREAKS = csv_text(
    [HEAD, ['강남\n"점"', *ONE[1:]], ["역삼\r\n\r\n점", *TWO[1:]], FAULTY], line_end="\r\n"
)
_TITLES: Rows = [["2026년 매장 현황"], [], ["작성: 영업팀", None, "(단위: m)"], *USUAL]

TEXTS = [
    _csv("utf-8, lf", _plain(USUAL)),
    _csv(
        "utf-8 with a mark, crlf",
        codecs.BOM_UTF8 + _plain(USUAL, end="\r\n").encode(),
        encoding="utf-8-sig",
    ),
    _csv(
        "utf-16 le with a mark, tab: Excel's Unicode text",
        codecs.BOM_UTF16_LE + _plain(USUAL, "\t", "\r\n").encode("utf-16-le"),
        encoding="utf-16",
        delimiter="\t",
    ),
    _csv(
        "utf-16 be with a mark",
        codecs.BOM_UTF16_BE + _plain(USUAL, ";").encode("utf-16-be"),
        encoding="utf-16",
        delimiter=";",
    ),
    _csv("utf-16 le without a mark", _plain(USUAL, "\t"), encoding="utf-16-le", delimiter="\t"),
    _csv("utf-16 be without a mark", _plain(USUAL), encoding="utf-16-be"),
    _csv("cp949, comma, crlf", _plain(USUAL, end="\r\n"), encoding="cp949"),
    _csv(
        "cp949 with a syllable that euc-kr lacks",
        _plain([*USUAL, ["똠얌꿍", *TWO[1:]]]),
        encoding="cp949",
        new=3,
    ),
    _csv(
        "cp949, semicolon, decimal commas",
        _plain(_DECIMAL_COMMAS, ";"),
        encoding="cp949",
        delimiter=";",
        new=1,
    ),
    _csv("bars", _plain(USUAL, "|"), delimiter="|"),
    _csv("tabs", _plain(USUAL, "\t"), delimiter="\t"),
    _csv("cr only", _plain(USUAL, end="\r")),
    _csv("mixed line ends", _MIXED),
    _csv("no line end at the end", _plain(USUAL).rstrip("\n")),
    _csv("blank lines at the end", _plain(USUAL) + "\n\n\r\n"),
    _csv(
        "Shift-JIS, told so",
        _JAPANESE,
        encoding="cp932",
        problems=(),
        options={"encoding": "shift_jis"},
    ),
    _csv("a line sep=", "sep=;\r\n" + _plain(USUAL, ";", "\r\n"), delimiter=";"),
    _csv(
        "a delimiter told that would not be guessed",
        _plain(USUAL, "|").replace("|모", "|,모"),
        delimiter="|",
        options={"delimiter": "|"},
    ),
    _csv("line breaks within quotation marks", _BREAKS, problems=[("not_a_number", None, 4)]),
    _csv(
        "a quotation mark for inches",
        _plain([HEAD, ['강남 5" 점', *ONE[1:]], FAULTY, TWO]),
    ),
    _csv(
        "short rows",
        "지점명,위도,경도,반경,그룹\n강남점,37.5,127,100\n" + f"{BAD},37.5\n역삼점,37.6,127,100\n",
        problems=[("missing", None, 3), ("missing", None, 3)],
    ),
    _csv(
        "a comma in an address without quotation marks",
        "지점명,위도,경도,반경,주소\n강남점,37.5,127,100,서울\n"
        f"{BAD},37.6,127,100,서울 강남구, 2층\n역삼점,37.6,127,100,부산\n",
        problems=[("extra_cells", None, 3)],
    ),
    _csv(
        "a word among numbers and a comma too many: both are told",
        f"지점명,위도,경도,반경\n{BAD},모름,127,100,,x\n강남점,37.5,127,100\n",
        new=1,
        problems=[("not_a_number", None, 2), ("extra_cells", None, 2)],
    ),
    _csv(
        "delimiters behind every row, as Excel leaves them",
        _plain([[*row, None, None, None] for row in USUAL]),
    ),
    _csv(
        "headings twice",
        _plain([[*HEAD, "지점명", "위도"], [*ONE, "다른이름", 1], [*FAULTY, "x", 37.5], [*TWO, "y", 2]]),
        more={"unknown_headings": ["지점명#2", "위도#2"]},
    ),
    _csv(
        "names twice",
        _plain(
            [
                [*HEAD, "브랜드"],
                [*ONE, ""],
                ["똑같은점", *TWO[1:], ""],
                ["역삼점", *TWO[1:], ""],
                ["똑같은점", *TWO[1:], BAD],
            ]
        ),
        new=3,
        problems=[("duplicate_name", None, 5)],
    ),
    _csv(
        "codes twice",
        f"지점명,코드,위도,경도,반경\n강남점,7,37.5,127,100\n{BAD},7,37.6,127,100\n",
        new=1,
        problems=[("duplicate_external_id", None, 3)],
    ),
    _csv(
        "empty rows before",
        "\n\n,,,,\n" + _plain(USUAL),
        heading_row=4,
        problems=[("not_a_number", None, 6)],
    ),
    _csv(
        "empty columns before",
        _plain([[None, None, *row] for row in USUAL]),
    ),
    _csv(
        "empty rows between",
        _plain([HEAD, [], ONE, [None] * 5, FAULTY, [], TWO]),
        problems=[("not_a_number", None, 5)],
    ),
    _csv(
        "title rows above",
        _plain(_TITLES),
        encoding="cp949",
        heading_row=4,
        problems=[("not_a_number", None, 6)],
        more={"title_rows": [1, 3]},
    ),
    _csv(
        "two heading rows",
        "매장,좌표,,관리,\n지점명,위도,경도,반경,그룹\n" + _plain(USUAL[1:]),
        heading_row=2,
        problems=[("not_a_number", None, 4)],
    ),
    _csv("a heading row and nothing else", _plain([HEAD]), new=0, problems=()),
    _csv(
        "errors of formulas as Excel saves them",
        f"지점명,코드,위도,경도,반경\n강남점,1,37.5,127,100\n{BAD},#N/A,37.6,127,100\n{BAD}2,3,#DIV/0!,127,100\n",
        new=1,
        problems=[("error_value", None, 3), ("error_value", None, 4)],
    ),
    _csv("the name says XLSX", _plain(USUAL), file_name="stores.xlsx"),
    _csv("an old end-of-file mark of DOS", _plain(USUAL) + "\x1a", problems=(NO_NUMBER,)),
]


def _wide() -> bytes:
    return _plain([[*HEAD, *(f"c{n}" for n in range(252))], [*ONE, *range(252)]]).encode()


NO_TEXTS = [
    OddFile(
        name="a CSV without headings",
        make=lambda: _plain(USUAL[1:]).encode(),
        problems=[("no_headings", None, 1)],
    ),
    OddFile(
        name="a CSV without a latitude",
        make=lambda: "지점명,경도,반경\n강남점,127,100\n".encode(),
        problems=[("missing_heading", None, 1)],
    ),
    refused("nothing but white space", lambda: b" \r\n\t\n ", "empty"),
    OddFile(name="one byte", make=lambda: b"\x80", problems=[("no_headings", None, 1)]),
    refused("a quotation mark that never closes", lambda: b'a,b\n1,"2\n3,4\n', "unclosed_quote"),
    refused("ten million quotation marks", lambda: b'"' * 10_000_000, "unreadable"),
    refused("257 columns", _wide, "too_many_columns"),
    refused("100,051 rows", lambda: b"name,lat\n" + b"a,1\n" * 100_050, "too_many_rows"),
    refused(
        "an encoding that does not fit",
        lambda: "이름,위도\n가,1\n".encode("cp949"),
        "unknown_encoding",
        options={"encoding": "utf-8"},
    ),
    refused(
        "a delimiter that there is not",
        lambda: b"a,b\n",
        "unknown_delimiter",
        options={"delimiter": "x"},
    ),
    refused("a sheet of a CSV", lambda: b"a,b\n", "no_such_sheet", options={"sheets": ("a",)}),
    refused("a PDF", lambda: b"%PDF-1.7\n" + bytes(99), "not_a_sheet"),
    refused("a picture", lambda: b"\x89PNG\r\n\x1a\n" + bytes(99), "not_a_sheet"),
    refused(
        "a web page with a table, named XLS",
        lambda: "<html><table><tr><td>지점명</td></tr></table>".encode(),
        "not_a_sheet",
    ),
    refused("JSON that is no geo file", lambda: b'{"stores": [{"name": "a"}]}', "not_a_sheet"),
    refused("random bytes", lambda: bytes(range(256)) * 8, "not_a_sheet"),
    refused("gzip", lambda: b"\x1f\x8b" + bytes(99), "not_a_sheet"),
]
