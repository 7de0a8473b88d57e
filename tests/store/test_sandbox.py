"""Hostile files are read in a child: they cost the parent nothing but a refusal."""

# ruff: noqa: DTZ001 - the dates of a sheet have no zone
import io
import json
import os
import resource
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from datetime import time as clock
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geo.sheets import workbook
from geo.sheets.problems import REFUSALS, SheetRefused
from geo.sheets.workbook import Broken, FileOptions, SheetInfo, SheetLimits, Table, read, to_csv, to_xlsx
from nearcast.store import sandbox
from nearcast.store.frames import READY, ROWS_PER_FRAME, Rows, frame_bytes
from nearcast.store.sandbox import SandboxBroken, read_file

UPLOADS = Path(__file__).parents[2] / "fixtures/uploads"
NS = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
HEAD = f'<?xml version="1.0" encoding="UTF-8"?><worksheet {NS}><sheetData>'
TAIL = "</sheetData></worksheet>"


def _with_sheet(xml: str | bytes, *, extra: int = 0) -> bytes:
    """A workbook whose one sheet is this XML."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(to_xlsx([["x"]]))) as plain,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in plain.infolist():
            is_sheet = entry.filename == "xl/worksheets/sheet1.xml"
            packed.writestr(entry.filename, xml if is_sheet else plain.read(entry))
        for n in range(extra):
            packed.writestr(f"xl/extra{n}.bin", b"")
    return out.getvalue()


def _cell(reference: str, attributes: str = "") -> str:
    return f'<c {attributes} r="{reference}"><v>1</v></c>'


def _far(attributes: str = "") -> bytes:
    return _with_sheet(
        f'{HEAD}<row r="1">{_cell("A1")}</row>'
        f'<row r="1048576">{_cell("XFD1048576", attributes)}</row>{TAIL}'
    )


def _zip(**parts: str | bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for name, content in parts.items():
            packed.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return out.getvalue()


def _marked_encrypted(data: bytes) -> bytes:
    """The zip with the encryption bit set in its directory."""
    at = data.index(b"PK\x01\x02")
    return data[: at + 8] + bytes([data[at + 8] | 1]) + data[at + 9 :]


def _open_document(body: str) -> bytes:
    spaces = "".join(
        f' xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for name in ("office", "table", "text")
    )
    return _zip(
        mimetype="application/vnd.oasis.opendocument.spreadsheet",
        **{"META-INF/manifest.xml": "<manifest/>"},
        content_dot_xml=f"<office:document-content{spaces}><office:body><office:spreadsheet>"
        f'<table:table table:name="가">{body}</table:table>'
        "</office:spreadsheet></office:body></office:document-content>",
    )


_REPEATED = (
    '<table:table-row table:number-rows-repeated="1048576"><table:table-cell '
    'office:value-type="string" table:number-columns-repeated="16384"><text:p>x</text:p>'
    "</table:table-cell></table:table-row>"
)
_HIDDEN = "z='>'"  # a bracket inside an attribute misleads the first look, not the reader
_WIDE_ROWS = "".join(
    f'<row r="{n}">{_cell(f"A{n}")}{_cell(f"XFD{n}", _HIDDEN)}</row>' for n in range(1, 3001)
)
_ENTITIES = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'
    f"<worksheet {NS}><sheetData>{_cell('A1')}{TAIL}"
)


def _bomb_entry() -> bytes:
    """One GiB of spaces as a sheet, in a megabyte of zip, without a gigabyte of memory to make it."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(to_xlsx([["x"]]))) as plain,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed,
    ):
        for entry in plain.infolist():
            if entry.filename != "xl/worksheets/sheet1.xml":
                packed.writestr(entry.filename, plain.read(entry))
        with packed.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as part:
            for _ in range(64):
                part.write(b" " * (16 << 20))
    return out.getvalue()


