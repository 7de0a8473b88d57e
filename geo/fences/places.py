"""What can be wrong with the place of a row, and which place may be meant instead (product U5).

Every proposal holds latitude and longitude in WGS84 degrees and is taken only when the user accepts
its code.
"""

from __future__ import annotations

from geo.fences.degrees import Degrees
from geo.fences.evidence import GRID_FROM, Evidence, Point, lost_or_swapped, packed_point
from geo.sheets.problems import CellProposal, CellRefused

_CLOSE_M = 1_000.0  # grids that differ by less cannot be told apart by provinces


def place_faults(lat: Degrees, lng: Degrees, seen: Evidence) -> list[tuple[str, CellRefused]]:
    """(column, fault) where two cells together are no place on Earth, or hardly the one meant."""
    far_lat = abs(lat.value) > 90 or lat.axis == "lng"
    far_lng = abs(lng.value) > 180 or lng.axis == "lat"
    if not far_lat and not far_lng:
        return _doubts(lat, lng, seen)
    may_swap = abs(lng.value) <= 90 and abs(lat.value) <= 180
    if may_swap and lat.axis != "lat" and lng.axis != "lng":
        return [("lat", _swapped(lat.value, lng.value))]
    if max(abs(lat.value), abs(lng.value)) >= GRID_FROM:
        return [("lat", _no_degrees(lat.value, lng.value, seen))]
    faults = []
    if far_lat:
        faults.append(("lat", _out_of_range("latitude", "위도", lat, 90)))
    if far_lng:
        faults.append(("lng", _out_of_range("longitude", "경도", lng, 180)))
    return faults


def _doubts(lat: Degrees, lng: Degrees, seen: Evidence) -> list[tuple[str, CellRefused]]:
    """A place on Earth, but 0, 0, outside the countries of the workspace, or far from all others."""
    if lat.value == 0 and lng.value == 0:
        return [("lat", _null_island())]
    if seen.outside(lat.value, lng.value):
        return [("lat", outside_countries(lat.value, lng.value, seen))]
    if lat.axis is None and lng.axis is None and seen.astray(lat.value, lng.value):
        return [("lat", _swapped(lat.value, lng.value))]
    return []


def _null_island() -> CellRefused:
    """What programs write where they know no place; it lies in the sea off Ghana."""
    return CellRefused(
        "null_island",
        "Latitude 0 and longitude 0 stand for a place that is not known. Give the place, or leave both "
        "cells empty and the row out.",
        "위도 0, 경도 0은 위치를 모른다는 뜻이에요. 실제 위치를 적거나 행을 빼 주세요.",
    )


def outside_countries(lat: float, lng: float, seen: Evidence) -> CellRefused:
    """A place in none of the countries of the workspace.

    `swapped` where latitude and longitude swapped it lies in one of them; else with a proposal where
    another sign brings it there.
    """
    if seen.fits(lng, lat):
        return _swapped(lat, lng)
    turned = [Point(a, b) for a, b in ((-lat, lng), (lat, -lng), (-lat, -lng)) if seen.fits(a, b)]
    turned += [Point(b, a) for a, b in ((-lat, lng), (lat, -lng), (-lat, -lng)) if seen.fits(b, a)]
    return _outside(lat, lng, seen, _place(turned[0]) if turned else None)


def _outside(lat: float, lng: float, seen: Evidence, proposal: CellProposal | None) -> CellRefused:
    countries = ", ".join(sorted(seen.countries))
    return CellRefused(
        "outside_countries",
        f"Latitude {lat:.10g}, longitude {lng:.10g} lies in none of the countries of the workspace "
        f"({countries}). Correct it, or add the country to the workspace.",
        f"위도 {lat:.10g}, 경도 {lng:.10g}은(는) 워크스페이스의 국가({countries}) 밖이에요. 좌표를 "
        "고치거나 워크스페이스에 국가를 더해 주세요.",
        proposal=proposal,
    )


def outline_outside_countries(
    lat: float, lng: float, seen: Evidence, *, swapped: str | None
) -> CellRefused:
    """An outline in none of the countries of the workspace.

    Args:
        lat, lng: of a place inside.
        swapped: WKT of the outline with latitude and longitude swapped, where it lies in one of them.
    """
    if swapped is None:
        return _outside(lat, lng, seen, None)
    return CellRefused(
        "swapped",
        f"The outline lies around latitude {lat:.10g}, longitude {lng:.10g}; the two look swapped.",
        f"도형이 위도 {lat:.10g}, 경도 {lng:.10g} 근처에 있어요. 위도와 경도의 자리가 바뀐 것 같아요.",
        proposal=CellProposal(
            message_en=f"Around latitude {lng:.10g}, longitude {lat:.10g}.",
            message_ko=f"위도 {lng:.10g}, 경도 {lat:.10g} 근처로 바꾸기",
            values={"polygon": swapped},
        ),
    )


