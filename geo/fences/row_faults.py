"""What can be wrong with a row of a fence sheet, in the two languages of the house (quality Q11)."""

from __future__ import annotations

from geo.fences.evidence import Unit
from geo.fences.fence import PolygonShape
from geo.fences.identity import Identity
from geo.fences.refusals import ShapeRefused
from geo.fences.shapes import to_wkt
from geo.sheets.problems import CellProposal, CellRefused, Problem
from geo.sheets.workbook import Table

#: column → what it is called, and the headings to write, in English and Korean
_CALLED = {
    "name": ("name", "이름", "name, 지오펜스명, 지점명"),
    "store": ("name", "이름", "name, 지오펜스명, 지점명"),
    "lat": ("latitude", "위도", "lat, latitude, 위도"),
    "lng": ("longitude", "경도", "lng, longitude, 경도"),
    "radius_m": ("radius", "반경", "radius_m, 반경"),
    "polygon": ("shape", "도형", "polygon, wkt, 폴리곤"),
}


def no_headings(table: Table) -> Problem:
    """No row near the top names a column."""
    return Problem(
        sheet=table.sheet,
        row=table.first_row,
        heading=None,
        cell=None,
        code="no_headings",
        message_en="No heading row was found in the first 50 rows. Head the columns with, for "
        "example, name, lat, lng and radius_m.",
        message_ko="처음 50행에서 제목 행을 찾지 못했어요. 지점명, 위도, 경도, 반경처럼 적어 주세요.",
    )


def missing_heading(name: str) -> CellRefused:
    """No column could give this to any row."""
    en, ko, headings = _CALLED[name]
    return CellRefused(
        "missing_heading",
        f"No column holds the {en}. Head it with one of: {headings}.",
        f"{ko} 열이 없어요. 제목을 다음 중 하나로 적어 주세요: {headings}.",
    )


def missing(name: str) -> CellRefused:
    """The row does not say it."""
    en, ko, _ = _CALLED[name]
    return CellRefused("missing", f"The {en} is empty; fill it in.", f"{ko} 칸이 비어 있어요.")


def duplicate(identity: Identity, first: tuple[str | None, int], *, by_id: bool) -> CellRefused:
    """The row is the same fence as one above it, or in a sheet before it."""
    sheet, row = first
    en = f"Row {row}" if sheet is None else f"Row {row} of '{sheet}'"
    ko = f"{row}행" if sheet is None else f"'{sheet}' 시트 {row}행"
    if by_id:
        return CellRefused(
            "duplicate_external_id",
            f"{en} has the same code '{identity.external_id}'. Give each fence its own.",
            f"{ko}과 코드 '{identity.external_id}'이(가) 같아요. 서로 다르게 적어 주세요.",
        )
    return CellRefused(
        "duplicate_name",
        f"{en} has the same name, group and address. Give a code or an address that "
        "tells the two apart.",
        f"{ko}과 이름·그룹·주소가 모두 같아요. 코드나 주소로 구분해 주세요.",
    )


#: how a radius reads in the unit that seems to be meant: (per metre of the heading's, en, ko)
_UNITS: dict[tuple[str, Unit], tuple[float, str, str]] = {
    ("radius_m", "km"): (1_000.0, "under 10: kilometres, not metres", "10보다 작아서 m가 아니라 km인"),
    ("radius_m", "mm"): (
        0.001,
        "over 50,000: millimetres, not metres",
        "50,000을 넘어서 m가 아니라 mm인",
    ),
    ("radius_km", "m"): (0.001, "over 50: metres, not kilometres", "50을 넘어서 km가 아니라 m인"),
}


def other_unit(radius_m: float, column: str, unit: Unit) -> CellRefused:
    """All radii of the column are out of bounds, and within them in another unit."""
    factor, en, ko = _UNITS[column, unit]
    meant_m = round(radius_m * factor, 6)
    given = radius_m / 1_000 if column == "radius_km" else radius_m
    return CellRefused(
        "unit",
        f"The radius {given:.10g} and all others of its column are {en}, it seems.",
        f"반경 {given:.10g}을(를) 비롯해 이 열의 값이 모두 {ko} 것 같아요.",
        proposal=CellProposal(
            message_en=f"Take {meant_m:.10g} m.",
            message_ko=f"{meant_m:.10g} m로 바꾸기",
            values={"radius_m": meant_m},
        ),
    )


def fault_of_shape(refused: ShapeRefused) -> CellRefused:
    """A refused shape as a fault of its cell; what would mend it comes along as WKT."""
    proposal = None
    offered = refused.proposal
    if offered is not None and isinstance(offered.shape, PolygonShape):
        proposal = CellProposal(
            message_en=offered.text("en"),
            message_ko=offered.text("ko"),
            values={"polygon": to_wkt(offered.shape)},
        )
    return CellRefused(refused.code, refused.text("en"), refused.text("ko"), proposal=proposal)