HOSTILE: list[tuple[str, bytes, str]] = [
    ("far corner", _far(), "too_many_columns"),
    ("far corner, hidden from the first look", _far(_HIDDEN), "too_large"),
    ("3,000 wide rows, hidden", _with_sheet(HEAD + _WIDE_ROWS + TAIL), "too_large"),
    ("far row", _with_sheet(f"{HEAD}<row>{_cell('A1048576')}</row>{TAIL}"), "too_many_rows"),
    ("entities", _with_sheet(_ENTITIES), "bomb"),
    ("2,001 parts", _with_sheet(HEAD + TAIL, extra=2_001), "bomb"),
    ("packed 1,000 to 1", _with_sheet(HEAD + " " * (8 << 20) + TAIL), "bomb"),
    ("repeated cells", _open_document(_REPEATED), "unreadable"),
    ("password", (UPLOADS / "locked.xlsx").read_bytes(), "encrypted"),
    ("encrypted zip", _marked_encrypted(to_xlsx([["x"]])), "encrypted"),
    ("Word", _zip(word__document_dot_xml="<w/>"), "not_a_sheet"),
    ("half a Shapefile", _zip(a_dot_shp=b"\0\0\x27\x0a"), "damaged_features"),
    ("half a workbook", to_xlsx([["x"]])[:2_000], "unreadable"),
    ("nothing", b"", "empty"),
    ("an empty sheet", _with_sheet(HEAD + TAIL), "empty"),
    ("PDF", b"%PDF-1.7", "not_a_sheet"),
    ("a cell of 2 MiB", b'a,"' + b"x" * (2 << 20) + b'"\n', "unreadable"),
    ("an open quote", b'a,b\n1,"2\n3,4\n', "unclosed_quote"),
]


@pytest.mark.parametrize(("data", "code"), [h[1:] for h in HOSTILE], ids=[h[0] for h in HOSTILE])
def test_hostile_files_are_refused_and_cost_the_parent_nothing(data: bytes, code: str) -> None:
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SheetRefused) as refused:
        read_file(data)
    assert refused.value.code == code
    assert refused.value.text("ko") != refused.value.text("en")
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024
    assert grown_mib < 64


def test_a_gigabyte_of_spaces_is_refused_before_it_is_unpacked() -> None:
    with pytest.raises(SheetRefused, match=r"1,024 MiB unpacked"):
        read_file(_bomb_entry())


def test_a_corner_bomb_would_end_a_process_that_reads_it_directly() -> None:
    # the trap itself (quality.md §2): without the guard this is what happens
    code = (
        "import resource, sys, io; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30));"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0));"
        "from python_calamine import CalamineWorkbook as W;"
        "W.from_filelike(io.BytesIO(sys.stdin.buffer.read())).get_sheet_by_index(0)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=_far(), capture_output=True)
    assert done.returncode < 0


def test_too_many_bytes_are_refused_without_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_Child", None)
    with pytest.raises(SheetRefused, match=r"2\.0 MiB of at most 1 MiB"):
        read_file(b"a" * (2 << 20), limits=SheetLimits(max_bytes=1 << 20))


def test_memory_is_bounded() -> None:
    rows = b"name,lat\n" + b"some name,37.5\n" * 900_000
    many = SheetLimits(max_rows=10_000_000, memory_bytes=80 << 20)
    with pytest.raises(SheetRefused, match="more than 80 MiB of memory") as refused:
        read_file(rows, limits=many)
    assert refused.value.code == "too_large"


def test_time_is_bounded() -> None:
    with pytest.raises(SheetRefused, match=r"longer than 0\.001 s") as refused:
        read_file(b"a,b\n", limits=SheetLimits(wall_s=0.001))
    assert refused.value.code == "too_large"


def test_cpu_time_is_bounded() -> None:
    rows = b"name,lat\n" + b"some name,37.5\n" * 100_000
    many = SheetLimits(cpu_s=1, max_rows=10_000_000, max_cells=1 << 40)
    with pytest.raises(SheetRefused, match="longer than 1 s"):
        read_file(rows * 20, limits=many)


