"""Degrees and metres as people write them in cells (product U2): DMS, hemispheres, units."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from geo.sheets.cells import as_text, not_a_number, number_of_text, plain_text
from geo.sheets.problems import CellProposal, CellRefused
from geo.sheets.workbook import Cell

Axis = Literal["lat", "lng"]


class Degrees(NamedTuple):
    """Degrees and, where the cell names a hemisphere, which of the two they are."""

    value: float
    axis: Axis | None = None


_MARKS = str.maketrans(
    {"º": "°", "˚": "°", "゜": "°", "도": "°", "分": "'", "분": "'", "초": '"', "秒": '"', "度": "°"}
    | dict.fromkeys("′’‘ʹ´`＇", "'")
    | dict.fromkeys("″”“ʺ〃＂", '"')
)
_HEMISPHERES: dict[str, tuple[int, Axis]] = {
    "N": (1, "lat"),
    "S": (-1, "lat"),
    "E": (1, "lng"),
    "W": (-1, "lng"),
    "북위": (1, "lat"),
    "남위": (-1, "lat"),
    "동경": (1, "lng"),
    "서경": (-1, "lng"),
}
_HEMISPHERE = re.compile(r"^(?P<before>[NSEW]|북위|남위|동경|서경)|(?P<after>[NSEW])$")
_N = r"\d+(?:[.,]\d+)?"
_DMS = (
    re.compile(rf"(\d{{1,3}})°\s*(?:({_N})')?\s*(?:({_N})(?:\"|''))?\Z", re.ASCII),
    re.compile(rf"(\d{{1,3}})[:\s]\s*(\d{{1,2}})[:\s]\s*({_N})\Z", re.ASCII),
    re.compile(r"(\d{1,3})\s+(\d{1,2}[.,]\d+)()\Z", re.ASCII),
)
_DECIMAL = re.compile(r"[+-]?\d{1,3}\.\d{1,20}\Z", re.ASCII)
_BETWEEN = re.compile(r"\s*[,;/|]\s*|\s+")
_AFTER_WORD = re.compile(r"(?<=[위경])\s+")
_PAIRED = re.compile(r"[+-]?\d+\.\d+\Z", re.ASCII)

_METRES = {
    "": 1.0,
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres", "미터"), 1.0),
    **dict.fromkeys(("km", "kilometer", "kilometers", "kilometre", "kilometres"), 1_000.0),
    **dict.fromkeys(("킬로미터", "킬로", "키로"), 1_000.0),
}
_LENGTH = re.compile(r"(?:반경|반지름|radius|r)?[:=]?([+-]?[\d.,]+(?:e[+-]?\d+)?)([^\d.,]*)\Z")


def read_degrees(cell: Cell) -> Degrees:
    """Degrees from a number, a decimal text, degrees-minutes-seconds, with or without hemisphere.

    A comma is a decimal comma. The range is not judged here: whether two cells are swapped shows only
    when both are known. Raises `CellRefused`: `not_a_number`, `date_instead_of_number`,
    `two_numbers`, `minutes_out_of_range`.
    """
    if isinstance(cell, (int, float)) and not isinstance(cell, bool):
        return Degrees(_float(cell))
    if not isinstance(cell, str):
        raise not_a_number(cell)
    if _DECIMAL.match(cell):  # nearly every cell
        return Degrees(float(cell))
    text = (plain_text((as_text(cell) or "").translate(_MARKS)) or "").upper()
    text = text.replace("−", "-").replace("–", "-")
    turned, axis, rest = _hemisphere(text)
    value = _unsigned_or_signed(rest, text, cell)
    if axis is not None and rest.startswith(("+", "-")):
        raise not_a_number(cell)
    return Degrees(turned * value, axis)


def _float(number: float) -> float:
    """The number as a double; a whole number beyond all doubles (geo files hold such) is refused."""
    try:
        return float(number)
    except OverflowError:
        raise not_a_number(f"{str(number)[:20]}…") from None


def _hemisphere(text: str) -> tuple[int, Axis | None, str]:
    """(sign, axis, what is left); an E between digits is an exponent, not the east."""
    found = _HEMISPHERE.search(text)
    if found is None:
        return 1, None, text
    turned, axis = _HEMISPHERES[found[0]]
    return turned, axis, (text[: found.start()] + text[found.end() :]).strip(" :")


def _unsigned_or_signed(text: str, whole: str, cell: str) -> float:
    """The number of a text without hemisphere; `whole` is the text with it."""
    number = number_of_text(text.removesuffix("°").strip(), thousands=False)
    if number is not None:
        return number
    sign = -1 if text.startswith("-") else 1
    for form in _DMS:
        if found := form.match(text.lstrip("+-")):
            return sign * _from_dms(found, cell)
    pair = _pair(whole)
    raise not_a_number(cell) if pair is None else _two_numbers(*pair, cell)


def _pair(text: str) -> tuple[Degrees, Degrees] | None:
    """Two decimal numbers with something between them, in brackets or not: `(37.4979N, 127.0276E)`."""
    parts = _BETWEEN.split(_AFTER_WORD.sub("", text.strip("()[] ")))
    if len(parts) != 2:
        return None
    found = []
    for part in parts:
        turned, axis, rest = _hemisphere(part)
        number = rest.removesuffix("°")
        if not _PAIRED.match(number):
            return None
        found.append(Degrees(turned * float(number), axis))
    return found[0], found[1]


def _from_dms(found: re.Match[str], cell: str) -> float:
    degrees, minutes, seconds = (float((part or "0").replace(",", ".")) for part in found.groups())
    if minutes >= 60 or seconds >= 60:
        raise CellRefused(
            "minutes_out_of_range",
            f"'{cell[:40]}': minutes and seconds go from 0 to 59.",
            f"'{cell[:40]}': 분과 초는 0~59 사이여야 해요.",
        )
    return degrees + minutes / 60 + seconds / 3600


def _two_numbers(first: Degrees, second: Degrees, cell: str) -> CellRefused:
    """Latitude first, as maps give it, unless a hemisphere or its size says otherwise."""
    turned = first.axis == "lng" or second.axis == "lat" or abs(first.value) > 90
    lat, lng = (second.value, first.value) if turned else (first.value, second.value)
    return CellRefused(
        "two_numbers",
        f"'{cell[:40]}' holds two numbers; give latitude and longitude a column each.",
        f"'{cell[:40]}'에 숫자가 두 개 있어요. 위도와 경도를 다른 칸에 적어 주세요.",
        proposal=CellProposal(
            message_en=f"Latitude {lat:.10g}, longitude {lng:.10g}.",
            message_ko=f"위도 {lat:.10g}, 경도 {lng:.10g}(으)로 나누기",
            values={"lat": lat, "lng": lng},
        ),
    )


def read_metres(cell: Cell) -> float:
    """Metres from a number or a text with a unit: `500`, `1,500m`, `1.5 km`, `반경 500미터`."""
    return _read_length(cell, per_unit_m=1.0)


def read_kilometres(cell: Cell) -> float:
    """Metres from a cell under a heading in kilometres; a unit in the cell overrules the heading."""
    return _read_length(cell, per_unit_m=1_000.0)


def _read_length(cell: Cell, *, per_unit_m: float) -> float:
    """Raises `CellRefused`: `not_a_number`, `date_instead_of_number`, `unknown_unit`."""
    if isinstance(cell, (int, float)) and not isinstance(cell, bool):
        return _float(cell) * per_unit_m
    if not isinstance(cell, str):
        raise not_a_number(cell)
    text = (plain_text(cell) or "").casefold().replace(" ", "").replace("−", "-")
    found = _LENGTH.match(text)
    number = number_of_text(found[1], thousands=True) if found else None
    if found is None or number is None:
        raise not_a_number(cell)
    if found[2] not in _METRES:
        raise CellRefused(
            "unknown_unit",
            f"'{cell[:40]}': the unit '{found[2][:20]}' is not known; use m or km.",
            f"'{cell[:40]}': '{found[2][:20]}' 단위를 알 수 없어요. m나 km로 적어 주세요.",
        )
    return number * (_METRES[found[2]] if found[2] else per_unit_m)
