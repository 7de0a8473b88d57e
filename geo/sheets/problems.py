"""What is wrong with a sheet as a whole (`SheetRefused`) and with single rows of it (`Problem`).

A sheet that cannot be read is refused once; a sheet that can be read never raises per row: every
fault of every row is collected as a `Problem` (architecture.md, product U5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from geo.errors import NearcastError

#: code → English, Korean; a fact named `x_ko` fills `{x}` of the Korean text
REFUSALS: dict[str, tuple[str, str]] = {
    "not_a_sheet": (
        "The file is {what}, not a spreadsheet. Save it as XLSX or CSV and upload it again.",
        "이 파일은 스프레드시트가 아니라 {what}. XLSX나 CSV로 저장해서 다시 올려 주세요.",
    ),
    "encrypted": (
        "The workbook is locked with a password. Remove the password in Excel and save it again.",
        "암호가 걸린 파일이에요. 엑셀에서 암호를 풀고 다시 저장해 주세요.",
    ),
    "too_large": (
        "The file is too large: it {what}. Delete what is not needed, or split the file.",
        "파일이 너무 커요: {what}. 필요 없는 시트·행·열을 지우거나 파일을 나누어 주세요.",
    ),
    "too_many_rows": (
        "{where} has a value in row {given}; at most {bound} data rows are taken. Split the file.",
        "{where}의 {given}행에 값이 있어요. 데이터는 {bound}행까지 올릴 수 있으니 나누어 주세요.",
    ),
    "too_many_columns": (
        "{where} has a value in column {given}; at most {bound} columns are taken. Clear the rest.",
        "{where}의 {given}열에 값이 있어요. {bound}열까지 쓸 수 있으니 표 오른쪽을 지워 주세요.",
    ),
    "too_many_cells": (
        "{where} spans {given} cells; at most {bound} are taken. Remove columns or split the file.",
        "{where}의 칸이 {given}개예요. {bound}개까지 쓸 수 있으니 열을 줄이거나 나누어 주세요.",
    ),
    "bomb": (
        "No spreadsheet program packs a file like this: {what}. Open it in Excel and save it again.",
        "보통의 스프레드시트와 다르게 압축된 파일이에요: {what}. 엑셀에서 열어 다시 저장해 주세요.",
    ),
    "unreadable": (
        "The file is damaged: {what}. Open it in Excel and save it again.",
        "파일이 손상되어 읽을 수 없어요: {what}. 엑셀에서 열어 다시 저장해 주세요.",
    ),
    "unknown_encoding": (
        "The text of the file is in no known encoding{what}. Save it as 'CSV UTF-8' and try again.",
        "글자 인코딩을 알 수 없어요{what}. 'CSV UTF-8' 형식으로 저장해서 다시 올려 주세요.",
    ),
    "unclosed_quote": (
        'Row {given}: a quotation mark (") opens and never closes. Close it or remove it.',
        '{given}행: 따옴표(")가 열린 뒤 닫히지 않았어요. 닫거나 지워 주세요.',
    ),
    "unknown_delimiter": (
        "'{given}' cannot separate columns; choose tab, semicolon, vertical bar or comma.",
        "'{given}'은(는) 구분 기호가 아니에요. 탭, 세미콜론(;), 세로줄(|), 쉼표(,) 중에서 고르세요.",
    ),
    "empty": (
        "The file holds no values. Upload a sheet with a heading row and one row per place.",
        "파일에 값이 없어요. 제목 행과 데이터 행이 있는 파일을 올려 주세요.",
    ),
    "no_such_sheet": (
        "There is no sheet '{given}'. The file has: {what}. Name one of these, or none for all.",
        "'{given}' 시트가 없어요. 이 파일의 시트: {what}. 이 중에서 고르거나 비워 두세요.",
    ),
    "cell_too_long": (
        "Row {given}, column {where}: longer than the 32,767 characters of an Excel cell. Take CSV.",
        "{given}행 {where}열: 엑셀 칸의 한도인 32,767자를 넘어요. CSV로 내려받아 주세요.",
    ),
    "not_features": (
        (
            "The file is {what}. Taken are GeoJSON, KML, KMZ, GPX, GeoPackage and zipped Shapefiles, "
            "and XLSX or CSV."
        ),
        (
            "이 파일은 {what}. GeoJSON, KML, KMZ, GPX, GeoPackage, 압축한 Shapefile이나 XLSX, CSV를 "
            "올려 주세요."
        ),
    ),
    "damaged_features": (
        "The file cannot be read: {what}. Export it again from the program it comes from.",
        "파일을 읽을 수 없어요: {what}. 원래 프로그램에서 다시 내보내 주세요.",
    ),
    "crs_missing": (
        (
            "{where} does not say its coordinate system, and {given} are no degrees. Name it, for "
            "example crs={example}.{hint}"
        ),
        (
            "{where}에 좌표계 정보가 없고 {given}은(는) 위경도가 아니에요. crs={example}처럼 좌표계를 "
            "알려 주세요.{hint}"
        ),
    ),
    "crs_unknown": (
        "'{given}' is no coordinate system that can be used. Write it like EPSG:5181.",
        "'{given}'은(는) 쓸 수 있는 좌표계가 아니에요. EPSG:5181처럼 적어 주세요.",
    ),
}


class SheetRefused(NearcastError):
    """The file cannot be read as a sheet.

    Attributes:
        code: a key of `REFUSALS`.
        facts: what fills the message: strings, as they are shown.
    """

    code = "sheet_refused"

    def __init__(self, code: str, **facts: str) -> None:
        self.code = code
        self.facts = facts
        super().__init__(self.text("en"))

    def text(self, lang: str = "en") -> str:
        """The message in English (`en`) or Korean (`ko`)."""
        facts = dict(self.facts)
        if lang == "ko":
            facts |= {k[:-3]: v for k, v in self.facts.items() if k.endswith("_ko")}
        return REFUSALS[self.code][lang == "ko"].format(**facts)


@dataclass(frozen=True, kw_only=True)
class CellProposal:
    """A way to mend a row, which the user may accept; never applied silently.

    Attributes:
        values: column name → what its cell should hold instead.
    """

    message_en: str
    message_ko: str
    values: Mapping[str, str | float] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One fault of one row.

    Attributes:
        sheet: name of the sheet; None in a CSV.
        row: as Excel shows it, from 1.
        heading: the heading as it stands in the sheet; None where the row as a whole is meant.
        cell: reference such as `C7`; None where the value is not in the sheet.
        value: the cell as it is shown, cut at 80 characters; None where it is empty.
        code: stable; the same for the same fault.
    """

    sheet: str | None
    row: int
    heading: str | None
    cell: str | None
    code: str
    message_en: str
    message_ko: str
    value: str | None = None
    proposal: CellProposal | None = None

    def message(self, lang: str = "en") -> str:
        """The message in English (`en`) or Korean (`ko`)."""
        return self.message_ko if lang == "ko" else self.message_en


class CellRefused(NearcastError):
    """The cell cannot be read. Raised by a column's `clean`, collected by `headings.read_records`."""

    code = "cell_refused"

    def __init__(
        self, code: str, message_en: str, message_ko: str, *, proposal: CellProposal | None = None
    ) -> None:
        self.code = code
        self.message_en = message_en
        self.message_ko = message_ko
        self.proposal = proposal
        super().__init__(message_en)