def test_tables_come_through_as_they_were_read() -> None:
    book = openpyxl.Workbook()
    book.active["B3"] = "이름"
    row = [1.5, True, "007", datetime(2026, 1, 2, 3, 4, 5, 678_000), clock(9, 30), "a\nb", 1e300]
    book.active.append(row)
    book.active.append([timedelta(days=127, seconds=2384), date(2026, 1, 2)])
    book.create_sheet("둘째")["A1"] = "x"
    out = io.BytesIO()
    book.save(out)
    tables = read_file(out.getvalue()).tables
    assert tables == read(out.getvalue())
    assert [table.sheet for table in tables] == ["Sheet", "둘째"]
    assert tables[0].rows[3] == row
    assert [type(c) for c in tables[0].rows[4]] == [timedelta, date]


@pytest.mark.parametrize("kind", ["xlsx", "ods", "xls"])
def test_everything_that_is_known_of_a_sheet_comes_through(kind: str) -> None:
    data = (UPLOADS / f"marks.{kind}").read_bytes()
    read = read_file(data)
    assert read == workbook.read_file(data)
    (table,) = read.tables
    assert table.rows[1][2] == Broken("error_value", "#DIV/0!")
    assert type(table.rows[1][2]) is Broken
    assert (table.hidden_rows, table.hidden_columns, table.date_1904) == ({3}, {1}, True)
    assert read.sheets == (
        SheetInfo(name="가", hidden=False, rows=5, taken=True),
        SheetInfo(name="숨김", hidden=True, rows=1, taken=False),
    )


@pytest.mark.parametrize("name", ["stores.xls", "stores.ods"])
def test_all_kinds_of_workbooks_go_through_the_child(name: str) -> None:
    data = (UPLOADS / name).read_bytes()
    assert read_file(data) == workbook.read_file(data)


def test_sheet_and_encoding_are_handed_on() -> None:
    data = (UPLOADS / "stores.xls").read_bytes()
    read = read_file(data, options=FileOptions(sheets=("숨김",)))
    assert read.tables == [Table(sheet="숨김", rows=[["비밀"]], hidden=True)]
    assert [(s.name, s.taken) for s in read.sheets] == [("매장", False), ("숨김", True)]
    with pytest.raises(SheetRefused, match="no sheet '없음'"):
        read_file(data, options=FileOptions(sheets=("없음",)))
    japanese = "名前,緯度\n新宿,35.6\n"
    (table,) = read_file(japanese.encode("cp932"), options=FileOptions(encoding="shift_jis")).tables
    assert (table.rows[0], table.encoding, table.delimiter) == (["名前", "緯度"], "cp932", ",")


@pytest.mark.slow
@pytest.mark.parametrize("column", ["A", "XFD"])
def test_a_million_formatted_empty_rows_are_no_rows(column: str) -> None:
    rows = "".join(
        f'<row r="{n}" hidden="1"><c r="{column}{n}" s="1"/></row>' for n in range(2, 1_048_577)
    )
    data = _with_sheet(f'{HEAD}<row r="1">{_cell("A1")}</row>{rows}{TAIL}')
    (table,) = read_file(data, limits=SheetLimits(cpu_s=8)).tables
    assert (table.rows, table.hidden_rows) == ([[1]], frozenset())


def _merged(cells: str, ranges: list[str]) -> bytes:
    """A workbook with these rows and merged ranges; numbers keep it from being packed too well."""
    merges = "".join(f'<mergeCell ref="{one}" n="{n * 7919}"/>' for n, one in enumerate(ranges))
    end = f"</sheetData><mergeCells>{merges}</mergeCells></worksheet>"
    return _with_sheet(f"{HEAD}{cells}{end}")


def test_one_merge_over_all_cells_fills_no_more_than_there_are() -> None:
    cells = f'<row r="1">{_cell("A1")}</row><row r="3">{_cell("C3")}</row>'
    assert read_file(_merged(cells, ["A1:XFD1048576"])).tables[0].rows == [[1, 1, 1]] * 3


