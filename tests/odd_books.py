"""Odd workbooks, bombs among them; see `tests.odd_files`."""

from __future__ import annotations

import struct
import zlib
from typing import Any

from tests.odd_files import BAD, FAULTY, HEAD, ONE, TWO, UPLOADS, USUAL, OddFile, refused
from tests.odd_sheets import Page, ods, xlsx, zipped


def _book(name: str, *pages: Page, new: int = 2, **more: Any) -> OddFile:
    options = {k: more.pop(k) for k in ("date_1904", "parts") if k in more}
    return OddFile(name=name, make=lambda: xlsx(*pages, **options), new=new, **more)


def _at(row: int, sheet: str = "매장", code: str = "not_a_number") -> list[tuple[str, str | None, int]]:
    return [(code, sheet, row)]


_JOINED = [["매장 정보", None, "WGS84", None, "관리"], ["지점명", "그룹", "위도", "경도", "반경"]]
_UNDER_JOINED = [
    ["강남점", "카페", 37.4979, 127.0276, 100],
    [BAD, "카페", "모름", 127.1, 100],
    ["역삼점", None, 37.5007, 127.0365, 200],
]
_FILLED = "".join(f'<row r="{n}"><c r="C{n}" s="2"/></row>' for n in range(5, 1_048_577))
_FEW_ROWS = Page(rows=USUAL).worksheet()
assert isinstance(_FEW_ROWS, str)


def _with_tail(tail: str) -> str:
    assert isinstance(_FEW_ROWS, str)
    return _FEW_ROWS.replace("</sheetData>", f"{tail}</sheetData>")


def _merged(*ranges: str) -> str:
    assert isinstance(_FEW_ROWS, str)
    each = "".join(f'<mergeCell ref="{one}"/>' for one in ranges)
    return _FEW_ROWS.replace("</worksheet>", f"<mergeCells>{each}</mergeCells></worksheet>")


