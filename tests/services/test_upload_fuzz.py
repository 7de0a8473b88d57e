"""Damaged files: whatever bytes come, a file is read or refused, and no step ends in a fault of ours.

The bytes are those of real files of every kind with some of them changed, cut, doubled or moved; of a
zip also those of a part inside, packed again, since a changed zip mostly fails at its checksum.
"""

from __future__ import annotations

import contextlib
import io
import random
import shutil
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geo.sheets.problems import SheetRefused
from geo.sheets.table import SheetLimits
from geo.sheets.workbook import read_file as read_here
from nearcast.store import uploads
from nearcast.store.engine import make_engine
from nearcast.store.sandbox import read_file
from tests.desk import STORES, Desk
from tests.odd_books import WORKBOOKS
from tests.odd_files import UPLOADS, USUAL
from tests.odd_geo_files import GEO_FILES
from tests.odd_sheets import Page, ods, xlsx, zipped

pytestmark = pytest.mark.slow

#: small, so that what is damaged into something huge ends soon
LIMITS = SheetLimits(cpu_s=5, wall_s=10.0)
_LOOKS_ODD = b"\x00 \xff \" ' < > & , -1 1e999 99999999999 \xed\xa0\x80".split()


def _geo(name: str) -> bytes:
    return next(file.data for file in GEO_FILES if file.name == name)


def sources() -> dict[str, bytes]:
    """One real file of every kind."""
    formulas = next(file.data for file in WORKBOOKS if file.name == "formulas with and without results")
    return {
        "csv": STORES.encode(),
        "csv in cp949": STORES.encode("cp949"),
        "xlsx": xlsx(Page(rows=USUAL, merges=["A1:A2"], hidden_columns=frozenset({2}))),
        "xlsx with formulas": formulas,
        "xlsx of LibreOffice": (UPLOADS / "marks.xlsx").read_bytes(),
        "ods": ods(USUAL),
        "ods of LibreOffice": (UPLOADS / "marks.ods").read_bytes(),
        "xls": (UPLOADS / "marks.xls").read_bytes(),
        "geojson": _geo("GeoJSON of all kinds"),
        "kml": _geo("KML"),
        "gpx": _geo("GPX"),
        "gpkg": _geo("a GeoPackage in a grid"),
        "shapefile": _geo("a Shapefile in a grid"),
    }


def damaged(data: bytes, chance: random.Random) -> bytes:
    """The bytes with one to eight small damages, or inside one part of a zip."""
    if data.startswith(b"PK") and chance.random() < 0.8:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            parts = {name: packed.read(name) for name in packed.namelist()}
        name = chance.choice(sorted(parts))
        return zipped(parts | {name: _changed(parts[name], chance)})
    return _changed(data, chance)


def _changed(data: bytes, chance: random.Random) -> bytes:
    found = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(found) + 1)
        to = min(len(found), at + chance.choice([1, 1, 1, 2, 4, 16, 200]))
        match chance.randrange(5):
            case 0:
                found[at:to] = chance.randbytes(to - at)
            case 1:
                del found[at:to]
            case 2:
                found[at:at] = found[at:to]
            case 3:
                found[at:to] = chance.choice(_LOOKS_ODD)
            case 4 if chance.random() < 0.2:
                del found[at:]
    return bytes(found)


def read_or_refused(data: bytes) -> None:
    """Read in the guarded child; anything raised but a refusal fails the test."""
    with contextlib.suppress(SheetRefused):
        read_file(data, limits=LIMITS)


def check_many(engine_url: str, count: int, seed: int) -> int:
    """Upload damaged files; returns how many were checked, and asserts that no step is at fault."""
    engine = make_engine(engine_url)
    try:
        desk, chance = Desk(engine), random.Random(seed)
        kinds = sources()
        for n in range(count):
            kind = list(kinds)[n % len(kinds)]
            data = damaged(kinds[kind], chance)
            row = desk.row(desk.check(data or b" ", radius_m=100.0))
            assert row["state"] in ("checked", "failed")
            code = (row["error"] or {}).get("code")
            assert code != "internal", f"{kind}, seed {seed}, file {n}"
            desk.write(lambda conn, serial=row["id"]: uploads.delete(conn, serial))
    finally:
        engine.dispose()
    return count


@pytest.mark.parametrize("kind", sources())
def test_a_damaged_file_is_read_or_refused(kind: str) -> None:
    chance = random.Random(kind)
    data = sources()[kind]
    for _ in range(4):
        read_or_refused(damaged(data, chance))


@settings(max_examples=60)
@given(st.binary(max_size=400) | st.text(max_size=200).map(lambda t: t.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    # in this process: small files cannot hurt it, and an error would not be hidden by the child's end
    with contextlib.suppress(SheetRefused):
        read_here(data)


_CELLS = st.text(st.sampled_from("a1.,;|\"'\t\r\n가=°N-\ufeff\u200b\x1a"), max_size=12)


@settings(max_examples=150)
@given(st.lists(_CELLS, max_size=12))
def test_any_text_of_odd_marks_is_read_or_refused(cells: list[str]) -> None:
    with contextlib.suppress(SheetRefused):
        read_here(("name,lat\n" + ",".join(cells)).encode())


def test_no_damaged_file_is_a_fault_of_ours(sqlite_template: Path, tmp_path: Path) -> None:
    path = tmp_path / "nearcast.db"
    shutil.copyfile(sqlite_template, path)
    assert check_many(f"sqlite:///{path}", 39, seed=3) == 39