def _place(point: Point, en: str = "", ko: str = "") -> CellProposal:
    """Take this place; `en` and `ko` say how it was found."""
    return CellProposal(
        message_en=f"{en}Latitude {point.lat:.10g}, longitude {point.lng:.10g}.",
        message_ko=f"{ko}위도 {point.lat:.10g}, 경도 {point.lng:.10g}(으)로 바꾸기",
        values={"lat": point.lat, "lng": point.lng},
    )


def _swapped(lat: float, lng: float) -> CellRefused:
    return CellRefused(
        "swapped",
        f"Latitude {lat:.10g} and longitude {lng:.10g} look swapped.",
        f"위도 {lat:.10g}와(과) 경도 {lng:.10g}의 자리가 바뀐 것 같아요.",
        proposal=_place(Point(lng, lat)),
    )


def _no_degrees(lat: float, lng: float, seen: Evidence) -> CellRefused:
    """Numbers too large for degrees: what they most likely are."""
    in_grid = seen.in_grid.get((lat, lng))
    if seen.named_grid:
        return _metres(lat, lng, in_grid, seen)
    lost = lost_or_swapped(seen, lat, lng)
    packed = packed_point(seen, lat, lng)
    if in_grid is not None and (lost is None or seen.first == "grid"):
        return _metres(lat, lng, in_grid, seen)
    if packed is not None and seen.packed:
        return _packed(lat, lng, packed)
    if lost is not None:
        return _lost(lat, lng, lost, ambiguous=packed is not None and seen.packed is None)
    return _metres(lat, lng, None, seen)


def _lost(lat: float, lng: float, place: Point, *, ambiguous: bool) -> CellRefused:
    """The decimal point is gone; without a proposal where it may be minutes and seconds as well."""
    en = f"{lat:.12g} and {lng:.12g} are no degrees; the decimal point seems to be lost."
    ko = f"{lat:.12g}, {lng:.12g}은(는) 위경도가 아니에요. 소수점이 빠진 것 같아요."
    if ambiguous:
        en += " They may also be degrees, minutes and seconds: write them like 37.4979 or 37°29'52\"."
        ko += " 도·분·초일 수도 있으니 37.4979나 37°29'52\"처럼 적어 주세요."
    return CellRefused("lost_decimal_point", en, ko, proposal=None if ambiguous else _place(place))


def _packed(lat: float, lng: float, place: Point) -> CellRefused:
    return CellRefused(
        "packed_degrees",
        f"{lat:.12g} and {lng:.12g} seem to be degrees, minutes and seconds without marks.",
        f"{lat:.12g}, {lng:.12g}은(는) 기호 없이 적은 도·분·초인 것 같아요.",
        proposal=_place(place),
    )


def _metres(lat: float, lng: float, place: Point | None, seen: Evidence) -> CellRefused:
    """Metres of a grid, with the place in the best one."""
    shown = f"{lat:.12g}", f"{lng:.12g}"
    if place is None or not seen.grids:
        return _of_no_grid(shown, seen)
    best = seen.grids[0]
    en = f"{shown[0]} and {shown[1]} are metres of a projected grid, not degrees."
    ko = f"{shown[0]}, {shown[1]}은(는) 위경도가 아니라 미터 좌표예요."
    close = [guess for guess in seen.grids[1:] if guess.apart_m < _CLOSE_M]
    if close:
        others = ", ".join(f"{guess.epsg} ({guess.apart_m:,.0f} m)" for guess in close)
        en += f" {best.epsg} fits best, but so do {others}: check one place on the map."
        ko += (
            f" {best.epsg}이(가) 가장 알맞지만 그만큼 떨어진 {others}도 맞으니 지도에서 한 곳을 "
            "확인해 주세요."
        )
    elif len(seen.grids) > 1:
        others = ", ".join(guess.epsg for guess in seen.grids[1:4])
        en += f" {best.epsg} fits best; {others} may be meant as well: check one place on the map."
        ko += f" {best.epsg}이(가) 가장 알맞지만 {others}일 수도 있으니 지도에서 한 곳을 확인해 주세요."
    return CellRefused(
        "projected_metres",
        en,
        ko,
        proposal=_place(place, f"As {best.epsg} ({best.name}): ", f"{best.epsg}({best.name})로 보고 "),
    )


def _of_no_grid(shown: tuple[str, str], seen: Evidence) -> CellRefused:
    if seen.named_grid and seen.grids:
        name = seen.grids[0].epsg
        return CellRefused(
            "projected_metres",
            f"{shown[0]} and {shown[1]} lie outside the area of {name}. Correct them, or choose the "
            "grid in which they are given.",
            f"{shown[0]}, {shown[1]}은(는) {name} 좌표계의 범위 밖이에요. 값을 고치거나 맞는 "
            "좌표계를 골라 주세요.",
        )
    return CellRefused(
        "projected_metres",
        f"{shown[0]} and {shown[1]} are no degrees: metres of a projected grid (TM, UTM-K), or the "
        "decimal point is lost. Choose the grid, or give WGS84 latitude and longitude.",
        f"{shown[0]}, {shown[1]}은(는) 위경도가 아니에요. TM 같은 미터 좌표이거나 소수점이 빠졌어요. "
        "좌표계를 고르거나 WGS84 위도와 경도로 적어 주세요.",
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