def test_a_hundred_thousand_merges_are_read_and_overlapping_ones_refused() -> None:
    cells = "".join(f'<row r="{n}">{_cell(f"A{n}")}</row>' for n in range(1, 20_001))
    cells += f'<row r="50000">{_cell("D50000")}</row>'
    each = [f"A{n}:B{n}" for n in range(1, 50_001)] + [f"C{n}:D{n}" for n in range(1, 50_000)]
    rows = read_file(_merged(cells, each)).tables[0].rows
    assert (rows[0], rows[19_999], rows[-1]) == ([1, 1], [1, 1], [None, None, None, 1])
    with pytest.raises(SheetRefused, match="merged cells overlap"):
        read_file(_merged(cells, ["A1:D50000"] * 100_000))


def test_the_text_of_a_merged_cell_is_not_repeated_without_end() -> None:
    text = f'<c r="A1" t="inlineStr"><is><t>{"가" * 9_000}</t></is></c>'
    cells = f'<row r="1">{text}</row><row r="90000">{_cell("D90000")}</row>'
    with pytest.raises(SheetRefused, match="of values") as refused:
        read_file(_merged(cells, ["A1:C90000"]), limits=SheetLimits(max_answer_bytes=8 << 20))
    assert refused.value.code == "too_large"
    # within the memory of the child even where nobody counts what it sends
    with pytest.raises(SheetRefused, match="too large"):
        read_file(_merged(cells, ["A1:C90000"]))


def test_options_of_a_csv_are_handed_on() -> None:
    text = "이름,위도;경도\n가,1;2\n".encode("cp949")
    (table,) = read_file(text, options=FileOptions(encoding="euc-kr", delimiter=";")).tables
    assert table.rows == [["이름,위도", "경도"], ["가,1", "2"]]
    assert (table.encoding, table.delimiter) == ("cp949", ";")
    with pytest.raises(SheetRefused, match="'x' cannot separate columns"):
        read_file(text, options=FileOptions(delimiter="x"))


def test_a_table_longer_than_one_frame_comes_in_order() -> None:
    rows = [[f"r{n}"] for n in range(2 * ROWS_PER_FRAME + 1)]
    read = read_file(to_csv(rows))
    assert read.tables[0].rows == rows
    assert read.sheets == (SheetInfo(name=None, hidden=False, rows=len(rows), taken=True),)


def test_geo_files_are_read_by_the_child_too() -> None:
    point = {"type": "Point", "coordinates": [127.0276, 37.4979]}
    feature = {"type": "Feature", "properties": {"name": "강남역"}, "geometry": point}
    data = json.dumps({"features": [feature], "type": "FeatureCollection"}).encode()
    (table,) = read_file(data).tables
    assert (table.kind, table.first_row, table.rows[0]) == ("features", 0, ["name", "geometry"])
    assert table.rows[1][0] == "강남역"


class _Ending:
    """Starts, in place of the reader, a process that answers this and ends so."""

    def __init__(self, answer: bytes, end: str) -> None:
        self._code = (
            "import os, resource, signal, sys; resource.setrlimit(resource.RLIMIT_CORE, (0, 0));"
            f"sys.stdin.buffer.read(); os.write(1, {answer!r}); {end}"
        )
        self._start = subprocess.Popen

    def __call__(self, *_: object, **kwargs: object) -> object:
        return self._start([sys.executable, "-c", self._code], **kwargs)  # type: ignore[call-overload]


_SOME_ROWS = READY + frame_bytes(Rows([["a"]]))


