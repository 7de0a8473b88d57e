"""What a cell says: its text, a number, a list. Knows no column and no fence."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta

from geo.sheets.problems import CellProposal, CellRefused
from geo.sheets.table import Broken, Cell

_SPACES = re.compile(r"[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
#: controls, soft hyphens, spaces of no width, marks of direction (maps and dialogues of Windows put them
#: around numbers that are copied), halves of characters; a joiner only where it joins no emoji
_INVISIBLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\xad\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
    r"|(?<![\u2600-\u27bf\ufe0f\U0001f000-\U0001faff])\u200d"
)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?\Z", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][+-]?\d{1,3})?\Z", re.ASCII)
_ITEM = re.compile(r'\s*(?:"((?:[^"]|"")*)"\s*(?=[;|\n]|\Z)|([^;|\n]+))')
_ITEM_OR_COMMA = re.compile(r'\s*(?:"((?:[^"]|"")*)"\s*(?=[;|\n,]|\Z)|([^;|\n,]+))')
_EXCEL_DAY_0 = datetime(1899, 12, 30)  # noqa: DTZ001 - Excel's serial day 0, which has no zone
_DAY_0_OF_1904 = datetime(1904, 1, 1)  # noqa: DTZ001 - the same of old Excel for Mac
_EXCEL_MARCH_1900 = 61
_DAY = timedelta(days=1)
_EXACT = 2.0**53  # beyond, a float no longer tells one whole number from the next


def as_text(cell: Cell) -> str | None:
    """The cell as a person reads it; None where it shows nothing.

    Whole numbers come without a point (Excel keeps 1049 as 1049.0). Text is composed (NFC), odd
    spaces become spaces, invisible characters go, the ends are stripped; what lies between stays.
    A broken cell gives what it shows.
    """
    match cell:
        case None:
            return None
        case str():
            if not cell.isprintable() or not unicodedata.is_normalized("NFC", cell):
                broken = cell.replace("\r\n", "\n").replace("\r", "\n")
                seen = _SPACES.sub(" ", _INVISIBLE.sub("", broken))
                cell = unicodedata.normalize("NFC", seen)
            return cell.strip() or None
        case bool():
            return "TRUE" if cell else "FALSE"
        case float():
            return str(int(cell)) if cell.is_integer() and abs(cell) <= _EXACT else repr(cell)
        case datetime() | date() | time():
            return cell.isoformat(" ") if isinstance(cell, datetime) else cell.isoformat()
        case Broken():
            return cell.shown
        case _:
            return str(cell)


def is_empty(cell: Cell) -> bool:
    """Whether `as_text` of the cell is None."""
    if isinstance(cell, str):
        return not cell.strip() or (not cell.isprintable() and as_text(cell) is None)
    return cell is None


def plain_text(cell: Cell) -> str | None:
    """`as_text` with compatibility forms folded (NFKC): full-width digits, ㎞, ， and the like."""
    text = as_text(cell)
    return unicodedata.normalize("NFKC", text).strip() if text else text


def not_a_number(cell: Cell, *, date_1904: bool = False) -> CellRefused:
    """The refusal of a cell that should be a number, saying what it is instead.

    `date_1904` is the table's: a date is offered as the number behind it.
    """
    shown = (as_text(cell) or "")[:40]
    if isinstance(cell, (datetime, date, time, timedelta)):
        return _refused_date(cell, shown, excel_serial(cell, date_1904=date_1904))
    if isinstance(cell, bool):
        return CellRefused(
            "not_a_number",
            f"The cell holds {shown}; give a number.",
            f"칸에 {shown} 값이 있어요. 숫자로 적어 주세요.",
        )
    return CellRefused(
        "not_a_number",
        f"'{shown}' is no number; write it like 37.4979.",
        f"'{shown}'은(는) 숫자가 아니에요. 37.4979처럼 적어 주세요.",
    )


def _refused_date(cell: datetime | date | time | timedelta, shown: str, serial: float) -> CellRefused:
    return CellRefused(
        "date_instead_of_number",
        f"The cell is formatted as a date ({shown}); as a number it is {serial:.10g}. "
        "Format the column as a number.",
        f"칸이 날짜 서식({shown})이에요. 숫자로는 {serial:.10g}이에요. 셀 서식을 숫자로 바꿔 주세요.",
        proposal=CellProposal(
            message_en=f"Take {serial:.10g}.",
            message_ko=f"{serial:.10g}(으)로 바꾸기",
            values={"": serial},
        ),
    )


def excel_serial(cell: datetime | date | time | timedelta, *, date_1904: bool = False) -> float:
    """The number behind a date cell, rounded to a ten-millionth of a day.

    In the 1900 system Excel believes in 29 February 1900: days before 1 March 1900 count one less.
    In the 1904 system (`Table.date_1904`) day 0 is 1 January 1904. Times and spans have no epoch.
    """
    match cell:
        case timedelta():
            return round(cell / _DAY, 7)
        case time():
            span = timedelta(hours=cell.hour, minutes=cell.minute, seconds=cell.second)
            return round((span + timedelta(microseconds=cell.microsecond)) / _DAY, 7)
    day_0 = _DAY_0_OF_1904 if date_1904 else _EXCEL_DAY_0
    since = cell - day_0 if isinstance(cell, datetime) else cell - day_0.date()
    serial = round(since / _DAY, 7)
    return serial if date_1904 or serial >= _EXCEL_MARCH_1900 else serial - 1


def read_number(cell: Cell, *, thousands: bool) -> float:
    """A finite number from a cell that is a number or shows one.

    Full-width digits, odd spaces, signs and exponents are taken, one comma as a decimal comma.
    With `thousands`, commas before groups of three digits are thousands (1,500 is 1500); without, a
    comma is always decimal (37,497 is 37.497), as fits degrees.
    Raises `CellRefused` (`not_a_number`, `date_instead_of_number`).
    """
    if isinstance(cell, (int, float)) and not isinstance(cell, bool):
        return float(cell)
    text = plain_text(cell) if isinstance(cell, str) else None
    if text is None:
        raise not_a_number(cell)
    number = number_of_text(text.replace(" ", ""), thousands=thousands)
    if number is None:
        raise not_a_number(cell)
    return number


def number_of_text(text: str, *, thousands: bool) -> float | None:
    """A finite number from text without spaces; None where it is none. See `read_number`."""
    text = text.replace("−", "-").replace("–", "-")
    if thousands and _THOUSANDS.match(text):
        return float(text.replace(",", ""))
    if not _NUMBER.match(text):
        return None
    number = float(text.replace(",", "."))
    return number if abs(number) < 1e300 else None


def split_list(text: str, *, commas: bool = False) -> tuple[str, ...]:
    """Items between `;`, `|`, line breaks and, if so wished, commas; stripped, each once.

    An item in quotation marks is kept whole, as `join_list` writes it.
    """
    items: dict[str, None] = {}
    for quoted, bare in (_ITEM_OR_COMMA if commas else _ITEM).findall(text):
        item = (quoted.replace('""', '"') if quoted else bare).strip()
        if item:
            items[item] = None
    return tuple(items)


def join_list(items: Sequence[str]) -> str:
    """What `split_list` reads back, with and without commas."""
    return "; ".join(_quoted(item) if re.search(r'[;|\n",]', item) else item for item in items)


def _quoted(item: str) -> str:
    doubled = item.replace('"', '""')
    return f'"{doubled}"'
