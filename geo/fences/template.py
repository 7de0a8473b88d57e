"""The workbook to fill in: headings, checks, two examples and a legend (product U6)."""

from __future__ import annotations

import io
from dataclasses import dataclass

from openpyxl import Workbook
from openpyxl.cell import Cell as XlsxCell
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.worksheet.datavalidation import DataValidation
from openpyxl.worksheet.properties import PageSetupProperties
from openpyxl.worksheet.worksheet import Worksheet

from geo.fences.column_list import COLUMNS, MAX_POLYGON_CELLS
from geo.fences.limits import MAX_AREA_KM2, MAX_RADIUS_M, MIN_RADIUS_M
from geo.sheets.headings import Column, heading_key
from geo.sheets.table import column_letters

CHECKED_ROWS = 10_000  # below the headings; more rows may be filled in and are checked on upload
_REQUIRED = frozenset({"name", "lat", "lng", "radius_m"})
_UNLESS_POLYGON = frozenset({"lat", "lng", "radius_m"})
#: known, but another column says the same or carries on: in the legend only
_LEGEND_ONLY = frozenset({"radius_km", *(f"polygon_{n}" for n in range(2, MAX_POLYGON_CELLS + 1))})
_WIDTHS = {"name": 34, "address": 34, "polygon": 40, "memo": 42, "store": 24, "group": 18, "tags": 18}
_WIDTH = 13
_LEGEND_WIDTHS = (26, 52, 34, 20, 56)
_LINE_PT = 15
_MOST_OTHER_NAMES = 8

