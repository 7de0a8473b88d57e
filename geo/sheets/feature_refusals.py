"""Why a geo file is refused. Imported for its effect: `problems.REFUSALS` knows these codes afterwards.

Light on purpose: whoever shows a refusal needs the texts, not NumPy and shapely.
"""

from __future__ import annotations

from geo.sheets.problems import REFUSALS

#: code → English, Korean; see `problems.REFUSALS`
REFUSALS_OF_FEATURES: dict[str, tuple[str, str]] = {
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
REFUSALS.update(REFUSALS_OF_FEATURES)
