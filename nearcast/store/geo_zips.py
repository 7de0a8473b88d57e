"""Zips with Shapefiles or a KML in them: looked over, taken apart, packed anew under safe names."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from geo.sheets.encoding import ENCODINGS
from geo.sheets.problems import SheetRefused
from geo.sheets.table import SheetLimits

#: what GDAL needs of a Shapefile; a .cpg is read here, an index is not needed
_PARTS = (".shp", ".shx", ".dbf", ".prj")
_UTF8_NAME = 0x800  # flag of a zip entry whose name is in UTF-8
_ENCRYPTED = 0x1
_LDID_OFFSET = 29  # of the byte in a .dbf that names its code page
_LDID_KOREAN = 0x79
_LOOKED_AT_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Shapefile:
    """One Shapefile of a zip.

    Attributes:
        name: of its .shp without ending, as it stands in the zip.
        packed: a zip with `layer.shp` and what belongs to it.
        codec: Python's name of the encoding of its .dbf, by its .cpg or guessed.
    """

    name: str
    packed: bytes
    codec: str


def members_of(data: bytes, limits: SheetLimits) -> tuple[bytes, list[Shapefile]]:
    """The KML of a KMZ, and the Shapefiles of a zip, in any folders; strangers beside them are left.

    Raises:
        SheetRefused: neither is there (`not_features`), a part is missing or damaged
            (`damaged_features`), a password (`encrypted`), or far larger than it looks (`bomb`).
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = {_name_of(e): e for e in archive.infolist() if not e.is_dir()}
            _check_directory(archive.infolist(), limits)
            shapes = [name for name in entries if name.lower().endswith(".shp") and not _is_junk(name)]
            if shapes:
                return b"", [_shapefile(archive, entries, name) for name in shapes]
            return archive.read(entries[_main_kml(list(entries))]), []
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        what = str(error)[:100] or "the zip ends early"
        raise SheetRefused("damaged_features", what=what) from error


def python_codec(encoding: str) -> str:
    """Python's codec for what a user or a .cpg calls an encoding; unknown ones as CP949."""
    plain = encoding.strip().casefold()
    digits = re.sub(r"\D", "", plain)
    known = {"949": "cp949", "51949": "cp949", "65001": "utf-8", "8": "utf-8", "88591": "latin-1"}
    return ENCODINGS.get(plain) or known.get(digits) or (f"cp{digits}" if _is_codec(digits) else "cp949")


def _is_codec(digits: str) -> bool:
    return digits in ("932", "936", "950", "1250", "1251", "1252", "1253", "1254", "437", "850")


def _name_of(entry: zipfile.ZipInfo) -> str:
    """The entry's name; Korean Windows writes CP949 without saying so, which reads as CP437."""
    if entry.flag_bits & _UTF8_NAME or entry.filename.isascii():
        return entry.filename
    try:
        return entry.filename.encode("cp437").decode("cp949")
    except UnicodeError:
        return entry.filename


def _check_directory(entries: Sequence[zipfile.ZipInfo], limits: SheetLimits) -> None:
    """A .dbf is mostly spaces and packs far better than a workbook, so no ratio is asked of it."""
    if any(entry.flag_bits & _ENCRYPTED for entry in entries):
        raise SheetRefused("encrypted")
    if len(entries) > limits.max_entries:
        given = f"{len(entries):,}"
        raise SheetRefused("bomb", what=f"{given} parts", what_ko=f"구성 파일 {given}개")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > limits.max_unpacked_bytes:
        given = f"{unpacked >> 20:,} MiB"
        raise SheetRefused("bomb", what=f"{given} unpacked", what_ko=f"압축을 풀면 {given}")
    for entry in entries:
        ratio = entry.file_size / max(1, entry.compress_size)
        if entry.file_size > 1 << 20 and ratio > limits.max_ratio and not entry.filename.endswith("dbf"):
            what_ko = f"{ratio:,.0f}배로 압축된 부분"
            raise SheetRefused("bomb", what=f"a part packed {ratio:,.0f} to 1", what_ko=what_ko)


def _is_junk(name: str) -> bool:
    """What macOS adds beside each file."""
    return "__MACOSX" in name or PurePosixPath(name).name.startswith("._")


def _main_kml(names: Sequence[str]) -> str:
    """`doc.kml`, else the first; a KMZ may hold others that the first one links to."""
    kmls = [name for name in names if name.lower().endswith(".kml") and not _is_junk(name)]
    if not kmls:
        what = "a zip without a Shapefile (.shp) or a KML in it"
        what_ko = "Shapefile(.shp)도 KML도 없는 zip이에요"
        raise SheetRefused("not_features", what=what, what_ko=what_ko)
    return next((name for name in kmls if name.lower() == "doc.kml"), kmls[0])


def _shapefile(
    archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], shape_name: str
) -> Shapefile:
    """The parts beside the .shp, in whatever case, packed as `layer.*` without compression."""
    stem = shape_name[:-4].lower()
    parts = {
        name.lower()[len(stem) :]: e for name, e in entries.items() if name.lower().startswith(stem)
    }
    name = PurePosixPath(shape_name.replace("\\", "/")).name[:-4]
    if ".shx" not in parts:
        raise SheetRefused(
            "damaged_features",
            what=f"'{name}.shx' is missing in the zip",
            what_ko=f"zip에 '{name}.shx'가 없음",
        )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as kept:
        for ending in _PARTS:
            if ending in parts:
                kept.writestr(f"layer{ending}", archive.read(parts[ending]))
    table = archive.read(parts[".dbf"]) if ".dbf" in parts else b""
    cpg = archive.read(parts[".cpg"]).decode("ascii", "replace") if ".cpg" in parts else ""
    codec = python_codec(cpg) if cpg.strip() else _guessed_codec(table)
    return Shapefile(name=name, packed=packed.getvalue(), codec=codec)


def _guessed_codec(table: bytes) -> str:
    """UTF-8 or CP949, whichever reads the .dbf with fewer faults: cells are cut within letters."""
    if len(table) > _LDID_OFFSET and table[_LDID_OFFSET] == _LDID_KOREAN:
        return "cp949"
    sample = table[32:_LOOKED_AT_BYTES]
    faults = {c: sample.decode(c, "replace").count("\ufffd") for c in ("utf-8", "cp949")}
    return min(faults, key=lambda codec: faults[codec])