_SHEETS = {"en": ("Fences", "Legend"), "ko": ("지오펜스", "설명")}
_LEGEND_HEAD = {
    "en": ("Column", "What it holds", "For example", "Required", "Other headings that are understood"),
    "ko": ("열", "적는 내용", "적는 예", "필수 여부", "이런 제목도 알아들어요"),
}
_YES = {"en": "yes", "ko": "필수"}
_YES_UNLESS = {"en": "yes, unless there is a polygon", "ko": "필수 (폴리곤이 있으면 생략)"}
_NO = {"en": "no", "ko": "선택"}
_HINTS = {
    "en": (
        "Delete the two example rows and write one place per row. Headings with * are required.",
        (
            "Columns that are not needed may be deleted, and the order does not matter. Nothing changes "
            "before you have seen and confirmed the report of the upload."
        ),
    ),
    "ko": (
        "예시 두 줄을 지우고 한 줄에 한 곳씩 적어 주세요. 제목에 *가 있는 열은 필수예요.",
        (
            "필요 없는 열은 지워도 되고 순서를 바꿔도 돼요. 올린 뒤 결과를 확인하고 적용하기 전에는 "
            "아무것도 바뀌지 않아요."
        ),
    ),
}
#: column → English, Korean, what an example looks like
_LEGEND: dict[str, tuple[str, str, str]] = {
    "name": (
        "Name of the fence, as reports show it.",
        "보고서에 나오는 지오펜스 이름이에요.",
        "강남역점",
    ),
    "external_id": (
        "Your own code of the place. By it a row finds its fence again when the file is uploaded anew.",
        "회사에서 쓰는 코드예요. 파일을 다시 올릴 때 이 코드로 같은 지오펜스를 찾아요.",
        "KR-0001",
    ),
    "group": (
        "Groups the fence belongs to; several with a semicolon between them.",
        "지오펜스가 속한 그룹이에요. 여러 개는 세미콜론(;)으로 나누어 적어 주세요.",
        "서울; 직영점",
    ),
    "lat": (
        "Latitude of the centre in WGS84 degrees, from -90 to 90.",
        "중심의 위도예요. WGS84 도 단위로 -90에서 90 사이예요.",
        "37.497942",
    ),
    "lng": (
        "Longitude of the centre in WGS84 degrees, from -180 to 180.",
        "중심의 경도예요. WGS84 도 단위로 -180에서 180 사이예요.",
        "127.027621",
    ),
    "radius_m": (
        f"Radius in metres, from {MIN_RADIUS_M:,.0f} to {MAX_RADIUS_M:,.0f}.",
        f"반경이에요. 미터 단위로 {MIN_RADIUS_M:,.0f}에서 {MAX_RADIUS_M:,.0f} 사이예요.",
        "150",
    ),
    "radius_km": (
        "Radius in kilometres, in place of the one in metres.",
        "미터 대신 킬로미터로 적는 반경이에요.",
        "1.5",
    ),
    "polygon": (
        (
            f"An outline in place of centre and radius, up to {MAX_AREA_KM2:,.0f} km²: WKT, GeoJSON, or "
            "latitude,longitude;latitude,longitude…."
        ),
        (
            f"중심과 반경 대신 쓰는 영역이에요. {MAX_AREA_KM2:,.0f} km²까지 WKT, GeoJSON 또는 "
            "위도,경도;위도,경도… 형식으로 적어 주세요."
        ),
        "37.571,126.976; 37.571,126.978; 37.575,126.977",
    ),
    "brand": ("Brand of the place.", "브랜드예요.", "별커피"),
    "category": ("Category of the place.", "업종이에요.", "카페"),
    "store": (
        "Name of the shop, where it is not the fence's.",
        "지오펜스명과 다른 매장 이름이에요.",
        "별커피 강남",
    ),
    "address": (
        "Address; tells places of one name apart.",
        "주소예요. 이름이 같은 곳을 구분해 줘요.",
        "서울특별시 강남구 강남대로 396",
    ),
    "tags": (
        "Tags, with semicolons or commas between them.",
        "태그예요. ;나 ,로 나누어 적어 주세요.",
        "24시간; 주차",
    ),
    "memo": ("A note for yourselves.", "우리만 보는 메모예요.", "출구 앞"),
}
_CONTINUED = {
    "en": "The rest of an outline that is too long for one cell of Excel (32,767 characters).",
    "ko": "엑셀 한 칸(32,767자)에 들어가지 않는 영역의 이어지는 부분이에요.",
}
_EXAMPLES: dict[str, tuple[dict[str, str | float], ...]] = {
    "en": (
        {
            "name": "EXAMPLE 1 (delete this row): a circle",
            "external_id": "EXAMPLE-1",
            "group": "Seoul; own shops",
            "lat": 37.566295,
            "lng": 126.977945,
            "radius_m": 150.0,
            "brand": "Star Coffee",
            "category": "Cafe",
            "store": "Star Coffee City Hall",
            "address": "110 Sejong-daero, Jung-gu, Seoul",
            "tags": "24 hours; parking",
            "memo": "150 m around the city hall",
        },
        {
            "name": "EXAMPLE 2 (delete this row): an outline",
            "external_id": "EXAMPLE-2",
            "group": "Seoul",
            "polygon": "POLYGON ((126.9764 37.5712, 126.9774 37.5712, 126.9774 37.5758, "
            "126.9764 37.5758, 126.9764 37.5712))",
            "memo": "An outline needs no lat, lng and radius_m",
        },
    ),
    "ko": (
        {
            "name": "예시 1 (이 줄은 지워 주세요): 원",
            "external_id": "EXAMPLE-1",
            "group": "서울; 직영점",
            "lat": 37.566295,
            "lng": 126.977945,
            "radius_m": 150.0,
            "brand": "별커피",
            "category": "카페",
            "store": "별커피 시청점",
            "address": "서울특별시 중구 세종대로 110",
            "tags": "24시간; 주차",
            "memo": "시청 둘레 150 m",
        },
        {
            "name": "예시 2 (이 줄은 지워 주세요): 영역",
            "external_id": "EXAMPLE-2",
            "group": "서울",
            "polygon": "POLYGON ((126.9764 37.5712, 126.9774 37.5712, 126.9774 37.5758, "
            "126.9764 37.5758, 126.9764 37.5712))",
            "memo": "영역이 있으면 위도·경도·반경은 비워 두세요",
        },
    ),
}


@dataclass(frozen=True, kw_only=True)
class _Check:
    """What Excel lets into a column of numbers, bounds included, and what it says otherwise."""

    least: float
    most: float
    title: tuple[str, str]
    message: tuple[str, str]