@pytest.mark.parametrize(
    ("answer", "end", "code", "said"),
    [
        (_SOME_ROWS, "os.kill(os.getpid(), signal.SIGKILL)", "too_large", "longer than 30 s"),
        (_SOME_ROWS, "os.kill(os.getpid(), signal.SIGXCPU)", "too_large", "longer than 30 s"),
        (_SOME_ROWS, "os.abort()", "too_large", "1,024 MiB of memory"),
        (_SOME_ROWS[:-1], "os.abort()", "too_large", "1,024 MiB of memory"),
        (_SOME_ROWS, "os._exit(1)", "unreadable", "cannot be followed"),
        (_SOME_ROWS, "os._exit(0)", "unreadable", "cannot be followed"),
        (READY + b"\0\0\0\1\xc1", "os._exit(0)", "unreadable", "cannot be followed"),
        (READY, "os._exit(0)", "unreadable", "cannot be followed"),
    ],
)
def test_a_child_that_ends_in_the_middle_gives_a_refusal(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, end: str, code: str, said: str
) -> None:
    monkeypatch.setattr(subprocess, "Popen", _Ending(answer, end))
    with pytest.raises(SheetRefused, match=said) as refused:
        read_file(b"a,b\n")
    assert refused.value.code == code


def test_a_child_that_hangs_in_the_middle_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", _Ending(_SOME_ROWS, "import time; time.sleep(60)"))
    with pytest.raises(SheetRefused, match=r"longer than 0\.5 s"):
        read_file(b"a,b\n", limits=SheetLimits(wall_s=0.5))


def test_a_child_that_does_not_listen_gives_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    start = subprocess.Popen
    code = "import os; os.close(0); os.write(1, b'+')"

    def deaf(*_: object, **kwargs: object) -> object:
        return start([sys.executable, "-c", code], **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", deaf)
    with pytest.raises(SheetRefused, match="cannot be followed"):
        read_file(b"a,b\n" * 1_000_000)


def test_cells_without_references_are_read() -> None:
    data = _with_sheet(f"{HEAD}<row><c><v>5</v></c><c><v>6</v></c></row>{TAIL}")
    assert read_file(data).tables[0].rows == [[5, 6]]


def test_nothing_of_our_environment_reaches_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}
    start = subprocess.Popen

    def spy(*args: object, **kwargs: object) -> object:
        seen.update(kwargs)
        return start(*args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setenv("NEARCAST_SECRET", "x")
    monkeypatch.setattr(subprocess, "Popen", spy)
    assert read_file(b"a,b\n").tables[0].rows == [["a", "b"]]
    environment = seen["env"]
    assert isinstance(environment, dict)
    assert not {*environment} & {*os.environ} - {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE"}
    assert "NEARCAST_SECRET" not in environment
    assert seen["cwd"] == "/"


def test_a_child_that_cannot_start_is_our_fault_not_the_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(SandboxBroken, match="ended with 1 before it began"):
        read_file(b"a,b\n")


def _code(data: bytes) -> str | None:
    try:
        tables = read_file(data).tables
    except SheetRefused as refused:
        return refused.code
    assert all(table.rows for table in tables)
    return None


XLSX = to_xlsx([["이름", "위도"], ["가", 37.5]])
XLS = (UPLOADS / "stores.xls").read_bytes()
ODS = (UPLOADS / "stores.ods").read_bytes()


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    """A real file with some bytes changed, cut out or repeated."""
    data = bytearray(draw(st.sampled_from([XLSX, XLS, ODS, to_csv([["이름", "위도"], ["가", 1]])])))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data) - 1))
        size = draw(st.integers(1, 40))
        data[at : at + size] = draw(st.binary(max_size=40))
        if not data:
            break
    return bytes(data)


@pytest.mark.slow
@settings(max_examples=40)
@given(st.one_of(_damaged(), st.binary(max_size=200)))
def test_no_bytes_raise_anything_but_a_refusal(data: bytes) -> None:
    assert _code(data) in {None, *REFUSALS}


def test_files_are_read_side_by_side() -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(read_file, [XLSX, XLS, ODS, b"a,b\n"] * 2))
    assert [len(read.tables[0].rows) for read in found] == [2, 6, 6, 1] * 2