def _gibibyte() -> bytes:
    """A sheet of 1 GiB: the same compressed 16 MiB 64 times over."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = deflate.compress(b" " * (16 << 20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    return _lying(block * 64 + deflate.flush(), 1 << 30)


def _lying(packed: bytes, size: int) -> bytes:
    """A workbook whose sheet is these packed bytes, said to unpack to `size` bytes."""
    name = b"xl/worksheets/sheet1.xml"
    plain = xlsx(Page(rows=USUAL)).replace(name, b"xl/worksheets/sheet0.xml")
    end = plain.index(b"PK\x05\x06")
    start = struct.unpack_from("<I", plain, end + 16)[0]
    count = struct.unpack_from("<H", plain, end + 10)[0]
    shared = struct.pack("<HHHHHIIIH", 20, 0, 8, 0, 33, 0, len(packed), size, len(name))
    local = b"PK\x03\x04" + shared + b"\0\0" + name + packed
    entry = b"PK\x01\x02\x14\0" + shared + struct.pack("<HHHHII", 0, 0, 0, 0, 0, start) + name
    directory = plain[start:end] + entry
    tail = struct.pack("<HHHHIIH", 0, 0, count + 1, count + 1, len(directory), start + len(local), 0)
    return plain[:start] + local + directory + b"PK\x05\x06" + tail


def laughs() -> str:
    entities = "".join(
        f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' if n else '<!ENTITY l0 "ha">' for n in range(10)
    )
    return f'<?xml version="1.0"?><!DOCTYPE x [{entities}]>'


def _laughing() -> bytes:
    shared = f"{laughs()}<sst><si><t>&l9;</t></si></sst>"
    return xlsx(Page(rows=USUAL), parts={"xl/sharedStrings.xml": shared})


def _deflated_short() -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    sheet = Page(rows=USUAL).worksheet()
    assert isinstance(sheet, str)
    return deflate.compress(sheet.encode() + b" " * (32 << 20)) + deflate.flush()


WORKBOOKS = [
    _book("a workbook", Page(rows=USUAL), problems=_at(3), sheets=[("매장", False, 4, True)]),
    _book("a workbook that is named CSV", Page(rows=USUAL), problems=_at(3), file_name="a.csv"),
    _book(
        "titles, then empty rows and columns",
        Page(rows=[["현황"], [], *[[None, None, *row] for row in USUAL]], first_row=4),
        problems=_at(8),
        sheet={"heading_row": 6, "title_rows": [4]},
    ),
    _book(
        "two heading rows, merged",
        Page(rows=[*_JOINED, *_UNDER_JOINED], merges=["A1:B1", "C1:D1"]),
        problems=_at(4),
        sheet={"heading_row": 2},
    ),
    _book(
        "two heading rows of which only both together say it",
        Page(
            rows=[
                ["매장", "좌표", "좌표", "관리"],
                ["지점명", "Y", "X", "반경"],
                ["강남점", 37.5, 127, 100],
                [BAD, "모름", 127, 100],
            ]
        ),
        new=1,
        problems=_at(4),
        sheet={"heading_row": 2},
    ),
    _book(
        "headings merged downwards beside two under one",
        Page(
            rows=[["지점명", "좌표", None, "반경", "그룹"], [None, "위도", "경도"], ONE, FAULTY, TWO],
            merges=["A1:A2", "B1:C1", "D1:D2", "E1:E2"],
        ),
        problems=_at(4),
        sheet={"heading_row": 2},
    ),
    _book(
        "groups merged downwards",
        Page(rows=[HEAD, ONE, [*FAULTY[:4], None], [*TWO[:4], None]], merges=["E2:E4"]),
        problems=_at(3),
    ),
    _book(
        "a hidden sheet, and one that only a macro can show",
        Page(rows=USUAL),
        Page(name="숨김", rows=USUAL, state="hidden"),
        Page(name="아주숨김", rows=USUAL, state="veryHidden"),
        problems=_at(3),
        sheets=[("매장", False, 4, True), ("숨김", True, 4, False), ("아주숨김", True, 4, False)],
    ),
    _book(
        "hidden rows and columns are read, and told",
        Page(rows=USUAL, hidden_rows=frozenset({2, 3}), hidden_columns=frozenset({2, 4})),
        problems=_at(3),
        sheet={"hidden_rows": 2, "hidden_columns": ["위도", "반경"]},
    ),
    _book(
        "several sheets",
        Page(name="서울", rows=USUAL),
        Page(name="표지", rows=[["영업팀"], ["2026"]]),
        Page(
            name="부산",
            rows=[["부산"], HEAD, ["해운대점", 35.16, 129.16, 100, "카페"], [f"{BAD}2", *FAULTY[1:]]],
        ),
        new=3,
        problems=[("not_a_number", "서울", 3), ("not_a_number", "부산", 4)],
    ),
    _book(
        "formulas with and without results",
        Page(
            rows=[
                HEAD,
                ["강남점", {"formula": "37+0.4979", "cached": "37.4979"}, 127.0276, 100, "카페"],
                [BAD, {"formula": "A1*2"}, 127, 100, "카페"],
                [f"{BAD}2", {"formula": "1/0", "error": "#DIV/0!"}, 127, 100, "카페"],
            ]
        ),
        new=1,
        problems=[("not_calculated", "매장", 3), ("error_value", "매장", 4)],
    ),
    _book(
        "days counted from 1904",
        Page(rows=[HEAD, ONE, [BAD, {"date": "37.5"}, 127, 100, "카페"]]),
        date_1904=True,
        new=1,
        problems=_at(3, code="date_instead_of_number"),
    ),
    _book(
        "dates accepted as the numbers they were",
        Page(rows=[HEAD, ONE, ["날짜점", {"date": "37.5"}, {"date": "127.25"}, 100, "카페"]]),
        options={"accept": ("date_instead_of_number",)},
    ),
    _book(
        "a million rows with nothing but a fill",
        Page(xml=_with_tail(_FILLED)),
        problems=_at(3),
        sheets=[("매장", False, 4, True)],
        countable=False,
    ),
    _book(
        "one merge over all cells", Page(xml=_merged("A6:XFD1048576")), problems=_at(3), countable=False
    ),
    _book(
        "100,000 merges below the values",
        Page(xml=_merged(*(f"A{n}:B{n}" for n in range(6, 100_006)))),
        problems=_at(3),
        countable=False,
    ),
    _book(
        "macros: XLSM",
        Page(rows=USUAL),
        parts={"xl/vbaProject.bin": b"\xd0\xcf\x11\xe0" + bytes(500)},
        problems=_at(3),
        file_name="a.xlsm",
    ),
    _book(
        "rows and cells without references",
        Page(xml=Page(rows=[HEAD, ONE, FAULTY]).worksheet().__str__().replace(' r="', ' x="')),
        new=1,
        problems=_at(3),
    ),
    _book(
        "rows that are left out, as Excel does with empty ones",
        Page(
            xml=Page(rows=[HEAD, ONE])
            .worksheet()
            .__str__()
            .replace(
                "</sheetData>",
                Page(rows=[FAULTY, TWO], first_row=7)
                .worksheet()
                .__str__()
                .split("<sheetData>")[1]
                .split("</sheetData>")[0]
                + "</sheetData>",
            )
        ),
        problems=_at(7),
    ),
    OddFile(
        name="ODS",
        make=lambda: ods(USUAL),
        new=2,
        problems=_at(3),
        file_name="a.ods",
    ),
    OddFile(
        name="XLS",
        make=lambda: (UPLOADS / "stores.xls").read_bytes(),
        new=3,
        file_name="a.xls",
        sheet={"heading_row": 3},
    ),
    refused("a password", lambda: (UPLOADS / "locked.xlsx").read_bytes(), "encrypted"),
    refused("a workbook without a value", lambda: xlsx(Page(rows=[])), "empty"),
    refused("257 columns in a workbook", lambda: xlsx(Page(rows=[["x"] * 257])), "too_many_columns"),
    refused("half a workbook", lambda: xlsx(Page(rows=USUAL))[:1_500], "unreadable"),
    refused("a zip of nothing", lambda: b"PK\x05\x06" + bytes(18), "not_a_sheet"),
    refused("a zip in a zip", lambda: zipped({"a.zip": xlsx(Page(rows=USUAL))}), "not_a_sheet"),
    refused("a Word document", lambda: zipped({"word/document.xml": "<w/>"}), "not_a_sheet"),
    refused(
        "a sheet that there is not",
        lambda: xlsx(Page(rows=USUAL)),
        "no_such_sheet",
        options={"sheets": ("없음",)},
    ),
    refused(
        "values in A1 and XFD1048576",
        lambda: xlsx(Page(xml=_with_tail('<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'))),
        "too_many_columns",
    ),
    refused("a sheet of 1 GiB", _gibibyte, "bomb"),
    refused(
        "a sheet that unpacks to more than it says",
        lambda: _lying(_deflated_short(), 1_000),
        "unreadable",
    ),
    refused("a billion laughs in the shared strings", _laughing, "bomb"),
    refused(
        "5,000 parts",
        lambda: xlsx(Page(rows=USUAL), parts={f"xl/media/{n}.png": b"" for n in range(5_000)}),
        "bomb",
    ),
    refused(
        "100,000 merges over all values",
        lambda: xlsx(
            Page(
                xml=_with_tail('<row r="90000"><c r="Z90000"><v>1</v></c></row>').replace(
                    "</worksheet>",
                    "<mergeCells>"
                    + '<mergeCell ref="A1:Z90000"/>' * 100_000
                    + "</mergeCells></worksheet>",
                )
            )
        ),
        "bomb",
    ),
]