_CHECKS = {
    "lat": _Check(
        least=-90,
        most=90,
        title=("Latitude", "위도"),
        message=(
            "A latitude is a number from -90 to 90, such as 37.497942. Swapped with the longitude?",
            "위도는 37.497942처럼 -90에서 90 사이의 숫자예요. 경도와 바뀌지 않았는지 봐 주세요.",
        ),
    ),
    "lng": _Check(
        least=-180,
        most=180,
        title=("Longitude", "경도"),
        message=(
            "A longitude is a number from -180 to 180, such as 127.027621.",
            "경도는 127.027621처럼 -180에서 180 사이의 숫자예요.",
        ),
    ),
    "radius_m": _Check(
        least=MIN_RADIUS_M,
        most=MAX_RADIUS_M,
        title=("Radius", "반경"),
        message=(
            f"A radius is a number of metres from {MIN_RADIUS_M:,.0f} to {MAX_RADIUS_M:,.0f}.",
            f"반경은 {MIN_RADIUS_M:,.0f}에서 {MAX_RADIUS_M:,.0f} 사이의 미터예요. 숫자만 적어 주세요.",
        ),
    ),
}
_FACE = {"name": "Calibri", "size": 11}  # openpyxl's own, which cells that are filled in will have
_THIN = Side(style="thin", color="FFBDC1C6")
_EDGE = Border(bottom=_THIN)
_HEAD_REQUIRED = PatternFill("solid", fgColor="FF1F4E79")
_HEAD_OPTIONAL = PatternFill("solid", fgColor="FF7F93A8")
_EXAMPLE = PatternFill("solid", fgColor="FFF3F4F6")


def template_workbook(lang: str = "en") -> bytes:
    """An XLSX to fill in, in English (`en`) or Korean (`ko`).

    The first sheet has a heading for every column of `COLUMNS` but those that carry on another, `*`
    after the required ones, and two example rows, which are fences that would be taken. For 10,000
    rows Excel lets only latitudes, longitudes and radii within the limits in. The second sheet says
    what each column is for; no row of it can be taken for headings.
    """
    book = Workbook()
    sheet, legend = book.active, book.create_sheet()
    sheet.title, legend.title = _SHEETS[lang]
    columns = [column for column in COLUMNS if column.name not in _LEGEND_ONLY]
    _write_head(sheet, columns, lang)
    _write_examples(sheet, columns, lang)
    for index, column in enumerate(columns):
        if column.name in _CHECKS:
            sheet.add_data_validation(_validation(_CHECKS[column.name], column_letters(index), lang))
    _write_legend(legend, lang)
    for page in (sheet, legend):
        page.page_setup.orientation = "landscape"
        page.page_setup.fitToHeight = 0
        page.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _label(column: Column, lang: str) -> str:
    return column.label_ko if lang == "ko" else column.label_en


def _write_head(sheet: Worksheet, columns: list[Column], lang: str) -> None:
    for index, column in enumerate(columns):
        required = column.name in _REQUIRED
        cell = sheet.cell(1, index + 1)
        _put(cell, f"{_label(column, lang)} *" if required else _label(column, lang))
        cell.font = Font(**_FACE, bold=True, color="FFFFFFFF")
        cell.fill = _HEAD_REQUIRED if required else _HEAD_OPTIONAL
        cell.alignment = Alignment(vertical="center")
        across = sheet.column_dimensions[column_letters(index)]
        across.width = _WIDTHS.get(column.name, _WIDTH)
        if column.name not in _CHECKS:
            across.number_format = "@"  # a code such as 0012 keeps its zeros
    sheet.row_dimensions[1].height = 24
    sheet.freeze_panes = "B2"


