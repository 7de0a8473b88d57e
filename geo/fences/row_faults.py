"""What can be wrong with a row of a fence sheet, in the two languages of the house (quality Q11)."""

from __future__ import annotations

from geo.fences.degrees import Degrees
from geo.fences.fence import PolygonShape
from geo.fences.identity import Identity
from geo.fences.refusals import ShapeRefused
from geo.fences.shapes import to_wkt
from geo.sheets.problems import CellProposal, CellRefused, Problem
from geo.sheets.workbook import Table

_GRID_FROM = 1_000.0  # no degrees are that large; metres of a projected grid are
#: column → what it is called, and the headings to write, in English and Korean
_CALLED = {
    "name": ("name", "이름", "name, 지오펜스명, 지점명"),
    "store": ("name", "이름", "name, 지오펜스명, 지점명"),
    "lat": ("latitude", "위도", "lat, latitude, 위도"),
    "lng": ("longitude", "경도", "lng, longitude, 경도"),
    "radius_m": ("radius", "반경", "radius_m, 반경"),
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


def place_faults(lat: Degrees, lng: Degrees) -> list[tuple[str, CellRefused]]:
    """(column, fault) where two cells together are no place on Earth."""
    far_lat = abs(lat.value) > 90 or lat.axis == "lng"
    far_lng = abs(lng.value) > 180 or lng.axis == "lat"
    if not far_lat and not far_lng:
        return []
    may_swap = abs(lng.value) <= 90 and abs(lat.value) <= 180
    if may_swap and lat.axis != "lat" and lng.axis != "lng":
        return [("lat", _swapped(lat.value, lng.value))]
    if max(abs(lat.value), abs(lng.value)) >= _GRID_FROM:
        return [("lat", _metres(lat.value, lng.value))]
    faults = []
    if far_lat:
        faults.append(("lat", _out_of_range("latitude", "위도", lat, 90)))
    if far_lng:
        faults.append(("lng", _out_of_range("longitude", "경도", lng, 180)))
    return faults


def _swapped(lat: float, lng: float) -> CellRefused:
    return CellRefused(
        "swapped",
        f"Latitude {lat:.10g} and longitude {lng:.10g} look swapped.",
        f"위도 {lat:.10g}와(과) 경도 {lng:.10g}의 자리가 바뀐 것 같아요.",
        proposal=CellProposal(
            message_en=f"Latitude {lng:.10g}, longitude {lat:.10g}.",
            message_ko=f"위도 {lng:.10g}, 경도 {lat:.10g}(으)로 바꾸기",
            values={"lat": lng, "lng": lat},
        ),
    )


def _metres(lat: float, lng: float) -> CellRefused:
    return CellRefused(
        "projected_metres",
        f"{lat:.12g} and {lng:.12g} are no degrees: metres of a projected grid (TM, UTM-K), or the "
        "decimal point is lost. Give WGS84 latitude and longitude.",
        f"{lat:.12g}, {lng:.12g}은(는) 위경도가 아니에요. TM 같은 미터 좌표이거나 소수점이 빠졌어요. "
        "WGS84 위도와 경도로 적어 주세요.",
    )


def _out_of_range(en: str, ko: str, degrees: Degrees, bound: int) -> CellRefused:
    if abs(degrees.value) <= bound:
        return CellRefused(
            "wrong_hemisphere",
            f"The letter of this {en} belongs to the other coordinate.",
            f"{ko} 칸에 다른 좌표의 방위 글자가 있어요.",
        )
    return CellRefused(
        "out_of_range",
        f"The {en} is {degrees.value:.10g}; it goes from -{bound} to {bound}.",
        f"{ko}가 {degrees.value:.10g}예요. -{bound}에서 {bound} 사이여야 해요.",
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