def _write_examples(sheet: Worksheet, columns: list[Column], lang: str) -> None:
    for row, example in enumerate(_EXAMPLES[lang], 2):
        for index, column in enumerate(columns):
            cell = sheet.cell(row, index + 1)
            value = example.get(column.name)
            if isinstance(value, str):
                _put(cell, value)
                cell.number_format = "@"
            else:
                cell.value = value
            cell.font = Font(**_FACE, italic=True, color="FF5F6368")
            cell.fill = _EXAMPLE
            # an outline would run over the columns beside it
            cell.alignment = Alignment(
                vertical="center", horizontal="fill" if column.name == "polygon" else None
            )
        sheet.row_dimensions[row].height = 20


def _put(cell: XlsxCell, text: str) -> None:
    """Text as text, whatever it begins with."""
    cell.value = text
    cell.data_type = "s"


def _validation(check: _Check, letters: str, lang: str) -> DataValidation:
    korean = lang == "ko"
    validation = DataValidation(
        type="decimal",
        operator="between",
        formula1=f"{check.least:g}",
        formula2=f"{check.most:g}",
        allow_blank=True,
        showErrorMessage=True,
        errorStyle="stop",
        errorTitle=check.title[korean],
        error=check.message[korean],
    )
    validation.add(f"{letters}2:{letters}{CHECKED_ROWS + 1}")
    return validation


def _write_legend(legend: Worksheet, lang: str) -> None:
    """Hints, then a row per column; no cell of it is by itself a heading that a column goes by."""
    for row, hint in enumerate(_HINTS[lang], 1):
        legend.merge_cells(start_row=row, end_row=row, start_column=1, end_column=len(_LEGEND_WIDTHS))
        _put(legend.cell(row, 1), hint)
        legend.cell(row, 1).alignment = Alignment(wrap_text=True, vertical="center")
        legend.row_dimensions[row].height = 22
    head = len(_HINTS[lang]) + 2
    continued = f"polygon_{MAX_POLYGON_CELLS}"
    shown = [c for c in COLUMNS if c.name in _LEGEND or c.name == continued]
    table = [_LEGEND_HEAD[lang], *(_legend_row(column, lang) for column in shown)]
    for row, texts in enumerate(table, head):
        for index, text in enumerate(texts, 1):
            cell = legend.cell(row, index)
            _put(cell, text)
            cell.alignment = Alignment(wrap_text=True, vertical="top")
            cell.border = _EDGE
            cell.font = Font(
                **_FACE, bold=row == head or index == 1, color="FFFFFFFF" if row == head else None
            )
            if row == head:
                cell.fill = _HEAD_REQUIRED
        legend.row_dimensions[row].height = _LINE_PT * max(map(_lines, texts, _LEGEND_WIDTHS)) + 4
    for index, width in enumerate(_LEGEND_WIDTHS):
        legend.column_dimensions[column_letters(index)].width = width
    legend.freeze_panes = f"B{head + 1}"


def _legend_row(column: Column, lang: str) -> tuple[str, ...]:
    korean = lang == "ko"
    if column.name not in _LEGEND:
        names = f"폴리곤 2-{MAX_POLYGON_CELLS}" if korean else f"polygon 2-{MAX_POLYGON_CELLS}"
        return names, _CONTINUED[lang], "…", _NO[lang], "polygon_2, wkt 2, 좌표 2, …"
    english, korean_text, example = _LEGEND[column.name]
    required = _YES_UNLESS if column.name in _UNLESS_POLYGON else _YES
    return (
        f"{column.label_ko} / {column.label_en}" if korean else f"{column.label_en} / {column.label_ko}",
        korean_text if korean else english,
        example,
        (required if column.name in _REQUIRED else _NO)[lang],
        _other_names(column),
    )


def _lines(text: str, width: int) -> int:
    """How many lines the text takes in a column so wide, Korean letters counting two."""
    return 1 + (len(text) + sum(ord(c) > 0x1100 for c in text)) // width


def _other_names(column: Column) -> str:
    """The first few aliases that are not the heading itself."""
    own = {heading_key(column.label_en), heading_key(column.label_ko)}
    others = [alias for alias in column.aliases if heading_key(alias) not in own]
    return ", ".join(others[:_MOST_OTHER_NAMES]) + (", …" if len(others) > _MOST_OTHER_NAMES else "")
